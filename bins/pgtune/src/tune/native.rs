//! The rules pgtune goes by itself: the formulas, changed where they risk memory, a refused start or a slow vacuum.

use super::amount::{GB, Kb, MB, Rough};
use super::base::{self, Derived, PARALLEL_FROM, USUAL_WORKERS, derived};
use super::{Amount, Group, Inputs, Plan, Setting, Thousandths};
use crate::budget::{self, Bounds, Budget, Terms};
use crate::config::{Budgeting, Extra, Feature, Os, Profile, Wishes, options};
use crate::facts::{ASSUMED, Certainty, Facts, Share, WalVolume};
use crate::guc;
use crate::pooler::{self, Pooling, SUPERUSER};
use crate::warnings::{Code, Warning};

/// Below this memory shared_buffers takes less than a quarter.
const SMALL_MACHINE: u64 = GB;
/// /dev/shm of a container that nobody sized.
const SMALL_SHM: u64 = 64 * MB;
/// Connections kept for monitoring.
const RESERVED: u64 = 2;
/// Fewer connections than this get a remark.
const FEW_CONNECTIONS: u64 = 20;
/// All processes of a server together: MAX_BACKENDS.
const MOST_BACKENDS: u64 = options::MOST_CONNECTIONS.unsigned_abs();
/// Least max_wal_size on any volume: with less, checkpoints never end.
const LEAST_MAX_WAL: u64 = 256 * MB;
/// WAL is kept in steps of the usual segment.
const WAL_STEP: u64 = 16 * MB;

/// Works out the settings, makes the worst case fit, and says what the reader should know.
pub(super) fn plan(wishes: &Wishes, facts: &Facts, inputs: &Inputs) -> Plan {
    let pooling = pooler::plan(&wishes.pool, inputs.cpus());
    let mut draft = Draft::new(wishes, inputs, &pooling);
    let fewest = pooler::fewest_connections(pooling.need, draft.reserved);
    let bounds = Bounds::of(inputs, wishes, fewest);
    let mut terms = draft.terms(wishes);
    let before = bounds.share(&terms);
    let steps = match wishes.budget {
        Budgeting::Lower => budget::fit(&mut terms, &bounds, rnd),
        Budgeting::Show => Vec::new(),
    };
    draft.take(&terms);
    let budget = Budget {
        before,
        after: bounds.share(&terms),
        limit: bounds.limit_share(),
        multiplier_milli: terms.multiplier_milli,
        steps,
    };
    let mut sheet = Sheet::new(inputs.major, &budget);
    connections(&mut sheet, &draft);
    memory(&mut sheet, &draft);
    wal(&mut sheet, inputs, facts);
    planner(&mut sheet, inputs);
    io(&mut sheet, inputs);
    parallel(&mut sheet, inputs, facts);
    autovacuum(&mut sheet, inputs, &draft);
    extras(&mut sheet, inputs, wishes, facts);
    let mut warnings = of_budget(&budget, bounds.fits(&terms));
    warnings.extend(of_machine(facts, inputs));
    warnings.extend(of_connections(&terms, inputs));
    let server = (terms.connections, draft.reserved);
    warnings.extend(pooler::warnings(&pooling, wishes.pool.asked, server, facts.descriptors));
    Plan { wishes: wishes.clone(), facts: facts.clone(), settings: sheet.rows, pooling, budget, warnings }
}

/// Whole MB from 4MB up, else multiples of 64kB: numbers people can read, never more than the formula gave.
pub(super) fn rnd(kb: u64) -> u64 {
    match kb {
        kb if kb >= 4 * MB => kb / MB * MB,
        kb => (kb / 64 * 64).max(64),
    }
}

fn rounded(derived: Derived<u64>) -> Derived<u64> {
    Derived { value: rnd(derived.value), ..derived }
}

