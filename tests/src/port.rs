//! Free TCP ports on the loopback.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

/// A port nobody listens on right now, below the range the kernel gives to outgoing connections.
pub fn free() -> u16 {
    for _ in 0..1000 {
        let port = u16::try_from(10_000 + RandomState::new().hash_one(0) % 20_000).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in 1000 attempts");
}
