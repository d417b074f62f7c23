//! The face of every program: flags, settings, configuration files, help, completions, exit codes.
//!
//! Each vocabulary is one table ([`flags::Flag`], [`settings::Setting`]); parsing, help text, completions, samples
//! and man-page tests are made from it. Nothing here knows a program, opens a socket or keeps state: the caller
//! hands in arguments, environment and paths, and gets values or an error that names the place and the fault.

pub mod complete;
pub mod ctl;
pub mod daemon;
pub mod documents;
pub mod exit;
pub mod field;
pub mod flags;
pub mod help;
pub mod ini;
pub mod load;
pub mod nearest;
pub mod settings;
mod words;
