//! Each rule at its threshold and beyond it; resets, restarts and counters that run backwards keep all of them silent.

use super::super::super::current::sample as settings;
use super::super::sample::DeadTable;
use super::*;

const MINUTE: f64 = 60.0;

/// The settings of a server on 16 GB that give no advice.
const QUIET: &[(&str, &str)] = &[("shared_buffers", "4GB"), ("work_mem", "4MB"), ("huge_pages", "on")];

fn counter(count: f64) -> Option<Counter> {
    Some(Counter { count, mark_s: Some(1.0), counted_s: Some(MINUTE) })
}

/// A sample with every counter at zero.
fn zero(at_s: f64) -> Sample {
    let zero = counter(0.0);
    Sample {
        at_s,
        started_s: 0.0,
        requested: zero,
        checkpoints: zero,
        wal_bytes: zero,
        wal_buffers_full: zero,
        maxwritten_clean: zero,
        temp_bytes: zero,
        temp_files: zero,
        blocks_hit: zero,
        blocks_read: zero,
        sessions: zero,
        session_ms: zero,
        oldest: Some(("shop".to_owned(), 0.0)),
        ..Sample::default()
    }
}

/// What the rules say of a minute on a machine with 16 GB, with a peak of 50 clients.
fn said(changes: &[(&str, &str)], edit: impl Fn(&mut Sample, &mut Sample)) -> Vec<Advice> {
    with_peak(changes, 50.0, edit)
}

fn with_peak(
    changes: &[(&str, &str)],
    peak_clients: f64,
    edit: impl Fn(&mut Sample, &mut Sample),
) -> Vec<Advice> {
    let (mut first, mut last) = (zero(1000.0), zero(1000.0 + MINUTE));
    edit(&mut first, &mut last);
    let values: Vec<_> = QUIET.iter().chain(changes).copied().collect();
    advise(&Case {
        period: Period { first: Some(&first), last: &last, peak_clients: Some(peak_clients), looks: 20 },
        settings: &settings(&values),
        machine: Machine { memory_kb: 16.0 * KB_PER_GB, multiplier: 1.5, wal_cap_kb: None },
    })
}

fn names(advice: &[Advice]) -> Vec<&'static str> {
    advice.iter().map(|advice| advice.rule).collect()
}

/// The only advice there is.
fn only(mut advice: Vec<Advice>) -> Advice {
    assert_eq!(advice.len(), 1, "{advice:?}");
    advice.remove(0)
}

fn nothing(_: &mut Sample, _: &mut Sample) {}

#[test]
fn a_quiet_server_gets_no_advice() {
    assert_eq!(said(&[], nothing), []);
    assert_eq!(RULES.len(), 16);
    assert!(RULES.iter().enumerate().all(|(at, (name, ..))| *name == format!("A{}", at + 1)));
}

#[test]
fn a1_requested_checkpoints() {
    // 300 s of a timeout, times 2.5, of 10 MiB/s: 7500 MiB, in whole segments.
    let checkpoints = |requested: f64, all: f64| {
        said(&[], move |_, last| {
            last.requested = counter(requested);
            last.checkpoints = counter(all);
            last.wal_bytes = counter(10.0 * 1_048_576.0 * MINUTE);
        })
    };
    assert_eq!(checkpoints(3.0, 10.0), []);
    assert_eq!(checkpoints(9.0, 9.0), []);
    let advice = only(checkpoints(4.0, 10.0));
    assert_eq!((advice.rule, advice.setting), ("A1", "max_wal_size"));
    assert_eq!((advice.current.as_str(), advice.proposed.as_str()), ("1GB", "7504MB"));
    assert!(
        advice.evidence.starts_with("4 of 10 checkpoints were requested (0.40, limit 0.30)"),
        "{}",
        advice.evidence
    );

    let few = said(&[], |_, last| {
        last.requested = counter(10.0);
        last.checkpoints = counter(10.0);
        last.wal_bytes = counter(1e6);
    });
    assert_eq!(few, [], "requested by command, not by WAL");
}

#[test]
fn a1_stays_on_the_volume() {
    let (first, mut last) = (zero(0.0), zero(MINUTE));
    last.requested = counter(10.0);
    last.checkpoints = counter(10.0);
    last.wal_bytes = counter(1e9 * MINUTE);
    let advice = |wal_cap_kb| {
        requested_checkpoints(&Case {
            period: Period { first: Some(&first), last: &last, peak_clients: Some(0.0), looks: 2 },
            settings: &settings(QUIET),
            machine: Machine { memory_kb: 16.0 * KB_PER_GB, multiplier: 1.5, wal_cap_kb },
        })
    };
    assert_eq!(advice(Some(2.0 * KB_PER_GB + 1.0)).unwrap().proposed, "2GB");
    assert_eq!(advice(Some(KB_PER_GB)), None);
}

