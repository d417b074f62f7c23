//! Every machine: names and ranges hold by PostgreSQL's own tables, and the worst case fits or says that it does not.

use std::collections::BTreeMap;

use crate::common::{codes, plan, value};
use pgtune::tune::{Amount, Kb, Plan, Setting};
use serde_json::Value;
use sluice_check::Rng;

/// name -> major -> row, as PostgreSQL told it: not the program's own table.
type Data = BTreeMap<String, BTreeMap<String, Value>>;

const PROFILES: [&str; 5] = ["web", "oltp", "dw", "desktop", "mixed"];
const DISKS: [&str; 4] = ["ssd", "hdd", "san", "nvme"];
const CPUS: [&str; 4] = ["1", "4", "16", "64"];

fn data() -> Data {
    serde_json::from_str(include_str!("../data/pg_gucs_12_18.json")).unwrap()
}

/// Fails unless a stock server of the major takes the setting.
fn accepted(data: &Data, setting: &Setting, major: u32, what: &str) {
    let name = setting.name;
    let row = data.get(name).and_then(|rows| rows.get(&major.to_string()));
    let row = row.unwrap_or_else(|| panic!("{what}: {name} is unknown to {major}"));
    let text = |key: &str| row[key].as_str().unwrap();
    let within = |number: f64| {
        let (min, max): (f64, f64) = (text("min").parse().unwrap(), text("max").parse().unwrap());
        assert!((min..=max).contains(&number), "{what}: {name} = {number} {}, {min} to {max}", text("unit"));
    };
    let time_unit_s = match text("unit") {
        "ms" => 0.001,
        "min" => 60.0,
        _ => 1.0,
    };
    match (setting.amount, text("type")) {
        (Amount::Size(Kb(kb)), "integer") => within(match text("unit") {
            "8kB" => kb as f64 / 8.0,
            "MB" => kb as f64 / 1024.0,
            "kB" => kb as f64,
            unit => panic!("{what}: {name} has the unit {unit:?}"),
        }),
        (Amount::Seconds(seconds), "integer") => within(seconds as f64 / time_unit_s),
        (Amount::Count(n), "integer") => {
            assert_eq!(text("unit"), "", "{what}: {name}");
            within(n as f64);
        }
        (Amount::Decimal(_) | Amount::Count(_), "real") => {
            within(setting.amount.to_string().parse().unwrap());
        }
        (Amount::Word(word), "bool") => assert!(["on", "off"].contains(&word), "{what}: {name} = {word}"),
        (Amount::Word(word), "enum") => {
            assert!(text("enum").split(',').any(|known| known == word), "{what}: {name} = {word}");
        }
        (amount, kind) => panic!("{what}: {name} = {amount} is no {kind}"),
    }
}

/// The worst case as the specification has it, by what the plan prints, in kB.
fn worst_kb(plan: &Plan, multiplier: f64) -> f64 {
    let size = |name: &str| match plan.setting(name).map(|setting| setting.amount) {
        Some(Amount::Size(Kb(kb))) => Some(kb as f64),
        _ => None,
    };
    let count = |name: &str, default: f64| value(plan, name).parse().unwrap_or(default);
    let shared = size("shared_buffers").unwrap();
    let autovacuum = size("autovacuum_work_mem").or_else(|| size("maintenance_work_mem")).unwrap();
    let wal = (shared / 32.0).min(16384.0);
    let sessions = count("max_connections", 100.0) * size("work_mem").unwrap() * multiplier;
    1.03 * shared + wal + count("autovacuum_max_workers", 3.0) * autovacuum + sessions
}

