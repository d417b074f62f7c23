//! Clients that never prove who they are: they leave nothing behind.

use std::time::Duration;

use super::bench::{Bench, CONFIG};
use crate::core::ClientId;

fn with_wildcard(settings: &str) -> Bench {
    let config = CONFIG.replace("[pgbouncer]", "* = host=127.0.0.1\n[pgbouncer]");
    Bench::with(&config.replace("max_client_conn = 4", &format!("max_client_conn = 100\n{settings}")))
}

/// Leaves as a peer does that just goes away.
fn vanish(bench: &mut Bench, id: ClientId) {
    bench.core.client_gone(id, bench.now);
}

/// Names that anybody could make up, and what they left.
fn traces(bench: &Bench) -> (usize, usize) {
    (bench.core.databases.len(), bench.core.users.len())
}

#[test]
fn a_database_named_without_proof_is_forgotten_with_its_last_client() {
    for method in ["trust", "md5", "scram-sha-256", "plain"] {
        let mut bench = with_wildcard(&format!("auth_type = {method}"));
        let before = traces(&bench);
        for number in 0..50 {
            let name = format!("made up {number}");
            let (one, two) = (bench.connect(&name, "nobody"), bench.connect(&name, "nobody"));
            vanish(&mut bench, one);
            vanish(&mut bench, two);
        }
        assert_eq!(traces(&bench), before, "{method}");
        assert!(!bench.logged("auto-database"), "{method}: {:?}", bench.log);
    }
}

#[test]
fn a_stranger_at_a_limit_leaves_nothing_either() {
    let mut bench = with_wildcard("max_user_client_connections = 1");
    let first = bench.connect("some", "ann");
    let before = traces(&bench);
    let second = bench.connect("other", "ann");
    assert!(bench.answer(second).contains("max_user_client_connections"));
    assert_eq!(traces(&bench), before);
    vanish(&mut bench, first);
}

#[test]
fn a_database_stays_that_somebody_known_has_used() {
    let mut bench = with_wildcard("autodb_idle_timeout = 100");
    let stranger = bench.connect("some", "nobody");
    let client = bench.client("some");
    assert!(bench.logged("registered new auto-database: some"));
    vanish(&mut bench, client);
    vanish(&mut bench, stranger);
    let boss = bench.console("boss");
    let listed = |bench: &mut Bench| bench.rows(boss, "SHOW DATABASES").iter().any(|row| row[0] == "some");
    assert!(listed(&mut bench));
    bench.now += Duration::from_secs(99);
    bench.core.handle_timeout(bench.now);
    assert!(listed(&mut bench));
    bench.now += Duration::from_secs(1);
    bench.core.handle_timeout(bench.now);
    assert!(!listed(&mut bench));
}

#[test]
fn a_database_an_administrator_has_named_stays_too() {
    let mut bench = with_wildcard("");
    let boss = bench.console("boss");
    assert_eq!(bench.run(boss, "DISABLE some"), "DISABLE");
    let stranger = bench.connect("some", "nobody");
    vanish(&mut bench, stranger);
    assert!(bench.rows(boss, "SHOW DATABASES").iter().any(|row| row[0] == "some"));
}
