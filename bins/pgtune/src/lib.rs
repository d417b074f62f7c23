//! Settings for PostgreSQL 12 to 18, the pooler, the application pool and the kernel, worked out for a machine.
//!
//! ```text
//! flags, environment, file ─▶ config::Request ─┐
//! kernel, data directory ───▶ facts::Facts ────┴▶ tune::plan ─▶ Plan ─▶ render ─▶ bytes
//!                                                (budget, pooler, explain, warnings: pure)
//! ```
//! Only [`facts`] and [`output`] touch files; all from [`tune`] to [`render`] is a function of its arguments, so the
//! same input gives the same bytes. `main.rs` is the shell around this library.

pub mod budget;
pub mod conf;
pub mod config;
#[cfg(test)]
mod documents;
pub mod explain;
pub mod facts;
pub mod fuzz;
pub mod guc;
pub mod live;
pub mod output;
pub mod pooler;
pub mod render;
pub mod tune;
pub mod warnings;
