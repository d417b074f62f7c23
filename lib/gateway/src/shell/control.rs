//! The control socket: request lines become commands of the gateway, its gate or the program, and facts become rows.
//!
//! Whoever may open the socket may look; what changes something is for root and our own user, and the log tells who did.

use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use sluice_unix::control::{self as socket, Accept, Control, Limits};
use sluice_unix::listener::{ListenError, Listener, UnixListen};
use sluice_unix::log::rfc3339;
use sluice_unix::poller::{Poller, Readiness};
use sluice_unix::privs;
use sluice_unix::slab::Key;
use sluice_wire::control::{self, Reply, Request, Row};

use crate::gate::{Gate, Privilege, Verb};
use crate::machine::{Gateway, row};

/// Permissions of the socket file.
const MODE: u32 = 0o660;

/// A watcher hears something at least this often.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Commands of every gateway; its gate has more.
pub const VERBS: &[Verb] = &[
    verb("show status", "", Privilege::Any, "The state of the process."),
    verb("show routes", "", Privilege::Any, "Routes and what they take."),
    verb("show origins", "", Privilege::Any, "Origins, their state and load."),
    verb("show conns", "", Privilege::Any, "Client connections and what they are busy with."),
    verb("show config", "", Privilege::Any, "Settings, their values and where they come from."),
    verb("show metrics", "", Privilege::Any, "Metrics as text, in rows with one line each."),
    verb("watch", "", Privilege::Any, "A snapshot, then changes, and heartbeats."),
    verb("drain", "", Privilege::Owner, "Finish what is there and end, as SIGTERM does."),
    verb("reload", "", Privilege::Owner, "Read the configuration anew, as SIGHUP does."),
];

const fn verb(name: &'static str, arguments: &'static str, privilege: Privilege, doc: &'static str) -> Verb {
    Verb { name, arguments, privilege, doc }
}

/// What the control socket wants of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Drain,
    /// The outcome is to be told to this one.
    Reload(Key),
}

/// The socket, and who watches.
#[derive(Debug)]
pub(super) struct ControlSocket {
    control: Control,
    watchers: Vec<Key>,
    /// A heartbeat is on its way.
    beating: bool,
}

/// What commands may look at besides the gateway.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) config: &'a [Row],
    pub(super) log_dropped: u64,
}

impl ControlSocket {
    /// Listens at `path` (abstract behind a leading `@`). Events of its connections have tokens of class `peer_class`.
    ///
    /// # Errors
    /// When the socket cannot be made, somebody else's included.
    pub(super) fn open(path: &str, peer_class: u8) -> Result<Self, ListenError> {
        let listener = Listener::unix(path, &UnixListen { backlog: 0, mode: MODE, group_id: None })?;
        let control = Control::new(listener, peer_class, Limits::default());
        Ok(Self { control, watchers: Vec::new(), beating: false })
    }

    pub(super) fn listener(&self) -> &Listener {
        self.control.listener()
    }

    pub(super) fn accept(&mut self, poller: &Poller) -> Accept {
        self.control.accept(poller)
    }

    pub(super) fn on_event(&mut self, key: Key, readiness: Readiness) {
        self.control.on_event(key, readiness);
    }

    /// Carries out the next request. `None`: there is none. The text is for the log: who changed what.
    pub(super) fn serve<G: Gate>(
        &mut self,
        gateway: &mut Gateway<G>,
        facts: Facts<'_>,
        now: Instant,
    ) -> Option<(Option<Wish>, Option<String>)> {
        match self.control.next_event()? {
            socket::Event::Line(key, line) => Some(self.request(gateway, facts, key, &line, now)),
            socket::Event::Gone(key) => {
                self.watchers.retain(|&watcher| watcher != key);
                Some((None, None))
            }
        }
    }

