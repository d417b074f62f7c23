//! What the compiler does not check about the tree itself: which crates may enter it, who may import whom, what the
//! machines must not name, how long a file may be.

#![expect(clippy::unwrap_used, reason = "the helpers of a test report by panicking, as tests do")]

mod licence;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines a source file may have. The house says about 600; the margin keeps a good file from being split for three lines.
const MAX_LINES: usize = 620;

/// Our crates and the ones of ours that each may import (ARCHITECTURE.md, "Who may import whom").
const DIRECTIONS: [(&str, &[&str]); 10] = [
    ("sluice-wire", &[]),
    ("sluice-policy", &[]),
    ("sluice-cli", &["sluice-wire"]),
    ("sluice-check", &[]),
    ("sluice-unix", &["sluice-wire"]),
    ("sluice-gateway", &["sluice-policy", "sluice-unix", "sluice-wire"]),
    ("poolerd", &["sluice-cli", "sluice-unix", "sluice-wire"]),
    ("throttle-proxy", &["sluice-cli", "sluice-gateway", "sluice-policy", "sluice-unix", "sluice-wire"]),
    ("pgtune", &["sluice-cli", "sluice-unix", "sluice-wire"]),
    ("sluice-tests", &["sluice-check", "sluice-wire", "sluice-unix", "sluice-cli", "poolerd", "pgtune"]),
];

/// Crates that speak to the kernel: of what ships, only lib/unix names them.
const KERNEL: [&str; 4] = ["mio", "nix", "signal-hook", "rustls"];

/// What a machine must not name: clocks, files, environment, sockets.
const IMPURE: [&str; 7] = [
    "Instant::now",
    "SystemTime::now",
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "std::net::Udp",
    "std::thread",
];

/// Where the machines live.
const MACHINES: [&str; 9] = [
    "lib/wire/src",
    "lib/policy/src",
    "lib/gateway/src/machine",
    "lib/gateway/src/origins.rs",
    "bins/poolerd/src/core",
    "bins/throttle-proxy/src/limiter",
    "bins/pgtune/src/tune",
    "bins/pgtune/src/render",
    "bins/pgtune/src/explain",
];

#[test]
fn only_allowed_crates_and_licences_enter() {
    let policy = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let crates = list(&policy, "[bans]");
    let licences = list(&policy, "[licenses]");
    let metadata = metadata();
    let resolved: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["id"].as_str().unwrap())
        .collect();

    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        if !resolved.contains(package["id"].as_str().unwrap()) {
            continue;
        }
        let name = package["name"].as_str().unwrap();
        seen.insert(name.to_owned());
        if !crates.contains(name) {
            wrong.push(format!("{name} is not in bans.allow"));
        }
        let licence = package["license"].as_str().unwrap_or("none");
        if !licence::satisfied(licence, &licences) {
            wrong.push(format!("{name}: licence {licence} is not allowed"));
        }
    }
    wrong.extend(crates.difference(&seen).map(|name| format!("{name} is allowed but not used")));
    assert!(wrong.is_empty(), "deny.toml:\n{}", wrong.join("\n"));
}

#[test]
fn imports_follow_the_directions() {
    let metadata = metadata();
    let directions: BTreeMap<&str, &[&str]> = DIRECTIONS.into_iter().collect();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        if !package["source"].is_null() {
            continue;
        }
        let name = package["name"].as_str().unwrap();
        let Some(allowed) = directions.get(name) else {
            wrong.push(format!("{name} has no line in DIRECTIONS"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            let shipped = dependency["kind"].is_null();
            if shipped && directions.contains_key(to) && !allowed.contains(&to) {
                wrong.push(format!("{name} must not import {to}"));
            }
            if shipped && KERNEL.contains(&to) && !["sluice-unix", "sluice-tests"].contains(&name) {
                wrong.push(format!("{name} must not name {to}: only lib/unix does"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn machines_name_no_clock_file_environment_or_socket() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        // Tests have to begin somewhere: they make the first moment of their virtual clock.
        let is_test = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        if is_test || !MACHINES.iter().any(|machine| path.starts_with(machine)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "a machine reaches outside:\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_finished() {
    let leftovers = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("dbg", "!("),
        concat!("to", "do!("),
        concat!("#[", "ignore"),
        concat!("#[", "allow("),
    ];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{}: {lines} lines, at most {MAX_LINES}", path.display()));
        }
        for (number, line) in text.lines().enumerate() {
            for word in leftovers.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The top of the working tree.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every Rust source of the tree with its text, paths relative to the top.
fn sources() -> Vec<(PathBuf, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut directories = vec![root.join("lib"), root.join("bins"), root.join("tests")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target") {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_path_buf(), text));
            }
        }
    }
    assert!(found.len() > 10, "the walk found the tree");
    found
}

/// The strings of the `allow` array of one section of deny.toml, which keeps one string a line.
fn list(policy: &str, section: &str) -> BTreeSet<String> {
    policy
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != section)
        .skip_while(|line| *line != "allow = [")
        .skip(1)
        .take_while(|line| *line != "]")
        .map(|line| line.trim_end_matches(',').trim_matches('"').to_owned())
        .collect()
}

/// `cargo metadata` of the locked graph, as resolved for the machine that runs the test.
fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