/// What depends on each other, before and after the budget.
struct Draft {
    connections: Derived<u64>,
    connections_by: Option<&'static str>,
    reserved: u64,
    shared_buffers: Derived<u64>,
    effective_cache_size: Derived<u64>,
    work_mem: Derived<u64>,
    maintenance_work_mem: Derived<u64>,
    autovacuum_work_mem: Derived<u64>,
    workers: Option<Derived<u64>>,
}

impl Draft {
    fn new(wishes: &Wishes, inputs: &Inputs, pooling: &Pooling) -> Self {
        let reserved = if guc::row("reserved_connections", inputs.major).is_some() { RESERVED } else { 0 };
        let (connections, connections_by) = if wishes.pool.pooled && inputs.connections.is_none() {
            let (connections, rule) = pooler::pooled_connections(pooling.need, reserved);
            (derived(connections, rule), Some("pooled"))
        } else {
            (base::max_connections(inputs), inputs.connections.map(|_| "connections"))
        };
        let shared_buffers = shared_buffers(inputs);
        let maintenance_work_mem = rounded(base::maintenance_work_mem(inputs));
        let maintenance_work_mem =
            Derived { value: maintenance_work_mem.value.max(MB), ..maintenance_work_mem };
        let workers = base::autovacuum_max_workers(inputs);
        let count = workers.as_ref().map_or(USUAL_WORKERS, |workers| workers.value);
        Self {
            // A server needs one connection that is not reserved.
            reserved: reserved.min(connections.value.saturating_sub(SUPERUSER + 1)),
            work_mem: rounded(base::work_mem(inputs, shared_buffers.value, connections.value)),
            autovacuum_work_mem: autovacuum_work_mem(inputs, maintenance_work_mem.value, count),
            effective_cache_size: rounded(base::effective_cache_size(inputs)),
            connections,
            connections_by,
            shared_buffers,
            maintenance_work_mem,
            workers,
        }
    }

    fn worker_count(&self) -> u64 {
        self.workers.as_ref().map_or(USUAL_WORKERS, |workers| workers.value)
    }

    fn terms(&self, wishes: &Wishes) -> Terms {
        Terms {
            shared_buffers_kb: self.shared_buffers.value,
            wal_buffers_kb: automatic_wal_buffers(self.shared_buffers.value),
            workers: self.worker_count(),
            autovacuum_kb: self.autovacuum_work_mem.value,
            connections: self.connections.value,
            work_mem_kb: self.work_mem.value,
            multiplier_milli: wishes.worst_case_milli,
        }
    }

    fn take(&mut self, terms: &Terms) {
        self.shared_buffers.value = terms.shared_buffers_kb;
        self.autovacuum_work_mem.value = terms.autovacuum_kb;
        self.connections.value = terms.connections;
        self.work_mem.value = terms.work_mem_kb;
    }
}

/// What PostgreSQL takes by itself: a 32nd of shared_buffers, up to a usual segment.
pub(super) fn automatic_wal_buffers(shared_buffers_kb: u64) -> u64 {
    (shared_buffers_kb / 32).min(16 * MB)
}

fn shared_buffers(inputs: &Inputs) -> Derived<u64> {
    let mut shared = base::shared_buffers(inputs);
    // A desktop's sixteenth is less already.
    let small = base::fraction(inputs.memory_kb, 15, 100);
    if inputs.memory_kb < SMALL_MACHINE && small.value < shared.value {
        shared =
            Derived { rule: format!("{}: a machine below 1GB needs the rest itself", small.rule), ..small };
    }
    let shared = rounded(shared);
    Derived { value: shared.value.max(budget::LEAST_SHARED_BUFFERS), ..shared }
}

fn autovacuum_work_mem(inputs: &Inputs, maintenance_kb: u64, workers: u64) -> Derived<u64> {
    let most = if inputs.major <= 16 { GB } else { 2 * GB };
    let share = inputs.memory_kb / 8 / workers;
    let value = rnd(maintenance_kb.min(share).min(most)).max(MB);
    let rule = format!(
        "the least of maintenance_work_mem = {}, R/8 / {workers} workers = {} and {}",
        Kb(maintenance_kb),
        Rough(share),
        Kb(most)
    );
    derived(value, rule)
}

