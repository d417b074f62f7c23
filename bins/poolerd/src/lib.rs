//! The pooler. `main.rs` is the shell around this library so that tests can hold the core.

pub mod config;
pub mod core;
