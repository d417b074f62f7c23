//! The control socket of a daemon: a [`Control`] with answers made of rows, and those who watch.
//!
//! A watcher's request is an answer without an end: a snapshot, then changes, and a heartbeat every [`HEARTBEAT`]. What is
//! asked and who may ask it is for the owner. Invariant: whoever is gone is no watcher.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use sluice_wire::control::{Reply, Row, heartbeat, write_row};

use super::{Accept, Control, Event, Limits};
use crate::fault::Failure;
use crate::listener::{ListenError, Listener, UnixListen};
use crate::log::rfc3339;
use crate::poller::{Poller, Readiness};
use crate::slab::Key;
use crate::stream::Credentials;
use crate::token::Token;

/// Permissions of the socket file.
const MODE: u32 = 0o660;

/// A watcher hears something at least this often.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// Where the socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// There is none.
    None,
    /// It has to be there; abstract behind a leading `@`.
    Asked(String),
    /// The usual place, which may be out of reach for somebody who tries things out.
    Usual(String),
}

/// See the module.
#[derive(Debug)]
pub struct Desk {
    control: Control,
    watchers: Vec<Key>,
    /// A heartbeat is on its way.
    beating: bool,
}

impl Desk {
    /// Listens at `place` and registers: events of the listener have `class`, those of its connections `peer_class`. Where the
    /// usual place is out of reach, `warn` is told, and there is no socket.
    ///
    /// # Errors
    /// [`Failure`] with text for the operator.
    pub fn open(
        place: &Place,
        poller: &Poller,
        (class, peer_class): (u8, u8),
        warn: impl FnOnce(fmt::Arguments<'_>),
    ) -> Result<Option<Self>, Failure> {
        let (path, usual) = match place {
            Place::None => return Ok(None),
            Place::Asked(path) => (path, false),
            Place::Usual(path) => (path, true),
        };
        let desk = match Self::listen(path, peer_class) {
            Ok(desk) => desk,
            Err(error) if usual => {
                let hint = "set control_socket to a path that may be written, or to nothing";
                warn(format_args!("no control socket: cannot listen on {path}: {error}; {hint}"));
                return Ok(None);
            }
            Err(error) => {
                let text = format!("cannot listen on control_socket {path}: {error}");
                return Err(Failure::listening(&error, text));
            }
        };
        let registered = poller.register_readable(desk.control.listener(), Token::single(class));
        registered.map_err(Failure::system("watch the control socket"))?;
        Ok(Some(desk))
    }

    fn listen(path: &str, peer_class: u8) -> Result<Self, ListenError> {
        let listener = Listener::unix(path, &UnixListen { backlog: 0, mode: MODE, group_id: None })?;
        let control = Control::new(listener, peer_class, Limits::default());
        Ok(Self { control, watchers: Vec::new(), beating: false })
    }

    /// See [`Control::accept`].
    pub fn accept(&mut self, poller: &Poller) -> Accept {
        self.control.accept(poller)
    }

    /// See [`Control::on_event`].
    pub fn on_event(&mut self, key: Key, readiness: Readiness) {
        self.control.on_event(key, readiness);
    }

    /// See [`Control::credentials`].
    #[must_use]
    pub fn credentials(&self, key: Key) -> Option<Credentials> {
        self.control.credentials(key)
    }

    /// See [`Control::next_event`].
    pub fn next_event(&mut self) -> Option<Event> {
        let event = self.control.next_event()?;
        if let Event::Gone(key) = event {
            self.watchers.retain(|&watcher| watcher != key);
        }
        Some(event)
    }

    /// A complete answer: rows, and that all went well.
    pub fn answer(&mut self, key: Key, rows: impl Iterator<Item = Row>) {
        let mut lines = Vec::new();
        rows.for_each(|row| write_row(&mut lines, &row));
        Reply::Ok.write(&mut lines);
        self.control.send(key, &lines);
        self.control.finish(key);
    }

    /// A complete answer without rows.
    pub fn end(&mut self, key: Key, reply: &Reply) {
        let mut line = Vec::new();
        reply.write(&mut line);
        self.control.send(key, &line);
        self.control.finish(key);
    }

    /// An answer without an end: a snapshot now, and what is published from now on.
    pub fn watch(&mut self, key: Key, snapshot: impl Iterator<Item = Row>) {
        self.watchers.push(key);
        let mut lines = Vec::new();
        snapshot.for_each(|row| write_row(&mut lines, &row));
        write_row(&mut lines, &beat_now());
        self.control.send(key, &lines);
    }

    /// How many watch.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.watchers.len()
    }

    /// Tells the watchers of a change.
    pub fn publish(&mut self, row: &Row) {
        if self.watchers.is_empty() {
            return;
        }
        let mut line = Vec::new();
        write_row(&mut line, row);
        for &watcher in &self.watchers {
            self.control.send(watcher, &line);
        }
    }