/// Rows in the order they are printed. Holds to the table of the major: a name it lacks is left out, a value outside
/// its range is brought back inside.
struct Sheet<'a> {
    major: u32,
    budget: &'a Budget,
    rows: Vec<Setting>,
}

impl<'a> Sheet<'a> {
    fn new(major: u32, budget: &'a Budget) -> Self {
        Self { major, budget, rows: Vec::new() }
    }

    fn add(&mut self, group: Group, name: &'static str, amount: Amount, rule: impl Into<String>) {
        self.changed(group, name, amount, rule, None);
    }

    fn changed(
        &mut self,
        group: Group,
        name: &'static str,
        amount: Amount,
        rule: impl Into<String>,
        changed_by: Option<&'static str>,
    ) {
        let Some(guc) = guc::row(name, self.major) else { return };
        let (mut rule, mut changed_by) = (rule.into(), changed_by);
        let amount = match (amount, guc.most_kb()) {
            (Amount::Size(size), Some(most)) if size.0 > most => {
                rule.push_str(&format!(", at most {}: PostgreSQL takes no more", Kb(most)));
                Amount::Size(Kb(most))
            }
            (amount, _) => amount,
        };
        if let Some(step) = self.budget.steps.iter().find(|step| step.name == name) {
            rule.push_str(&format!("; the budget lowers it from {}: {}", step.from, step.rule));
            changed_by = Some("budget");
        }
        self.rows.push(Setting { name, amount, group, rule, changed_by });
    }

    fn size(&mut self, group: Group, name: &'static str, size: &Derived<u64>) {
        self.add(group, name, Amount::Size(Kb(size.value)), size.rule.as_str());
    }

    fn count(&mut self, group: Group, name: &'static str, count: &Derived<u64>) {
        self.add(group, name, Amount::Count(count.value), count.rule.as_str());
    }

    fn word(&mut self, group: Group, name: &'static str, word: &'static str, rule: &str) {
        self.add(group, name, Amount::Word(word), rule);
    }
}

fn connections(sheet: &mut Sheet, draft: &Draft) {
    let Derived { value, rule } = &draft.connections;
    let group = Group::Connections;
    sheet.changed(group, "max_connections", Amount::Count(*value), rule.as_str(), draft.connections_by);
    if *value <= SUPERUSER {
        let rule = format!("one less than max_connections = {value}, or the server does not start");
        sheet.add(group, "superuser_reserved_connections", Amount::Count(value - 1), rule);
    }
    if draft.reserved > 0 {
        let rule = format!("{}: monitoring gets in when the clients have taken the rest", draft.reserved);
        sheet.add(group, "reserved_connections", Amount::Count(draft.reserved), rule);
    }
}

fn memory(sheet: &mut Sheet, draft: &Draft) {
    sheet.size(Group::Memory, "shared_buffers", &draft.shared_buffers);
    sheet.size(Group::Memory, "effective_cache_size", &draft.effective_cache_size);
    sheet.size(Group::Memory, "work_mem", &draft.work_mem);
    sheet.size(Group::Memory, "maintenance_work_mem", &draft.maintenance_work_mem);
    if draft.autovacuum_work_mem.value < draft.maintenance_work_mem.value {
        sheet.size(Group::Memory, "autovacuum_work_mem", &draft.autovacuum_work_mem);
    }
    sheet.word(
        Group::Memory,
        "huge_pages",
        "try",
        "try: taken where the kernel has them; on may stop the start",
    );
}

fn wal(sheet: &mut Sheet, inputs: &Inputs, facts: &Facts) {
    let (min, max) = base::wal_sizes(inputs);
    let (min, max, by) = match &facts.wal {
        Some(volume) => capped(min, max, volume.value, facts.wal_segment_kb),
        None => (min, max, None),
    };
    let least = 2 * facts.wal_segment_kb;
    for (name, size) in [("min_wal_size", min), ("max_wal_size", max)] {
        sheet.changed(Group::Wal, name, Amount::Size(Kb(size.value.max(least))), size.rule, by);
    }
    let target = base::checkpoint_completion_target();
    sheet.add(Group::Wal, "checkpoint_completion_target", Amount::Decimal(target.value), target.rule);
    compression(sheet, inputs);
}

