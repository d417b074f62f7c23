//! The PostgreSQL frontend/backend protocol, version 3 (PostgreSQL manual, chapter "Frontend/Backend Protocol").
//!
//! *Frontend* and *backend* name the direction of a message, never one of our connections: towards a PostgreSQL server
//! we write frontend messages and read backend messages, towards a client the other way round. `tag` is the first byte
//! of a message, `len` the length as on the wire (it counts itself, not the tag), `body` what follows the two.
//!
//! Invariants: a reader never looks beyond the body it is given, and whatever it is given it neither panics nor
//! allocates more than it received; a builder appends exactly one message, whose length field is right.

pub mod backend;
pub mod conninfo;
pub mod error;
pub mod frame;
pub mod frontend;
pub mod login;
pub mod query;
mod reader;
pub mod scram;
mod secret;
pub mod sqlstate;
pub mod startup;
mod writer;

pub use reader::Malformed;
