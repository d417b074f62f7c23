use std::path::Path;

use sluice_cli::settings::{Acted, Kind, Reload};

use super::*;

fn read(text: &str) -> Snapshot {
    parse(Path::new("p.ini"), &format!("[pgbouncer]\n{text}"), &Overrides::default()).unwrap()
}

/// What PgBouncer 1.25 and its development branch know.
const PGBOUNCER_KEYS: usize = 101;
const OWN_KEYS: [&str; 5] =
    ["control_socket", "log_format", "on_client_loss", "pressure_interval", "unnamed_statement_bytes"];

#[test]
fn the_table_has_every_key_once() {
    let mut names: Vec<_> = SETTINGS.0.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SETTINGS.0.len(), "no key twice");
    for own in OWN_KEYS {
        assert!(names.contains(&own), "{own}");
    }
    assert_eq!(names.len(), PGBOUNCER_KEYS + OWN_KEYS.len());
}

#[test]
fn every_row_is_sound() {
    for row in SETTINGS.0 {
        if let Some(default) = row.default {
            assert!(row.kind.parse(default).is_ok(), "{}: default {default:?}", row.name);
        } else {
            assert!(
                matches!(row.kind, Kind::Text | Kind::Int { .. }),
                "{}: only these may be unset",
                row.name
            );
        }
        assert!(row.doc.ends_with('.') && !row.doc.contains('\n'), "{}: {:?}", row.name, row.doc);
        assert!(row.doc.len() <= 120, "{}: doc too long", row.name);
        assert!(row.also_in.iter().all(|section| ["databases", "users"].contains(section)));
    }
}

/// A field whose type did not fit its row's kind would stay at zero for every value.
#[test]
fn every_key_reaches_its_field_and_is_shown() {
    let default = Snapshot::default();
    for row in SETTINGS.0 {
        let mut values = default.values.clone();
        let text = row.another_value();
        values.set(row.name, &text, sluice_cli::settings::Origin::File).unwrap();
        assert_ne!(Global::from_values(&values), default.global, "{} = {text}", row.name);
        assert_eq!(values.value(row.name).to_string(), text, "{}", row.name);
    }
}

#[test]
fn keys_per_database_and_user_are_marked() {
    let mark = |section: &str| {
        let rows = SETTINGS.0.iter().filter(move |row| row.also_in.contains(&section));
        let mut names: Vec<_> = rows.map(|row| row.name).collect();
        names.sort_unstable();
        names
    };
    let known = |keys: &[&'static str]| {
        let mut names: Vec<_> = keys.iter().copied().filter(|key| SETTINGS.row(key).is_some()).collect();
        names.retain(|name| *name != "user");
        names.sort_unstable();
        names
    };
    assert_eq!(mark("databases"), known(entries::DATABASE_KEYS));
    assert_eq!(mark("users"), known(entries::USER_KEYS));
}

#[test]
fn show_config_lists_all_in_byte_order() {
    let shown =
        read("verbose = 2\nlisten_port = 0x10\nserver_lifetime = 90min\npool_mode = STATEMENT").shown();
    assert_eq!(shown.len(), SETTINGS.0.len());
    assert!(shown.is_sorted_by(|a, b| a.key < b.key));
    let of = |key| {
        let row: &Shown = shown.iter().find(|row| row.key == key).unwrap();
        (row.value.as_str(), row.default, row.changeable)
    };
    assert_eq!(of("verbose"), ("2", None, true));
    assert_eq!(of("listen_port"), ("16", Some("6432"), false));
    assert_eq!(of("server_lifetime"), ("5400", Some("3600"), true));
    assert_eq!(of("pool_mode"), ("statement", Some("session"), true));
    assert_eq!(of("unix_socket_mode"), ("511", Some("0777"), false));
    assert_eq!(of("conffile"), ("p.ini", None, true));
    assert_eq!(of("auth_file"), ("", None, true));
    assert_eq!(of("track_extra_parameters"), ("IntervalStyle", Some("IntervalStyle"), false));
}

#[test]
fn set_changes_one_key_of_a_copy() {
    let before = read("verbose = 1\n[databases]\nd =");
    let after = before.with_setting("verbose", "3").unwrap();
    assert_eq!((before.global.verbose, after.global.verbose), (1, 3));
    assert!(after.databases.contains_key("d"));
    assert_eq!(after.origin("verbose"), sluice_cli::settings::Origin::Command);
    let again = after.with_setting("max_client_conn", "5").unwrap();
    assert_eq!((again.global.verbose, again.global.max_client_conn), (3, 5));
}