/// What WAL may take of its volume, in whole steps, and what that is in words: 60 % of one of its own, an eighth of what
/// is free on a shared one.
fn cap(volume: WalVolume) -> (u64, &'static str) {
    let (cap, what) = match volume.share {
        Share::Dedicated => (volume.kb * 60 / 100, "60 % of the WAL's own volume of"),
        Share::Shared => (volume.kb / 8, "an eighth of the shared volume's free"),
    };
    (cap / WAL_STEP * WAL_STEP, what)
}

/// What is left of both sizes on a volume.
fn capped(
    min: Derived<u64>,
    max: Derived<u64>,
    volume: WalVolume,
    segment_kb: u64,
) -> (Derived<u64>, Derived<u64>, Option<&'static str>) {
    let (cap, what) = cap(volume);
    if cap >= max.value {
        return (min, max, None);
    }
    let most = cap.max(LEAST_MAX_WAL).max(2 * segment_kb);
    let least = min.value.min(most / 4 / WAL_STEP * WAL_STEP).max(2 * segment_kb);
    let min_rule = format!("{}, at most a quarter of max_wal_size = {}", min.rule, Kb(most));
    let max_rule = format!("{}, but {what} {} is {}, at least 256MB", max.rule, Rough(volume.kb), Kb(cap));
    (derived(least, min_rule), derived(most, max_rule), Some("wal-disk"))
}

fn compression(sheet: &mut Sheet, inputs: &Inputs) {
    let better = inputs.features.iter().find(|feature| matches!(feature, Feature::Lz4 | Feature::Zstd));
    match better.filter(|_| inputs.major >= 15) {
        Some(feature) => {
            let rule = format!("{}: the server is built with it", feature.word());
            let word = Amount::Word(feature.word());
            sheet.changed(Group::Wal, "wal_compression", word, rule, Some("with"));
        }
        None => sheet.word(Group::Wal, "wal_compression", "on", "on: the method every build has"),
    }
}

fn planner(sheet: &mut Sheet, inputs: &Inputs) {
    let cost = base::random_page_cost(inputs);
    sheet.add(Group::Planner, "random_page_cost", Amount::Decimal(cost.value), cost.rule);
    sheet.count(Group::Planner, "default_statistics_target", &base::default_statistics_target(inputs));
    if let Some(jit) = base::jit(inputs) {
        sheet.word(Group::Planner, "jit", jit.value, &jit.rule);
    }
}

fn io(sheet: &mut Sheet, inputs: &Inputs) {
    // Before 18 other systems lack posix_fadvise, and the server refuses any value but 0.
    if inputs.os == Os::Linux || inputs.major >= 18 {
        let requests = base::effective_io_concurrency(inputs);
        sheet.count(Group::Io, "effective_io_concurrency", &requests);
        sheet.count(Group::Io, "maintenance_io_concurrency", &requests);
    }
    if uses_io_uring(inputs) {
        let rule = "io_uring: --with says that build and kernel have it";
        sheet.changed(Group::Io, "io_method", Amount::Word("io_uring"), rule, Some("with"));
        return;
    }
    sheet.word(Group::Io, "io_method", "worker", "worker: works on every build and kernel");
    let cpus = inputs.cpus();
    if let Some(workers) = base::io_workers(cpus.div_ceil(4), cpus) {
        sheet.count(Group::Io, "io_workers", &workers);
    }
}

fn uses_io_uring(inputs: &Inputs) -> bool {
    inputs.major >= 18 && inputs.os == Os::Linux && inputs.features.contains(&Feature::IoUring)
}

