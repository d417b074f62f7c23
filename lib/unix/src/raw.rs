//! What the libraries below offer only as `unsafe`: the one file of the project that may contain it.
//!
//! Each function here is safe to call, does one system call or C function, and knows nothing of its callers.
#![expect(unsafe_code, reason = "the project's one place for calls no safe wrapper exists for")]

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
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

/// Takes over descriptor `number`, which our parent left open for us, and closes it on exec from now on.
///
/// Everything this process opens is closed on exec, and so is what was taken over: a descriptor without that flag
/// belongs to nobody here, and can be taken once.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl with F_GETFD only asks; an unused number is an error.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::other("opened by this process"));
    }
    // SAFETY: the descriptor is open, and by the above nobody else in this process owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&owned, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(owned)
}

/// Which clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    /// The machine's, or the one `TZ` names.
    Local,
    /// Universal time.
    Utc,
}

/// A moment as a clock on the wall shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calendar {
    pub(crate) year: i64,
    pub(crate) month: i32,
    pub(crate) day: i32,
    pub(crate) hour: i32,
    pub(crate) minute: i32,
    pub(crate) second: i32,
    zone: [u8; Calendar::ZONE_LEN],
}

impl Calendar {
    /// Room for an abbreviation: POSIX asks for 6 characters at least, the time zone database has up to 6.
    const ZONE_LEN: usize = 15;

    /// Abbreviation of the zone, such as `UTC` or `CEST`.
    pub(crate) fn zone(&self) -> &str {
        let len = self.zone.iter().position(|byte| *byte == 0).unwrap_or(Self::ZONE_LEN);
        std::str::from_utf8(&self.zone[..len]).unwrap_or_default()
    }
}

/// The moment `unix_s` seconds after 1970 (negative: before) on the clocks of `zone`.
pub(crate) fn calendar(unix_s: i64, zone: Zone) -> Calendar {
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both functions read one time_t and write one tm, all or part of it if the year is out of range;
    // what they leave is zero, a valid value of each field (integers, and a pointer that may be null).
    let parts = unsafe {
        match zone {
            Zone::Local => libc::localtime_r(&raw const unix_s, parts.as_mut_ptr()),
            Zone::Utc => libc::gmtime_r(&raw const unix_s, parts.as_mut_ptr()),
        };
        parts.assume_init()
    };
    let mut name = [0; Calendar::ZONE_LEN];
    if !parts.tm_zone.is_null() {
        // SAFETY: tm_zone points to a string of the C library that lives until the zone is changed by tzset, which
        // nothing in this process calls a second time; it is copied here and the pointer goes no further.
        let bytes = unsafe { CStr::from_ptr(parts.tm_zone) }.to_bytes();
        let len = bytes.len().min(Calendar::ZONE_LEN);
        name[..len].copy_from_slice(&bytes[..len]);
    }
    Calendar {
        year: i64::from(parts.tm_year) + 1900,
        month: parts.tm_mon + 1,
        day: parts.tm_mday,
        hour: parts.tm_hour,
        minute: parts.tm_min,
        second: parts.tm_sec,
        zone: name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_time_do_no_harm() {
        for unix_s in [i64::MIN, i64::MAX] {
            for zone in [Zone::Local, Zone::Utc] {
                assert!(calendar(unix_s, zone).zone().len() <= Calendar::ZONE_LEN);
            }
        }
        let start = calendar(0, Zone::Utc);
        assert_eq!((start.year, start.month, start.day, start.hour), (1970, 1, 1, 0));
    }
}
