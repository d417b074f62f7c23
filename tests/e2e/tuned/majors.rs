//! Real servers of majors 12 to 18, which scripts/majors installs, on what pgtune prints. `make test-majors` runs it; it
//! is no part of `make test`, because the servers are 400 MB.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of a test report by panicking, as tests do"
)]

mod boot;

use sluice_tests::trial::Trial;
use std::path::Path;

fn trial(major: u32) -> Trial {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let top = top.join(format!(".majors/node_modules/pg{major}/native"));
    assert!(top.join("bin/postgres").exists(), "{}: scripts/majors installs it", top.display());
    let trial = Trial::installed(&top);
    assert_eq!(trial.major(), major.to_string());
    trial
}

/// One major: the grid is read, a sample is started.
fn major(major: u32) {
    let trial = trial(major);
    boot::reads_all(&trial);
    boot::starts_some(&trial);
}

#[test]
fn major_12() {
    major(12);
}

#[test]
fn major_13() {
    major(13);
}

#[test]
fn major_14() {
    major(14);
}

#[test]
fn major_15() {
    major(15);
}

#[test]
fn major_16() {
    major(16);
}

#[test]
fn major_17() {
    major(17);
}

#[test]
fn major_18() {
    major(18);
}
