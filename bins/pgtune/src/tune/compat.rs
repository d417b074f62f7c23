//! `--compat pgtune`: what the web calculator prints, in its order, and nothing else.

use super::base::{self, Derived, PARALLEL_FROM, USUAL_WORKERS};
use super::{Amount, Group, Inputs, Kb, Plan, Setting};
use crate::budget::{Bounds, Budget, Terms};
use crate::config::{DbSize, Disk, Os, Profile, Wishes};
use crate::facts::Facts;
use crate::pooler;
use crate::tune::amount::{GB, MB};
use crate::warnings::{Code, Warning};

/// The plan of the web calculator. The pooler's part is worked out as always; the budget lowers nothing.
pub(super) fn plan(wishes: &Wishes, facts: &Facts, inputs: &Inputs) -> Plan {
    Plan {
        wishes: wishes.clone(),
        facts: facts.clone(),
        settings: settings(inputs),
        pooling: pooler::plan(&wishes.pool, inputs.cpus()),
        budget: budget(wishes, inputs),
        warnings: warnings(inputs),
    }
}

/// The worst case of these settings, which nothing is lowered for.
fn budget(wishes: &Wishes, inputs: &Inputs) -> Budget {
    let bounds = Bounds::of(inputs, wishes, 0);
    let shared_buffers_kb = base::shared_buffers(inputs).value;
    let connections = base::max_connections(inputs).value;
    let share = bounds.share(&Terms {
        shared_buffers_kb,
        wal_buffers_kb: base::wal_buffers(shared_buffers_kb),
        workers: base::autovacuum_max_workers(inputs).map_or(USUAL_WORKERS, |workers| workers.value),
        autovacuum_kb: base::maintenance_work_mem(inputs).value.min(2 * GB),
        connections,
        work_mem_kb: base::work_mem(inputs, shared_buffers_kb, connections).value,
        multiplier_milli: wishes.worst_case_milli,
    });
    Budget {
        before: share,
        after: share,
        limit: bounds.limit_share(),
        multiplier_milli: wishes.worst_case_milli,
        steps: Vec::new(),
    }
}

/// Rows in the order they are printed.
#[derive(Default)]
struct Sheet(Vec<Setting>);

impl Sheet {
    fn add<T>(
        &mut self,
        group: Group,
        name: &'static str,
        derived: Derived<T>,
        amount: impl Fn(T) -> Amount,
    ) {
        let Derived { value, rule } = derived;
        self.0.push(Setting { name, amount: amount(value), group, rule, changed_by: None });
    }

    fn size(&mut self, group: Group, name: &'static str, derived: Derived<u64>) {
        self.add(group, name, derived, |kb| Amount::Size(Kb(kb)));
    }

    fn count(&mut self, group: Group, name: &'static str, derived: Derived<u64>) {
        self.add(group, name, derived, Amount::Count);
    }

    fn word(&mut self, group: Group, name: &'static str, word: &'static str) {
        self.add(group, name, base::derived(word, "as the web calculator has it"), Amount::Word);
    }
}

