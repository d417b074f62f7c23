use super::*;
use serde_json::Value;

const DATA: &str = include_str!("../../tests/data/pg_gucs_12_18.json");

/// Words a build has only with a library or a kernel that the servers of the data were built without.
const OPTIONAL: [(&str, u32, &[&str]); 3] = [
    ("wal_compression", 15, &["lz4", "zstd"]),
    ("default_toast_compression", 14, &["lz4"]),
    ("io_method", 18, &["io_uring"]),
];

fn line(name: &str, first: u32, last: u32, facts: &str) -> String {
    format!("{name}\t{first}-{last}\t{facts}\n")
}

/// What the data says of one name and major, in the columns of the table.
fn facts(name: &str, major: u32, row: &Value) -> String {
    let mut words = row["enum"].as_str().unwrap().to_owned();
    for (of, since, more) in OPTIONAL {
        if of == name && major >= since {
            more.iter().for_each(|word| words.push_str(&format!(",{word}?")));
        }
    }
    let columns = ["type", "context", "unit", "min", "max", "default"].map(|key| row[key].as_str().unwrap());
    format!("{}\t{words}", columns.join("\t"))
}

#[test]
fn the_table_is_made_from_the_data() {
    let data: serde_json::Map<String, Value> = serde_json::from_str(DATA).unwrap();
    let mut names: Vec<&String> = data.keys().collect();
    names.sort_unstable();
    let mut table = String::new();
    for name in names {
        let mut run: Option<(u32, u32, String)> = None;
        for major in MAJORS {
            let Some(row) = data[name].get(major.to_string()) else { continue };
            let facts = facts(name, major, row);
            match &mut run {
                Some((_, last, same)) if *same == facts && *last + 1 == major => *last = major,
                _ => {
                    if let Some((first, last, facts)) = run.replace((major, major, facts)) {
                        table.push_str(&line(name, first, last, &facts));
                    }
                }
            }
        }
        if let Some((first, last, facts)) = run {
            table.push_str(&line(name, first, last, &facts));
        }
    }
    assert!(
        table == TABLE,
        "src/guc/table.tsv differs from what tests/data/pg_gucs_12_18.json says:\n{table}"
    );
}

#[test]
fn every_row_reads() {
    let data: serde_json::Map<String, Value> = serde_json::from_str(DATA).unwrap();
    for major in MAJORS {
        let names: Vec<&str> = rows(major).map(|guc| guc.name).collect();
        let expected: usize = data.values().filter(|rows| rows.get(major.to_string()).is_some()).count();
        assert_eq!(names.len(), expected, "major {major}");
    }
    assert_eq!(row("work_mem", 11), None);
    assert_eq!(row("work_mem", 19), None);
    assert_eq!(row("WORK_MEM", 18).unwrap().name, "work_mem");
    assert_eq!(row("datestyle", 18).unwrap().name, "DateStyle");
    assert_eq!(row("no_such", 18), None);
}

#[test]
fn what_each_major_brought() {
    for (name, major) in [
        ("maintenance_io_concurrency", 13),
        ("client_connection_check_interval", 14),
        ("compute_query_id", 14),
        ("reserved_connections", 16),
        ("allow_alter_system", 17),
        ("huge_pages_status", 17),
        ("io_method", 18),
        ("io_workers", 18),
        ("autovacuum_worker_slots", 18),
    ] {
        assert_eq!(since(name), Some(major), "{name}");
        assert_eq!(row(name, major - 1), None, "{name}");
        assert!(row(name, major).is_some(), "{name}");
    }
    assert_eq!(row("wal_compression", 14).unwrap().kind, Kind::Bool);
    let Kind::Enum(words) = row("wal_compression", 15).unwrap().kind else { panic!("an enum since 15") };
    assert_eq!(words.always().collect::<Vec<_>>(), ["pglz", "on", "off"]);
    assert_eq!(words.all().collect::<Vec<_>>(), ["pglz", "on", "off", "lz4", "zstd"]);
    let least = |major| row("maintenance_work_mem", major).unwrap().kind;
    assert_eq!(least(16), Kind::Integer { min: 1024, max: 2_147_483_647 });
    assert_eq!(least(17), Kind::Integer { min: 64, max: 2_147_483_647 });
    let apply = |major| row("autovacuum_max_workers", major).unwrap().context.apply();
    assert_eq!((apply(17), apply(18)), (Apply::Restart, Apply::Reload));
    assert_eq!(row("work_mem", 18).unwrap().context.apply(), Apply::Session);
}
