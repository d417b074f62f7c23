//! The pooler's section, loaded by poolerd and by PgBouncer.

use crate::boot::pgtune;
use nix::sys::signal::Signal;
use sluice_tests::account::Account;
use sluice_tests::client::{Login, Target};
use sluice_tests::process::Process;
use sluice_tests::{build, port};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MACHINES: [&str; 4] = [
    "--memory 2GB --cpus 4 --pooled --pool-size 50",
    "--memory 16GB --cpus 8 --pools 4 --app-processes 16",
    "--memory 16GB --cpus 8 --pool-size 50 --explain",
    "--memory 2GB --profile seed",
];

fn pgbouncer() -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let mut places = std::env::split_paths(&path).map(|place| place.join("pgbouncer"));
    places
        .find(|place| place.exists())
        .unwrap_or_else(|| panic!("no pgbouncer; scripts/deps test installs it"))
}

/// Starts the pooler on our section, with what it needs besides behind it; every value is in its SHOW CONFIG.
fn loads(program: &Path, arguments: &str) {
    let section = pgtune(&format!("{arguments} --format ini"));
    let account = Account::choose();
    let directory = account.directory();
    let port = port::free();
    let here = directory.path().display();
    let users = directory.path().join("users.txt");
    std::fs::write(&users, "\"admin\" \"x\"\n").unwrap();
    let ini = directory.path().join("pooler.ini");
    let rest = format!(
        "auth_type = any\nadmin_users = admin\nlisten_port = {port}\nunix_socket_dir = {here}\n\
         auth_file = {}\n[databases]\ndb = host=127.0.0.1 port=1\n",
        users.display()
    );
    std::fs::write(&ini, format!("{section}{rest}")).unwrap();
    let program = account.reachable(program, directory.path());
    let mut command = account.command(program, "KILL");
    command.arg(&ini);
    let process = Process::spawn(command, Signal::SIGKILL);
    assert!(
        process.log().wait("process up").is_some(),
        "{arguments}: {:?}\n{section}",
        process.log().lines()
    );

    let socket = directory.path().join(format!(".s.PGSQL.{port}"));
    let mut console = Login::new(Target::Unix(socket), "admin", "pgbouncer").connect().unwrap();
    let shown: BTreeMap<String, String> =
        console.rows("SHOW CONFIG").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let lines = section.lines().filter(|line| !line.starts_with('#'));
    let mut checked = 0;
    for (key, value) in lines.filter_map(|line| line.split_once(" = ")) {
        assert_eq!(shown.get(key).map(String::as_str), Some(value), "{arguments}: {key}");
        checked += 1;
    }
    assert!(checked >= 8, "{section}");
    let log = process.log().lines();
    let complaint = log.iter().find(|line| line.contains("ERROR") || line.contains("unknown"));
    assert_eq!(complaint, None, "{arguments}");
}

#[test]
fn pgbouncer_loads_the_section() {
    for arguments in MACHINES {
        loads(&pgbouncer(), arguments);
    }
}

#[test]
fn poolerd_loads_the_section() {
    for arguments in MACHINES {
        loads(&build::program("poolerd"), arguments);
    }
}
