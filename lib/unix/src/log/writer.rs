//! The thread that writes lines, and the memory it shares with those that make them.
//!
//! ```text
//!            first line: wake                   nothing new after LINGER
//!   Asleep ──────────────────▶ writing ◀─────▶ lingering ──────────────▶ Asleep
//! ```
//! Only a line that finds the writer asleep wakes it.

use std::io::{self, Write};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::render::Renderer;
use super::{EXIT_WAIT, Level, PENDING_MAX, Record, Sinks, Stderr};

/// How long the writer gathers lines before it writes again: the most a line of a storm is late.
const LINGER: Duration = Duration::from_millis(20);

/// Memory for lines kept between bursts.
const KEEP_BYTES: usize = 64 * 1024;

#[derive(Debug)]
struct State {
    renderer: Renderer,
    pending: Vec<u8>,
    /// Since the last report, and in all.
    dropped: u64,
    dropped_total: u64,
    sinks: Option<Sinks>,
    activity: Activity,
    /// Bytes ever queued and ever given to the sinks.
    queued: u64,
    written: u64,
    /// Somebody waits for the end of the pending lines: no lingering.
    urgent: bool,
    closing: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Activity {
    Asleep,
    Awake,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Rung for the writer: lines, or an end.
    wake: Condvar,
    /// Rung by the writer: all that waited is written.
    done: Condvar,
}

impl Shared {
    /// A thread that panicked while holding the lock left whole lines at worst incomplete: go on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The makers' side. Dropping it writes what waits, within [`EXIT_WAIT`].
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
}

impl Writer {
    pub(super) fn start(sinks: Sinks, renderer: Renderer) -> io::Result<Self> {
        let state = State {
            renderer,
            pending: Vec::new(),
            dropped: 0,
            dropped_total: 0,
            sinks: Some(sinks),
            activity: Activity::Awake,
            queued: 0,
            written: 0,
            urgent: false,
            closing: false,
        };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), done: Condvar::new() });
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || run(&theirs))?;
        Ok(Self { shared })
    }

    /// Queues what `render` appends, or counts it as dropped if too much waits already.
    pub(super) fn write(&self, render: impl FnOnce(&mut Renderer, &mut Vec<u8>)) {
        let mut state = self.shared.lock();
        if state.pending.len() >= PENDING_MAX {
            state.dropped += 1;
            state.dropped_total += 1;
            return;
        }
        state.report_dropped();
        state.append(render);
        if state.activity == Activity::Asleep {
            state.activity = Activity::Awake;
            drop(state);
            self.shared.wake.notify_one();
        }
    }

    pub(super) fn dropped_total(&self) -> u64 {
        self.shared.lock().dropped_total
    }

    /// Lets `change` at the renderer of the lines to come.
    pub(super) fn with(&self, change: impl FnOnce(&mut Renderer)) {
        change(&mut self.shared.lock().renderer);
    }

    pub(super) fn replace_sinks(&self, sinks: Sinks) {
        self.shared.lock().sinks = Some(sinks);
    }

    pub(super) fn flush(&self, wait: Duration) -> bool {
        let mut state = self.shared.lock();
        state.report_dropped();
        let target = state.queued;
        if state.written >= target {
            return true;
        }
        state.urgent = true;
        state.activity = Activity::Awake;
        self.shared.wake.notify_one();
        let unwritten = |state: &mut State| state.written < target;
        let result = self.shared.done.wait_timeout_while(state, wait, unwritten);
        !result.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.flush(EXIT_WAIT);
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
    }
}

impl State {
    fn append(&mut self, render: impl FnOnce(&mut Renderer, &mut Vec<u8>)) {
        let before = self.pending.len();
        render(&mut self.renderer, &mut self.pending);
        self.queued += (self.pending.len() - before) as u64;
    }

    fn report_dropped(&mut self) {
        let count = mem::take(&mut self.dropped);
        if count > 0 {
            self.append(|renderer, out| {
                let record = Record {
                    level: Level::Warning,
                    event: "log_dropped",
                    context: format_args!(""),
                    text: format_args!("dropped {count} log lines: the log could not be written fast enough"),
                    fields: &[("lines", super::Value::Number(i64::try_from(count).unwrap_or(i64::MAX)))],
                };
                renderer.render(out, &record, SystemTime::now());
            });
        }
    }
}

