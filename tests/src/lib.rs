//! The test harness: throwaway PostgreSQL servers, the pooler as a process, and a small blocking PostgreSQL client
//! that shares no code with the pooler, so that a mistake in framing cannot hide itself.
//!
//! Everything lives in temporary directories and on free ports, runs as an ordinary user even when root runs the
//! tests, dies with the test that started it, and waits with a deadline. Faults of the harness panic: that is how a
//! test reports.
//!
//! `SLUICE_POOLER=/usr/sbin/pgbouncer` puts another pooler in poolerd's place, to prove the tests themselves.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness reports by panicking, as tests do"
)]

pub mod account;
pub mod build;
pub mod client;
pub mod http;
pub mod log;
pub mod message;
pub mod notify;
pub mod origin;
pub mod pooler;
pub mod port;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod tls;
pub mod trial;

pub use client::{Client, Failure, Login, Reply};
pub use origin::Origin;
pub use pooler::{Config, Pooler};
pub use postgres::Postgres;
pub use proxy::Proxy;
pub use redis::Redis;

use std::time::Duration;

/// How long anything may take before the test gives up on it. Generous: reaching it means a hang, not a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
