//! The machine with hand-fed clients and origins on a virtual clock.

mod admin;
mod bench;
mod early;
mod gate;
mod limits;
mod relay;
mod retry;
mod sim;
mod time;
mod waiting;
