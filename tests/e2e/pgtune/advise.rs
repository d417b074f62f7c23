//! `--advise` with a server on which things have been made to go wrong.

use super::*;
use sluice_tests::PATIENCE;
use sluice_tests::postgres::Options;
use std::time::Instant;

/// The line of a rule, if it has spoken.
fn said<'a>(run: &'a Run, rule: &str) -> Option<&'a str> {
    run.out.lines().find(|line| line.split(' ').next() == Some(rule))
}

/// What the database counts a second since its reset. It only falls while nothing happens, so what is above a threshold
/// after a run was above it during the run, however slow the machine.
fn rate(postgres: &Postgres, column: &str) -> f64 {
    let query = format!(
        "SELECT {column} / extract(epoch FROM clock_timestamp() - stats_reset) FROM pg_stat_database \
         WHERE datname = 'postgres'"
    );
    postgres.sql(&query)[0][0].parse().unwrap()
}

#[test]
fn a_server_in_trouble() {
    // A long timeout, so that little WAL a second fills much.
    let postgres = Postgres::with(&Options::default().set("checkpoint_timeout", "1d"));
    postgres.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n");
    let major = postgres.major();
    let counted = [("bgwriter", 12), ("wal", 14), ("checkpointer", 17)];
    for (name, _) in counted.into_iter().filter(|(_, since)| major >= *since) {
        postgres.sql(&format!("SELECT pg_stat_reset_shared('{name}')"));
    }
    for _ in 0..12 {
        postgres.sql("INSERT INTO t SELECT generate_series(1, 20000)");
        postgres.sql("CHECKPOINT");
    }
    // Temporary files of 14 MB each, and sessions that are over at once.
    postgres.sql("SELECT pg_stat_reset()");
    for _ in 0..50 {
        postgres.sql("SELECT 1");
    }
    for _ in 0..3 {
        postgres.sql(
            "SELECT count(*) FROM (SELECT n FROM generate_series(1, 1000000) AS n ORDER BY n OFFSET 0) AS s",
        );
    }
    let sessions = if major < 14 { "" } else { "AND sum(sessions) >= 50" };
    let sum = format!("SELECT sum(temp_files) >= 3 {sessions} FROM pg_stat_database");
    let deadline = Instant::now() + PATIENCE;
    // A session counts when it has ended, a little after its client has gone.
    while postgres.sql(&sum)[0][0] != "t" {
        assert!(Instant::now() < deadline, "the statistics do not arrive");
    }
    postgres.sql("ALTER SYSTEM SET max_connections = 200");
    postgres.sql("SELECT pg_reload_conf()");
    let advice = tune(&postgres, &["--advise", "--window", "0"]);
    assert_eq!(advice.code, 1, "{advice:?}");
    // What WAL has been written since when is not counted before 14, and neither are sessions.
    assert_eq!(said(&advice, "A1").is_some(), major >= 14, "{advice:?}");
    if rate(&postgres, "temp_bytes") > 1_048_576.0 {
        let temporary = said(&advice, "A2").unwrap_or_else(|| panic!("{advice:?}"));
        assert!(temporary.contains("work_mem: 4MB -> 8MB"), "{temporary}");
        assert!(temporary.contains("window since stats_reset; stats_reset 2"), "{temporary}");
    }
    if major < 14 {
        assert_eq!(said(&advice, "A8"), None, "{advice:?}");
    } else if rate(&postgres, "(sessions - 5)") > 1.0 {
        assert!(said(&advice, "A8").is_some(), "{advice:?}");
    }
    assert!(said(&advice, "A16").is_some_and(|line| line.contains("max_connections")), "{advice:?}");
    let vital: Vec<_> = advice.out.lines().filter(|line| line.starts_with("A15 risk ")).collect();
    assert_eq!(vital.len(), 3, "autovacuum, fsync, full_page_writes: {vital:?}");
}

#[test]
fn a_server_at_rest_is_watched() {
    let postgres = Postgres::start();
    let mut idle = postgres.superuser();
    idle.rows("BEGIN");
    let advice = tune_as(&dsn(&postgres, "alice"), &["--advise", "--window", "10s"]);
    assert!(advice.err.contains("not a member of pg_monitor"), "{advice:?}");
    assert!(advice.err.contains("watching for 10 s"), "{advice:?}");
    for rule in ["A1", "A2", "A3", "A4", "A5", "A7", "A8", "A9", "A13", "A14"] {
        assert_eq!(said(&advice, rule), None, "{advice:?}");
    }
    assert!(said(&advice, "A6").is_some_and(|line| line.contains("looks")), "{advice:?}");
}