fn parallel(sheet: &mut Sheet, inputs: &Inputs, facts: &Facts) {
    let cpus = inputs.cpus();
    if cpus >= PARALLEL_FROM {
        let most = if inputs.profile == Profile::Dw { 16 } else { 4 };
        let all =
            derived((cpus + 4).max(8), format!("{cpus} CPUs + 4 for extensions and replication, at least 8"));
        sheet.count(Group::Parallel, "max_worker_processes", &all);
        sheet.count(Group::Parallel, "max_parallel_workers_per_gather", &base::per_gather(inputs, most));
        let each = derived(cpus, format!("one for each of {cpus} CPUs"));
        sheet.count(Group::Parallel, "max_parallel_workers", &each);
    }
    if is_shm_small(facts) {
        let rule = "0: parallel builds need more of /dev/shm than there is";
        let name = "max_parallel_maintenance_workers";
        sheet.changed(Group::Parallel, name, Amount::Count(0), rule, Some("shm"));
    } else if cpus >= PARALLEL_FROM {
        sheet.count(Group::Parallel, "max_parallel_maintenance_workers", &base::maintenance_workers(inputs));
    }
}

fn is_shm_small(facts: &Facts) -> bool {
    facts.shm_kb.as_ref().is_some_and(|shm| shm.value <= SMALL_SHM)
}

fn autovacuum(sheet: &mut Sheet, inputs: &Inputs, draft: &Draft) {
    let group = Group::Autovacuum;
    if let Some(workers) = &draft.workers {
        sheet.count(group, "autovacuum_max_workers", workers);
        let limit = (200 * workers.value).div_ceil(USUAL_WORKERS).div_ceil(100) * 100;
        let rule = format!("200 * {}/{USUAL_WORKERS}, up to a hundred: the workers share it", workers.value);
        sheet.count(group, "autovacuum_vacuum_cost_limit", &derived(limit, rule));
    }
    if inputs.profile == Profile::Desktop {
        return;
    }
    let (scale, rule) = if inputs.profile == Profile::Dw {
        (100, "0.1 for profile dw: half of PostgreSQL's 0.2")
    } else {
        (50, "0.05: a quarter of PostgreSQL's 0.2")
    };
    sheet.add(group, "autovacuum_vacuum_scale_factor", Amount::Decimal(Thousandths(scale)), rule);
    let rule = "0.05: half of PostgreSQL's 0.1";
    sheet.add(group, "autovacuum_analyze_scale_factor", Amount::Decimal(Thousandths(50)), rule);
    sheet.add(group, "autovacuum_naptime", Amount::Seconds(30), "30s: half of PostgreSQL's 1min");
}

fn extras(sheet: &mut Sheet, inputs: &Inputs, wishes: &Wishes, facts: &Facts) {
    if wishes.extras.contains(&Extra::Guards) {
        guards(sheet, inputs, facts);
    }
    if wishes.extras.contains(&Extra::Observe) {
        observe(sheet);
    }
}

fn guards(sheet: &mut Sheet, inputs: &Inputs, facts: &Facts) {
    let group = Group::Guards;
    if matches!(inputs.profile, Profile::Web | Profile::Oltp | Profile::Mixed) {
        let rule = format!("60s for profile {}: its transactions are short", inputs.profile.word());
        sheet.add(group, "idle_in_transaction_session_timeout", Amount::Seconds(60), rule);
    }
    if inputs.os == Os::Linux {
        let rule = "10s: how often a running query looks whether its client is still there";
        sheet.add(group, "client_connection_check_interval", Amount::Seconds(10), rule);
    }
    if let Some(free) = facts.data_free_kb {
        let rule = format!("a quarter of the {} free where the data is", Rough(free));
        sheet.size(group, "temp_file_limit", &derived(rnd(free / 4), rule));
    }
}

