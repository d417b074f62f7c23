//! Pipelines: many Syncs in flight, errors in the middle of a batch, portals across reads.

use crate::{DIVIDE_BY_ZERO, pool};
use sluice_tests::message::{bind, execute, extended, flush, function_call, parse, query, sync};

#[test]
fn several_syncs_in_one_write_are_answered_in_order() {
    let (_postgres, pooler) = pool(1);
    let mut alice = pooler.client("alice");
    let mut bob = pooler.login("bob", "postgres").connect().unwrap();
    for round in 0..20 {
        let mut bytes = Vec::new();
        for step in 0..8 {
            bytes.extend(extended("SELECT $1::text", &[&format!("{round} {step}")]));
            bytes.extend(sync());
        }
        alice.send(&bytes).unwrap();
        assert_eq!(bob.value(&format!("SELECT 'bob {round}'")), format!("bob {round}"));
        for step in 0..8 {
            let reply = alice.reply().unwrap();
            assert_eq!((reply.tags().as_str(), reply.value()), ("12TDCZ", format!("{round} {step}")));
        }
    }
}

#[test]
fn clients_of_one_server_connection_pipeline_without_mixing() {
    let (_postgres, pooler) = pool(1);
    let mut clients = [pooler.client("alice"), pooler.client("alice"), pooler.client("alice")];
    for round in 0..50 {
        for (number, client) in clients.iter_mut().enumerate() {
            let one = [extended("SELECT $1::text", &[&format!("{number} {round} a")]), sync()].concat();
            let two = query(&format!("SELECT '{number} {round} b'"));
            let three = [extended(DIVIDE_BY_ZERO, &[]), sync()].concat();
            client.send(&[one, two, three].concat()).unwrap();
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.reply().unwrap().value(), format!("{number} {round} a"));
            assert_eq!(client.reply().unwrap().value(), format!("{number} {round} b"));
            let failed = client.reply().unwrap();
            assert_eq!((failed.tags().as_str(), failed.code().as_str()), ("12TEZ", "22012"));
        }
    }
}

#[test]
fn a_pipeline_may_arrive_in_any_two_pieces() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    let bytes = [
        extended("SELECT $1::int + 1", &["41"]),
        sync(),
        extended("SELECT nothing", &[]),
        sync(),
        query("SELECT 'third'"),
    ]
    .concat();
    for split in 0..=bytes.len() {
        client.send(&bytes[..split]).unwrap();
        client.send(&bytes[split..]).unwrap();
        assert_eq!(client.reply().unwrap().value(), "42", "split at {split}");
        assert_eq!(client.reply().unwrap().code(), "42703", "split at {split}");
        assert_eq!(client.reply().unwrap().value(), "third", "split at {split}");
    }
}

#[test]
fn an_error_skips_the_batch_to_its_sync_and_no_further() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    let batch = [
        parse("kept", "SELECT 'kept'"),
        parse("", DIVIDE_BY_ZERO),
        bind("", "", &[]),
        execute("", 0),
        parse("skipped", "SELECT 'skipped'"),
        query("SELECT 'a Query is skipped too'"),
        sync(),
    ]
    .concat();
    let reply = client.exchange(&batch).unwrap();
    assert_eq!((reply.tags().as_str(), reply.code().as_str()), ("112EZ", "22012"));

    let kept = client.exchange(&[bind("", "kept", &[]), execute("", 0), sync()].concat()).unwrap();
    assert_eq!((kept.tags().as_str(), kept.value().as_str()), ("2DCZ", "kept"));
    let skipped = client.exchange(&[bind("", "skipped", &[]), execute("", 0), sync()].concat()).unwrap();
    assert_eq!((skipped.tags().as_str(), skipped.code().as_str()), ("EZ", "26000"));
    assert_eq!(client.value("SELECT 'and on'"), "and on");
}

#[test]
fn flush_answers_before_the_sync() {
    let (_postgres, pooler) = pool(2);
    let mut client = pooler.client("alice");
    client.send(&[extended("SELECT 'flushed'", &[]), flush()].concat()).unwrap();
    let tags: String = (0..5).map(|_| client.receive().unwrap().tag as char).collect();
    assert_eq!(tags, "12TDC");
    let mut other = pooler.client("alice");
    assert_eq!(other.value("SELECT 'meanwhile'"), "meanwhile");
    assert_eq!(client.exchange(&sync()).unwrap().tags(), "Z");
}