#[test]
fn set_leaves_fixed_keys_alone() {
    let before = read("");
    for row in SETTINGS.0.iter().filter(|row| row.reload == Reload::No) {
        let after = before.with_setting(row.name, &row.another_value()).unwrap();
        assert_eq!(after.global, before.global, "{}", row.name);
    }
}

#[test]
fn set_refuses_what_is_wrong() {
    let snapshot = read("");
    let error = |key, value| snapshot.with_setting(key, value).unwrap_err();
    assert_eq!(error("verbos", "1"), "unknown parameter: pgbouncer/verbos, the nearest is verbose");
    assert_eq!(error("colour", "1"), "unknown parameter: pgbouncer/colour");
    assert!(error("verbose", "4").starts_with("invalid value \"4\" for parameter verbose: expected "));
    assert!(error("listen_port", "x").starts_with("invalid value"), "checked even where it has no effect");
    assert!(error("auth_type", "cert").contains("not supported yet"));
}

const LEVELS: &str = "\
default_pool_size = 20
min_pool_size = 6
reserve_pool_size = 2
pool_mode = session
query_wait_timeout = 120
max_db_connections = 50
[databases]
d = pool_size=5 reserve_pool_size=3 pool_mode=transaction query_wait_timeout=0 max_db_connections=9
e =
f = pool_size=0
[users]
u = pool_size=4 reserve_pool_size=1 pool_mode=statement query_wait_timeout=7 query_timeout=1
v = query_wait_timeout=0
";

#[test]
fn user_beats_database_beats_global() {
    let snapshot = read(LEVELS);
    let of = |database: &str, user: &str| {
        let database = snapshot.database(database).unwrap();
        let wait = snapshot.query_wait_timeout(&database, user).map(|time| time.as_secs());
        let reserve = snapshot.reserve_pool_size(&database, user);
        (snapshot.pool_size(&database, user), reserve, snapshot.pool_mode(&database, user), wait)
    };
    assert_eq!(of("e", "x"), (20, 2, PoolMode::Session, Some(120)));
    assert_eq!(of("d", "x"), (5, 3, PoolMode::Transaction, None));
    assert_eq!(of("d", "u"), (4, 1, PoolMode::Statement, Some(7)));
    assert_eq!(of("e", "u"), (4, 1, PoolMode::Statement, Some(7)));
    assert_eq!(of("e", "v"), (20, 2, PoolMode::Session, None));
    assert_eq!(of("f", "x").0, 0, "no limit");
    assert_eq!(snapshot.query_timeout("u"), Some(Duration::from_secs(1)));
    assert_eq!(snapshot.query_timeout("v"), None);
}

#[test]
fn min_pool_size_is_capped_at_the_pool() {
    let snapshot = read(LEVELS);
    let of = |database: &str, user: &str| snapshot.min_pool_size(&snapshot.database(database).unwrap(), user);
    assert_eq!(of("e", "x"), 6);
    assert_eq!(of("d", "x"), 5);
    assert_eq!(of("d", "u"), 4);
    assert_eq!(of("f", "x"), 6, "a pool without limit holds any number");
}

#[test]
fn limits_per_database() {
    let snapshot = read(LEVELS);
    assert_eq!(snapshot.max_db_connections(&snapshot.database("d").unwrap()), 9);
    assert_eq!(snapshot.max_db_connections(&snapshot.database("e").unwrap()), 50);
    assert_eq!(snapshot.max_user_connections("u"), 0);
}

#[test]
fn the_template_answers_for_unknown_names() {
    assert!(read(LEVELS).database("unknown").is_none());
    let snapshot = read("[databases]\n* = pool_size=3\nd =");
    let database = snapshot.database("unknown").unwrap();
    assert_eq!((database.name.as_str(), database.dbname.as_str()), ("unknown", "unknown"));
    assert_eq!(snapshot.pool_size(&database, "x"), 3);
    assert_eq!(snapshot.database("d").unwrap().pool_size, None, "an entry of its own takes nothing from it");
    let fixed = read("[databases]\n* = dbname=one");
    assert_eq!(fixed.database("any").unwrap().dbname, "one");
}

/// The keys of the document this project was asked for from, and those its first issue adds.
#[test]
fn what_acts() {
    for key in [
        "pool_mode",
        "max_client_conn",
        "query_wait_timeout",
        "tcp_keepintvl",
        "server_check_query",
        "auth_type",
    ] {
        assert_eq!(SETTINGS.row(key).unwrap().acted, Acted::Yes, "{key}");
    }
    for row in SETTINGS.0.iter().filter(|row| row.acted == Acted::NotYet) {
        let later =
            ["_tls", "syslog", "auth_", "dns_zone", "resolv_conf", "peer_id", "job_name", "service_name"];
        assert!(later.iter().any(|part| row.name.contains(part)), "{}", row.name);
    }
}
