//! The rules of advice, one function each. Pure: a period between two samples, the settings and the machine go in, advice
//! comes out, with the number that caused it.
//!
//! Invariant: whatever was reset, restarted or is not counted in this major gives no advice.

#[cfg(test)]
mod tests;

use super::super::current::{Pending, Settings};
use super::super::value::{self, Value};
use super::sample::{Counter, Sample};
use crate::budget::Terms;

sluice_cli::words! {
    /// How grave advice is.
    pub Grade,
    /// Good to know.
    Info = "info",
    /// Worth a change.
    Advice = "advice",
    /// May lose data or stop the server.
    Risk = "risk",
}

/// A line of advice.
#[derive(Clone, PartialEq, Debug)]
pub struct Advice {
    /// The rule that gave it.
    pub rule: &'static str,
    /// How grave it is.
    pub grade: Grade,
    /// The setting, or what else is to change.
    pub setting: &'static str,
    /// How it is.
    pub current: String,
    /// How it should be.
    pub proposed: String,
    /// The numbers, and what else is to be said.
    pub evidence: String,
    /// The last reset of the counters that were used.
    pub reset: Reset,
}

/// The last reset of counters.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Reset {
    /// No counters were used.
    Uncounted,
    /// They never were reset.
    Never,
    /// Then, in seconds of the Unix epoch.
    At(f64),
}

/// The machine the server runs on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Machine {
    /// Memory for the server, in kB.
    pub memory_kb: f64,
    /// work_mem a connection is taken to use at worst.
    pub multiplier: f64,
    /// The most max_wal_size may be on this volume, in kB, where that is known.
    pub wal_cap_kb: Option<f64>,
}

/// Two samples and what was seen between them. Without a first one the counters count since their reset.
#[derive(Clone, Copy, Debug)]
pub struct Period<'a> {
    /// The earlier sample.
    pub first: Option<&'a Sample>,
    /// The later one.
    pub last: &'a Sample,
    /// The most clients seen at once; None if others cannot be seen.
    pub peak_clients: Option<f64>,
    /// How often clients were counted.
    pub looks: u32,
}

/// How far a counter went.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Delta {
    count: f64,
    seconds: f64,
    mark_s: Option<f64>,
}

impl Delta {
    fn per_second(self) -> f64 {
        self.count / self.seconds
    }

    fn per_minute(self) -> f64 {
        self.per_second() * 60.0
    }

    fn reset(self) -> Reset {
        self.mark_s.map_or(Reset::Never, Reset::At)
    }
}

impl Period<'_> {
    /// How far a counter went in the period; None if it was reset, the server was restarted, or it is not counted.
    fn delta(&self, counter: impl Fn(&Sample) -> Option<Counter>) -> Option<Delta> {
        let last = counter(self.last)?;
        let (count, seconds) = match self.first {
            None => (last.count, last.counted_s?),
            Some(first) => {
                let before = counter(first)?;
                if first.started_s != self.last.started_s || before.mark_s != last.mark_s {
                    return None;
                }
                (last.count - before.count, self.last.at_s - first.at_s)
            }
        };
        (count >= 0.0 && seconds > 0.0).then_some(Delta { count, seconds, mark_s: last.mark_s })
    }
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The period.
    pub period: Period<'a>,
    /// The settings at its end.
    pub settings: &'a Settings,
    /// The machine.
    pub machine: Machine,
}