fn observe(sheet: &mut Sheet) {
    let group = Group::Observe;
    sheet.word(
        group,
        "track_io_timing",
        "on",
        "on: times of reads and writes in EXPLAIN and the statistics views",
    );
    sheet.word(group, "log_lock_waits", "on", "on: who waited longer than deadlock_timeout, and for whom");
    sheet.add(
        group,
        "log_temp_files",
        Amount::Size(Kb(10 * MB)),
        "10MB: sorts and hashes that did not fit work_mem",
    );
    sheet.word(group, "log_checkpoints", "on", "on: how often, how long, how much");
    let rule = "10s: vacuums that took longer";
    sheet.add(group, "log_autovacuum_min_duration", Amount::Seconds(10), rule);
    sheet.word(group, "compute_query_id", "on", "on: one number for a query in log, activity and statistics");
}

fn of_budget(budget: &Budget, fits: bool) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = budget
        .steps
        .iter()
        .map(|step| Warning::new(Code::Budget, format!("{} {} -> {}", step.name, step.from, step.to)))
        .collect();
    if !fits {
        let text = format!("the worst case takes {} % of memory, more than {} %", budget.after, budget.limit);
        warnings.push(Warning::new(Code::BudgetExceeded, text));
    }
    warnings
}

fn of_machine(facts: &Facts, inputs: &Inputs) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code, text: String| warnings.push(Warning::new(code, text));
    if let Some(directory) = &facts.unread_data_dir {
        let text = format!(
            "{} has no PG_VERSION that can be read: version, disk and volumes are not known from there",
            directory.display()
        );
        warn(Code::DataDir, text);
    }
    if facts.cpus_milli.as_ref().is_some_and(|cpus| cpus.from == ASSUMED) {
        let text = "the server is elsewhere and taken to have one CPU: --cpus tells";
        warn(Code::CpusAssumed, text.to_owned());
    }
    if facts.disk_certainty == Certainty::Assumed {
        let disk = facts.disk.value.word();
        warn(
            Code::DiskAssumed,
            format!("the disk is taken to be {disk}: --disk tells, or --data-dir to find out"),
        );
    }
    match &facts.wal {
        None => {
            let text = "nothing is known about the WAL's volume: --wal-disk tells, or --data-dir to find out";
            warn(Code::WalDiskUnknown, text.to_owned());
        }
        Some(volume) => {
            let (cap, what) = cap(volume.value);
            if cap < LEAST_MAX_WAL {
                let (least, kb) = (Kb(LEAST_MAX_WAL), Rough(volume.value.kb));
                let text = format!("max_wal_size is {least} at least, but {what} {kb} is {}", Rough(cap));
                warn(Code::WalDiskSmall, text);
            }
        }
    }
    if is_shm_small(facts) {
        let text = "/dev/shm has 64MB or less: no parallel builds; docker run --shm-size makes it larger";
        warn(Code::ShmSmall, text.to_owned());
    }
    if let Some(high) = facts.memory_high_kb {
        let text = format!("memory.high is {}: the kernel slows the server down from there on", Rough(high));
        warn(Code::MemoryHigh, text);
    }
    for feature in &inputs.features {
        let (since, linux_only) = if *feature == Feature::IoUring { (18, true) } else { (15, false) };
        if inputs.major < since || (linux_only && inputs.os != Os::Linux) {
            let text = format!(
                "PostgreSQL {} on {} has no use for {}",
                inputs.major,
                inputs.os.word(),
                feature.word()
            );
            warn(Code::FeatureUnknown, text);
        }
    }
    warnings
}

fn of_connections(terms: &Terms, inputs: &Inputs) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if terms.connections < FEW_CONNECTIONS {
        let text = format!("max_connections = {} leaves little beside what is reserved", terms.connections);
        warnings.push(Warning::new(Code::FewConnections, text));
    }
    // The server adds up: autovacuum and its launcher, workers, WAL senders, slots of 18.
    let workers = (inputs.cpus() + 4).max(8);
    let backends = terms.connections + 16.max(terms.workers) + 1 + workers + 10 + 2;
    if backends > MOST_BACKENDS {
        let text = format!("{backends} processes in all, but a server starts with at most {MOST_BACKENDS}");
        warnings.push(Warning::new(Code::TooManyBackends, text));
    }
    warnings
}
