//! pgbench as the load: what the pooler spent on a transaction, and how long the client waited for it.

use super::Contender;
use sluice_tests::pooler::Table;
use sluice_tests::{Pooler, postgres};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One line of the comparison.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    clients: u32,
    /// What else pgbench is told.
    arguments: &'static [&'static str],
    /// The transaction; without one, pgbench's own selection of one row by its key.
    script: Option<&'static str>,
}

const WRITE: &str = "\\set aid random(1, 500000)\nBEGIN;\n\
    UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\nCOMMIT;\n";

const BULK: &str = "SELECT repeat('x', 1000) FROM generate_series(1, 1000);\n";

pub(crate) const ROWS: [Row; 7] = [
    Row { name: "simple", clients: 50, arguments: &[], script: None },
    Row { name: "extended", clients: 50, arguments: &["-M", "extended"], script: None },
    Row { name: "prepared", clients: 50, arguments: &["-M", "prepared"], script: None },
    Row { name: "transaction", clients: 50, arguments: &[], script: Some(WRITE) },
    Row { name: "reconnect", clients: 50, arguments: &["-C"], script: None },
    Row { name: "bulk", clients: 10, arguments: &[], script: Some(BULK) },
    Row { name: "1000 clients", clients: 1000, arguments: &[], script: None },
];

impl Row {
    pub(crate) fn prepares(&self) -> bool {
        self.arguments.contains(&"prepared")
    }

    fn reconnects(&self) -> bool {
        self.arguments.contains(&"-C")
    }
}

/// What one run showed. Times in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) user_us: f64,
    pub(crate) system_us: f64,
    pub(crate) tps: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// pgbench, knowing where the pooler is.
pub(crate) fn pgbench(pooler: &Pooler) -> Command {
    let mut command = Command::new(postgres::bin().join("pgbench"));
    command
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", pooler.port().to_string())
        .env("PGUSER", "alice")
        .env("PGPASSWORD", "secret of alice")
        .env("PGDATABASE", "postgres");
    command
}

/// Runs a row. Logins and the first moments are left out: what counts is a window in the middle, in which pgbench's
/// log tells exactly which transactions ended.
pub(crate) fn measure(row: &Row, contender: &Contender, seconds: u32) -> Sample {
    let directory = tempfile::tempdir().unwrap();
    // pgbench's clock runs while its clients log in, and each of them derives SCRAM keys for milliseconds.
    let whole = seconds + 2 + row.clients / 100;
    let mut command = pgbench(&contender.pooler);
    command
        .current_dir(directory.path())
        .args(["-n", "-l", "-j", "2", "-T", &whole.to_string(), "-c", &row.clients.to_string()])
        .args(row.arguments);
    match row.script {
        Some(script) => {
            std::fs::write(directory.path().join("script"), script).unwrap();
            command.args(["-f", "script"]);
        }
        None => {
            command.arg("-S");
        }
    }
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_clients(row, contender, &mut running);
    std::thread::sleep(Duration::from_millis(500));
    let (from, before) = (SystemTime::now(), contender.pooler.cpu_time());
    std::thread::sleep(Duration::from_secs(u64::from(seconds)));
    let (to, after) = (SystemTime::now(), contender.pooler.cpu_time());
    let stderr = std::io::read_to_string(running.stderr.take().unwrap()).unwrap();
    assert!(running.wait().unwrap().success(), "{} with {}: {stderr}", row.name, contender.name);

    let mut latencies = latencies(directory.path(), from, to);
    assert!(latencies.len() > 10, "{} with {}: too few transactions; {stderr}", row.name, contender.name);
    latencies.sort_unstable();
    let count = latencies.len() as f64;
    let (user, system) = after.since(before);
    let percentile = |part: f64| latencies[((count - 1.0) * part) as usize] as f64;
    Sample {
        user_us: user.as_secs_f64() * 1e6 / count,
        system_us: system.as_secs_f64() * 1e6 / count,
        tps: count / to.duration_since(from).unwrap().as_secs_f64(),
        p50_us: percentile(0.5),
        p99_us: percentile(0.99),
    }
}

/// Waits until every client is connected, but for those who reconnect all the time.
fn wait_for_clients(row: &Row, contender: &Contender, running: &mut Child) {
    let mut console = contender.pooler.console();
    while !row.reconnects() {
        let pool = Table::show(&mut console, "POOLS").filter("database", "postgres");
        if pool.sum("cl_active") + pool.sum("cl_waiting") >= i64::from(row.clients) {
            return;
        }
        if running.try_wait().unwrap().is_some() {
            let stderr = std::io::read_to_string(running.stderr.take().unwrap()).unwrap();
            panic!("{} with {}: pgbench ended early: {stderr}", row.name, contender.name);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Latencies in microseconds of the transactions that ended in the window.
/// A log line is: client, number, latency, script, second, microsecond (PostgreSQL manual, "pgbench", "Per-Transaction Logging").
fn latencies(directory: &Path, from: SystemTime, to: SystemTime) -> Vec<u64> {
    let micros =
        |time: SystemTime| u64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap();
    let window = micros(from)..micros(to);
    let mut latencies = Vec::new();
    for path in logs(directory) {
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let fields: Vec<u64> = line.split(' ').filter_map(|field| field.parse().ok()).collect();
            let [_, _, latency, _, second, microsecond] = fields.as_slice() else { continue };
            if window.contains(&(second * 1_000_000 + microsecond)) {
                latencies.push(*latency);
            }
        }
    }
    latencies
}

fn logs(directory: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("pgbench_log"))
}
