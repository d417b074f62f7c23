//! Cancel requests: of running, queued and idle clients, and never another client's query.

use crate::{pool, until_running};
use sluice_tests::message::{self, query};
use sluice_tests::{Client, Login};

#[test]
fn a_running_query_is_cancelled() {
    let (postgres, pooler) = pool(1);
    for target in [pooler.target(), pooler.unix_target()] {
        let mut client = Login::new(target, "alice", "postgres").connect().unwrap();
        client.query("BEGIN").unwrap();
        client.send(&query("SELECT pg_sleep(600)")).unwrap();
        until_running(&postgres, "pg_sleep", "t");
        client.cancel().unwrap();
        let reply = client.reply().unwrap();
        assert_eq!((reply.code().as_str(), reply.status()), ("57014", 'E'));
        assert_eq!(client.query("ROLLBACK").unwrap().status(), 'I');
        assert_eq!(client.value("SELECT 'on'"), "on");
    }
}

#[test]
fn a_queued_client_is_answered_as_if_it_had_run() {
    let (_postgres, pooler) = pool(1);
    let mut holder = pooler.client("alice");
    holder.query("BEGIN").unwrap();
    let simple = query("SELECT 'never'");
    let batch = [message::extended("SELECT 'never'", &[]), message::sync()].concat();
    for request in [simple, batch] {
        let mut queued = pooler.client("alice");
        queued.send(&request).unwrap();
        pooler.until("POOLS", |pools| pools.sum("cl_waiting") == 1);
        queued.cancel().unwrap();
        let reply = queued.reply().unwrap();
        assert_eq!((reply.code().as_str(), reply.status()), ("57014", 'I'));
        assert_eq!(reply.errors()[0].message(), "canceling statement due to user request");
        holder.query("COMMIT").unwrap();
        assert_eq!(queued.value("SELECT 'still here'"), "still here");
        holder.query("BEGIN").unwrap();
    }
}

#[test]
fn an_idle_client_or_a_wrong_key_cancels_nothing() {
    let (_postgres, pooler) = pool(1);
    let idle = pooler.client("alice");
    let mut busy = pooler.client("alice");
    busy.send(&query("SELECT 'done' FROM pg_sleep(0.3)")).unwrap();
    pooler.until("POOLS", |pools| pools.sum("sv_active") == 1);
    idle.cancel().unwrap();
    let mut wrong = Client::raw(&pooler.target()).unwrap();
    wrong.send(&message::cancel([1, 2, 3, 4], &[5, 6, 7, 8])).unwrap();
    wrong.closed().unwrap();
    assert_eq!(busy.reply().unwrap().value(), "done");
}

#[test]
fn cancels_racing_with_release_never_hit_the_next_client() {
    let (_postgres, pooler) = pool(1);
    let mut asker = pooler.client("alice");
    let mut victim = pooler.client("alice");
    for round in 0..100 {
        let canceller = asker.canceller();
        asker.send(&query(&format!("SELECT 'asker {round}'"))).unwrap();
        let cancel = std::thread::spawn(move || canceller.cancel().unwrap());
        victim.send(&query(&format!("SELECT 'victim {round}' FROM pg_sleep(0.002)"))).unwrap();
        let own = asker.reply().unwrap();
        assert!(own.code() == "57014" || own.value() == format!("asker {round}"), "{own:?}");
        let others = victim.reply().unwrap();
        assert_eq!((others.code().as_str(), others.value()), ("", format!("victim {round}")));
        cancel.join().unwrap();
    }
}
