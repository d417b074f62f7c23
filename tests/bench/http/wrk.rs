//! wrk as the load, and what it says.

use std::process::Command;

/// What one run showed. Times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Asks for `path` over that many connections for a while.
pub(crate) fn run(port: u16, path: &str, connections: usize, seconds: u32) -> Load {
    let threads = connections.min(2).to_string();
    let url = format!("http://127.0.0.1:{port}{path}");
    let output = Command::new("wrk")
        .args([
            "--latency",
            "-t",
            &threads,
            "-c",
            &connections.to_string(),
            "-d",
            &format!("{seconds}s"),
            &url,
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "wrk: {text}{}", String::from_utf8_lossy(&output.stderr));
    for complaint in ["Non-2xx", "Socket errors"] {
        assert!(!text.contains(complaint), "{url}: {text}");
    }
    read(&text).unwrap_or_else(|| panic!("wrk said something else than expected: {text}"))
}

/// Its report: `  50%   73.00us`, `  N requests in 5.00s, …`, `Requests/sec:  N`.
fn read(text: &str) -> Option<Load> {
    let line = |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start)).map(str::trim);
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0.parse().ok()?;
    Some(Load {
        requests,
        per_second: line("Requests/sec:")?.parse().ok()?,
        p50_us: microseconds(line("50%")?)?,
        p99_us: microseconds(line("99%")?)?,
    })
}

fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let (number, scale) = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))?;
    Some(number.parse::<f64>().ok()? * scale)
}
