//! Named prepared statements follow their client over server connections.

use crate::{pool, pool_with};
use sluice_tests::client::Reply;
use sluice_tests::message::{bind, close, describe, execute, message, parse, sync};
use sluice_tests::{Client, Pooler};

fn prepare(client: &mut Client, name: &str, sql: &str) -> Reply {
    client.exchange(&[parse(name, sql), sync()].concat()).unwrap()
}

fn run(client: &mut Client, name: &str, parameters: &[&str]) -> Reply {
    client.exchange(&[bind("", name, parameters), execute("", 0), sync()].concat()).unwrap()
}

/// A client that holds one server connection, so that the others must take another.
fn holder(pooler: &Pooler) -> (Client, String) {
    let mut client = pooler.client("alice");
    client.query("BEGIN").unwrap();
    let pid = client.value("SELECT pg_backend_pid()");
    (client, pid)
}

#[test]
fn a_statement_works_on_a_server_that_never_saw_it() {
    let (_postgres, pooler) = pool(2);
    let mut client = pooler.client("alice");
    assert_eq!(prepare(&mut client, "s", "SELECT $1::text, pg_backend_pid()").tags(), "1Z");
    let first = run(&mut client, "s", &["one"]).rows();
    let (mut held, pid) = holder(&pooler);
    assert_eq!(pid, first[0][1], "the newest idle server is taken first");
    let second = run(&mut client, "s", &["two"]).rows();
    assert_ne!(second[0][1], first[0][1]);
    assert_eq!((first[0][0].as_str(), second[0][0].as_str()), ("one", "two"));
    held.query("COMMIT").unwrap();
}

#[test]
fn equal_names_of_two_clients_are_two_statements() {
    let (_postgres, pooler) = pool(1);
    let mut clients: Vec<Client> = (0..5).map(|_| pooler.client("alice")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(prepare(client, "s", &format!("SELECT 'of client {number}'")).tags(), "1Z");
    }
    for _ in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(run(client, "s", &[]).value(), format!("of client {number}"));
        }
    }
}

#[test]
fn describe_and_close_speak_of_the_clients_own_statement() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    let mut other = pooler.client("alice");
    prepare(&mut other, "s", "SELECT 1 AS not_this");
    prepare(&mut client, "s", "SELECT $1::int AS number, 'x' AS letter");
    let described = client.exchange(&[describe(b'S', "s"), sync()].concat()).unwrap();
    assert_eq!(
        (described.tags().as_str(), described.columns()),
        ("tTZ", vec!["number".into(), "letter".into()])
    );
    assert_eq!(client.exchange(&[close(b'S', "s"), sync()].concat()).unwrap().tags(), "3Z");
    assert_eq!(run(&mut client, "s", &["1"]).code(), "26000");
    assert_eq!(run(&mut other, "s", &[]).value(), "1");
    prepare(&mut client, "s", "SELECT 'new text'");
    assert_eq!(run(&mut client, "s", &[]).value(), "new text");
    assert_eq!(client.exchange(&[close(b'S', "never there"), sync()].concat()).unwrap().tags(), "3Z");
}

#[test]
fn an_unknown_name_is_postgresqls_own_error_and_the_session_goes_on() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    for request in [bind("", "ghost", &[]), describe(b'S', "ghost")] {
        let reply = client.exchange(&[request, execute("", 0), sync()].concat()).unwrap();
        assert_eq!((reply.tags().as_str(), reply.code().as_str()), ("EZ", "26000"));
        assert_eq!(reply.errors()[0].message(), "prepared statement \"ghost\" does not exist");
    }
    client.query("BEGIN").unwrap();
    let inside = run(&mut client, "ghost", &[]);
    assert_eq!(
        (inside.code().as_str(), inside.status()),
        ("26000", 'E'),
        "the transaction failed on the server too"
    );
    assert_eq!(client.query("SELECT 1").unwrap().code(), "25P02");
    client.query("ROLLBACK").unwrap();
    assert_eq!(client.value("SELECT 'here'"), "here");
}

#[test]
fn a_duplicate_name_is_postgresqls_own_error_and_the_session_goes_on() {
    let (_postgres, pooler) = pool(2);
    let mut client = pooler.client("alice");
    prepare(&mut client, "s", "SELECT 'first'");
    for held in [false, true] {
        let holder = held.then(|| holder(&pooler));
        let reply = prepare(&mut client, "s", "SELECT 'second'");
        assert_eq!((reply.tags().as_str(), reply.code().as_str()), ("EZ", "42P05"));
        assert_eq!(reply.errors()[0].message(), "prepared statement \"s\" already exists");
        assert_eq!(run(&mut client, "s", &[]).value(), "first");
        drop(holder);
    }
}