    /// When to call [`Desk::beat`], if it is to be scheduled now.
    pub fn schedule_beat(&mut self, now: Instant) -> Option<Instant> {
        let due = !self.watchers.is_empty() && !self.beating;
        self.beating |= due;
        due.then(|| now + HEARTBEAT)
    }

    /// Tells the watchers that we are there.
    pub fn beat(&mut self) {
        self.beating = false;
        self.publish(&beat_now());
    }
}

fn beat_now() -> Row {
    heartbeat(rfc3339(SystemTime::now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_wire::control::row;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixStream;

    const CLASSES: (u8, u8) = (1, 2);

    /// The lines a peer gets while the desk works through what it has sent.
    struct Bench {
        poller: Poller,
        desk: Desk,
        peer: BufReader<UnixStream>,
    }

    impl Bench {
        fn new(dir: &tempfile::TempDir) -> Self {
            let path = dir.path().join("sock").to_str().unwrap().to_owned();
            let poller = Poller::new().unwrap();
            let place = Place::Usual(path.clone());
            let mut desk = Desk::open(&place, &poller, CLASSES, |text| panic!("{text}")).unwrap().unwrap();
            let peer = UnixStream::connect(path).unwrap();
            assert!(matches!(desk.accept(&poller), Accept::Done));
            Self { poller, desk, peer: BufReader::new(peer) }
        }

        /// The key of the next request.
        fn ask(&mut self, line: &str) -> Key {
            self.peer.get_mut().write_all(line.as_bytes()).unwrap();
            match self.next() {
                Event::Line(key, _) => key,
                Event::Gone(_) => panic!("gone"),
            }
        }

        fn next(&mut self) -> Event {
            loop {
                if let Some(event) = self.desk.next_event() {
                    return event;
                }
                self.poller.wait(None).unwrap();
                let events: Vec<_> = self.poller.events().collect();
                for (token, readiness) in events {
                    self.desk.on_event(token.key(), readiness);
                }
            }
        }

        fn read(&mut self) -> String {
            let mut line = String::new();
            self.peer.read_line(&mut line).unwrap();
            line
        }
    }

    #[test]
    fn answers_end_and_watching_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut bench = Bench::new(&dir);
        let change = row([("n", 1.into())]);
        let key = bench.ask("a\n");
        bench.desk.answer(key, std::iter::once(change.clone()));
        assert_eq!((bench.read(), bench.read()), ("{\"n\":1}\n".to_owned(), "{\"ok\":true}\n".to_owned()));
        let key = bench.ask("b\n");
        bench.desk.end(key, &Reply::error("no"));
        assert_eq!(bench.read(), "{\"ok\":false,\"error\":\"no\"}\n");

        let now = Instant::now();
        bench.desk.publish(&change);
        assert_eq!((bench.desk.watchers(), bench.desk.schedule_beat(now)), (0, None), "nobody watches yet");
        let key = bench.ask("watch\n");
        bench.desk.watch(key, std::iter::once(change.clone()));
        assert_eq!(bench.read(), "{\"n\":1}\n");
        assert!(bench.read().starts_with("{\"event\":\"heartbeat\",\"ts\":\""));
        bench.desk.publish(&change);
        assert_eq!(bench.read(), "{\"n\":1}\n");

        assert_eq!(bench.desk.schedule_beat(now), Some(now + HEARTBEAT));
        assert_eq!(bench.desk.schedule_beat(now), None, "one is on its way");
        bench.desk.beat();
        assert!(bench.read().contains("heartbeat"));
        assert_eq!(bench.desk.schedule_beat(now), Some(now + HEARTBEAT));
    }

    #[test]
    fn whoever_is_gone_watches_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut bench = Bench::new(&dir);
        let key = bench.ask("watch\n");
        bench.desk.watch(key, std::iter::empty());
        assert_eq!(bench.desk.watchers(), 1);
        bench.peer.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
        // Found out when it is told something.
        bench.desk.beat();
        assert_eq!(bench.next(), Event::Gone(key));
        assert_eq!(bench.desk.watchers(), 0);
    }

    #[test]
    fn the_usual_place_may_be_out_of_reach_and_one_asked_for_may_not() {
        let poller = Poller::new().unwrap();
        let path = "/nonexistent/sock".to_owned();
        assert!(Desk::open(&Place::None, &poller, CLASSES, |text| panic!("{text}")).unwrap().is_none());
        let mut warned = String::new();
        let usual =
            Desk::open(&Place::Usual(path.clone()), &poller, CLASSES, |text| warned = text.to_string());
        assert!(usual.unwrap().is_none());
        assert!(warned.starts_with("no control socket: cannot listen on /nonexistent/sock: "), "{warned}");
        let asked = Desk::open(&Place::Asked(path), &poller, CLASSES, |text| panic!("{text}"));
        let failure = asked.unwrap_err();
        assert!(failure.to_string().starts_with("cannot listen on control_socket /nonexistent/sock: "));
        assert!(!failure.may_pass(), "a directory that is not there will not come by itself");
    }
}
