//! The pooler. `main.rs` is the shell around this library so that tests can hold the core.

mod accept;
pub mod config;
mod connect;
mod control;
pub mod core;
pub mod ctl;
pub mod daemon;
#[cfg(test)]
mod documents;
mod listen;
pub mod logging;
mod session;