#[test]
fn a2_temporary_files() {
    let temporary = |bytes: f64, files: f64| {
        said(&[], move |_, last| {
            last.temp_bytes = counter(bytes * MINUTE);
            last.temp_files = counter(files * MINUTE);
        })
    };
    assert_eq!(temporary(1_048_576.0, 1.0), []);
    assert_eq!(only(temporary(1_048_577.0, 0.0)).rule, "A2");
    let advice = only(temporary(0.0, 1.1));
    assert_eq!((advice.current.as_str(), advice.proposed.as_str()), ("4MB", "8MB"));
    assert!(advice.evidence.ends_with("first for the roles that need it"), "{}", advice.evidence);
    let full = said(&[("max_connections", "1000")], |_, last| last.temp_files = counter(1000.0));
    assert!(full.iter().any(|advice| advice.rule == "A2" && advice.evidence.contains("only for the roles")));
}

#[test]
fn a3_hit_ratio() {
    let blocks = |hit: f64, read: f64, buffers: &'static str| {
        said(&[("shared_buffers", buffers)], move |_, last| {
            last.blocks_hit = counter(hit);
            last.blocks_read = counter(read);
        })
    };
    assert_eq!(blocks(490_000.0, 10_000.0, "1GB"), [], "0.98");
    assert_eq!(blocks(400_000.0, 9_999.0, "1GB"), []);
    assert_eq!(blocks(400_000.0, 10_000.0, "4GB"), [], "a quarter of memory");
    let advice = only(blocks(400_000.0, 10_000.0, "1GB"));
    assert_eq!((advice.rule, advice.proposed.as_str()), ("A3", "2GB"));
    assert_eq!(only(blocks(0.0, 10_000.0, "3GB")).proposed, "4GB");
}

#[test]
fn a4_wal_buffers() {
    let full = |count: f64, buffers: &'static str| {
        said(&[("wal_buffers", buffers)], move |_, last| last.wal_buffers_full = counter(count))
    };
    assert_eq!(full(0.9, "16MB"), []);
    let advice = only(full(1.0, "4MB"));
    assert_eq!((advice.rule, advice.proposed.as_str()), ("A4", "16MB"));
    assert_eq!(only(full(1.0, "-1")).proposed, "32MB", "16MB by itself");
    assert_eq!(only(full(1.0, "48MB")).proposed, "64MB");
    assert_eq!(full(100.0, "64MB"), []);
}

#[test]
fn a5_background_writer() {
    let stopped = |count: f64, pages: &'static str| {
        said(&[("bgwriter_lru_maxpages", pages)], move |_, last| last.maxwritten_clean = counter(count))
    };
    assert_eq!(stopped(1.0, "100"), []);
    let advice = only(stopped(1.1, "100"));
    assert_eq!((advice.rule, advice.proposed.as_str()), ("A5", "200"));
    assert_eq!(only(stopped(2.0, "600")).proposed, "1000");
    assert_eq!(stopped(2.0, "1000"), []);
}

#[test]
fn a6_and_a7_connections() {
    // 203 connections, 3 of them reserved for superusers: 200 are usable.
    let peak = |peak: f64| with_peak(&[("max_connections", "203")], peak, nothing);
    assert_eq!(peak(60.0), []);
    let few = only(peak(59.0));
    assert_eq!((few.rule, few.proposed.as_str(), few.grade), ("A6", "125", Grade::Info));
    assert_eq!(only(peak(1.0)).proposed, "25");
    assert_eq!(with_peak(&[("max_connections", "25")], 1.0, nothing), [], "not below 25");
    assert_eq!(peak(160.0), []);
    let many = only(peak(161.0));
    assert_eq!((many.rule, many.grade), ("A7", Grade::Advice));
    assert_eq!(only(peak(190.0)).grade, Grade::Advice);
    assert_eq!(only(peak(191.0)).grade, Grade::Risk);
    let reserved = with_peak(&[("max_connections", "203"), ("reserved_connections", "100")], 81.0, nothing);
    assert_eq!(only(reserved).rule, "A7");
}

