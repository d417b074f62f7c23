//! Finds the end of a head, however it is cut, and refuses what cannot become one as early as it shows.
//!
//! ```text
//!           CRLF (at most twice, requests only)
//!             ┌──┐
//! ──▶ Empty ──┴──▶ First ──CRLF──▶ Fields ──empty line──▶ end of head
//! ```
//!
//! Owned by the reader of one side of a connection, and empty between heads. Looks at each byte once. The first fault in
//! the order of the bytes wins, so that how the bytes were cut makes no difference: nothing is judged by a byte that
//! might not have been there yet.

use super::fault::Fault;
use super::limits::HeadLimits;

/// Empty lines before a request that are passed over (RFC 9112 §2.2 asks for one at least).
const EMPTY_LINES_MAX: u8 = 2;

/// Whose head it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Request,
    Response,
}

/// A head that is all there, as places in the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found {
    /// Where its first line begins.
    pub begin: usize,
    /// Where its field lines begin.
    pub fields: usize,
    /// Where what follows begins.
    pub end: usize,
}

/// How far a head has been read.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Scan {
    /// Bytes that hold no further line end.
    seen: usize,
    /// Where the first line begins: behind empty lines.
    begin: usize,
    /// Where the field lines begin; zero while the first line is not over.
    fields: usize,
    /// Where the current line begins.
    line: usize,
    /// Whole field lines.
    count: usize,
    empty_lines: u8,
}

impl Scan {
    /// Whether a byte of a message is there, empty lines not counted.
    pub(super) fn has_begun(&self) -> bool {
        self.seen > self.begin
    }

    /// Looks for the end of the head in `bytes`: all that came since the last message, whatever was looked at before
    /// included. None asks for more.
    pub(super) fn find(
        &mut self,
        kind: Kind,
        bytes: &[u8],
        limits: &HeadLimits,
        check: impl Fn(&[u8], Progress) -> Result<(), Fault>,
    ) -> Result<Option<Found>, Fault> {
        loop {
            // What lies beyond the limit is not looked at: it must not decide between two faults.
            let visible_len = bytes.len().min(self.begin.saturating_add(limits.head_max));
            let visible = bytes.get(..visible_len).unwrap_or_default();
            let unseen = visible.get(self.seen..).unwrap_or_default();
            let Some(offset) = memchr::memchr(b'\n', unseen) else {
                self.seen = visible.len();
                let line = visible.get(self.line..).unwrap_or_default();
                // A carriage return at the end may yet belong to a line end.
                self.check(line.strip_suffix(b"\r").unwrap_or(line), Progress::Partial, limits, &check)?;
                return if bytes.len() > visible.len() { Err(Fault::HeadLong) } else { Ok(None) };
            };
            let end = self.seen + offset + 1;
            let line = visible.get(self.line..end - 1).unwrap_or_default();
            let ended = line.strip_suffix(b"\r");
            self.check(ended.unwrap_or(line), Progress::Whole, limits, &check)?;
            if ended.is_none() {
                return Err(Fault::LineEnd);
            }
            let is_empty = line.len() == 1;
            self.seen = end;
            self.line = end;
            if self.fields == 0 {
                match (kind, is_empty) {
                    (_, false) => self.fields = end,
                    (Kind::Response, true) => return Err(Fault::StatusLine),
                    (Kind::Request, true) => self.pass_empty_line(end)?,
                }
            } else if is_empty {
                let found = Found { begin: self.begin, fields: self.fields, end };
                *self = Self::default();
                return Ok(Some(found));
            } else {
                self.count += 1;
                if self.count > limits.fields_max {
                    return Err(Fault::FieldsMany);
                }
            }
        }
    }

    fn pass_empty_line(&mut self, end: usize) -> Result<(), Fault> {
        self.begin = end;
        self.empty_lines += 1;
        if self.empty_lines > EMPTY_LINES_MAX { Err(Fault::EmptyLines) } else { Ok(()) }
    }

    fn check(
        &self,
        line: &[u8],
        progress: Progress,
        limits: &HeadLimits,
        first_line: impl Fn(&[u8], Progress) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if self.fields == 0 {
            if line.is_empty() { Ok(()) } else { first_line(line, progress) }
        } else if line.len() > limits.field_max {
            Err(Fault::FieldLong)
        } else {
            Ok(())
        }
    }
}

/// Whether a line is all there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// More of it may come.
    Partial,
    /// Its line end was seen.
    Whole,
}
