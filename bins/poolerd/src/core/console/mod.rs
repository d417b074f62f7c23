//! The console: the database `pgbouncer`, and the same facts for the control socket.

mod table;

use std::time::Instant;

use sluice_wire::pg::error::ErrorResponse;

use super::requests::Step;
use super::{ClientId, Core};

pub use table::{Cell, Column, Table, Unit};

/// Console sessions and what they wait for.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) sessions: usize,
}

impl Core {
    pub(super) fn open_console(
        &mut self,
        _id: ClientId,
        _user: &str,
        _now: Instant,
    ) -> Result<(), ErrorResponse> {
        Err(super::route::violation("not allowed"))
    }

    pub(super) fn is_local_owner(&self, _id: ClientId, _user: &str) -> bool {
        false
    }

    pub(super) fn console_input(&mut self, _id: ClientId, _chunk: &[u8], _at: usize, _now: Instant) -> Step {
        Step::Blocked
    }

    pub(super) fn forget_console_wait(&mut self, _id: ClientId) {}

    pub(super) fn cancel_console_wait(&mut self, _id: ClientId, _now: Instant) {}

    pub(super) fn reply_to_waiting_consoles(&mut self, _now: Instant) {}

    pub(super) fn client_left(&mut self, _now: Instant) {}
}
