//! Newline framing with a limit: bytes in, lines out.
//!
//! Owned by whoever reads a stream of lines (control sockets). Knows nothing of what a line says.
//!
//! Invariants: how the bytes were cut makes no difference; no more than the limit and one piece fed is ever held; a
//! buffer that has been emptied is given back.

/// What [`Lines::next`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next<'a> {
    /// A line, without its newline and without a carriage return before it.
    Line(&'a [u8]),
    /// No whole line yet: feed more.
    Need,
    /// A line longer than the limit: the stream cannot be trusted any more, and stays this way.
    TooLong,
}

/// Cuts a stream into lines.
#[derive(Clone, Debug)]
pub struct Lines {
    len_max: usize,
    buffer: Vec<u8>,
    /// Bytes at the front that were handed out.
    consumed: usize,
    /// Bytes at the front known to hold no further newline.
    scanned: usize,
}

impl Lines {
    /// Lines of at most `len_max` bytes, newline and carriage return not counted.
    pub fn new(len_max: usize) -> Self {
        Self { len_max, buffer: Vec::new(), consumed: 0, scanned: 0 }
    }

    /// Takes the next bytes of the stream. Call [`Lines::next`] until it needs more before feeding again.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.consumed);
        self.scanned -= self.consumed;
        self.consumed = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line, if it is all there.
    #[expect(
        clippy::should_implement_trait,
        reason = "a line borrows from the buffer, which an Iterator cannot say"
    )]
    pub fn next(&mut self) -> Next<'_> {
        let start = self.consumed;
        let Some(offset) = memchr::memchr(b'\n', &self.buffer[self.scanned..]) else {
            self.scanned = self.buffer.len();
            return self.unfinished();
        };
        let end = self.scanned + offset;
        let line = &self.buffer[start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > self.len_max {
            return Next::TooLong;
        }
        self.consumed = end + 1;
        self.scanned = end + 1;
        Next::Line(line)
    }

    fn unfinished(&mut self) -> Next<'_> {
        let pending = &self.buffer[self.consumed..];
        if pending.is_empty() {
            self.buffer = Vec::new();
            self.consumed = 0;
            self.scanned = 0;
            return Next::Need;
        }
        // A carriage return at the end may yet belong to the newline.
        let pending = pending.strip_suffix(b"\r").unwrap_or(pending);
        if pending.len() > self.len_max { Next::TooLong } else { Next::Need }
    }

    /// Bytes fed and not handed out: what is lost if the stream ends here.
    pub fn pending_len(&self) -> usize {
        self.buffer.len() - self.consumed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every line the pieces make, and whether the stream was given up.
    fn lines(len_max: usize, pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
        let mut lines = Lines::new(len_max);
        let mut found = Vec::new();
        for piece in pieces {
            lines.feed(piece);
            loop {
                match lines.next() {
                    Next::Line(line) => found.push(line.to_vec()),
                    Next::Need => break,
                    Next::TooLong => return (found, true),
                }
            }
        }
        (found, false)
    }

    #[test]
    fn cuts_make_no_difference() {
        for input in sluice_check::exhaustive(b"a\r\n", 7) {
            let whole = lines(2, &[&input]);
            sluice_check::pieces(&input, |pieces| assert_eq!(lines(2, pieces), whole, "{input:?}"));
        }
    }

    #[test]
    fn a_line_at_and_beyond_the_limit() {
        assert_eq!(lines(3, &[b"abc\nabc\r\n\n"]), (vec![b"abc".to_vec(), b"abc".to_vec(), vec![]], false));
        assert_eq!(lines(3, &[b"abcd\n"]), (vec![], true));
        assert_eq!(lines(3, &[b"x\nabcd"]), (vec![b"x".to_vec()], true));
    }

    #[test]
    fn a_stream_given_up_stays_so_and_an_empty_buffer_is_given_back() {
        let mut lines = Lines::new(1);
        lines.feed(b"ab\nc\n");
        assert_eq!(lines.next(), Next::TooLong);
        assert_eq!(lines.next(), Next::TooLong);
        let mut lines = Lines::new(8);
        lines.feed(b"ab\ncd");
        assert_eq!(lines.next(), Next::Line(b"ab"));
        assert_eq!(lines.next(), Next::Need);
        assert_eq!(lines.pending_len(), 2);
        lines.feed(b"\n");
        assert_eq!(lines.next(), Next::Line(b"cd"));
        assert_eq!(lines.next(), Next::Need);
        assert_eq!((lines.pending_len(), lines.buffer.capacity()), (0, 0));
    }
}
