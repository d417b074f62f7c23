//! The machine against peers that misbehave: what a real PostgreSQL or a well-meant client never does.

pub(in crate::core) mod bench;
mod cancels;
mod copy;
mod failures;
mod servers;
mod strangers;

use sluice_wire::pg::backend::{self, TransactionStatus};
use sluice_wire::pg::error::{ErrorResponse, Severity};
use sluice_wire::pg::frontend;
use sluice_wire::pg::sqlstate::SqlState;

use super::{ClientId, Peer, ServerId};
use bench::{Bench, CONFIG};

/// A client that has logged in, and the server that will serve it.
fn pair(bench: &mut Bench) -> (ClientId, ServerId) {
    let client = bench.client("one");
    let (key, _) = bench.core.servers.iter().next().expect("a server greeted the client");
    bench.sent.clear();
    (client, ServerId(key))
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn query(sql: &[u8]) -> Vec<u8> {
    written(|out| frontend::query(out, sql))
}

fn ready() -> Vec<u8> {
    written(|out| backend::ready_for_query(out, TransactionStatus::Idle))
}

fn complete(tag: &[u8]) -> Vec<u8> {
    written(|out| backend::command_complete(out, tag))
}

fn error(severity: Severity, sqlstate: SqlState, text: &str) -> Vec<u8> {
    written(|out| ErrorResponse::new(severity, sqlstate, text.to_owned()).write(out))
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}
