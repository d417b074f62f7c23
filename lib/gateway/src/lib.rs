//! The HTTP/1.1 gateway of two programs: machines that decide, and a thin shell that moves bytes.
//!
//! The programs differ in one thing, their [`gate::Gate`]: throttle-proxy's limits rates and concurrency, breaker-proxy's
//! is a circuit. Everything else, from the framing of a message to the pool of origin connections, is here once.
//!
//! ```text
//! settings ─▶ config ─▶ machine (clients, exchanges, origins) ─▶ effect ─▶ the shell
//!                          │ admit, settle   ▲ release, expire
//!                          └──────▶ gate ────┘
//! ```

pub mod code;
pub mod config;
pub mod effect;
pub mod event;
pub mod gate;
pub mod machine;
pub mod metrics;
pub mod origins;
pub mod route;
pub mod settings;
pub mod shell;
