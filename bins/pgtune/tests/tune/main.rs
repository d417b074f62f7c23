//! What pgtune works out: against known values, over grids of machines, and below roots of fixtures.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
mod detect;
mod grid;
mod plans;
mod vectors;
