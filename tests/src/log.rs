//! What a daemon wrote to stderr, line by line, and waiting for a line.

use crate::PATIENCE;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// The lines so far. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Log {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Reads the stream to its end on a thread of its own.
    pub fn capture(stream: impl Read + Send + 'static) -> Log {
        let log = Log::default();
        let writer = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                writer.change(|lines| lines.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
            writer.change(|lines| lines.ended = true);
        });
        log
    }

    /// Number of lines so far: a mark for `wait_after`.
    pub fn mark(&self) -> usize {
        self.shared.0.lock().unwrap().lines.len()
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().lines.clone()
    }

    /// Whether a line so far contains the text.
    pub fn contains(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.contains(text))
    }

    /// Waits for a line that contains the text; `None` when the writer ended or patience ran out first.
    pub fn wait(&self, text: &str) -> Option<String> {
        self.wait_after(0, text)
    }

    /// As `wait`, looking only at lines behind the mark.
    pub fn wait_after(&self, mark: usize, text: &str) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let (lock, changed) = &*self.shared;
        let mut lines = lock.lock().unwrap();
        loop {
            if let Some(line) = lines.lines.iter().skip(mark).find(|line| line.contains(text)) {
                return Some(line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended || left.is_zero() {
                return None;
            }
            lines = changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Waits until the writer has ended, so that all it said is here: its exit may be seen before its last line.
    pub fn wait_end(&self) {
        let deadline = Instant::now() + PATIENCE;
        let (lock, changed) = &*self.shared;
        let mut lines = lock.lock().unwrap();
        while !lines.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the log of a program that has ended goes on");
            lines = changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        let (lock, changed) = &*self.shared;
        change(&mut lock.lock().unwrap());
        changed.notify_all();
    }
}