fn settings(inputs: &Inputs) -> Vec<Setting> {
    let mut sheet = Sheet::default();
    let connections = base::max_connections(inputs);
    let shared_buffers = base::shared_buffers(inputs);
    let work_mem = base::work_mem(inputs, shared_buffers.value, connections.value);
    let wal_buffers = base::wal_buffers(shared_buffers.value);
    let huge_pages = match inputs.os {
        Os::Linux | Os::Windows if shared_buffers.value >= 2 * GB => "try",
        _ => "off",
    };
    sheet.count(Group::Connections, "max_connections", connections);
    sheet.size(Group::Memory, "shared_buffers", shared_buffers);
    sheet.size(Group::Memory, "effective_cache_size", base::effective_cache_size(inputs));
    sheet.size(Group::Memory, "maintenance_work_mem", base::maintenance_work_mem(inputs));
    let target = base::checkpoint_completion_target();
    sheet.add(Group::Wal, "checkpoint_completion_target", target, Amount::Decimal);
    let wal_buffers = base::derived(wal_buffers, "3 % of shared_buffers; over 14MB a segment of 16MB");
    sheet.size(Group::Wal, "wal_buffers", wal_buffers);
    sheet.count(Group::Planner, "default_statistics_target", base::default_statistics_target(inputs));
    sheet.add(Group::Planner, "random_page_cost", base::random_page_cost(inputs), Amount::Decimal);
    if inputs.os == Os::Linux {
        sheet.count(Group::Io, "effective_io_concurrency", base::effective_io_concurrency(inputs));
    }
    sheet.size(Group::Memory, "work_mem", work_mem);
    sheet.word(Group::Memory, "huge_pages", huge_pages);
    if let Some(jit) = base::jit(inputs).filter(|_| inputs.major >= 12) {
        sheet.add(Group::Planner, "jit", jit, Amount::Word);
    }
    sheet.word(Group::Wal, "wal_compression", if inputs.major >= 15 { "lz4" } else { "on" });
    autovacuum(&mut sheet, inputs);
    workers_of_io(&mut sheet, inputs);
    let (min, max) = base::wal_sizes(inputs);
    sheet.size(Group::Wal, "min_wal_size", min);
    sheet.size(Group::Wal, "max_wal_size", max);
    parallel(&mut sheet, inputs);
    if inputs.profile == Profile::Desktop {
        sheet.word(Group::Wal, "wal_level", "minimal");
        sheet.count(Group::Wal, "max_wal_senders", base::derived(0, "0: wal_level = minimal has no senders"));
    }
    sheet.0
}

fn autovacuum(sheet: &mut Sheet, inputs: &Inputs) {
    if let Some(workers) = base::autovacuum_max_workers(inputs) {
        sheet.count(Group::Autovacuum, "autovacuum_max_workers", workers);
    }
    if base::maintenance_work_mem(inputs).value >= 2 * GB {
        let size = base::derived(2 * GB, "2GB where maintenance_work_mem is more");
        sheet.size(Group::Memory, "autovacuum_work_mem", size);
    }
}

fn workers_of_io(sheet: &mut Sheet, inputs: &Inputs) {
    if inputs.major < 18 {
        return;
    }
    if inputs.os == Os::Linux {
        sheet.word(Group::Io, "io_method", "io_uring");
        return;
    }
    sheet.word(Group::Io, "io_method", "worker");
    if let Some(workers) = inputs.cpus.and_then(|cpus| base::io_workers(cpus / 4, cpus)) {
        sheet.count(Group::Io, "io_workers", workers);
    }
}

fn parallel(sheet: &mut Sheet, inputs: &Inputs) {
    let Some(cpus) = inputs.cpus.filter(|cpus| *cpus >= PARALLEL_FROM) else { return };
    let all = || base::derived(cpus, format!("one for each of {cpus} CPUs"));
    let most = if inputs.profile == Profile::Dw { u64::MAX } else { 4 };
    sheet.count(Group::Parallel, "max_worker_processes", all());
    sheet.count(Group::Parallel, "max_parallel_workers_per_gather", base::per_gather(inputs, most));
    sheet.count(Group::Parallel, "max_parallel_workers", all());
    if inputs.major >= 11 {
        sheet.count(Group::Parallel, "max_parallel_maintenance_workers", base::maintenance_workers(inputs));
    }
}

fn warnings(inputs: &Inputs) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code, text: &str| warnings.push(Warning::new(code, text));
    if inputs.memory_kb < 256 * MB {
        warn(Code::LowMemory, "less than 256MB of memory: these formulas were not made for it");
    }
    if inputs.memory_kb > 100 * GB {
        warn(Code::HighMemory, "more than 100GB of memory: these formulas were not made for it");
    }
    if inputs.major >= 15 {
        warn(Code::Lz4, "wal_compression = lz4 needs a server built with LZ4");
    }
    if inputs.major >= 18 && inputs.os == Os::Linux {
        warn(
            Code::IoUring,
            "io_method = io_uring needs a server built with liburing and a kernel that lets it",
        );
    }
    if inputs.profile == Profile::Dw && inputs.disk != Disk::Hdd && inputs.db_size != DbSize::Less {
        warn(
            Code::DwFlash,
            "random_page_cost = 4 on flash keeps large scans sequential; lower it if indexes are to be used",
        );
    }
    warnings
}
