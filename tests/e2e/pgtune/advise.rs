//! `--advise` with a server on which things have been made to go wrong.

use super::*;
use sluice_tests::PATIENCE;
use sluice_tests::postgres::Options;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

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

/// How long counters are waited for before the work is done again.
const ROUND: Duration = Duration::from_secs(2);

/// Works until the server's counters say so. Before 15 they come by datagrams, of which a busy machine may lose any, so
/// waiting alone is not enough; and a session counts when it has ended, a little after its client has gone.
fn until(postgres: &Postgres, reached: &str, work: impl Fn()) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        work();
        let round = Instant::now() + ROUND;
        while Instant::now() < round {
            if postgres.sql(reached)[0][0] == "t" {
                return;
            }
        }
    }
    panic!("the statistics do not arrive: {reached}");
}

/// A sort that takes temporary files of 14 MB.
const SPILL: &str =
    "SELECT count(*) FROM (SELECT n FROM generate_series(1, 1000000) AS n ORDER BY n OFFSET 0) AS s";

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
    let checkpoints = match major {
        ..17 => "SELECT checkpoints_req >= 12 FROM pg_stat_bgwriter",
        17.. => "SELECT num_requested >= 12 FROM pg_stat_checkpointer",
    };
    until(&postgres, checkpoints, || {
        for _ in 0..12 {
            postgres.sql("INSERT INTO t SELECT generate_series(1, 20000)");
            postgres.sql("CHECKPOINT");
        }
    });
    postgres.sql("SELECT pg_stat_reset()");
    // Sessions that are over at once.
    let sessions = if major < 14 { "" } else { "sum(sessions) >= 50 AND" };
    let spilt = format!("SELECT {sessions} sum(temp_files) >= 3 FROM pg_stat_database");
    until(&postgres, &spilt, || {
        (0..50).for_each(|_| drop(postgres.sql("SELECT 1")));
        (0..3).for_each(|_| drop(postgres.sql(SPILL)));
    });
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
    let advice = tune(&postgres, &["--advise", "--window", "10s"]);
    assert!(advice.err.contains("watching for 10 s"), "{advice:?}");
    for rule in ["A1", "A2", "A3", "A4", "A5", "A7", "A8", "A9", "A13", "A14"] {
        assert_eq!(said(&advice, rule), None, "{advice:?}");
    }
    let few = said(&advice, "A6").unwrap_or_else(|| panic!("{advice:?}"));
    assert!(few.contains("at most 1 of ") && few.contains(" looks"), "{few}");
    // Whoever sees only sessions of its own does not take them for all.
    let blind = tune_as(&dsn(&postgres, "alice"), &["--advise", "--window", "0"]);
    assert!(blind.err.contains("not a member of pg_monitor"), "{blind:?}");
    assert_eq!((said(&blind, "A6"), said(&blind, "A7")), (None, None), "{blind:?}");
}

/// Tables over their threshold of dead rows at both looks, while nobody vacuums; one below its threshold is not counted.
#[test]
fn dead_rows_that_stay() {
    let options = Options::default().set("autovacuum", "on").set("autovacuum_naptime", "2147483s");
    let postgres = Postgres::with(&options);
    // 50 and a fifth of a thousand rows: 250.
    for (table, dead) in [("below", 250), ("beyond", 251)] {
        let reached = format!(
            "SELECT count(*) = 1 FROM pg_stat_user_tables WHERE relname = '{table}' AND n_dead_tup = {dead}"
        );
        until(&postgres, &reached, || {
            postgres.sql(&format!("DROP TABLE IF EXISTS {table}"));
            postgres.sql(&format!("CREATE TABLE {table} AS SELECT generate_series(1, 1000) AS n"));
            postgres.sql(&format!("ANALYZE {table}"));
            postgres.sql(&format!("DELETE FROM {table} WHERE n <= {dead}"));
        });
    }
    let advice = tune(&postgres, &["--advise", "--window", "10s"]);
    let said = said(&advice, "A9").unwrap_or_else(|| panic!("{advice:?}"));
    assert!(said.contains("autovacuum_vacuum_cost_limit: 200 -> 400: "), "{said}");
    assert!(said.contains("both times: 1, the worst public.beyond with 251 dead rows of 250;"), "{said}");
    assert!(said.ends_with("(window 10 s)"), "{said}");
}