fn run(shared: &Shared) {
    let mut sinks = Sinks { stderr: Stderr::No, file: None };
    let mut batch = Vec::new();
    let mut state = shared.lock();
    loop {
        if let Some(new) = state.sinks.take() {
            sinks = new;
        }
        if state.pending.is_empty() {
            if state.closing {
                return;
            }
            state.activity = Activity::Asleep;
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        state.activity = Activity::Awake;
        state.urgent = false;
        mem::swap(&mut state.pending, &mut batch);
        drop(state);
        sinks.write(&batch);
        state = shared.lock();
        state.written += batch.len() as u64;
        shared.done.notify_all();
        batch.clear();
        batch.shrink_to(KEEP_BYTES);
        state = linger(shared, state);
    }
}

/// Waits for more lines to write at once, unless somebody is in a hurry.
fn linger<'a>(shared: &'a Shared, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    let patient = |state: &mut State| !state.urgent && !state.closing;
    let result = shared.wake.wait_timeout_while(state, LINGER, patient);
    result.unwrap_or_else(PoisonError::into_inner).0
}

impl Sinks {
    /// Gives `lines` to each sink. One that fails loses them: there is nowhere to report it.
    fn write(&mut self, lines: &[u8]) {
        if self.stderr == Stderr::Yes {
            let _ = write_all(&mut io::stderr(), lines);
        }
        if let Some(file) = &mut self.file {
            let _ = write_all(file, lines);
        }
    }
}

/// Writes all of `lines`, waiting for a sink that is non-blocking, which we or our parent may have made it.
fn write_all<S: Write + AsFd>(sink: &mut S, mut lines: &[u8]) -> io::Result<()> {
    while !lines.is_empty() {
        match sink.write(lines) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => lines = &lines[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_writable(sink.as_fd())?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_writable(sink: BorrowedFd<'_>) -> io::Result<()> {
    poll(&mut [PollFd::new(sink, PollFlags::POLLOUT)], PollTimeout::NONE)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Format;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::OwnedFd;

    /// A writer to a pipe nobody has read from yet.
    fn stuck() -> (Writer, File) {
        let (read, write) = io::pipe().unwrap();
        let sinks = Sinks { stderr: Stderr::No, file: Some(OwnedFd::from(write).into()) };
        let writer = Writer::start(sinks, Renderer::new(Format::Json, 1)).unwrap();
        (writer, OwnedFd::from(read).into())
    }

    fn line(writer: &Writer, number: usize) {
        writer.write(|_, out| out.extend_from_slice(format!("line {number} {:>1000}\n", "").as_bytes()));
    }

    #[test]
    fn a_stuck_sink_holds_up_nobody_and_the_loss_is_told() {
        const SENT: usize = 4000;
        /// Bytes of one line, more than a pipe holds: the writer takes it whole, and is stuck.
        const FIRST: usize = 200_000;
        let (writer, mut pipe) = stuck();
        writer.write(|_, out| out.extend_from_slice(format!("line 0 {}\n", "x".repeat(FIRST)).as_bytes()));
        assert!(!writer.flush(Duration::ZERO));
        while !writer.shared.lock().pending.is_empty() {
            thread::yield_now();
        }
        for number in 1..SENT {
            line(&writer, number);
        }
        assert!(!writer.flush(Duration::ZERO));
        let waiting = writer.shared.lock().pending.len();
        assert!((PENDING_MAX..PENDING_MAX + 2000).contains(&waiting));
        let reader = thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            text
        });
        while !writer.flush(EXIT_WAIT) {}
        line(&writer, SENT);
        assert!(writer.flush(EXIT_WAIT));
        writer.replace_sinks(Sinks { stderr: Stderr::No, file: None });
        drop(writer);
        let text = reader.join().unwrap();
        let mut lost = 0;
        let mut kept = Vec::new();
        for text in text.lines() {
            match text.strip_prefix("line ") {
                Some(rest) => kept.push(rest.split(' ').next().unwrap().parse::<usize>().unwrap()),
                None => {
                    let told: serde_json::Value = serde_json::from_str(text).unwrap();
                    lost += told["lines"].as_u64().unwrap() as usize;
                }
            }
        }
        assert!(kept.is_sorted() && lost > 0);
        assert_eq!(kept.len() + lost, SENT + 1);
        assert_eq!(kept.last(), Some(&SENT));
    }

    #[test]
    fn a_line_wakes_a_sleeping_writer() {
        let (writer, mut pipe) = stuck();
        while writer.shared.lock().activity == Activity::Awake {
            thread::yield_now();
        }
        line(&writer, 7);
        let mut start = [0; 6];
        pipe.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"line 7");
    }

    #[test]
    fn a_non_blocking_sink_is_waited_for() {
        let (mut near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let lines = vec![b'x'; 1 << 20];
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            far.read_to_end(&mut bytes).unwrap();
            bytes.len()
        });
        write_all(&mut near, &lines).unwrap();
        drop(near);
        assert_eq!(reader.join().unwrap(), lines.len());
    }

    #[test]
    fn a_sink_that_is_gone_loses_lines_and_nothing_else() {
        let (writer, pipe) = stuck();
        drop(pipe);
        line(&writer, 1);
        assert!(writer.flush(EXIT_WAIT));
    }
}
