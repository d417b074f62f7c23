//! COPY in and out, and what may go wrong in the middle of one.

use crate::pool;
use sluice_tests::message::{bind, copy_data, copy_done, copy_fail, execute, parse, query, sync};
use sluice_tests::{Client, Postgres};

fn table(postgres: &Postgres) {
    postgres.sql("CREATE TABLE copied (n int); GRANT ALL ON copied TO alice");
}

/// Starts a COPY FROM STDIN by simple query.
fn begin(client: &mut Client) {
    client.send(&query("COPY copied FROM STDIN")).unwrap();
    assert_eq!(client.receive().unwrap().tag, b'G');
}

#[test]
fn copy_in_and_out() {
    let (postgres, pooler) = pool(1);
    table(&postgres);
    let mut client = pooler.client("alice");
    begin(&mut client);
    for number in 0..1000 {
        client.send(&copy_data(format!("{number}\n").as_bytes())).unwrap();
    }
    let reply = client.exchange(&copy_done()).unwrap();
    assert_eq!(reply.commands(), ["COPY 1000"]);
    let out = client.query("COPY copied TO STDOUT").unwrap();
    assert_eq!(out.tags(), format!("H{}cCZ", "d".repeat(1000)));
    assert_eq!(out.messages[1000].body, b"999\n");
}

#[test]
fn copy_by_extended_query_ignores_syncs_inside() {
    let (postgres, pooler) = pool(1);
    table(&postgres);
    let mut client = pooler.client("alice");
    client
        .send(&[parse("", "COPY copied FROM STDIN"), bind("", "", &[]), execute("", 0), sync()].concat())
        .unwrap();
    client.send(&[copy_data(b"1\n"), sync(), copy_data(b"2\n"), copy_done(), sync()].concat()).unwrap();
    let reply = client.reply().unwrap();
    assert_eq!((reply.tags().as_str(), reply.commands()), ("12GCZ", vec!["COPY 2".to_owned()]));
    assert_eq!(client.value("SELECT sum(n) FROM copied"), "3");
}

#[test]
fn copy_fail_undoes_it() {
    let (postgres, pooler) = pool(1);
    table(&postgres);
    let mut client = pooler.client("alice");
    begin(&mut client);
    let reply = client.exchange(&[copy_data(b"1\n"), copy_fail("changed my mind")].concat()).unwrap();
    assert_eq!(reply.code(), "57014");
    assert_eq!(client.value("SELECT count(*) FROM copied"), "0");
}

#[test]
fn late_copy_messages_behind_an_error_hurt_nobody() {
    let (postgres, pooler) = pool(1);
    table(&postgres);
    let mut client = pooler.client("alice");
    let mut other = pooler.client("alice");
    for late in 0..20 {
        begin(&mut client);
        client.send(&copy_data(b"not a number\n")).unwrap();
        let failed = if late % 2 == 0 { Some(client.reply().unwrap()) } else { None };
        for _ in 0..late {
            client.send(&copy_data(b"1\n")).unwrap();
        }
        client.send(&copy_done()).unwrap();
        let failed = failed.unwrap_or_else(|| client.reply().unwrap());
        assert_eq!(failed.code(), "22P02");
        assert_eq!(other.value("SELECT 'other'"), "other");
        assert_eq!(client.value("SELECT count(*) FROM copied"), "0");
    }
}

#[test]
fn copy_data_out_of_the_blue_is_ignored_as_postgresql_does() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    client.send(&[copy_data(b"1\n"), copy_done(), copy_fail("no")].concat()).unwrap();
    assert_eq!(client.value("SELECT 'fine'"), "fine");
    assert_eq!(pooler.client("alice").value("SELECT 'other'"), "other");
}

#[test]
fn a_copy_in_whose_client_vanishes_is_undone_and_its_server_usable() {
    let (postgres, pooler) = pool(1);
    table(&postgres);
    let mut other = pooler.client("alice");
    for way in 0..3 {
        let mut client = pooler.client("alice");
        begin(&mut client);
        client.send(&copy_data(b"1\n")).unwrap();
        match way {
            0 => drop(client),
            1 => client.reset(),
            _ => client.terminate(),
        }
        assert_eq!(other.value("SELECT count(*) FROM copied"), "0");
    }
}

#[test]
fn a_copy_inside_a_transaction_keeps_the_transaction() {
    let (postgres, pooler) = pool(1);
    table(&postgres);
    let mut client = pooler.client("alice");
    client.query("BEGIN").unwrap();
    begin(&mut client);
    let reply = client.exchange(&[copy_data(b"7\n"), copy_done()].concat()).unwrap();
    assert_eq!(reply.status(), 'T');
    assert_eq!(client.value("SELECT n FROM copied"), "7");
    assert_eq!(client.query("ROLLBACK").unwrap().status(), 'I');
    assert_eq!(client.value("SELECT count(*) FROM copied"), "0");
}

#[test]
fn a_copy_that_fails_in_the_middle_of_a_message_keeps_the_framing() {
    let (postgres, pooler) = pool(1);
    table(&postgres);
    let mut client = pooler.client("alice");
    let batch = [parse("", "COPY copied FROM STDIN"), bind("", "", &[]), execute("", 0), sync()].concat();
    client.send(&batch).unwrap();
    for _ in 0..3 {
        client.receive().unwrap();
    }
    let data = copy_data("2\n".repeat(100_000).as_bytes());
    let (first, last) = data.split_at(data.len() / 2);
    client.send(&[&copy_data(b"not a number\n"), first].concat()).unwrap();
    assert_eq!(client.receive().unwrap().tag, b'E');
    client.send(&[last, &copy_done(), &sync()].concat()).unwrap();
    assert_eq!(client.reply().unwrap().tags(), "Z");
    assert_eq!(client.value("SELECT count(*) FROM copied"), "0");
}
