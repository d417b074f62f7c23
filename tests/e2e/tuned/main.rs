//! What pgtune prints in the hands of those it is printed for: PostgreSQL, psql, poolerd, PgBouncer, a shell, a YAML parser.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of a test report by panicking, as tests do"
)]

mod boot;
mod poolers;

use boot::pgtune;
use sluice_tests::trial::Trial;
use sluice_tests::{Postgres, build};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Everything the command prints when it is fed this.
fn fed(mut command: Command, input: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(
            |error| panic!("{command:?}: {error}; scripts/deps test and scripts/drivers install it"),
        );
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// The lines of a configuration as pairs.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once(" = "));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_server_reads_every_machine() {
    boot::reads_all(&Trial::system());
}

#[test]
fn the_server_starts_on_a_sample() {
    boot::starts_some(&Trial::system());
}

/// The kernel's huge pages suffice for what the server itself says it needs (15 and later can say so).
#[test]
fn huge_pages_are_enough() {
    let trial = Trial::system();
    let major = trial.major();
    if major.parse::<u32>().unwrap() < 15 {
        return;
    }
    for machine in
        ["64MB --cpus 1", "2GB --cpus 4", "16GB --cpus 8 --profile oltp", "256GB --cpus 64 --profile dw"]
    {
        let arguments = format!("--pg-version {major} --memory {machine}");
        let conf = pgtune(&arguments);
        let needed = trial.read(&conf, "shared_memory_size_in_huge_pages");
        let needed: u64 = needed.unwrap_or_else(|said| panic!("{arguments}: {said}")).parse().unwrap();
        let given = pairs(&pgtune(&format!("{arguments} --format sysctl")))["vm.nr_hugepages"].parse::<u64>();
        let given = given.unwrap();
        assert!(given >= needed && given <= needed + needed / 10 + 32, "{arguments}: {given} for {needed}");
    }
}

#[test]
fn psql_runs_alter_system() {
    let postgres = Postgres::start();
    let major = Trial::system().major();
    let statements =
        pgtune(&format!("--pg-version {major} --memory 2GB --cpus 4 --explain --format alter-system"));
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"]).arg(postgres.socket_directory());
    psql.args(["-p", &postgres.port().to_string(), "postgres"]);
    assert_eq!(fed(psql, &statements), "");
    let found = postgres.sql(
        "SELECT name, setting FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf' ORDER BY name",
    );
    let conf = pairs(&pgtune(&format!("--pg-version {major} --memory 2GB --cpus 4")));
    let expected: Vec<Vec<String>> = conf.into_iter().map(|(name, value)| vec![name, value]).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_shell_reads_the_environment() {
    let arguments = "--memory 2GB --cpus 4 --pool-size 50 --pool-host pool:6432 --database shop$(x) --user a'b --format env";
    for explain in ["", " --explain"] {
        let text = pgtune(&format!("{arguments}{explain}"));
        let mut shell = Command::new("sh");
        let script = "set -eua; . /dev/stdin; printf '%s|' \"$DATABASE_URL\" \"$DB_URL\" \"$DB_POOL_SIZE\" \
            \"$DB_MAX_OVERFLOW\" \"$DB_POOL_TIMEOUT\" \"$MAX_CONCURRENT_DB_REQUESTS\" \"$DB_USE_PGBOUNCER\"";
        shell.args(["-c", script]);
        let url = "postgresql://a%27b@pool:6432/shop%24%28x%29";
        assert_eq!(fed(shell, &text), format!("{url}|{url}|25|10|4|35|true|"));
    }
}

#[test]
fn a_yaml_parser_reads_kubernetes_and_patroni() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let settings = pairs(&pgtune("--memory 16GB --cpus 16"));
    for (format, above) in [("k8s", "['spec']['postgresql']"), ("patroni", "['postgresql']")] {
        for explain in ["", " --explain"] {
            let text = pgtune(&format!("--memory 16GB --cpus 16 --format {format}{explain}"));
            let mut python = Command::new(top.join(".drivers/python/bin/python"));
            let script = format!(
                "import sys, json, yaml\nprint(json.dumps(yaml.safe_load(sys.stdin){above}['parameters']))"
            );
            python.args(["-c", &script]);
            let parsed: BTreeMap<String, String> = serde_json::from_str(&fed(python, &text)).unwrap();
            assert_eq!(parsed, settings, "{format}");
        }
    }
}

#[test]
fn throttle_proxy_takes_its_keys() {
    for machine in
        ["--memory 2GB --cpus 4 --pool-size 50 --explain", "--memory 64GB --cpus 64 --app-processes 16"]
    {
        for wait in ["3", "5", "3.4", "60"] {
            let keys = pgtune(&format!("{machine} --http-timeout {wait} --format throttle"));
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(
                file.path(),
                format!("{keys}origin = http://127.0.0.1:3000\n[route api]\nmatch_path = /api\n"),
            )
            .unwrap();
            let mut check = Command::new(build::program("throttle-proxy"));
            check.args(["-t", "-c"]).arg(file.path());
            let output = check.output().unwrap();
            let err = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && err.is_empty(), "{err}\n{keys}");
        }
    }
}

#[test]
fn sysctl_has_one_form_of_line() {
    let text = pgtune("--memory 16GB --cpus 16 --format sysctl --explain");
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.split_once(" = ").unwrap();
        assert!(name.starts_with("vm.") && value.parse::<u64>().is_ok(), "{line}");
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        assert!(Path::new(&path).exists(), "{path}");
    }
}
