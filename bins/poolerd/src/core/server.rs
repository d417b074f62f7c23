//! A server connection, and the one door through which its state changes.
//!
//! ```text
//!   Connecting ─▶ Login ─▶ Idle ◀────────── released ───────┐
//!                           │ client                         │
//!                           ▼                                │
//!                         Active ──▶ Tested (check, reset) ──┤
//!                           │  cancels in flight             │
//!                           └──────▶ BeingCanceled ──────────┘
//!   Idle ─check due─▶ Used ─wanted─▶ Tested
//!   a cancel connection of ours: ActiveCancel
//! ```
//!
//! Invariant: an Idle or Used server owes nobody an answer, is outside any transaction, has sent nothing it was not
//! asked for, and is in exactly one list of its pool.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use sluice_wire::pg::backend::TransactionStatus;

use super::cancel::CancelRun;
use super::client::Address;
use super::doubt::Doubt;
use super::effect::{Endpoint, Peer};
use super::outstanding::Outstanding;
use super::prepared::{ServerStatements, Unnamed};
use super::server_login::ServerLogin;
use super::vars::Vars;
use super::{ClientId, Core, PoolId, ServerId};

/// Where a server connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// The connection is being made, or the login runs.
    Login,
    /// Ready for a client.
    Idle,
    /// Works for a client, or finishes what one left behind.
    Active,
    /// Idle for so long that it is checked before its next use.
    Used,
    /// A check or reset query runs.
    Tested,
    /// A cancel connection.
    ActiveCancel,
    /// Done, but a cancel is still aimed at it.
    BeingCanceled,
}

/// Number of states: the length of a per-state count.
pub(super) const SERVER_STATES: usize = 7;

/// What the pooler itself has running on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Nothing.
    None,
    /// `connect_query`, before first use.
    ConnectQuery,
    /// The SETs that give the server its next client's parameters.
    SetVars,
    /// `server_check_query`.
    Check,
    /// `server_reset_query`.
    Reset,
    /// Ending a transaction whose client left.
    Rollback,
    /// Finding out which replies are whose: see `doubt`.
    Settle,
}

/// How a server was left with something to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) at: Instant,
    /// What it does is of no use any more, rather than a last wish.
    pub(super) cancelled: bool,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) state: ServerState,
    pub(super) serial: u64,
    pub(super) pool: PoolId,
    pub(super) link: Option<ClientId>,
    /// A session has used it and may have left things behind that only the reset query removes.
    pub(super) session_used: bool,
    /// Its latest client has left before it was done.
    pub(super) left: Option<Left>,
    pub(super) outstanding: Outstanding,
    /// Bytes of the message at hand still to come, and who gets them.
    pub(super) rest_left: usize,
    pub(super) rest_to: Option<Peer>,
    pub(super) status: TransactionStatus,
    /// An extended batch failed and its ReadyForQuery has not come.
    pub(super) failed: bool,
    /// ... and its Sync has not been sent either: the server skips whatever comes before it.
    pub(super) skipping: bool,
    /// Syncs that were sent while the server read copy data, or may have been.
    pub(super) passed_over: usize,
    /// Whose ReadyForQuery messages come is being found out.
    pub(super) doubt: Option<Box<Doubt>>,
    /// In copy-in, and neither CopyDone nor CopyFail was sent.
    pub(super) copy_in: bool,
    pub(super) task: Task,
    /// The error a task of ours met.
    pub(super) task_failed: bool,
    pub(super) vars: Vars,
    pub(super) statements: ServerStatements,
    pub(super) unnamed: Unnamed,
    pub(super) login: Option<Box<ServerLogin>>,
    pub(super) cancel: Option<Box<CancelRun>>,
    /// Parameters its login told that are not tracked: the pool's welcome once it is ready.
    pub(super) greeting: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) backend_pid: [u8; 4],
    pub(super) backend_secret: Box<[u8]>,
    pub(super) endpoint: Rc<Endpoint>,
    pub(super) peer: Option<Address>,
    pub(super) local: Option<Address>,
    pub(super) close_needed: bool,
    /// It has announced its end (FATAL), and the client at hand has read that.
    pub(super) last_words: bool,
    /// It was sent the beginning of a message whose end will never come.
    pub(super) cut_short: bool,
    /// Cancel connections whose request may still reach this backend.
    pub(super) cancels: usize,
    /// Counts assignments, so that a cancel of an earlier one is recognised.
    pub(super) epoch: u64,
    pub(super) connected_at: Instant,
    pub(super) request_at: Instant,
    /// Start of the current state's stay: last use when idle.
    pub(super) since: Instant,
    pub(super) last_reply_at: Instant,
    pub(super) timer: Option<Instant>,
}

