//! poolerd as its users meet it: the command, its exit codes, its control socket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command;
mod control;
mod daemon;
mod start;