/// A rule: its name, what it is about, and the rule itself.
pub type Rule = (&'static str, &'static str, fn(&Case<'_>) -> Vec<Advice>);

/// All rules, in the order of the output.
pub const RULES: &[Rule] = &[
    ("A1", "many checkpoints are requested", a1),
    ("A2", "temporary files", a2),
    ("A3", "blocks are not found in shared buffers", a3),
    ("A4", "WAL buffers run full", a4),
    ("A5", "the background writer stops early", a5),
    ("A6", "few of the connections are used", a6),
    ("A7", "most of the connections are used", a7),
    ("A8", "sessions are short", a8),
    ("A9", "autovacuum does not keep up", a9),
    ("A10", "huge pages are wanted and not there", a10),
    ("A11", "the worst case is near or beyond memory", a11),
    ("A12", "shared buffers are most of memory", a12),
    ("A13", "transaction ids are not frozen", a13),
    ("A14", "sessions are idle in transactions", a14),
    ("A15", "something vital is off", a15),
    ("A16", "settings wait for a restart", a16),
];

/// What all rules say.
pub fn advise(case: &Case<'_>) -> Vec<Advice> {
    RULES.iter().flat_map(|(.., rule)| rule(case)).collect()
}

const KB_PER_GB: f64 = 1_048_576.0;
/// The share of requested checkpoints from which A1 speaks, and the number of checkpoints.
const REQUESTED_SHARE: f64 = 0.30;
const CHECKPOINTS_MIN: f64 = 10.0;
/// How much WAL beyond that of one checkpoint_timeout max_wal_size should hold.
const WAL_HEADROOM: f64 = 2.5;
/// The ratio of hits below which A3 speaks, and the number of reads.
const HIT_RATIO: f64 = 0.98;
const READS_MIN: f64 = 10_000.0;
/// Connections that are kept whatever A6 sees: fewer and tools around the server refuse to work.
const CONNECTIONS_MIN: f64 = 25.0;

fn one(advice: Option<Advice>) -> Vec<Advice> {
    advice.into_iter().collect()
}

/// A size in kB in the greatest unit that divides it.
fn size(kb: f64) -> String {
    value::show(&Value::Number(kb), "kB")
}

fn a1(case: &Case<'_>) -> Vec<Advice> {
    one(requested_checkpoints(case))
}

fn requested_checkpoints(case: &Case<'_>) -> Option<Advice> {
    let requested = case.period.delta(|sample| sample.requested)?;
    let all = case.period.delta(|sample| sample.checkpoints)?;
    let share = requested.count / all.count;
    if all.count < CHECKPOINTS_MIN || share <= REQUESTED_SHARE {
        return None;
    }
    let wal = case.period.delta(|sample| sample.wal_bytes)?;
    let timeout_s = case.settings.number("checkpoint_timeout")?;
    let wanted_kb = wal.per_second() / 1024.0 * timeout_s * WAL_HEADROOM;
    // Whole segments: up what is wanted, down what there is room for.
    let segments = (wanted_kb / 16_384.0).ceil();
    let room = case.machine.wal_cap_kb.map_or(f64::INFINITY, |cap| (cap / 16_384.0).floor());
    let proposed_kb = segments.min(room) * 16_384.0;
    // Requested by command then, not by WAL: more room would change nothing.
    (proposed_kb > case.settings.kilobytes("max_wal_size")?).then(|| Advice {
        rule: "A1",
        grade: Grade::Advice,
        setting: "max_wal_size",
        current: case.settings.shown("max_wal_size"),
        proposed: size(proposed_kb),
        evidence: format!(
            "{} of {} checkpoints were requested ({share:.2}, limit {REQUESTED_SHARE:.2}); {:.1} MB of WAL a second",
            requested.count,
            all.count,
            wal.per_second() / 1e6
        ),
        reset: all.reset(),
    })
}

fn a2(case: &Case<'_>) -> Vec<Advice> {
    one(temporary_files(case))
}

fn temporary_files(case: &Case<'_>) -> Option<Advice> {
    let bytes = case.period.delta(|sample| sample.temp_bytes)?;
    let files = case.period.delta(|sample| sample.temp_files)?;
    if bytes.per_second() <= 1_048_576.0 && files.per_second() <= 1.0 {
        return None;
    }
    let doubled_kb = case.settings.kilobytes("work_mem")? * 2.0;
    let worst_kb = worst(case, Some(doubled_kb))?;
    let fits = worst_kb <= 0.9 * case.machine.memory_kb;
    let room = if fits {
        "first for the roles that need it"
    } else {
        "only for the roles that need it: for all it would not fit memory"
    };
    Some(Advice {
        rule: "A2",
        grade: Grade::Advice,
        setting: "work_mem",
        current: case.settings.shown("work_mem"),
        proposed: size(doubled_kb),
        evidence: format!(
            "{:.2} temporary files and {:.2} MB a second; {room}",
            files.per_second(),
            bytes.per_second() / 1_048_576.0
        ),
        reset: bytes.reset(),
    })
}

fn a3(case: &Case<'_>) -> Vec<Advice> {
    one(hit_ratio(case))
}

fn hit_ratio(case: &Case<'_>) -> Option<Advice> {
    let hit = case.period.delta(|sample| sample.blocks_hit)?;
    let read = case.period.delta(|sample| sample.blocks_read)?;
    let ratio = hit.count / (hit.count + read.count);
    let buffers_kb = case.settings.kilobytes("shared_buffers")?;
    let quarter_kb = case.machine.memory_kb / 4.0;
    if read.count < READS_MIN || ratio >= HIT_RATIO || buffers_kb >= quarter_kb {
        return None;
    }
    let proposed_kb = ((buffers_kb * 2.0).min(quarter_kb) / 1024.0).floor() * 1024.0;
    (proposed_kb > buffers_kb).then(|| Advice {
        rule: "A3",
        grade: Grade::Advice,
        setting: "shared_buffers",
        current: case.settings.shown("shared_buffers"),
        proposed: size(proposed_kb),
        evidence: format!(
            "{ratio:.3} of blocks were found (limit {HIT_RATIO}), {} read; {:.0} % of memory",
            read.count,
            buffers_kb / case.machine.memory_kb * 100.0
        ),
        reset: hit.reset(),
    })
}

fn a4(case: &Case<'_>) -> Vec<Advice> {
    one(wal_buffers(case))
}

fn wal_buffers(case: &Case<'_>) -> Option<Advice> {
    let full = case.period.delta(|sample| sample.wal_buffers_full)?;
    let current_kb = case.settings.kilobytes("wal_buffers")?;
    let proposed_kb = if current_kb < 16_384.0 { 16_384.0 } else { (current_kb * 2.0).min(65_536.0) };
    (full.per_minute() >= 1.0 && proposed_kb > current_kb).then(|| Advice {
        rule: "A4",
        grade: Grade::Advice,
        setting: "wal_buffers",
        current: case.settings.shown("wal_buffers"),
        proposed: size(proposed_kb),
        evidence: format!("full {:.1} times a minute", full.per_minute()),
        reset: full.reset(),
    })
}

fn a5(case: &Case<'_>) -> Vec<Advice> {
    one(background_writer(case))
}

fn background_writer(case: &Case<'_>) -> Option<Advice> {
    let stopped = case.period.delta(|sample| sample.maxwritten_clean)?;
    let pages = case.settings.number("bgwriter_lru_maxpages")?;
    let proposed = (pages * 2.0).min(1000.0);
    (stopped.per_minute() > 1.0 && proposed > pages).then(|| Advice {
        rule: "A5",
        grade: Grade::Advice,
        setting: "bgwriter_lru_maxpages",
        current: case.settings.shown("bgwriter_lru_maxpages"),
        proposed: proposed.to_string(),
        evidence: format!("stopped at it {:.1} times a minute", stopped.per_minute()),
        reset: stopped.reset(),
    })
}

/// Connections that ordinary users can have.
fn usable_connections(settings: &Settings) -> Option<f64> {
    let reserved = settings.number("reserved_connections").unwrap_or(0.0);
    let usable =
        settings.number("max_connections")? - settings.number("superuser_reserved_connections")? - reserved;
    (usable > 0.0).then_some(usable)
}

/// So many of something.
fn counted(count: f64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1.0 { "" } else { "s" })
}

/// How often clients were counted.
fn looks(case: &Case<'_>) -> String {
    counted(case.period.looks.into(), "look")
}

fn a6(case: &Case<'_>) -> Vec<Advice> {
    one(few_connections(case))
}

fn few_connections(case: &Case<'_>) -> Option<Advice> {
    let (peak, usable) = (case.period.peak_clients?, usable_connections(case.settings)?);
    // Twice the peak, and the reserved ones, in steps of five.
    let all = case.settings.number("max_connections")?;
    let proposed = (((peak * 2.0 + all - usable) / 5.0).ceil() * 5.0).max(CONNECTIONS_MIN);
    (peak < 0.3 * usable && proposed < all).then(|| Advice {
        rule: "A6",
        grade: Grade::Info,
        setting: "max_connections",
        current: case.settings.shown("max_connections"),
        proposed: proposed.to_string(),
        evidence: format!("at most {peak} of {usable} usable connections in {}", looks(case)),
        reset: Reset::Uncounted,
    })
}

fn a7(case: &Case<'_>) -> Vec<Advice> {
    one(many_connections(case))
}

fn many_connections(case: &Case<'_>) -> Option<Advice> {
    let (peak, usable) = (case.period.peak_clients?, usable_connections(case.settings)?);
    let share = peak / usable;
    (share > 0.80).then(|| Advice {
        rule: "A7",
        grade: if share > 0.95 { Grade::Risk } else { Grade::Advice },
        setting: "max_connections",
        current: case.settings.shown("max_connections"),
        proposed: "a pooler first".to_owned(),
        evidence: format!(
            "{peak} of {usable} usable connections ({:.0} %) in {}",
            share * 100.0,
            looks(case)
        ),
        reset: Reset::Uncounted,
    })
}

fn a8(case: &Case<'_>) -> Vec<Advice> {
    one(short_sessions(case))
}

fn short_sessions(case: &Case<'_>) -> Option<Advice> {
    let sessions = case.period.delta(|sample| sample.sessions)?;
    let time = case.period.delta(|sample| sample.session_ms)?;
    let mean_s = time.count / 1000.0 / sessions.count;
    if sessions.per_second() <= 1.0 || mean_s >= 600.0 {
        return None;
    }
    Some(Advice {
        rule: "A8",
        grade: Grade::Advice,
        setting: "connections",
        current: "direct".to_owned(),
        proposed: if mean_s < 60.0 { "a pooler, strongly" } else { "a pooler" }.to_owned(),
        evidence: format!("{:.1} new sessions a second, each for {mean_s:.1} s", sessions.per_second()),
        reset: sessions.reset(),
    })
}

fn a9(case: &Case<'_>) -> Vec<Advice> {
    one(autovacuum(case))
}

fn autovacuum(case: &Case<'_>) -> Option<Advice> {
    let workers = case.settings.number("autovacuum_max_workers")?;
    if case.settings.is("autovacuum", "off") {
        return None; // A15 says why.
    }
    let (first, last) = (case.period.first?, case.period.last);
    if first.started_s != last.started_s {
        return None;
    }
    let waited = |name: &str| first.dead_tables.iter().any(|table| table.name == name);
    let waiting: Vec<_> = last.dead_tables.iter().filter(|table| waited(&table.name)).collect();
    let busy = first.workers >= workers && last.workers >= workers;
    if waiting.is_empty() && !busy {
        return None;
    }
    let mut evidence = Vec::new();
    if busy {
        evidence.push(format!("all {workers} workers were busy both times"));
    }
    if let Some(worst) = waiting.first() {
        evidence.push(format!(
            "tables over their threshold both times: {}, the worst {} with {} dead rows of {:.0}",
            waiting.len(),
            worst.name,
            worst.dead,
            worst.limit
        ));
    }
    let limit = case.settings.number("autovacuum_vacuum_cost_limit")?;
    let proposed = (limit * 2.0).min(10_000.0);
    let then = "then autovacuum_max_workers, and a lower autovacuum_vacuum_scale_factor for large tables";
    Some(Advice {
        rule: "A9",
        grade: Grade::Advice,
        setting: "autovacuum_vacuum_cost_limit",
        current: case.settings.shown("autovacuum_vacuum_cost_limit"),
        proposed: proposed.to_string(),
        evidence: format!("{}; {then}", evidence.join("; ")),
        reset: Reset::Uncounted,
    })
}

fn a10(case: &Case<'_>) -> Vec<Advice> {
    one(huge_pages(case))
}

fn huge_pages(case: &Case<'_>) -> Option<Advice> {
    let settings = case.settings;
    let wanted = settings.is("huge_pages", "try") && settings.is("huge_pages_status", "off");
    if !wanted || settings.kilobytes("shared_buffers")? < 2.0 * KB_PER_GB {
        return None;
    }
    let pages = settings.number("shared_memory_size_in_huge_pages").filter(|&pages| pages > 0.0);
    Some(Advice {
        rule: "A10",
        grade: Grade::Advice,
        setting: "vm.nr_hugepages",
        current: "too few".to_owned(),
        proposed: pages.map_or_else(|| "see pgtune --format sysctl".to_owned(), |pages| pages.to_string()),
        evidence: format!(
            "huge_pages = try, huge_pages_status = off, shared_buffers {}",
            settings.shown("shared_buffers")
        ),
        reset: Reset::Uncounted,
    })
}

/// The worst case in kB, with another work_mem if one is given.
fn worst(case: &Case<'_>, work_mem_kb: Option<f64>) -> Option<f64> {
    let kb = |name| case.settings.kilobytes(name).filter(|&kb| kb >= 0.0);
    let number = |name| case.settings.number(name).filter(|&number| number >= 0.0);
    // Whole numbers far below this of any server; of the product of three of them 128 bits are left.
    let whole = |number: f64| number.min(2_f64.powi(40)) as u64;
    let terms = Terms {
        shared_buffers_kb: whole(kb("shared_buffers")?),
        wal_buffers_kb: whole(kb("wal_buffers")?),
        workers: whole(number("autovacuum_max_workers")?),
        autovacuum_kb: whole(kb("autovacuum_work_mem")?),
        connections: whole(number("max_connections")?),
        work_mem_kb: whole(work_mem_kb.or_else(|| kb("work_mem"))?),
        multiplier_milli: whole(case.machine.multiplier * 1000.0),
    };
    Some(terms.worst_kb() as f64)
}

fn a11(case: &Case<'_>) -> Vec<Advice> {
    one(worst_case(case))
}

fn worst_case(case: &Case<'_>) -> Option<Advice> {
    let worst_kb = worst(case, None)?;
    let share = worst_kb / case.machine.memory_kb;
    (share > 0.80).then(|| Advice {
        rule: "A11",
        grade: if share > 1.0 { Grade::Risk } else { Grade::Info },
        setting: "max_connections, work_mem",
        current: format!("{}, {}", case.settings.shown("max_connections"), case.settings.shown("work_mem")),
        proposed: "see pgtune --diff live".to_owned(),
        evidence: format!("worst case {:.0} % of {} of memory", share * 100.0, size(case.machine.memory_kb)),
        reset: Reset::Uncounted,
    })
}

fn a12(case: &Case<'_>) -> Vec<Advice> {
    one(large_buffers(case))
}

fn large_buffers(case: &Case<'_>) -> Option<Advice> {
    let share = case.settings.kilobytes("shared_buffers")? / case.machine.memory_kb;
    (share > 0.40).then(|| Advice {
        rule: "A12",
        grade: Grade::Advice,
        setting: "shared_buffers",
        current: case.settings.shown("shared_buffers"),
        proposed: size((case.machine.memory_kb / 4.0 / 1024.0).floor() * 1024.0),
        evidence: format!("{:.0} % of memory", share * 100.0),
        reset: Reset::Uncounted,
    })
}

fn a13(case: &Case<'_>) -> Vec<Advice> {
    one(frozen(case))
}

fn frozen(case: &Case<'_>) -> Option<Advice> {
    let (database, age) = case.period.last.oldest.as_ref()?;
    let limit = case.settings.number("autovacuum_freeze_max_age")?;
    (*age > limit).then(|| Advice {
        rule: "A13",
        grade: Grade::Risk,
        setting: "the oldest transaction",
        current: format!("age {age}"),
        proposed: "end what holds it back".to_owned(),
        evidence: format!("database {database} is {age} transactions old, limit {limit}; {}", holder(case)),
        reset: Reset::Uncounted,
    })
}

fn holder(case: &Case<'_>) -> String {
    match &case.period.last.holder {
        Some(holder) => format!("held back the longest by {holder}"),
        None => "nobody seen holds it back".to_owned(),
    }
}

fn a14(case: &Case<'_>) -> Vec<Advice> {
    one(idle_in_transaction(case))
}

fn idle_in_transaction(case: &Case<'_>) -> Option<Advice> {
    let last = case.period.last;
    (last.idle_count > 0.0).then(|| Advice {
        rule: "A14",
        grade: Grade::Advice,
        setting: "idle_in_transaction_session_timeout",
        current: case.settings.shown("idle_in_transaction_session_timeout"),
        proposed: "1min".to_owned(),
        evidence: format!(
            "{} idle in a transaction for more than 5 minutes, the longest for {:.0} s; {}",
            counted(last.idle_count, "session"),
            last.idle_s,
            holder(case)
        ),
        reset: Reset::Uncounted,
    })
}

fn a15(case: &Case<'_>) -> Vec<Advice> {
    const VITAL: [(&str, &str); 4] = [
        ("autovacuum", "tables grow until transaction ids run out"),
        ("track_counts", "autovacuum does not know what to do"),
        ("fsync", "a crash of the system loses the database"),
        ("full_page_writes", "a crash of the system may damage pages"),
    ];
    let off = VITAL.into_iter().filter(|(name, _)| case.settings.is(name, "off"));
    off.map(|(setting, why)| Advice {
        rule: "A15",
        grade: Grade::Risk,
        setting,
        current: "off".to_owned(),
        proposed: "on".to_owned(),
        evidence: why.to_owned(),
        reset: Reset::Uncounted,
    })
    .collect()
}

fn a16(case: &Case<'_>) -> Vec<Advice> {
    let waiting = case.settings.iter().filter(|current| current.pending == Pending::Restart);
    let names: Vec<&str> = waiting.map(|current| current.name.as_str()).collect();
    one((!names.is_empty()).then(|| Advice {
        rule: "A16",
        grade: Grade::Advice,
        setting: "the server",
        current: "running".to_owned(),
        proposed: "a restart".to_owned(),
        evidence: format!("it waits for one with {}", names.join(", ")),
        reset: Reset::Uncounted,
    }))
}