impl Server {
    pub(super) fn new(core: &mut Core, pool: PoolId, endpoint: Rc<Endpoint>, now: Instant) -> Self {
        Server {
            state: ServerState::Login,
            serial: core.next_serial(),
            pool,
            link: None,
            session_used: false,
            left: None,
            outstanding: Outstanding::default(),
            rest_left: 0,
            rest_to: None,
            status: TransactionStatus::Idle,
            failed: false,
            skipping: false,
            passed_over: 0,
            doubt: None,
            copy_in: false,
            task: Task::None,
            task_failed: false,
            vars: Vars::new(&core.tracked),
            statements: ServerStatements::default(),
            unnamed: Unnamed::None,
            login: None,
            cancel: None,
            greeting: Vec::new(),
            backend_pid: [0; 4],
            backend_secret: Box::default(),
            endpoint,
            peer: None,
            local: None,
            close_needed: false,
            last_words: false,
            cut_short: false,
            cancels: 0,
            epoch: 0,
            connected_at: now,
            request_at: now,
            since: now,
            last_reply_at: now,
            timer: None,
        }
    }

    /// Is what it says without being asked about the client at hand, rather than about what we do before it may go on?
    #[inline]
    pub(super) fn serves_client(&self) -> bool {
        matches!(self.task, Task::None | Task::Settle)
    }

    /// Is the client in the middle of a message of this server?
    #[inline]
    pub(super) fn is_mid_message_to(&self, client: ClientId) -> bool {
        self.rest_left > 0 && self.rest_to == Some(Peer::Client(client))
    }

    /// Owes nobody anything and is outside any transaction.
    #[inline]
    pub(super) fn is_clean(&self) -> bool {
        self.status == TransactionStatus::Idle
            && self.outstanding.is_empty()
            && !self.outstanding.batch_is_open()
            && !self.failed
            && !self.copy_in
    }
}

/// Takes `id` out of a short list; the order of the others stays.
pub(super) fn remove_from(list: &mut VecDeque<ServerId>, id: ServerId) {
    if let Some(at) = list.iter().rposition(|&other| other == id) {
        list.remove(at);
    }
}

impl Core {
    /// The only way a server's state changes; counts and lists of its pool move with it.
    pub(super) fn change_server_state(&mut self, id: ServerId, to: ServerState, now: Instant) {
        let round_robin = self.config.global.server_round_robin;
        let Some(server) = self.servers.get_mut(id.0) else { return };
        let from = std::mem::replace(&mut server.state, to);
        server.since = now;
        let Some(pool) = self.pools.get_mut(server.pool.0) else { return };
        pool.servers[from as usize] -= 1;
        pool.servers[to as usize] += 1;
        match from {
            ServerState::Idle => remove_from(&mut pool.idle, id),
            ServerState::Used => remove_from(&mut pool.used, id),
            _ => {}
        }
        match to {
            // The next one is taken from the back: last in, first out, unless round robin is asked for.
            ServerState::Idle if round_robin => pool.idle.push_front(id),
            ServerState::Idle => pool.idle.push_back(id),
            ServerState::Used => pool.used.push_back(id),
            _ => {}
        }
    }
}