#[test]
fn a_suspended_portal_keeps_its_server() {
    let (_postgres, pooler) = pool(2);
    let mut client = pooler.client("alice");
    let mut other = pooler.client("alice");
    let start =
        [parse("", "SELECT generate_series(1, 10)"), bind("", "", &[]), execute("", 3), flush()].concat();
    client.send(&start).unwrap();
    let mut rows = 0;
    loop {
        match client.receive().unwrap().tag {
            b'D' => rows += 1,
            b's' => {
                assert_eq!(other.value("SELECT 'other'"), "other");
                client.send(&[execute("", 3), flush()].concat()).unwrap();
            }
            b'C' => break,
            _ => {}
        }
    }
    assert_eq!(rows, 10);
    assert_eq!(client.exchange(&sync()).unwrap().tags(), "Z");
}

#[test]
fn a_transaction_keeps_its_server_and_its_portals() {
    let (_postgres, pooler) = pool(2);
    let mut client = pooler.client("alice");
    let mut other = pooler.client("alice");
    let opened = client.exchange(&query("BEGIN")).unwrap();
    assert_eq!(opened.status(), 'T');
    let pid = client.value("SELECT pg_backend_pid()");
    let bound = [parse("", "SELECT generate_series(1, 4)"), bind("p", "", &[]), sync()].concat();
    assert_eq!(client.exchange(&bound).unwrap().tags(), "12Z");
    assert_ne!(other.value("SELECT pg_backend_pid()"), pid);
    let first = client.exchange(&[execute("p", 2), sync()].concat()).unwrap();
    assert_eq!(first.tags(), "DDsZ");
    let second = client.exchange(&[execute("p", 0), sync()].concat()).unwrap();
    assert_eq!(second.tags(), "DDCZ");
    assert_eq!(client.value("SELECT pg_backend_pid()"), pid);
    assert_eq!(client.query("COMMIT").unwrap().status(), 'I');
}

#[test]
fn a_function_call_is_answered() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    let oid = client.value("SELECT 'length(text)'::regprocedure::oid").parse().unwrap();
    let reply = client.exchange(&function_call(oid, &["SHOUTED"])).unwrap();
    assert_eq!(reply.tags(), "VZ");
    assert_eq!(&reply.messages[0].body[4..], b"7");
}

#[test]
fn failed_transactions_stay_with_their_owner() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    client.query("BEGIN").unwrap();
    assert_eq!(client.query("SELECT 1/0").unwrap().status(), 'E');
    assert_eq!(client.query("SELECT 1").unwrap().code(), "25P02");
    assert_eq!(client.query("ROLLBACK").unwrap().status(), 'I');
    assert_eq!(pooler.client("alice").value("SELECT 'clean'"), "clean");
}

#[test]
fn an_empty_query_and_many_statements_are_one_request() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    assert_eq!(client.query("").unwrap().tags(), "IZ");
    let reply = client.query("SELECT 1; SELECT 2; BEGIN; SELECT 3; COMMIT").unwrap();
    assert_eq!(reply.tags(), "TDCTDCCTDCCZ");
    let stopped = client.query(&format!("SELECT 1; {DIVIDE_BY_ZERO}; SELECT 3")).unwrap();
    assert_eq!(stopped.tags(), "TDCTEZ");
}

#[test]
fn notifications_reach_the_client_that_is_linked() {
    let (_postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    let reply = client.query("LISTEN news; NOTIFY news, 'hello'").unwrap();
    assert_eq!(reply.commands(), ["LISTEN", "NOTIFY"]);
    if client.notifications.is_empty() {
        assert_eq!(client.value("SELECT 'the next linked request at the latest'").len(), 42);
    }
    assert_eq!(client.notifications, [("news".to_owned(), "hello".to_owned())]);
    let mut other = pooler.client("bob");
    assert_eq!(other.value("SELECT 1"), "1");
    assert!(other.notifications.is_empty());
}