#[test]
fn a8_short_sessions() {
    let sessions = |count: f64, mean_s: f64| {
        said(&[], move |_, last| {
            last.sessions = counter(count);
            last.session_ms = counter(count * mean_s * 1000.0);
        })
    };
    assert_eq!(sessions(60.0, 1.0), []);
    assert_eq!(sessions(61.0, 600.0), []);
    assert_eq!(only(sessions(61.0, 599.0)).proposed, "a pooler");
    assert_eq!(only(sessions(61.0, 60.0)).proposed, "a pooler");
    let strongly = only(sessions(61.0, 59.0));
    assert_eq!((strongly.rule, strongly.proposed.as_str()), ("A8", "a pooler, strongly"));
}

#[test]
fn a9_autovacuum() {
    let table = |name: &str| DeadTable { name: name.to_owned(), dead: 500.0, limit: 250.0 };
    let advice = only(said(&[], |first, last| {
        first.dead_tables = vec![table("public.b"), table("public.a")];
        last.dead_tables = vec![table("public.a"), table("public.c")];
    }));
    assert_eq!((advice.rule, advice.proposed.as_str()), ("A9", "400"));
    assert!(
        advice.evidence.contains("tables over their threshold both times: 1, the worst public.a with 500"),
        "{}",
        advice.evidence
    );
    assert_eq!(said(&[], |_, last| last.dead_tables = vec![table("public.a")]), []);
    assert_eq!(said(&[], |first, _| first.dead_tables = vec![table("public.a")]), []);
    let busy = |before: f64, after: f64| {
        said(&[], move |first, last| (first.workers, last.workers) = (before, after))
    };
    assert_eq!((busy(2.0, 3.0), busy(3.0, 2.0)), (vec![], vec![]));
    assert!(only(busy(3.0, 3.0)).evidence.starts_with("all 3 workers were busy both times"));
    let off = said(&[("autovacuum", "off")], |first, last| (first.workers, last.workers) = (3.0, 3.0));
    assert_eq!(names(&off), ["A15"]);
}

#[test]
fn a10_huge_pages() {
    let pages = |wish: &'static str, status: &'static str, buffers: &'static str| {
        said(&[("huge_pages", wish), ("huge_pages_status", status), ("shared_buffers", buffers)], nothing)
    };
    assert_eq!(pages("try", "off", "2047MB"), []);
    assert_eq!(pages("try", "on", "2GB"), []);
    assert_eq!(pages("off", "off", "2GB"), []);
    let advice = only(pages("try", "off", "2GB"));
    assert_eq!((advice.rule, advice.setting), ("A10", "vm.nr_hugepages"));
    let counted = said(
        &[("huge_pages", "try"), ("huge_pages_status", "off"), ("shared_memory_size_in_huge_pages", "2100")],
        nothing,
    );
    assert_eq!(only(counted).proposed, "2100");
}

#[test]
fn a11_and_a12_memory() {
    // 1.03 * 4 GB, 16 MB, 3 * 64 MB; the rest is 100 connections of 1.5 work_mem.
    let work_mem = |work_mem: &'static str| said(&[("work_mem", work_mem)], nothing);
    let fixed_kb = 1.03 * 4.0 * KB_PER_GB + 16_384.0 + 3.0 * 65_536.0;
    let at = |share: f64| format!("{}kB", ((share * 16.0 * KB_PER_GB - fixed_kb) / 150.0).floor());
    let said_at = |share: f64| said(&[("work_mem", Box::leak(at(share).into_boxed_str()))], nothing);
    assert_eq!(said_at(0.80), []);
    let info = only(said_at(0.801));
    assert_eq!((info.rule, info.grade), ("A11", Grade::Info));
    assert_eq!(only(said_at(1.0)).grade, Grade::Info);
    assert_eq!(only(work_mem("1GB")).grade, Grade::Risk);

    let buffers = |buffers: &'static str| said(&[("shared_buffers", buffers)], nothing);
    assert_eq!(buffers("6553MB"), []);
    let advice = only(buffers("6554MB"));
    assert_eq!((advice.rule, advice.proposed.as_str()), ("A12", "4GB"));
}

#[test]
fn a13_frozen_transactions() {
    let age = |age: f64| {
        said(&[], move |_, last| {
            last.oldest = Some(("shop".to_owned(), age));
            last.holder = Some("replication slot old".to_owned());
        })
    };
    assert_eq!(age(200_000_000.0), []);
    let advice = only(age(200_000_001.0));
    assert_eq!((advice.rule, advice.grade), ("A13", Grade::Risk));
    assert!(
        advice.evidence.ends_with("held back the longest by replication slot old"),
        "{}",
        advice.evidence
    );
}