/// A real server with shared buffers of 2GB, which cost nothing before they are used, and one with less.
#[test]
fn huge_pages_that_are_not_there() {
    for (buffers, enough) in [("2GB", true), ("2047MB", false)] {
        let postgres = Postgres::with(&Options::default().set("shared_buffers", buffers));
        let known = postgres.major() >= 17;
        let is_off = known && postgres.sql("SHOW huge_pages_status")[0][0] == "off";
        let advice = tune(&postgres, &["--advise", "--window", "0"]);
        assert_eq!(said(&advice, "A10").is_some(), is_off && enough, "{advice:?}");
        if let Some(said) = said(&advice, "A10") {
            let pages = &postgres.sql("SHOW shared_memory_size_in_huge_pages")[0][0];
            assert!(
                said.contains(&format!("vm.nr_hugepages: too few -> {pages}: huge_pages = try, ")),
                "{said}"
            );
        }
    }
}

/// A session that holds transaction ids back, while they are used up beyond the least limit a server takes.
#[test]
fn transaction_ids_that_are_not_frozen() {
    let postgres = Postgres::with(&Options::default().set("autovacuum_freeze_max_age", "100000"));
    let mut holder = postgres.superuser();
    holder.rows("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let pid = holder.value("SELECT pg_backend_pid()");
    let use_up = |count: u32| {
        postgres.sql(&format!(
            "DO $$ BEGIN FOR n IN 1..{count} LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$"
        ));
    };
    use_up(50_000);
    let advice = tune(&postgres, &["--advise", "--window", "0"]);
    assert_eq!(said(&advice, "A13"), None, "{advice:?}");
    use_up(100_000);
    let advice = tune(&postgres, &["--advise", "--window", "0"]);
    let said = said(&advice, "A13").unwrap_or_else(|| panic!("{advice:?}"));
    assert!(said.starts_with("A13 risk the oldest transaction: age "), "{said}");
    assert!(
        said.contains("limit 100000; held back the longest by session ") && said.contains(&pid),
        "{said}"
    );
}

/// Nobody waits five minutes here: the server's own view is made to tell of an earlier moment.
#[test]
fn a_session_idle_in_a_transaction() {
    let postgres = Postgres::with(&Options::default().set("allow_system_table_mods", "on"));
    let mut idle = postgres.superuser();
    idle.rows("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let pid = idle.value("SELECT pg_backend_pid()");
    let definition =
        postgres.sql("SELECT pg_get_viewdef('pg_catalog.pg_stat_activity'::regclass)")[0][0].clone();
    let earlier_by = |seconds: u32| {
        let moment = format!("s.state_change - interval '{seconds} s' AS state_change,");
        let shifted = definition.replace("s.state_change,", &moment);
        assert_ne!(shifted, definition);
        postgres.sql(&format!("CREATE OR REPLACE VIEW pg_catalog.pg_stat_activity AS {shifted}"));
        tune(&postgres, &["--advise", "--window", "0"])
    };
    let short = earlier_by(300 - 2 * u32::try_from(PATIENCE.as_secs()).unwrap());
    assert_eq!(said(&short, "A14"), None, "{short:?}");
    let long = earlier_by(301);
    let said = said(&long, "A14").unwrap_or_else(|| panic!("{long:?}"));
    assert!(said.starts_with("A14 advice idle_in_transaction_session_timeout: "), "{said}");
    assert!(said.contains(" -> 1min: 1 session idle in a transaction for more than 5 minutes"), "{said}");
    assert!(said.contains(&format!("held back the longest by session {pid} ")), "{said}");
}

/// Counters that were reset between the looks say nothing, whatever they count; without the reset they do.
#[test]
fn counters_that_were_reset_are_silent() {
    let postgres = Postgres::start();
    for (reset, expected) in [(false, true), (true, false)] {
        let dsn = dsn(&postgres, "postgres");
        let arguments = [&FACTS[..], &["--dsn", &dsn, "--advise", "--window", "10s"]].concat();
        let mut child = command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("watching for 10 s") {
            line.clear();
            assert_ne!(err.read_line(&mut line).unwrap(), 0, "it ended");
        }
        // More than 1 MB for each second of the window, also where a datagram is lost.
        (0..4).for_each(|_| drop(postgres.sql(SPILL)));
        if reset {
            postgres.sql("SELECT pg_stat_reset()");
            (0..4).for_each(|_| drop(postgres.sql(SPILL)));
        }
        let output = child.wait_with_output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(out.lines().any(|line| line.starts_with("A2 ")), expected, "{reset}: {out}");
    }
}