#[test]
fn deallocate_all_and_discard_all_forget_every_statement() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    for command in ["DEALLOCATE ALL", "DISCARD ALL"] {
        prepare(&mut client, "s", "SELECT 's'");
        assert_eq!(run(&mut client, "s", &[]).value(), "s");
        client.rows(command);
        assert_eq!(run(&mut client, "s", &[]).code(), "26000", "{command}");
        assert_eq!(prepare(&mut client, "s", "SELECT 'again'").tags(), "1Z", "{command}");
        assert_eq!(run(&mut client, "s", &[]).value(), "again", "{command}");
        client.rows(command);
    }
}

#[test]
fn in_one_batch_a_statement_behind_deallocate_all_is_prepared_anew() {
    let (_postgres, pooler) = pool(1);
    prepare(&mut pooler.client("alice"), "theirs", "SELECT 'shared'");
    for command in ["DEALLOCATE ALL", "DISCARD ALL"] {
        let mut client = pooler.client("alice");
        prepare(&mut client, "command", command);
        let bytes = [
            [bind("", "command", &[]), execute("", 0)].concat(),
            [parse("mine", "SELECT 'shared'"), bind("", "mine", &[]), execute("", 0), sync()].concat(),
        ];
        let reply = client.exchange(&bytes.concat()).unwrap();
        assert_eq!((reply.tags().as_str(), reply.value().as_str()), ("2C12DCZ", "shared"), "{command}");
        assert_eq!(run(&mut client, "mine", &[]).value(), "shared", "{command}");
    }
}

#[test]
fn a_failed_parse_registers_nothing() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    assert_eq!(prepare(&mut client, "s", "SELEKT").code(), "42601");
    assert_eq!(run(&mut client, "s", &[]).code(), "26000");
    assert_eq!(prepare(&mut client, "s", "SELECT 'good'").tags(), "1Z");
    assert_eq!(run(&mut client, "s", &[]).value(), "good");
}

#[test]
fn a_skipped_close_restores_the_statement() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    prepare(&mut client, "s", "SELECT 's'");
    let batch = [parse("", "SELEKT"), close(b'S', "s"), sync()].concat();
    assert_eq!(client.exchange(&batch).unwrap().tags(), "EZ");
    assert_eq!(run(&mut client, "s", &[]).value(), "s");
    let batch = [close(b'S', "s"), parse("", "SELEKT"), sync()].concat();
    assert_eq!(client.exchange(&batch).unwrap().tags(), "3EZ");
    assert_eq!(run(&mut client, "s", &[]).code(), "26000");
}

#[test]
fn a_server_keeps_at_most_max_prepared_statements() {
    let (_postgres, pooler) = pool_with(1, |config| config.set("max_prepared_statements", "3"));
    let mut client = pooler.client("alice");
    for number in 0..10 {
        prepare(&mut client, &format!("s{number}"), &format!("SELECT {number}"));
    }
    for number in (0..10).chain((0..10).rev()) {
        assert_eq!(run(&mut client, &format!("s{number}"), &[]).value(), number.to_string());
        let held: i32 = client.value("SELECT count(*) FROM pg_prepared_statements").parse().unwrap();
        assert!(held <= 3, "{held} statements on the server");
    }
}

#[test]
fn a_lower_max_prepared_statements_is_reached_with_the_next_parse() {
    let (_postgres, pooler) = pool_with(1, |config| config.set("max_prepared_statements", "5"));
    let mut client = pooler.client("alice");
    for number in 0..5 {
        prepare(&mut client, &format!("s{number}"), &format!("SELECT {number}"));
    }
    assert_eq!(client.value("SELECT count(*) FROM pg_prepared_statements"), "5");
    pooler.command("SET max_prepared_statements = 2").unwrap();
    prepare(&mut client, "s5", "SELECT 5");
    assert_eq!(client.value("SELECT count(*) FROM pg_prepared_statements"), "2");
}

