//! Bytes to messages and back, without any I/O.
//!
//! Nothing here knows a socket, a clock, a file, the environment or a source of randomness: who needs a nonce is given
//! one. Readers borrow from the bytes they are handed and allocate nothing a peer merely announces; builders append to
//! a buffer of the caller and always produce whole, well-formed messages.
//!
//! * [`pg`]: the PostgreSQL frontend/backend protocol, version 3.
//! * [`http`]: HTTP/1.1 for a gateway.
//! * [`mod@line`]: newline framing with a limit.
//! * [`resp`]: the protocol of Redis.
//! * [`control`]: the JSON-lines contract that the programs speak to each other and to their operators.

pub mod control;
pub mod fuzz;
pub mod http;
pub mod line;
pub mod pg;
pub mod resp;
