//! Bytes that a machine wants sent: to whom, in which order, and from where.
//!
//! A machine that is fed a chunk relays parts of it and writes bytes of its own between them. The outbox holds ranges of
//! both, so that relayed bytes are never copied; those of the chunk are valid only until the outbox of that entry has been
//! sent. Touches nothing: sending is [`crate::gather`]'s.

/// Memory the outbox keeps between entries.
const KEEP_BYTES: usize = 64 * 1024;

/// Where the bytes of an [`Op`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the chunk handed to the input entry.
    Chunk,
    /// In [`Outbox::own`].
    Own,
}

/// Send `start..end` of `source` to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op<E> {
    /// The receiving connection; one that is gone swallows the bytes.
    pub to: E,
    /// Which of the two byte strings the range is in.
    pub source: Source,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// Bytes to send to connections that the machine calls `E`, in order. No range is empty, and neighbours that are one range
/// are one.
#[derive(Debug)]
pub struct Outbox<E> {
    /// The ranges, in the order they must leave.
    pub ops: Vec<Op<E>>,
    /// Bytes the machine wrote itself.
    pub own: Vec<u8>,
}

impl<E> Default for Outbox<E> {
    fn default() -> Self {
        Self { ops: Vec::new(), own: Vec::new() }
    }
}

impl<E: Copy + PartialEq> Outbox<E> {
    /// Relays `start..end` of the current chunk.
    #[inline]
    pub fn relay(&mut self, to: E, start: usize, end: usize) {
        self.push(Op { to, source: Source::Chunk, start, end });
    }

    /// Sends what `write` appends.
    #[inline]
    pub fn write<T>(&mut self, to: E, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let start = self.own.len();
        let written = write(&mut self.own);
        self.push(Op { to, source: Source::Own, start, end: self.own.len() });
        written
    }

    #[inline]
    fn push(&mut self, op: Op<E>) {
        if op.start == op.end {
            return;
        }
        if let Some(last) = self.ops.last_mut()
            && (last.to, last.source, last.end) == (op.to, op.source, op.start)
        {
            last.end = op.end;
        } else {
            self.ops.push(op);
        }
    }

    /// Whether there is nothing to send.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The ranges in order, cut where the destination changes: each run has at least one.
    #[inline]
    pub fn runs(&self) -> impl Iterator<Item = &[Op<E>]> {
        self.ops.chunk_by(|one, next| one.to == next.to)
    }

    /// The bytes of a range.
    #[inline]
    #[must_use]
    pub fn bytes<'a>(&'a self, op: &Op<E>, chunk: &'a [u8]) -> &'a [u8] {
        match op.source {
            Source::Chunk => &chunk[op.start..op.end],
            Source::Own => &self.own[op.start..op.end],
        }
    }

    /// Forgets everything, keeping a bounded amount of memory.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.own.clear();
        self.own.shrink_to(KEEP_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_range_and_empty_ones_are_none() {
        let mut outbox = Outbox::default();
        outbox.relay(1, 0, 2);
        outbox.relay(1, 2, 5);
        outbox.relay(1, 5, 5);
        assert_eq!(outbox.write(1, |out| out.extend_from_slice(b"own")), ());
        outbox.write(1, |out| out.push(b'!'));
        outbox.write(1, |_| ());
        outbox.relay(1, 5, 6);
        outbox.relay(2, 6, 7);
        outbox.relay(1, 7, 8);
        let runs: Vec<(i32, Vec<&[u8]>)> = outbox
            .runs()
            .map(|run| (run[0].to, run.iter().map(|op| outbox.bytes(op, b"abcdefgh")).collect()))
            .collect();
        let expected: [(i32, &[&[u8]]); 3] = [(1, &[b"abcde", b"own!", b"f"]), (2, &[b"g"]), (1, &[b"h"])];
        assert_eq!(runs, expected.map(|(to, bytes)| (to, bytes.to_vec())));
    }

    #[test]
    fn memory_is_bounded_between_entries() {
        let mut outbox = Outbox::default();
        outbox.write(1, |out| out.resize(KEEP_BYTES + 1, 0));
        outbox.clear();
        assert!(outbox.is_empty() && outbox.own.is_empty() && outbox.own.capacity() <= KEEP_BYTES);
    }
}
