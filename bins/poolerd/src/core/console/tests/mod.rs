//! The console, driven through the core with bytes as clients and servers send them.

mod access;
mod commands;
mod protocol;
mod shows;

use std::sync::Arc;
use std::time::Duration;

use sluice_wire::pg::frame::HEADER_LEN;
use sluice_wire::pg::{backend, frontend};

use crate::core::tests::bench::{Bench, CONFIG, OWN_UID, columns, error_of, snapshot, values};
use crate::core::{Address, ClientId, ControlId, Peer, ServerId};
