//! Byte queues for the few connections that need one at a given moment.
//!
//! A worker reads into one scratch buffer and sends from there; only what cannot leave at once, or cannot be
//! understood yet, is copied to a [`Buf`] taken from the worker's [`BufPool`], and the buffer goes back as soon
//! as it is empty. An idle connection owns none.
//!
//! Invariants: a pooled buffer is empty and no larger than the pool's size, so one large message does not stay
//! in memory.

/// First in, first out queue of bytes.
#[derive(Debug, Default)]
pub struct Buf {
    bytes: Vec<u8>,
    head: usize,
}

impl Buf {
    /// Number of bytes queued.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Whether nothing is queued.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The queued bytes, oldest first.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    /// Queues `bytes` behind the others.
    pub fn append(&mut self, bytes: &[u8]) {
        // Moving the rest to the front is paid for by the growth it avoids.
        if self.head > 0 && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Drops the `count` oldest bytes (all, if there are fewer).
    #[inline]
    pub fn consume(&mut self, count: usize) {
        self.head += count.min(self.len());
        if self.head == self.bytes.len() {
            self.clear();
        }
    }

    /// Drops everything and keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.head = 0;
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Empty buffers of one size, to take and give back.
#[derive(Debug)]
pub struct BufPool {
    #[expect(clippy::vec_box, reason = "connections hold boxes: an idle one then pays 8 bytes, not 32")]
    free: Vec<Box<Buf>>,
    buf_bytes: usize,
    free_max: usize,
    taken: usize,
}

impl BufPool {
    /// A pool of buffers of `buf_bytes` that keeps up to `free_max` of them while nobody needs them.
    #[must_use]
    pub fn new(buf_bytes: usize, free_max: usize) -> Self {
        Self { free: Vec::new(), buf_bytes, free_max, taken: 0 }
    }

    /// An empty buffer with room for the pool's size. It grows when more is appended.
    pub fn take(&mut self) -> Box<Buf> {
        self.taken += 1;
        self.free
            .pop()
            .unwrap_or_else(|| Box::new(Buf { bytes: Vec::with_capacity(self.buf_bytes), head: 0 }))
    }

    /// Takes a buffer back; one that outgrew the pool's size is freed.
    pub fn put(&mut self, mut buf: Box<Buf>) {
        self.taken = self.taken.saturating_sub(1);
        if buf.capacity() <= self.buf_bytes && self.free.len() < self.free_max {
            buf.clear();
            self.free.push(buf);
        }
    }

    /// Size of a fresh buffer.
    #[must_use]
    pub fn buf_bytes(&self) -> usize {
        self.buf_bytes
    }

    /// Number of buffers out with connections.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Number of buffers waiting to be used.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_they_came() {
        let mut buf = Buf::default();
        let mut expected = Vec::new();
        for step in 0..200_u8 {
            let piece = vec![step; usize::from(step) % 7];
            buf.append(&piece);
            expected.extend_from_slice(&piece);
            let count = usize::from(step) % 5;
            buf.consume(count);
            expected.drain(..count.min(expected.len()));
            assert_eq!(buf.as_slice(), expected);
            assert_eq!((buf.len(), buf.is_empty()), (expected.len(), expected.is_empty()));
        }
        buf.consume(usize::MAX);
        assert!(buf.is_empty());
    }

    #[test]
    fn a_drained_front_makes_room_before_growth() {
        let mut buf = Buf { bytes: Vec::with_capacity(16), head: 0 };
        let capacity = buf.capacity();
        buf.append(&vec![1; capacity]);
        buf.consume(capacity - 1);
        buf.append(&vec![2; capacity - 1]);
        assert_eq!(buf.capacity(), capacity);
        assert_eq!(buf.len(), capacity);
    }

    #[test]
    fn the_pool_keeps_as_many_as_it_may_and_none_that_grew() {
        let mut pool = BufPool::new(64, 2);
        let mut taken: Vec<Box<Buf>> = (0..4).map(|_| pool.take()).collect();
        assert_eq!((pool.taken(), pool.free()), (4, 0));
        taken[0].append(&[0; 65]);
        taken[1].append(&[0; 64]);
        taken.into_iter().for_each(|buf| pool.put(buf));
        assert_eq!((pool.taken(), pool.free()), (0, 2));
        let again = pool.take();
        assert!(again.is_empty());
        assert_eq!(again.capacity(), pool.buf_bytes());
    }
}
