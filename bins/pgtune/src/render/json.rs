//! The plan as one JSON object, for programs. Keys keep their order; numbers without unit loss stay numbers.

use std::fmt::Write as _;

use super::{Reasons, host};
use crate::config::Known;
use crate::explain;
use crate::facts::{Confinement, Facts, Share};
use crate::pooler::Line;
use crate::tune::{Amount, Plan, Setting, Thousandths};

/// Version of this shape. A key may come, none goes or changes its meaning without another number here.
const SHAPE: u64 = 1;

/// The whole plan.
pub(super) fn json(plan: &Plan, reasons: Reasons) -> String {
    let mut object = Object::default();
    object.number("v", SHAPE);
    object.text("tool", concat!("pgtune ", env!("CARGO_PKG_VERSION")));
    object.text("profile", plan.wishes.profile.word());
    object.raw("compat", &plan.wishes.compat.to_string());
    object.number("pg_major", u64::from(plan.major()));
    object.raw("facts", &facts(&plan.facts, plan.wishes.reserve_kb));
    object.raw("settings", &array(plan.settings.iter().map(|one| setting(one, plan, reasons))));
    let pooling = &plan.pooling;
    object.raw(
        "pool",
        &lines(&pooling.pooler, |pool| {
            pool.number("processes_allowed", pooling.processes_allowed);
        }),
    );
    object.raw(
        "app",
        &lines(&pooling.app, |app| {
            app.raw("throttle", &lines(&pooling.throttle, |_| {}));
            app.raw("breaker", &lines(&pooling.breaker, |_| {}));
        }),
    );
    object.raw("host", &of_host(plan));
    object.raw("budget", &budget(plan));
    object.raw(
        "warnings",
        &array(plan.warnings.iter().map(|warning| {
            let mut object = Object::default();
            object.text("code", warning.code.word());
            object.text("level", warning.code.level().word());
            object.text("text", &warning.text);
            object.end()
        })),
    );
    object.end() + "\n"
}

fn facts(facts: &Facts, reserve_kb: u64) -> String {
    let mut object = Object::default();
    object.number("memory_kb", facts.memory_kb.value);
    object.text("memory_from", &facts.memory_kb.from);
    object.number("reserve_kb", reserve_kb);
    let exact = facts.cpus_milli.as_ref().map(|cpus| cpus.value);
    object.maybe("cpus", exact.map(|milli| (milli / 1000).max(1).to_string()));
    object.maybe("cpus_exact", exact.map(decimal));
    object.maybe("cpus_from", facts.cpus_milli.as_ref().map(|cpus| quote(&cpus.from)));
    object.text("disk", facts.disk.value.word());
    object.text("disk_from", &facts.disk.from);
    object.text("os", facts.os.value.word());
    let wal = facts.wal.as_ref().map(|wal| wal.value);
    object.maybe("wal_disk_kb", wal.map(|wal| wal.kb.to_string()));
    object.maybe("wal_dedicated", wal.map(|wal| (wal.share == Share::Dedicated).to_string()));
    object.maybe("shm_kb", facts.shm_kb.as_ref().map(|shm: &Known<u64>| shm.value.to_string()));
    object.end()
}

fn setting(setting: &Setting, plan: &Plan, reasons: Reasons) -> String {
    let why = match reasons {
        Reasons::Given => explain::sentence(setting.name, &setting.rule),
        Reasons::Left => setting.rule.clone(),
    };
    let mut object = Object::default();
    object.text("name", setting.name);
    object.text("value", &setting.amount.to_string());
    object.maybe("number", setting.amount.number());
    object.maybe("unit", setting.amount.unit().map(quote));
    object.text("group", setting.group.word());
    object.text("apply", setting.apply(plan.major()).word());
    object.maybe("default", setting.guc(plan.major()).map(|guc| quote(&guc.default_text())));
    object.maybe("changed_by", setting.changed_by.map(quote));
    object.text("why", &why);
    object.end()
}

fn lines(lines: &[Line], more: impl Fn(&mut Object)) -> String {
    let mut object = Object::default();
    for line in lines {
        match line.amount {
            Amount::Word(word @ ("true" | "false")) => object.raw(line.name, word),
            Amount::Word(word) => object.text(line.name, word),
            amount => object.maybe(line.name, amount.number()),
        }
    }
    more(&mut object);
    object.end()
}

fn of_host(plan: &Plan) -> String {
    let host = host(plan);
    let mut object = Object::default();
    object.number("nr_hugepages", host.huge_pages);
    object.number("huge_page_kb", host.huge_page_kb);
    object.maybe("overcommit_memory", (host.confinement == Confinement::None).then(|| "2".to_owned()));
    object.number("limit_memlock_kb", host.shared_kb);
    object.number("descriptors", plan.pooling.descriptors);
    object.number("limit_nofile", host.limit_nofile);
    object.number("shm_kb", host.shm_kb);
    object.end()
}

fn budget(plan: &Plan) -> String {
    let budget = &plan.budget;
    let mut object = Object::default();
    object.raw("worst_pct_before", &budget.before.to_string());
    object.raw("worst_pct", &budget.after.to_string());
    object.raw("limit_pct", &budget.limit.to_string());
    object.raw("multiplier", &decimal(budget.multiplier_milli));
    object.raw(
        "steps",
        &array(budget.steps.iter().map(|step| {
            let mut object = Object::default();
            object.text("name", step.name);
            object.text("from", &step.from);
            object.text("to", &step.to);
            object.text("why", &step.rule);
            object.end()
        })),
    );
    object.end()
}

fn decimal(milli: u64) -> String {
    Thousandths(i64::try_from(milli).unwrap_or(i64::MAX)).to_string()
}

/// An object that is being written.
#[derive(Default)]
struct Object(String);

impl Object {
    fn raw(&mut self, key: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        let _ = write!(self.0, "{}:{value}", quote(key));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.raw(key, &quote(value));
    }

    fn number(&mut self, key: &str, value: u64) {
        self.raw(key, &value.to_string());
    }

    /// `null` where there is none.
    fn maybe(&mut self, key: &str, value: Option<String>) {
        self.raw(key, value.as_deref().unwrap_or("null"));
    }

    fn end(self) -> String {
        self.0 + "}"
    }
}

fn array(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
