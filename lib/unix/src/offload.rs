//! Work that takes long, off the loop.
//!
//! Each piece of work runs on a thread of its own, a few at a time, and rings the poller's [`Waker`] when it is done.
//! There is no thread, and no memory of one, while nothing is to be done.
//!
//! Invariants: each accepted piece of work is answered exactly once; no more threads run, and no more work waits,
//! than the limits say; what waits is begun in the order of asking.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::poller::Waker;
use crate::slab::{Key, Slab};

type Work<T> = Box<dyn FnOnce() -> T + Send>;

/// How much may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Threads at a time.
    pub running: usize,
    /// Pieces of work that wait for one.
    pub waiting: usize,
}

/// The work was not taken: too much is waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// Work under way and waiting; `K` is the asker's own mark, `T` what the work gives.
pub struct Offload<K, T> {
    name: &'static str,
    waker: Waker,
    limits: Limits,
    sender: Sender<(Key, io::Result<T>)>,
    receiver: Receiver<(Key, io::Result<T>)>,
    waiting: VecDeque<(K, Work<T>)>,
    /// Marks of what runs: they need not leave the loop.
    running: Slab<K>,
}

impl<K, T: Send + 'static> Offload<K, T> {
    /// For work on threads of this name (15 bytes of it are shown), which rings `waker` for each piece done.
    #[must_use]
    pub fn new(name: &'static str, waker: Waker, limits: Limits) -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { name, waker, limits, sender, receiver, waiting: VecDeque::new(), running: Slab::new() }
    }

    /// Has `work` done.
    ///
    /// # Errors
    /// [`QueueFull`]; there will be no answer.
    pub fn start(&mut self, key: K, work: impl FnOnce() -> T + Send + 'static) -> Result<(), QueueFull> {
        if self.running.len() < self.limits.running {
            self.run(key, Box::new(work));
            return Ok(());
        }
        if self.waiting.len() >= self.limits.waiting {
            return Err(QueueFull);
        }
        self.waiting.push_back((key, Box::new(work)));
        Ok(())
    }

    /// The next piece that is done, with the asker's mark: call until `None` after each ring. An error means that no
    /// thread could be had and the work was not done.
    pub fn done(&mut self) -> Option<(K, io::Result<T>)> {
        loop {
            let (running, result) = self.receiver.try_recv().ok()?;
            let key = self.running.remove(running);
            if let Some((key, work)) = self.waiting.pop_front() {
                self.run(key, work);
            }
            if let Some(key) = key {
                return Some((key, result));
            }
        }
    }

    /// Pieces without an answer yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    fn run(&mut self, key: K, work: Work<T>) {
        let running = self.running.insert(key);
        let (sender, waker) = (self.sender.clone(), self.waker.clone());
        let spawned = thread::Builder::new().name(self.name.to_owned()).spawn(move || {
            // Both fail only when the worker is gone, and nobody is left to tell.
            let _ = sender.send((running, Ok(work())));
            let _ = waker.wake();
        });
        if let Err(error) = spawned {
            let _ = self.sender.send((running, Err(error)));
            let _ = self.waker.wake();
        }
    }
}

impl<K, T> fmt::Debug for Offload<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offload")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poller::Poller;
    use crate::token::Token;

    const LIMITS: Limits = Limits { running: 2, waiting: 3 };

    fn offload(limits: Limits) -> (Poller, Offload<u32, u32>) {
        let mut poller = Poller::new().unwrap();
        let waker = poller.waker(Token::new(0, Key::default())).unwrap();
        (poller, Offload::new("test", waker, limits))
    }

    /// Waits for that many results.
    fn results(poller: &mut Poller, offload: &mut Offload<u32, u32>, count: usize) -> Vec<(u32, u32)> {
        let mut results = Vec::new();
        while results.len() < count {
            poller.wait(None).unwrap();
            let done = std::iter::from_fn(|| offload.done());
            results.extend(done.map(|(key, result)| (key, result.unwrap())));
        }
        results
    }

    #[test]
    fn every_piece_is_answered_once_with_its_mark() {
        let (mut poller, mut offload) = offload(Limits { running: 3, waiting: 100 });
        for key in 0..50 {
            offload.start(key, move || key * key).unwrap();
        }
        assert_eq!(offload.pending(), 50);
        let mut done = results(&mut poller, &mut offload, 50);
        done.sort_unstable();
        assert!(done.into_iter().eq((0..50).map(|key| (key, key * key))));
        assert_eq!(offload.pending(), 0);
        assert!(offload.done().is_none());
    }

    #[test]
    fn threads_and_queue_have_limits_and_the_queue_an_order() {
        let (mut poller, mut offload) = offload(LIMITS);
        let (gate, closed) = mpsc::channel::<()>();
        let closed = std::sync::Arc::new(std::sync::Mutex::new(closed));
        for key in 0..5 {
            let closed = std::sync::Arc::clone(&closed);
            let held = move || {
                let _ = closed.lock().map(|closed| closed.recv());
                key
            };
            offload.start(key, held).unwrap();
        }
        assert_eq!((offload.running.len(), offload.waiting.len()), (LIMITS.running, LIMITS.waiting));
        assert_eq!(offload.start(9, || 9), Err(QueueFull));
        drop(gate);
        let done = results(&mut poller, &mut offload, 5);
        assert!(done.iter().all(|(key, result)| key == result));
        assert_eq!(offload.start(6, || 6), Ok(()));
        assert_eq!(results(&mut poller, &mut offload, 1), [(6, 6)]);
    }

    #[test]
    fn one_at_a_time_keeps_the_order() {
        let (mut poller, mut offload) = offload(Limits { running: 1, waiting: 100 });
        for key in 0..20 {
            offload.start(key, move || key).unwrap();
        }
        assert!(results(&mut poller, &mut offload, 20).into_iter().eq((0..20).map(|key| (key, key))));
    }
}
