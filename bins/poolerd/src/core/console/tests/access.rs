//! Who is let in, and who may do what.

use super::*;
use crate::core::console::{COMMANDS, Privilege, SHOWS};

const REFUSED: &str = "FATAL 08P01 not allowed, closed";

fn enter(bench: &mut Bench, from: Address, user: &str) -> (ClientId, String) {
    let id = bench.connect_from(from, "pgbouncer", user);
    let answer = bench.answer(id);
    (id, answer)
}

fn unix(uid: u32) -> Address {
    Address::Unix { pid: 77, uid, port: 6432 }
}

#[test]
fn the_lists_decide() {
    let mut bench = Bench::new();
    let (boss, answer) = enter(&mut bench, Bench::tcp(1), "boss");
    assert_eq!(answer, "only ready");
    let (clerk, answer) = enter(&mut bench, Bench::tcp(1), "clerk");
    assert_eq!(answer, "only ready");
    assert_eq!(enter(&mut bench, Bench::tcp(1), "ann").1, REFUSED);
    assert_eq!(bench.run(boss, "PAUSE"), "PAUSE");
    assert_eq!(bench.run(clerk, "RESUME"), "ERROR 08P01 admin access needed");
    assert_eq!(bench.run(boss, "RESUME"), "RESUME");
}

#[test]
fn the_owner_needs_no_list_at_the_unix_socket() {
    let mut bench = Bench::with(&CONFIG.replace("trust", "scram-sha-256"));
    let (owner, answer) = enter(&mut bench, unix(OWN_UID), "pgbouncer");
    assert_eq!(answer, "only ready");
    assert_eq!(bench.run(owner, "PAUSE"), "PAUSE");
    for (from, user) in [
        (unix(OWN_UID + 1), "pgbouncer"),
        (unix(u32::MAX), "pgbouncer"),
        (unix(OWN_UID), "boss"),
        (Bench::tcp(1), "pgbouncer"),
    ] {
        let id = bench.connect_from(from, "pgbouncer", user);
        assert_eq!(bench.tags(id), "R", "{user} has to prove who it is");
    }
}

#[test]
fn limits_of_clients_hold_for_whoever_may_only_look() {
    for (limit, text) in [
        ("max_db_client_connections = 2", "client connections exceeded (max_db_client_connections)"),
        ("max_user_client_connections = 2", "client connections exceeded (max_user_client_connections)"),
    ] {
        let mut bench = Bench::with(&format!("{CONFIG}{limit}\n"));
        let clerks: Vec<ClientId> = (0..2).map(|_| bench.console("clerk")).collect();
        let refused = format!("FATAL 08P01 {text}, closed");
        assert_eq!(enter(&mut bench, Bench::tcp(1), "clerk").1, refused);
        for _ in 0..3 {
            bench.console("boss");
        }
        assert_eq!(enter(&mut bench, unix(OWN_UID), "pgbouncer").1, "only ready");
        for clerk in clerks {
            bench.core.client_gone(clerk, bench.now);
        }
        if limit.contains("user") {
            bench.console("clerk");
        }
    }
}

#[test]
fn a_name_that_is_let_in_nowhere_leaves_no_trace() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let users = bench.rows(boss, "SHOW USERS").len();
    for database in ["one", "nowhere", "pgbouncer"] {
        let stranger = bench.connect(database, "stranger");
        assert!(bench.answer(stranger).ends_with("\"trust\" authentication failed, closed"));
    }
    assert_eq!(bench.rows(boss, "SHOW USERS").len(), users);
    let database = bench.row(boss, "SHOW DATABASES", "one");
    assert_eq!(database["current_client_connections"], "0");
}

#[test]
fn with_any_everybody_may_look() {
    let mut bench = Bench::with(&CONFIG.replace("trust", "any"));
    let (stranger, answer) = enter(&mut bench, Bench::tcp(1), "stranger");
    assert_eq!(answer, "only ready");
    assert_eq!(bench.run(stranger, "PAUSE"), "ERROR 08P01 admin access needed");
    assert_eq!(bench.run(stranger, "SHOW VERSION"), "SHOW");
    let (boss, _) = enter(&mut bench, Bench::tcp(1), "boss");
    assert_eq!(bench.run(boss, "PAUSE"), "PAUSE");
}

#[test]
fn a_console_is_beyond_max_client_conn_and_does_not_count() {
    let mut bench = Bench::new();
    let consoles: Vec<ClientId> = (0..6).map(|_| bench.console("boss")).collect();
    let clients: Vec<ClientId> = (0..4).map(|_| bench.client("one")).collect();
    let late = bench.connect("one", "ann");
    assert_eq!(bench.answer(late), "FATAL 08P01 no more connections allowed (max_client_conn), closed");
    let another = bench.console("boss");
    assert_eq!(bench.row(another, "SHOW POOLS", "pgbouncer")["cl_active"], "7");
    for id in consoles.into_iter().chain(clients) {
        bench.core.client_gone(id, bench.now);
        bench.settle(&[]);
    }
    assert_eq!(bench.row(another, "SHOW POOLS", "pgbouncer")["cl_active"], "1");
    assert_eq!(bench.row(another, "SHOW LISTS", "used_clients")["items"], "1");
}

#[test]
fn the_greeting_is_pgbouncers() {
    let mut bench = Bench::new();
    let id = bench.connect("pgbouncer", "boss");
    let greeting = bench.read(id);
    let tags: String = greeting.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags, "RSSSSSSSKZ");
    let parameters: Vec<_> = greeting
        .iter()
        .filter(|(tag, _)| *tag == 'S')
        .map(|(_, body)| backend::read_parameter_status(body).unwrap())
        .collect();
    let expected: [(&[u8], &[u8]); 7] = [
        (b"server_version", b"1.25.2/bouncer"),
        (b"client_encoding", b"UTF8"),
        (b"server_encoding", b"UTF8"),
        (b"DateStyle", b"ISO"),
        (b"TimeZone", b"GMT"),
        (b"standard_conforming_strings", b"on"),
        (b"is_superuser", b"on"),
    ];
    assert_eq!(parameters, expected);
}

#[test]
fn the_table_says_what_needs_an_admin() {
    let mut bench = Bench::new();
    let clerk = bench.console("clerk");
    for command in COMMANDS.iter().filter(|c| c.privilege == Privilege::Admin) {
        let text = match command.name {
            "SET" => "SET query_timeout = 1".to_owned(),
            name => name.to_owned(),
        };
        assert_eq!(bench.run(clerk, &text), "ERROR 08P01 admin access needed", "{text}");
    }
    for show in SHOWS {
        let answer = bench.run(clerk, &format!("SHOW {}", show.name));
        let expected = match show.name {
            "FDS" => "ERROR 08P01 admin access needed",
            "HELP" => "NOTICE Console usage, SHOW",
            _ => "SHOW",
        };
        assert_eq!(answer, expected, "{}", show.name);
    }
    assert_eq!(bench.run(clerk, "SET DateStyle = 'ISO'"), "NOTICE SET ignored, SET");
    let boss = bench.console("boss");
    assert_eq!(bench.run(boss, "SHOW FDS"), "ERROR 0A000 SHOW FDS is not supported yet");
}

#[test]
fn the_tables_are_in_order() {
    assert!(COMMANDS.is_sorted_by_key(|command| command.name));
    assert!(SHOWS.is_sorted_by_key(|show| show.name.replace('_', "~")));
}
