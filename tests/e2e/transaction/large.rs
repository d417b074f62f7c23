//! Messages far larger than any buffer stream through in bounded memory, both ways.

use crate::pool;
use sluice_tests::message::{bind, copy_data, copy_done, execute, parse, query, sync};
use sluice_tests::{Client, Pooler};

const LARGE: usize = 50 << 20;

/// How much the pooler may grow while it relays `LARGE` bytes.
const GROWTH: u64 = 8 << 20;

/// Runs the work and checks that the pooler did not grow by what went through it.
fn bounded(pooler: &mut Pooler, work: impl FnOnce(&mut Client)) {
    let mut client = pooler.client("alice");
    client.value("SELECT 1");
    let before = pooler.process().peak_bytes();
    work(&mut client);
    let after = pooler.process().peak_bytes();
    assert!(after < before + GROWTH, "from {before} to {after} bytes");
    assert_eq!(pooler.client("alice").value("SELECT 'still fine'"), "still fine");
}

#[test]
fn a_row() {
    let (_postgres, mut pooler) = pool(1);
    bounded(&mut pooler, |client| {
        for round in 0..2 {
            let row = client.value(&format!("SELECT repeat('{round}', {LARGE})"));
            assert_eq!(row.len(), LARGE);
            assert!(row.bytes().all(|byte| byte == b'0' + round));
        }
    });
}

#[test]
fn a_parameter() {
    let (_postgres, mut pooler) = pool(1);
    bounded(&mut pooler, |client| {
        let parameter = "p".repeat(LARGE);
        for name in ["", "named"] {
            let bytes =
                [parse(name, "SELECT md5($1)"), bind("", name, &[&parameter]), execute("", 0), sync()];
            let reply = client.exchange(&bytes.concat()).unwrap();
            assert_eq!(reply.value().len(), 32);
        }
    });
}

#[test]
fn a_query_and_a_copy() {
    let (postgres, mut pooler) = pool(1);
    postgres.sql("CREATE TABLE copied (t text); GRANT ALL ON copied TO alice");
    bounded(&mut pooler, |client| {
        let text = "q".repeat(LARGE / 2);
        assert_eq!(client.value(&format!("SELECT length('{text}')")), text.len().to_string());
        client.send(&query("COPY copied FROM STDIN")).unwrap();
        client.receive().unwrap();
        let line = [text.as_bytes(), b"\n"].concat();
        let reply = client.exchange(&[copy_data(&line), copy_done()].concat()).unwrap();
        assert_eq!(reply.commands(), ["COPY 1"]);
    });
}

#[test]
fn a_reader_that_does_not_read_costs_no_memory() {
    let (_postgres, mut pooler) = pool(2);
    bounded(&mut pooler, |client| {
        client.send(&query(&format!("SELECT repeat('x', {LARGE})"))).unwrap();
        client.receive().unwrap();
    });
}

#[test]
fn both_ways_at_once_without_deadlock() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    let parameter = "p".repeat(1 << 20);
    let mut bytes = Vec::new();
    for _ in 0..10 {
        bytes.extend(
            [parse("", "SELECT $1::text"), bind("", "", &[&parameter]), execute("", 0), sync()].concat(),
        );
    }
    // PostgreSQL itself stops reading while its answers are not taken, so the answers must be taken meanwhile.
    let mut sender = client.sender();
    let sending = std::thread::spawn(move || sender.send(&bytes).unwrap());
    for _ in 0..10 {
        assert_eq!(client.reply().unwrap().value().len(), parameter.len());
    }
    sending.join().unwrap();
}