#[test]
fn one_pipeline_may_prepare_more_than_the_server_keeps() {
    let (_postgres, pooler) = pool_with(1, |config| config.set("max_prepared_statements", "2"));
    let mut client = pooler.client("alice");
    let mut bytes = Vec::new();
    for number in 0..6 {
        let name = format!("s{number}");
        bytes.extend(
            [parse(&name, &format!("SELECT {number}")), bind("", &name, &[]), execute("", 0)].concat(),
        );
    }
    bytes.extend(sync());
    let reply = client.exchange(&bytes).unwrap();
    assert_eq!(reply.tags(), "12DC".repeat(6) + "Z");
    assert_eq!(run(&mut client, "s0", &[]).value(), "0");
    assert_eq!(prepare(&mut client, "last", "SELECT 'last'").tags(), "1Z");
    assert_eq!(client.value("SELECT count(*) FROM pg_prepared_statements"), "2", "the others make room");
}

#[test]
fn equal_text_with_other_parameter_types_is_another_statement() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    let typed = |name: &str, oid: u32| {
        let body = [name.as_bytes(), b"\0SELECT pg_typeof($1)\0\0\x01", &oid.to_be_bytes()].concat();
        [message(b'P', &body), sync()].concat()
    };
    assert_eq!(client.exchange(&typed("number", 23)).unwrap().tags(), "1Z");
    assert_eq!(client.exchange(&typed("text", 25)).unwrap().tags(), "1Z");
    assert_eq!(run(&mut client, "number", &["1"]).value(), "integer");
    assert_eq!(run(&mut client, "text", &["1"]).value(), "text");
}

#[test]
fn a_statement_outlives_the_transaction_and_its_rollback() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    client.query("BEGIN").unwrap();
    prepare(&mut client, "s", "SELECT 's'");
    client.query("ROLLBACK").unwrap();
    assert_eq!(run(&mut client, "s", &[]).value(), "s");
}

#[test]
fn a_changed_result_type_heals_after_the_transaction() {
    let (postgres, pooler) = pool(1);
    postgres.sql(
        "CREATE TABLE changing (a int); INSERT INTO changing VALUES (1); GRANT ALL ON changing TO alice",
    );
    let mut client = pooler.client("alice");
    prepare(&mut client, "s", "SELECT * FROM changing");
    assert_eq!(run(&mut client, "s", &[]).rows(), [["1"]]);
    postgres.sql("ALTER TABLE changing ADD b int DEFAULT 2");
    assert_eq!(run(&mut client, "s", &[]).code(), "0A000");
    assert_eq!(run(&mut client, "s", &[]).rows(), [["1", "2"]]);
}

#[test]
fn a_statement_deallocated_behind_our_back_fails_once() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    prepare(&mut client, "s", "SELECT 'still here'");
    // The command tag tells nothing, so the pooler cannot know.
    client.query("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$").unwrap();
    let reply = run(&mut client, "s", &[]);
    assert_eq!(reply.code(), "26000");
    assert_eq!(run(&mut client, "s", &[]).value(), "still here");
}

#[test]
fn a_server_on_which_somebody_has_taken_a_name_is_replaced() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    for number in 1..100 {
        client.query(&format!("PREPARE \"PGBOUNCER_{number}\" AS SELECT 'not mine'")).unwrap();
    }
    assert_eq!(prepare(&mut client, "s", "SELECT 'mine'").code(), "42P05");
    assert_eq!(prepare(&mut client, "s", "SELECT 'mine'").tags(), "1Z");
    assert_eq!(run(&mut client, "s", &[]).value(), "mine");
}

#[test]
fn many_statements_of_many_clients_stay_apart() {
    let (_postgres, pooler) = pool_with(3, |config| config.set("max_prepared_statements", "5"));
    let mut clients: Vec<Client> = (0..10).map(|_| pooler.client("alice")).collect();
    for round in 0..6 {
        for (number, client) in clients.iter_mut().enumerate() {
            let name = format!("s{round}");
            client
                .send(&[parse(&name, &format!("SELECT '{number}/{round}/' || $1")), sync()].concat())
                .unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.reply().unwrap().tags(), "1Z");
        }
        for earlier in 0..=round {
            for client in &mut clients {
                let request = [bind("", &format!("s{earlier}"), &["x"]), execute("", 0), sync()].concat();
                client.send(&request).unwrap();
            }
            for (number, client) in clients.iter_mut().enumerate() {
                assert_eq!(client.reply().unwrap().value(), format!("{number}/{earlier}/x"));
            }
        }
    }
}
