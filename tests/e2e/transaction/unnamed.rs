//! The unnamed statement belongs to its client, whoever used the server connection in between.

use crate::{pool, pool_with};
use sluice_tests::message::{bind, close, describe, execute, parse, query, sync};

#[test]
fn two_clients_on_one_server_do_not_see_each_others() {
    let (_postgres, pooler) = pool(1);
    let mut alice = pooler.client("alice");
    let mut other = pooler.client("alice");
    for round in 0..10 {
        assert_eq!(alice.exchange(&[parse("", "SELECT 'alice'"), sync()].concat()).unwrap().tags(), "1Z");
        assert_eq!(other.exchange(&[parse("", "SELECT 'other'"), sync()].concat()).unwrap().tags(), "1Z");
        let mine = alice.exchange(&[bind("", "", &[]), execute("", 0), sync()].concat()).unwrap();
        assert_eq!(mine.value(), "alice", "round {round}");
        let others = other.exchange(&[bind("", "", &[]), execute("", 0), sync()].concat()).unwrap();
        assert_eq!(others.value(), "other", "round {round}");
    }
}

#[test]
fn it_follows_its_client_to_another_server() {
    let (_postgres, pooler) = pool(2);
    let mut client = pooler.client("alice");
    client.exchange(&[parse("", "SELECT pg_backend_pid(), 'mine'"), sync()].concat()).unwrap();
    let run = [bind("", "", &[]), execute("", 0), sync()].concat();
    let first = client.exchange(&run).unwrap().rows();
    let mut holder = pooler.client("alice");
    holder.query("BEGIN").unwrap();
    assert_eq!(holder.value("SELECT pg_backend_pid()"), first[0][0]);
    let second = client.exchange(&run).unwrap();
    assert_eq!(second.tags(), "2DCZ", "{:?}", second.errors());
    let second = second.rows();
    assert_ne!(second[0][0], first[0][0]);
    assert_eq!(second[0][1], "mine");
}

#[test]
fn a_client_without_one_gets_26000_and_never_anothers() {
    let (_postgres, pooler) = pool(1);
    let mut alice = pooler.client("alice");
    let mut other = pooler.client("alice");
    alice.exchange(&[parse("", "SELECT 'alice'"), sync()].concat()).unwrap();
    for request in [bind("", "", &[]), describe(b'S', "")] {
        let reply = other.exchange(&[request, sync()].concat()).unwrap();
        assert_eq!((reply.tags().as_str(), reply.code().as_str()), ("EZ", "26000"));
    }
    let mine = alice.exchange(&[bind("", "", &[]), execute("", 0), sync()].concat()).unwrap();
    assert_eq!(mine.value(), "alice");
}

#[test]
fn a_query_a_close_and_a_failed_parse_end_it() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    let ends =
        [query("SELECT 1"), [close(b'S', ""), sync()].concat(), [parse("", "SELEKT"), sync()].concat()];
    for end in ends {
        client.exchange(&[parse("", "SELECT 'gone'"), sync()].concat()).unwrap();
        client.exchange(&end).unwrap();
        let reply = client.exchange(&[bind("", "", &[]), execute("", 0), sync()].concat()).unwrap();
        assert_eq!(reply.code(), "26000");
    }
}

#[test]
fn a_skipped_parse_keeps_the_one_before() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    let batch = [parse("", "SELECT 'before'"), bind("", "ghost", &[]), parse("", "SELECT 'skipped'"), sync()]
        .concat();
    assert_eq!(client.exchange(&batch).unwrap().code(), "26000");
    let reply = client.exchange(&[bind("", "", &[]), execute("", 0), sync()].concat()).unwrap();
    assert_eq!(reply.value(), "before");
}

#[test]
fn one_longer_than_is_remembered_keeps_its_server() {
    let (_postgres, pooler) = pool_with(2, |config| config);
    let mut client = pooler.client("alice");
    let text = format!("SELECT length('{}')", "x".repeat(100_000));
    client.exchange(&[parse("", &text), sync()].concat()).unwrap();
    let mut other = pooler.client("alice");
    other.exchange(&[parse("", "SELECT 'other'"), sync()].concat()).unwrap();
    let reply = client.exchange(&[bind("", "", &[]), execute("", 0), sync()].concat()).unwrap();
    assert_eq!(reply.value(), "100000");
}
