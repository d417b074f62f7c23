//! The pressure of a real poolerd before a real PostgreSQL.

use super::throttle;
use sluice_tests::origin::Manner;
use sluice_tests::{Config, Origin, Postgres};

#[test]
fn the_poolers_pressure_lowers_concurrency_and_its_loss_ends_that() {
    let postgres = Postgres::start();
    let config = Config::new(&postgres).set("default_pool_size", "1").set("pressure_interval", "0.2");
    let pooler = config.start();
    let origin = Origin::start(Manner::Prompt);
    let socket = pooler.directory().join("control.sock");
    let proxy = throttle(&origin, &format!("pressure_socket = {}\nmax_requests = 0\n", socket.display()));
    assert_eq!(proxy.limits()["pressure"], "ok");

    // One client has the only server, and others wait for it.
    let mut holder = pooler.client("alice");
    holder.query("BEGIN").unwrap();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let mut client = pooler.client("alice");
            client.send(&sluice_tests::message::query("SELECT 1")).unwrap();
            client
        })
        .collect();
    let row = proxy.until(|row| row["pressure"] != "ok");
    assert!(row["limit_now"].as_i64().unwrap() < 50, "{row}");
    let change = proxy.event(0, "pressure.change");
    assert_eq!((&change["from"], &change["pool"]), (&"ok".into(), &"postgres/alice".into()));
    assert_eq!(proxy.get("/").status, 200, "fewer, not none");
    holder.query("COMMIT").unwrap();
    proxy.until(|row| row["pressure"] == "ok");
    proxy.until(|row| row["limit_now"] == 50);
    drop(waiters);

    // The pooler is killed: that is told, the configured limits hold, and its successor is found.
    let mark = proxy.log().mark();
    drop(pooler);
    proxy.event(mark, "pressure.lost");
    assert_eq!((proxy.limits()["limit_now"].as_i64(), proxy.get("/").status), (Some(50), 200));
}
