//! Decisions over time, as small machines without a clock: whoever owns one says what time it is.
//!
//! Each module is one policy that knows nothing of HTTP, SQL or sockets. `now` is always the last argument and never
//! goes backwards; randomness comes in as a number. Nothing here depends on another crate.

pub mod aimd;
pub mod backoff;
pub mod codel;
pub mod fair_queue;
pub mod gcra;
pub mod gradient;
pub mod histogram;
pub mod window;
