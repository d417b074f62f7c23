//! Transaction mode on a real PostgreSQL.
use sluice_tests::{Config, Postgres};

#[test]
fn a_query_is_answered() {
    let postgres = Postgres::start();
    let pooler = Config::new(&postgres).start();
    let mut client = pooler.client("alice");
    assert_eq!(client.value("SELECT 40 + 2"), "42");
}