fn check(data: &Data, plan: &Plan, multiplier: f64, what: &str) {
    let mut names: Vec<&str> = Vec::new();
    for setting in &plan.settings {
        accepted(data, setting, plan.major(), what);
        assert!(!names.contains(&setting.name), "{what}: {} twice", setting.name);
        assert!(!setting.rule.is_empty() && setting.rule.is_ascii(), "{what}: {}", setting.name);
        assert!(pgtune::explain::of(setting.name).is_some(), "no text about {}", setting.name);
        names.push(setting.name);
    }
    assert!(plan.settings.is_sorted_by_key(|setting| setting.group), "{what}: groups in order");
    let memory = (plan.facts.memory_kb.value - plan.wishes.reserve_kb) as f64;
    let limit = if plan.wishes.profile.word() == "desktop" { 0.5 } else { 0.9 };
    let (worst, exceeded) = (worst_kb(plan, multiplier), codes(plan).contains(&"budget-exceeded"));
    // A MB of play for what is rounded in this test only.
    assert!(worst <= limit * memory + 1.0 || exceeded, "{what}: {worst} of {memory}");
    assert!(!exceeded || worst > limit * memory - 1.0, "{what}: {worst} of {memory} fits");
    let size = |name: &str| match plan.setting(name).map(|setting| setting.amount) {
        Some(Amount::Size(Kb(kb))) => kb,
        _ => panic!("{what}: no {name}"),
    };
    assert!(size("min_wal_size") <= size("max_wal_size"), "{what}");
}

#[test]
fn names_ranges_and_worst_case_of_the_grid() {
    let data = data();
    for major in 12..=18 {
        for profile in PROFILES {
            for shift in 16..=32 {
                for (cpus, disk) in CPUS.iter().flat_map(|cpus| DISKS.map(|disk| (cpus, disk))) {
                    let what = format!(
                        "--pg-version {major} --profile {profile} --memory {}kB --cpus {cpus} --disk {disk}",
                        1_u64 << shift
                    );
                    check(&data, &plan(&what), 1.5, &what);
                }
            }
        }
    }
}

#[test]
fn names_ranges_and_worst_case_of_any_machine() {
    let data = data();
    let mut rng = Rng::new(0x7067_7475_6e65);
    for _ in 0..2000 {
        let mut what = format!("--profile {}", rng.pick(&PROFILES).unwrap());
        let memory = 65536 + rng.next_u64() % (1 << rng.between(16, 36));
        what += &format!(" --memory {memory}kB --pg-version {}", rng.between(12, 18));
        what += &format!(" --cpus {}.{}", rng.between(1, 300), rng.below(1000));
        let mut maybe = |rng: &mut Rng, text: String| {
            if rng.chance(1, 3) {
                what += &format!(" {text}");
            }
        };
        let given = rng.between(1, 2000);
        maybe(&mut rng, format!("--connections {given}"));
        let reserve = rng.next_u64() % (memory - 65535);
        maybe(&mut rng, format!("--reserve {reserve}kB"));
        let wal = rng.between(1, 100_000);
        let shared = if rng.chance(1, 2) { "--wal-shared" } else { "" };
        maybe(&mut rng, format!("--wal-disk {wal}MB {shared}"));
        let shm = rng.below(200);
        maybe(&mut rng, format!("--shm {shm}MB"));
        let disk = rng.pick(&DISKS).unwrap();
        maybe(&mut rng, format!("--disk {disk}"));
        let os = rng.pick(&["linux", "macos", "windows"]).unwrap();
        maybe(&mut rng, format!("--os {os}"));
        let size = rng.pick(&["less", "mid", "greater"]).unwrap();
        maybe(&mut rng, format!("--db-size {size}"));
        let pool = rng.between(1, 100);
        maybe(&mut rng, format!("--pooled --pool-size {pool}"));
        maybe(&mut rng, "--extras guards,observe".into());
        check(&data, &plan(&what), 1.5, &what);
        let plan = plan(&what);
        if what.contains("--connections") {
            assert_eq!(value(&plan, "max_connections"), given.to_string(), "{what}");
        }
    }
}

#[test]
fn the_multiplier_and_the_desktop_have_their_limits() {
    let data = data();
    for multiplier in ["0.5", "1", "2", "4"] {
        for memory in ["64MB", "1GB", "64GB"] {
            for profile in PROFILES {
                let what =
                    format!("--memory {memory} --cpus 8 --profile {profile} --worst-case {multiplier}");
                check(&data, &plan(&what), multiplier.parse().unwrap(), &what);
            }
        }
    }
}