#[test]
fn a14_idle_in_transaction() {
    let idle = |count: f64| said(&[], move |_, last| (last.idle_count, last.idle_s) = (count, 301.0));
    assert_eq!(idle(0.0), []);
    let advice = only(idle(1.0));
    assert_eq!((advice.rule, advice.proposed.as_str()), ("A14", "1min"));
    assert!(
        advice.evidence.contains("the longest for 301 s; nobody seen holds it back"),
        "{}",
        advice.evidence
    );
}

#[test]
fn a15_vital_switches() {
    for name in ["autovacuum", "track_counts", "fsync", "full_page_writes"] {
        assert_eq!(said(&[(name, "on")], nothing), []);
        let advice = only(said(&[(name, "off")], nothing));
        assert_eq!((advice.rule, advice.setting, advice.grade), ("A15", name, Grade::Risk));
    }
}

#[test]
fn a16_pending_restart() {
    let (first, last) = (zero(0.0), zero(MINUTE));
    let row = |pending: &str| {
        let cells = [
            "port",
            "5432",
            "",
            "integer",
            "postmaster",
            "default",
            "",
            "",
            pending,
            "5432",
            "1",
            "65535",
            "",
        ];
        Settings::from_rows(vec![cells.map(|cell| Some(cell.to_owned())).to_vec()])
    };
    let say = |settings: &Settings| {
        advise(&Case {
            period: Period { first: Some(&first), last: &last, peak_clients: Some(0.0), looks: 2 },
            settings,
            machine: Machine { memory_kb: KB_PER_GB, multiplier: 1.5, wal_cap_kb: None },
        })
    };
    assert_eq!(say(&row("f")), []);
    let advice = only(say(&row("t")));
    assert_eq!((advice.rule, advice.evidence.as_str()), ("A16", "it waits for one with port"));
}

/// Raises every counter far beyond its threshold.
fn busy(last: &mut Sample) {
    let much = counter(1e9);
    last.requested = much;
    last.checkpoints = much;
    last.wal_bytes = counter(1e12);
    last.wal_buffers_full = much;
    last.maxwritten_clean = much;
    last.temp_bytes = much;
    last.temp_files = much;
    last.blocks_read = much;
    last.sessions = much;
}

const OF_COUNTERS: [&str; 6] = ["A1", "A2", "A3", "A4", "A5", "A8"];

#[test]
fn what_was_reset_is_silent() {
    let small = [("shared_buffers", "1GB")];
    assert_eq!(names(&said(&small, |_, last| busy(last))), OF_COUNTERS);
    let backwards = said(&small, |first, last| {
        busy(first);
        last.session_ms = first.session_ms;
    });
    assert_eq!(backwards, [], "counters ran backwards");
    let restarted = said(&small, |_, last| {
        busy(last);
        last.started_s = 1030.0;
    });
    assert_eq!(restarted, []);
    let reset = said(&small, |first, last| {
        busy(last);
        for counter in [
            &mut first.requested,
            &mut first.checkpoints,
            &mut first.wal_bytes,
            &mut first.wal_buffers_full,
            &mut first.maxwritten_clean,
            &mut first.temp_bytes,
            &mut first.temp_files,
            &mut first.blocks_hit,
            &mut first.blocks_read,
            &mut first.sessions,
            &mut first.session_ms,
        ] {
            counter.as_mut().unwrap().mark_s = Some(0.0);
        }
    });
    assert_eq!(reset, []);
    let stopped = said(&small, |first, last| {
        busy(last);
        last.at_s = first.at_s;
    });
    assert_eq!(stopped, [], "no time has passed");
}

#[test]
fn without_a_first_sample_counters_count_since_their_reset() {
    let mut last = zero(1000.0);
    busy(&mut last);
    let values: Vec<_> = QUIET.iter().chain(&[("shared_buffers", "1GB")]).copied().collect();
    let say = |last: &Sample| {
        names(&advise(&Case {
            period: Period { first: None, last, peak_clients: Some(50.0), looks: 1 },
            settings: &settings(&values),
            machine: Machine { memory_kb: 16.0 * KB_PER_GB, multiplier: 1.5, wal_cap_kb: None },
        }))
    };
    assert_eq!(say(&last), OF_COUNTERS);
    last.wal_buffers_full.as_mut().unwrap().counted_s = None;
    assert_eq!(say(&last), ["A1", "A2", "A3", "A5", "A8"], "nobody knows since when");
}
