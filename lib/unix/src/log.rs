//! Log lines: rendered here, written by a thread of their own.
//!
//! Owned by the process; [`Log`] is a handle and may be cloned. A line costs the caller its rendering into shared
//! memory, and at most one wake-up of the writer for a burst of lines: the writer looks again a moment after each
//! write before it goes to sleep, so a storm of lines costs the loop no system call at all. A sink that blocks
//! (a stopped terminal, a full disk) blocks the writer only.
//!
//! Invariants: lines are written whole and in order; no more than [`PENDING_MAX`] bytes wait, what comes beyond is
//! counted and the count is logged; dropping the last handle writes what waits, within [`EXIT_WAIT`].

mod render;
mod stamp;
mod writer;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};

pub use render::{Format, Record, Value};
pub use stamp::{local_text, rfc3339};

use render::Renderer;
use writer::Writer;

/// Bytes of lines that may wait for the sinks.
pub const PENDING_MAX: usize = 1 << 20;

/// How long the end of the process waits for the sinks.
pub const EXIT_WAIT: Duration = Duration::from_secs(2);

/// How important a line is, most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The process, or a client's session, ends.
    Fatal,
    /// Something failed.
    Error,
    /// Something will fail, or is not as asked.
    Warning,
    /// What an operator wants to know.
    Log,
    /// What somebody who looks for a fault wants to know.
    Debug,
    /// Everything.
    Noise,
}

impl Level {
    /// As PgBouncer writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fatal => "FATAL",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Log => "LOG",
            Self::Debug => "DEBUG",
            Self::Noise => "NOISE",
        }
    }

    /// As JSON lines have it.
    #[must_use]
    pub const fn json_name(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Log => "info",
            Self::Debug => "debug",
            Self::Noise => "trace",
        }
    }

    /// The least important level shown at a verbosity of 0, 1, or 2 and more.
    #[must_use]
    pub const fn shown_at(verbosity: u8) -> Self {
        match verbosity {
            0 => Self::Log,
            1 => Self::Debug,
            _ => Self::Noise,
        }
    }
}

/// Whether lines go to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stderr {
    /// They do.
    Yes,
    /// Not: quiet, or in the background.
    No,
}

/// Where lines go; every place gets every line.
#[derive(Debug)]
pub struct Sinks {
    stderr: Stderr,
    file: Option<File>,
}

impl Sinks {
    /// Standard error and a file, each if wanted. The file is appended to, and created if it is not there.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(stderr: Stderr, file: Option<&Path>) -> io::Result<Self> {
        let open = |path| {
            // O_NONBLOCK: a named pipe without a reader is an error, not a wait. O_NOCTTY: a terminal stays a file.
            let flags = nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK;
            OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path)
        };
        Ok(Self { stderr, file: file.map(open).transpose()? })
    }
}

/// A handle to the log. When the last one is dropped, what waits is written.
#[derive(Clone, Debug)]
pub struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    writer: Writer,
    verbosity: AtomicU8,
}

