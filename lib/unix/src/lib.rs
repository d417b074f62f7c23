//! The kernel, as the daemons of sluice use it: readiness, sockets, timers, signals, names, logs.
//!
//! The crate owns parts, never a loop: each daemon composes them in a loop of its own. Nothing here knows
//! PostgreSQL or HTTP. No call blocks the thread of the loop, except the few that say so in their first line
//! (they run before the loop starts or in a client program).
//!
//! Only this crate names `mio`, `nix` and `signal-hook`; only [`stream`] and [`listener`] name a socket type;
//! only `raw` holds `unsafe`.

pub mod blocking;
pub mod buf;
pub mod conn;
pub mod control;
pub mod fault;
pub mod gather;
pub mod keyed;
pub mod linger;
pub mod links;
pub mod listener;
pub mod log;
pub mod machine;
pub mod notify;
pub mod offload;
pub mod outbox;
pub mod poller;
pub mod privs;
pub mod random;
mod raw;
pub mod resolve;
pub mod signals;
pub mod slab;
pub mod start;
pub mod stream;
pub mod timers;
pub mod tls;
pub mod token;
