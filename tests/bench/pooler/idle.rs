//! Clients that asked once and now do nothing: what each costs in memory, and whether the pooler can sleep.

use sluice_tests::{Client, Pooler};
use std::time::Duration;

/// What idle clients cost.
#[derive(Clone, Copy)]
pub(crate) struct Idle {
    pub(crate) clients: usize,
    /// Anonymous resident memory the clients added, a client.
    pub(crate) bytes_per_client: f64,
    /// How often the pooler's main thread woke by itself.
    pub(crate) wake_ups_per_second: f64,
}

/// Connects the clients, lets each ask once, and watches the pooler do nothing for a while.
pub(crate) fn measure(pooler: &Pooler, clients: usize) -> Idle {
    let before = pooler.resident_bytes();
    let login = pooler.login("alice", "postgres").password("secret of alice");
    let threads = 2;
    let connected: Vec<Vec<Client>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let login = login.clone();
                scope.spawn(move || {
                    let connect = |_| {
                        let mut client = login.connect().unwrap();
                        client.value("SELECT 1");
                        client
                    };
                    (0..clients / threads).map(connect).collect()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    std::thread::sleep(Duration::from_secs(1));
    let grown = pooler.resident_bytes().saturating_sub(before);
    let seconds = 10;
    let switches = pooler.voluntary_switches();
    std::thread::sleep(Duration::from_secs(seconds));
    let switches = pooler.voluntary_switches() - switches;
    let count = connected.iter().map(Vec::len).sum::<usize>();
    Idle {
        clients: count,
        bytes_per_client: grown as f64 / count as f64,
        wake_ups_per_second: switches as f64 / seconds as f64,
    }
}
