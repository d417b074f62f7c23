//! Servers on what pgtune prints: read by the server's own parser over a grid of machines, started for some of them.

use sluice_tests::build;
use sluice_tests::trial::Trial;
use std::process::Command;

const PROFILES: [&str; 6] = ["web", "oltp", "dw", "desktop", "mixed", "seed"];

/// What pgtune prints for these arguments.
pub(crate) fn pgtune(arguments: &str) -> String {
    let mut command = Command::new(build::program("pgtune"));
    command.env_clear().args(arguments.split_whitespace()).args(["-q", "--sysroot", "/nowhere"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The value of a setting in a configuration file of ours.
fn value<'a>(conf: &'a str, name: &str) -> &'a str {
    let line = conf.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    line.unwrap_or_else(|| panic!("no {name} in\n{conf}"))
}

/// Memory in kB as the server counts it.
fn kb(size: &str) -> u64 {
    let (number, unit) = size.split_at(size.find(|c: char| c.is_ascii_alphabetic()).unwrap());
    let scale = match unit {
        "kB" => 1,
        "MB" => 1 << 10,
        "GB" => 1 << 20,
        unit => panic!("{size}: {unit}"),
    };
    number.parse::<u64>().unwrap() * scale
}

/// Every profile from 64MB to 4TB, CPUs and disks in turn: the server reads the file without a word.
pub(crate) fn reads_all(trial: &Trial) {
    let major = trial.major();
    let mut read = 0;
    for profile in PROFILES {
        for shift in 16..=32 {
            let cpus = [1, 4, 16, 64][shift % 4];
            let disk = ["ssd", "hdd", "san", "nvme"][(shift / 4) % 4];
            let machine = format!(
                "--pg-version {major} --profile {profile} --memory {}kB --cpus {cpus} --disk {disk} --extras guards,observe",
                1_u64 << shift
            );
            let conf = pgtune(&machine);
            let work_mem =
                trial.read(&conf, "work_mem").unwrap_or_else(|said| panic!("{machine}: {said}\n{conf}"));
            assert_eq!(kb(&work_mem_of(&work_mem)), kb(value(&conf, "work_mem")), "{machine}");
            read += 1;
        }
    }
    assert_eq!(read, PROFILES.len() * 17);
}

/// `postgres -C` shows a number of base units where the unit is not said.
fn work_mem_of(shown: &str) -> String {
    if shown.ends_with('B') { shown.to_owned() } else { format!("{shown}kB") }
}

/// Machines whose shared memory any test machine can lend for a moment.
pub(crate) fn starts_some(trial: &Trial) {
    let major = trial.major();
    for machine in [
        "--memory 64MB --cpus 1",
        "--memory 512MB --cpus 1 --profile oltp --shm 64MB",
        "--memory 2GB --cpus 4 --profile dw --disk hdd",
        "--memory 2GB --cpus 2 --pooled --pool-size 50",
        "--memory 1GB --cpus 64 --profile mixed --disk nvme --wal-disk 2GB",
        "--memory 2GB --cpus 2 --profile desktop",
        "--memory 2GB --cpus 2 --profile seed",
        "--memory 256MB --cpus 1 --connections 1",
        "--memory 256MB --cpus 1 --connections 5",
    ] {
        let machine = format!("--pg-version {major} {machine} --extras guards,observe");
        starts(trial, &machine);
    }
}

/// Starts the server; every line of the file is in effect and nothing is complained about.
fn starts(trial: &Trial, machine: &str) {
    let conf = pgtune(machine);
    let server = trial.start(&conf).unwrap_or_else(|log| panic!("{machine}: {log}\n{conf}"));
    let mut client = server.superuser();
    let wrong = client
        .rows("SELECT name, setting, error FROM pg_file_settings WHERE NOT applied OR error IS NOT NULL");
    assert_eq!(wrong, Vec::<Vec<String>>::new(), "{machine}");
    let lines = conf.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    let counted = client.rows("SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%tried.conf'");
    assert_eq!(counted, [[lines.to_string()]], "{machine}");
    assert_eq!(client.rows("SHOW max_connections").len(), 1);
    drop(client);
    let log = server.log();
    let complaint =
        log.iter().find(|line| ["WARNING", "FATAL", "PANIC"].iter().any(|word| line.contains(word)));
    assert_eq!(complaint, None, "{machine}");
    server.stop();
}
