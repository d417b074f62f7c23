//! Session parameters that follow their client, and start-up parameters.

use crate::{pool, pool_with};
use sluice_tests::Client;

fn shown(client: &mut Client, name: &str) -> String {
    client.value(&format!("SHOW {name}"))
}

#[test]
fn each_client_keeps_its_own_values_on_a_shared_server() {
    let (_postgres, pooler) = pool(1);
    let mut alice = pooler.client("alice");
    let mut other = pooler.client("alice");
    for (name, one, two) in [
        ("application_name", "first app", "it's \"another\""),
        ("datestyle", "German, DMY", "SQL, MDY"),
        ("timezone", "Asia/Tokyo", "America/New_York"),
        ("client_encoding", "LATIN1", "UTF8"),
        ("standard_conforming_strings", "off", "on"),
        ("intervalstyle", "iso_8601", "sql_standard"),
    ] {
        alice.rows(&format!("SET {name} = '{one}'"));
        other.rows(&format!("SET {name} = '{}'", two.replace('\'', "''")));
        for _ in 0..3 {
            assert_eq!(shown(&mut alice, name), one);
            assert_eq!(shown(&mut other, name), two);
        }
    }
    assert_eq!(alice.value("SELECT '2024-02-01'::date"), "01.02.2024");
    assert_eq!(other.value("SELECT '2024-02-01'::date"), "02/01/2024");
    assert_eq!(alice.parameters["TimeZone"], "Asia/Tokyo");
    assert_eq!(other.parameters["TimeZone"], "America/New_York");
}

#[test]
fn startup_values_apply_to_every_server() {
    let (_postgres, pooler) = pool(2);
    let login = pooler.login("alice", "postgres");
    let mut client = login
        .clone()
        .parameter("application_name", "started")
        .parameter("DateStyle", "SQL, DMY")
        .parameter("TimeZone", "Europe/Prague")
        .connect()
        .unwrap();
    let mut holder = pooler.client("alice");
    for _ in 0..2 {
        assert_eq!(shown(&mut client, "application_name"), "started");
        assert_eq!(shown(&mut client, "datestyle"), "SQL, DMY");
        assert_eq!(shown(&mut client, "timezone"), "Europe/Prague");
        holder.query("BEGIN").unwrap();
        holder.value("SELECT 1");
    }
    assert_eq!(client.parameters["application_name"], "started");
    assert!(client.parameters.contains_key("server_version"), "{:?}", client.parameters);
}

#[test]
fn a_value_set_in_a_transaction_that_rolls_back_is_the_old_one_again() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    client.rows("SET timezone = 'Asia/Tokyo'");
    client.query("BEGIN").unwrap();
    client.rows("SET timezone = 'Europe/Paris'");
    client.query("ROLLBACK").unwrap();
    let mut other = pooler.client("alice");
    other.rows("SET timezone = 'UTC'");
    assert_eq!(shown(&mut client, "timezone"), "Asia/Tokyo");
    assert_eq!(shown(&mut other, "timezone"), "UTC");
}

#[test]
fn a_very_long_value_is_kept_whole() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    let mut other = pooler.client("alice");
    // PostgreSQL cuts application_name to 63 bytes; the pooler must compare with what the server made of it.
    let name = "n".repeat(300);
    client.rows(&format!("SET application_name = '{name}'"));
    other.rows("SET application_name = 'short'");
    assert_eq!(shown(&mut client, "application_name"), name[..63]);
    assert_eq!(shown(&mut other, "application_name"), "short");
}

#[test]
fn application_name_add_host_names_the_client() {
    let (_postgres, pooler) = pool_with(1, |config| config.set("application_name_add_host", "1"));
    let mut client =
        pooler.login("alice", "postgres").parameter("application_name", "mine").connect().unwrap();
    let name = shown(&mut client, "application_name");
    assert!(name.starts_with("mine - 127.0.0.1:"), "{name}");
    let mut nameless = pooler.client("alice");
    let name = shown(&mut nameless, "application_name");
    assert!(name.starts_with("app - 127.0.0.1:"), "{name}");
}

#[test]
fn options_are_read_and_unknown_parameters_refused_unless_ignored() {
    let (_postgres, pooler) = pool(1);
    let login = pooler.login("alice", "postgres");
    let mut client =
        login.clone().parameter("options", "-c datestyle=German --timezone=UTC").connect().unwrap();
    assert_eq!(shown(&mut client, "datestyle"), "German, DMY");
    for (name, value, text) in [
        ("extra_float_digits", "3", "unsupported startup parameter: extra_float_digits"),
        ("options", "-c geqo=off", "unsupported startup parameter in options: geqo"),
    ] {
        let failure = login.clone().parameter(name, value).connect().unwrap_err();
        assert_eq!((failure.code(), failure.text().as_str()), ("08P01", text));
    }

    let ignored = "extra_float_digits, options, geqo";
    let (_postgres, pooler) = pool_with(1, |config| config.set("ignore_startup_parameters", ignored));
    let login = pooler.login("alice", "postgres").parameter("extra_float_digits", "3");
    let mut client = login.parameter("options", "-c geqo=off").connect().unwrap();
    assert_eq!(shown(&mut client, "geqo"), "on");
}

#[test]
fn track_extra_parameters_follow_too() {
    let (_postgres, pooler) = pool_with(1, |config| {
        config.set("track_extra_parameters", "default_transaction_read_only, IntervalStyle")
    });
    let mut client = pooler.client("alice");
    let mut other = pooler.client("alice");
    client.rows("SET default_transaction_read_only = on");
    assert_eq!(shown(&mut other, "default_transaction_read_only"), "off");
    assert_eq!(shown(&mut client, "default_transaction_read_only"), "on");
}
