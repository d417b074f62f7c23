//! What the libraries below offer only as `unsafe`: the one file of the project that may contain it.
//!
//! Each function here is safe to call, does one system call or C function, and knows nothing of its callers.
#![expect(unsafe_code, reason = "the project's one place for calls no safe wrapper exists for")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// Sets TCP_DEFER_ACCEPT (tcp(7)): a connection is accepted when its first bytes are there, or after `wait_s`.
pub(crate) fn set_defer_accept(listener: &impl AsFd, wait_s: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open while borrowed, and the kernel reads exactly the c_int it is pointed at.
    let result = unsafe {
        libc::setsockopt(
            listener.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const wait_s).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