    fn request<G: Gate>(
        &mut self,
        gateway: &mut Gateway<G>,
        facts: Facts<'_>,
        key: Key,
        line: &[u8],
        now: Instant,
    ) -> (Option<Wish>, Option<String>) {
        let refuse = |this: &mut Self, text: &str| {
            this.end(key, &Reply::error(text));
            (None, None)
        };
        let request = match Request::parse(line) {
            Ok(request) => request,
            Err(error) => return refuse(self, &error.to_string()),
        };
        if let Some(name) = request.args.keys().next() {
            return refuse(self, &format!("unknown key \"{name}\""));
        }
        let words: Vec<&str> = request.cmd.split_ascii_whitespace().collect();
        let Some((verb, arguments)) = find(VERBS, &words).or_else(|| find(G::VERBS, &words)) else {
            return refuse(self, &format!("unknown command \"{}\"", request.cmd.trim()));
        };
        let uid = self.control.credentials(key).map(|peer| peer.uid);
        if verb.privilege == Privilege::Owner && !uid.is_some_and(|uid| uid == 0 || uid == privs::user_id()) {
            return refuse(self, "not allowed");
        }
        if verb.arguments.is_empty() && !arguments.is_empty() {
            return refuse(self, &format!("\"{}\" takes no arguments", verb.name));
        }
        let done = (verb.privilege == Privilege::Owner)
            .then(|| format!("uid {}: {}", uid.map_or(-1, i64::from), request.cmd.trim()));
        match verb.name {
            "watch" => self.watch(gateway, key, now),
            "drain" => {
                self.end(key, &Reply::Ok);
                return (Some(Wish::Drain), done);
            }
            "reload" => return (Some(Wish::Reload(key)), done),
            name => match answer(gateway, verb, name, arguments, facts, now) {
                Ok(rows) => self.rows(key, &rows),
                Err(text) => {
                    self.end(key, &Reply::error(text));
                    return (None, None);
                }
            },
        }
        (None, done)
    }

    fn rows(&mut self, key: Key, rows: &[Row]) {
        let mut lines = Vec::new();
        rows.iter().for_each(|row| control::write_row(&mut lines, row));
        Reply::Ok.write(&mut lines);
        self.control.send(key, &lines);
        self.control.finish(key);
    }

    /// A subscription: an answer without an end.
    fn watch<G: Gate>(&mut self, gateway: &Gateway<G>, key: Key, now: Instant) {
        self.watchers.push(key);
        let mut lines = Vec::new();
        gateway.gate().snapshot(now).iter().for_each(|row| control::write_row(&mut lines, row));
        control::write_row(&mut lines, &heartbeat());
        self.control.send(key, &lines);
    }

    /// The outcome of a reload.
    pub(super) fn reloaded(&mut self, key: Key, outcome: Result<(), &str>) {
        match outcome {
            Ok(()) => self.end(key, &Reply::Ok),
            Err(text) => self.end(key, &Reply::error(text)),
        }
    }

    fn end(&mut self, key: Key, reply: &Reply) {
        let mut line = Vec::new();
        reply.write(&mut line);
        self.control.send(key, &line);
        self.control.finish(key);
    }

    /// Tells the watchers of a change.
    pub(super) fn publish(&mut self, mut row: Row) {
        row.entry("ts").or_insert_with(|| Value::from(rfc3339(SystemTime::now())));
        self.tell_watchers(&row);
    }

    /// When the next heartbeat is due, if it is to be scheduled now.
    pub(super) fn schedule_beat(&mut self, now: Instant) -> Option<Instant> {
        let due = !self.watchers.is_empty() && !self.beating;
        self.beating |= due;
        due.then(|| now + HEARTBEAT)
    }

    /// Tells the watchers that we are there.
    pub(super) fn beat(&mut self) {
        self.beating = false;
        self.tell_watchers(&heartbeat());
    }

    fn tell_watchers(&mut self, row: &Row) {
        if self.watchers.is_empty() {
            return;
        }
        let mut line = Vec::new();
        control::write_row(&mut line, row);
        for &watcher in &self.watchers {
            self.control.send(watcher, &line);
        }
    }
}

/// The verb that `words` begin with, and the rest.
fn find<'a, 'w>(verbs: &'static [Verb], words: &'a [&'w str]) -> Option<(&'static Verb, &'a [&'w str])> {
    verbs.iter().find_map(|verb| {
        let name: Vec<&str> = verb.name.split(' ').collect();
        let given = words.get(..name.len())?;
        let same = given.iter().zip(&name).all(|(given, name)| given.eq_ignore_ascii_case(name));
        same.then(|| (verb, &words[name.len()..]))
    })
}

fn answer<G: Gate>(
    gateway: &mut Gateway<G>,
    verb: &Verb,
    name: &str,
    arguments: &[&str],
    facts: Facts<'_>,
    now: Instant,
) -> Result<Vec<Row>, String> {
    Ok(match name {
        "show status" => vec![gateway.show_status()],
        "show routes" => gateway.show_routes(),
        "show origins" => gateway.show_origins(now),
        "show conns" => gateway.show_conns(now),
        "show config" => facts.config.to_vec(),
        "show metrics" => {
            let text = gateway.metrics(facts.log_dropped, now);
            text.lines().map(|line| row([("line", Value::from(line))])).collect()
        }
        _ => return gateway.with_gate(|gate| gate.command(verb, arguments, now), now),
    })
}

fn heartbeat() -> Row {
    row([("event", Value::from("heartbeat")), ("ts", Value::from(rfc3339(SystemTime::now())))])
}