impl Log {
    /// Starts the writer's thread. Threads do not survive going to the background: do that first.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn new(sinks: Sinks, format: Format) -> io::Result<Self> {
        let renderer = Renderer::new(format, process::id());
        Ok(Self(Arc::new(Inner { writer: Writer::start(sinks, renderer)?, verbosity: AtomicU8::new(0) })))
    }

    /// Whether lines of this level are shown: ask before building an expensive one.
    #[inline]
    #[must_use]
    pub fn is_shown(&self, level: Level) -> bool {
        level <= Level::shown_at(self.0.verbosity.load(Ordering::Relaxed))
    }

    /// Shows more: 0 as usual, 1 with [`Level::Debug`], 2 and more with [`Level::Noise`].
    pub fn set_verbosity(&self, verbosity: u8) {
        self.0.verbosity.store(verbosity, Ordering::Relaxed);
    }

    /// Logs a line, if its level is shown.
    pub fn write(&self, record: &Record<'_>) {
        if self.is_shown(record.level) {
            self.0.writer.write(|renderer, out| renderer.render(out, record, SystemTime::now()));
        }
    }

    /// Logs a JSON line for each line of `members`, which holds members of an object, comma-separated and made by the
    /// caller: for lines too frequent to be put together from fields.
    pub fn members(&self, level: Level, event: &str, members: &str) {
        if self.is_shown(level) && !members.is_empty() {
            let at = SystemTime::now();
            self.0.writer.write(|renderer, out| renderer.render_members(out, level, event, members, at));
        }
    }

    /// Calls of [`Log::write`] and its kin that were dropped so far because too much waited.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.writer.dropped_total()
    }

    /// Logs a line that has no fields and belongs to no connection.
    pub fn line(&self, level: Level, event: &'static str, text: fmt::Arguments<'_>) {
        self.write(&Record { level, event, context: format_args!(""), text, fields: &[] });
    }

    /// Changes how lines look from now on.
    pub fn set_format(&self, format: Format) {
        self.0.writer.with(|renderer| renderer.set_format(format));
    }

    /// Replaces the sinks: after the file was renamed, or by a new configuration.
    pub fn reopen(&self, sinks: Sinks) {
        self.0.writer.replace_sinks(sinks);
    }

    /// Waits until all lines so far are with the kernel, at most so long. Returns whether they are. Blocks: for the
    /// end of the process.
    pub fn flush(&self, wait: Duration) -> bool {
        self.0.writer.flush(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn lines_reach_the_file_and_its_successor() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
        let open = || Sinks::open(Stderr::No, Some(&path)).unwrap();
        let log = Log::new(open(), Format::Pgbouncer).unwrap();
        log.line(Level::Log, "first", format_args!("first"));
        assert!(log.flush(EXIT_WAIT));
        fs::rename(&path, &rotated).unwrap();
        log.reopen(open());
        log.line(Level::Warning, "second", format_args!("second"));
        drop(log);
        assert!(fs::read_to_string(&rotated).unwrap().ends_with("] LOG first\n"));
        assert!(fs::read_to_string(&path).unwrap().ends_with("] WARNING second\n"));
    }

    #[test]
    fn levels_are_shown_by_verbosity() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::new(Sinks::open(Stderr::No, Some(&path)).unwrap(), Format::Pgbouncer).unwrap();
        let all = [Level::Fatal, Level::Error, Level::Warning, Level::Log, Level::Debug, Level::Noise];
        for (verbosity, shown) in [(0, 4), (1, 5), (2, 6), (3, 6)] {
            log.set_verbosity(verbosity);
            assert_eq!(all.iter().filter(|level| log.is_shown(**level)).count(), shown);
        }
        log.set_verbosity(0);
        log.line(Level::Debug, "x", format_args!("not shown"));
        log.set_verbosity(1);
        log.line(Level::Debug, "x", format_args!("shown"));
        drop(log);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("] DEBUG shown\n") && text.lines().count() == 1);
    }

    #[test]
    fn the_format_changes_in_flight() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::new(Sinks::open(Stderr::No, Some(&path)).unwrap(), Format::Pgbouncer).unwrap();
        log.line(Level::Log, "x", format_args!("text"));
        log.set_format(Format::Json);
        log.line(Level::Log, "x", format_args!("json"));
        drop(log);
        let text = fs::read_to_string(&path).unwrap();
        let second: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
        assert_eq!(second["msg"], "json");
    }

    #[test]
    fn a_file_in_no_directory_is_an_error() {
        assert!(Sinks::open(Stderr::Yes, Some(Path::new("/nonexistent/log"))).is_err());
    }

    #[test]
    fn a_pipe_nobody_reads_is_an_error_and_not_a_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Sinks::open(Stderr::No, Some(&path)).is_err());
    }
}
