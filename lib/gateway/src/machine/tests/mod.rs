//! The machine with hand-fed clients and origins on a virtual clock.

mod bench;
mod gate;
mod limits;
mod relay;
mod sim;
mod time;
mod waiting;
