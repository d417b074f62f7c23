//! The daemon's side of the control socket: request lines become commands of the core, and facts become JSON rows.
//!
//! Owned by the worker, which tells it of events and hands it what the core wants answered. Whoever may open the
//! socket may do everything the console's administrators may: access is the socket file's mode, 0660.
//!
//! ```text
//! {"cmd":"show pools"}   rows, then {"ok":true}
//! {"cmd":"pause"}        {"ok":true} when it is done
//! {"cmd":"watch"}        pressure rows and heartbeats, for ever
//! ```

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Number, Value};
use sluice_cli::settings::Origin;
use sluice_unix::control::{self as socket, Accept, Control, Limits};
use sluice_unix::fault::Failure;
use sluice_unix::listener::{ListenError, Listener, UnixListen};
use sluice_unix::log::{self, Log};
use sluice_unix::poller::{Poller, Readiness};
use sluice_unix::slab::Key;
use sluice_wire::control::{self, Reply, Request, Row};
use sluice_wire::pg::error::ErrorResponse;

use crate::config::Snapshot;
use crate::core::pressure::Pressure;
use crate::core::{Cell, ControlId, Core, Event, Outcome, Table, wants_survey};
use crate::session::Sessions;

/// Permissions of the socket file.
const MODE: u32 = 0o660;

/// A watcher hears something at least this often.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A command of the control socket that the console does not have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extra {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it does, in one line.
    pub(crate) doc: &'static str,
}

/// Commands beyond those of the console.
pub(crate) const EXTRAS: &[Extra] =
    &[Extra { name: "watch", doc: "Rows of pressure: of all pools, then of changes; and heartbeats." }];

/// The control socket, and who watches.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    control: Control,
    watchers: Vec<Key>,
    /// A heartbeat is on its way.
    beating: bool,
}

/// The control socket the configuration asks for. The usual place may be out of reach, for somebody who tries things
/// out: that is logged, and nothing more. A place that was asked for has to work.
///
/// # Errors
/// [`Failure`] with text for the operator.
pub(crate) fn open(snapshot: &Snapshot, log: &Log, peer_class: u8) -> Result<Option<ControlSocket>, Failure> {
    let Some(path) = &snapshot.global.control_socket else { return Ok(None) };
    match ControlSocket::open(path, peer_class) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if snapshot.origin("control_socket") == Origin::Default => {
            let hint = "set control_socket to a path that may be written, or to nothing";
            let text = format_args!("no control socket: cannot listen on {path}: {error}; {hint}");
            log.line(log::Level::Warning, Event::Control.name(), text);
            Ok(None)
        }
        Err(error) => {
            let text = format!("cannot listen on control_socket {path}: {error}");
            Err(Failure::listening(&error, text))
        }
    }
}

impl ControlSocket {
    /// Listens at `path` (abstract behind a leading `@`). Events of its connections have tokens of class `peer_class`.
    ///
    /// # Errors
    /// When the socket cannot be made, somebody else's included.
    fn open(path: &str, peer_class: u8) -> Result<Self, ListenError> {
        let listener = Listener::unix(path, &UnixListen { backlog: 0, mode: MODE, group_id: None })?;
        let control = Control::new(listener, peer_class, Limits::default());
        Ok(ControlSocket { control, watchers: Vec::new(), beating: false })
    }

    /// To register.
    pub(crate) fn listener(&self) -> &Listener {
        self.control.listener()
    }

    /// Lets in whoever waits.
    pub(crate) fn accept(&mut self, poller: &Poller) -> Accept {
        self.control.accept(poller)
    }

    /// Takes in an event of a connection.
    pub(crate) fn on_event(&mut self, key: Key, readiness: Readiness) {
        self.control.on_event(key, readiness);
    }

    /// Carries out what has been asked for.
    pub(crate) fn serve(&mut self, core: &mut Core, sessions: &Sessions, now: Instant) {
        while let Some(event) = self.control.next_event() {
            match event {
                socket::Event::Line(key, line) => self.request(core, sessions, key, &line, now),
                socket::Event::Gone(key) => {
                    core.control_gone(ControlId(key));
                    self.watchers.retain(|&watcher| watcher != key);
                    core.set_watchers(self.watchers.len(), now);
                }
            }
        }
    }

    fn request(&mut self, core: &mut Core, sessions: &Sessions, key: Key, line: &[u8], now: Instant) {
        let request = match Request::parse(line) {
            Ok(request) => request,
            Err(error) => return self.end(key, &Reply::error(error)),
        };
        if let Some(name) = request.args.keys().next() {
            return self.end(key, &Reply::error(format_args!("unknown key \"{name}\"")));
        }
        if request.cmd.trim().eq_ignore_ascii_case("watch") {
            return self.watch(core, key, now);
        }
        if wants_survey(&request.cmd) {
            core.surveyed(sessions.survey());
        }
        let mut lines = Vec::new();
        match core.command(ControlId(key), &request.cmd, now) {
            Outcome::Wait => return,
            Outcome::Error(error) => return self.end(key, &refusal(&error)),
            Outcome::Done(done) => {
                if let Some(notice) = done.notice {
                    control::write_row(&mut lines, &notice_row(&notice));
                }
            }
            Outcome::Rows(table) => rows(&table).for_each(|row| control::write_row(&mut lines, &row)),
        }
        Reply::Ok.write(&mut lines);
        self.control.send(key, &lines);
        self.control.finish(key);
    }

    /// A subscription: an answer without an end.
    fn watch(&mut self, core: &mut Core, key: Key, now: Instant) {
        self.watchers.push(key);
        core.set_watchers(self.watchers.len(), now);
        let at = SystemTime::now();
        let mut lines = Vec::new();
        for row in core.pressure(now) {
            control::write_row(&mut lines, &pressure_row(&row, at));
        }
        control::write_row(&mut lines, &heartbeat_row(at));
        self.control.send(key, &lines);
    }

    /// The answer to a command that had to wait.
    pub(crate) fn answer(&mut self, id: ControlId, outcome: Result<(), ErrorResponse>) {
        match outcome {
            Ok(()) => self.end(id.0, &Reply::Ok),
            Err(error) => self.end(id.0, &refusal(&error)),
        }
    }

    fn end(&mut self, key: Key, reply: &Reply) {
        let mut line = Vec::new();
        reply.write(&mut line);
        self.control.send(key, &line);
        self.control.finish(key);
    }

    /// Tells the watchers of a change.
    pub(crate) fn publish(&mut self, pressure: &Pressure) {
        self.tell_watchers(&pressure_row(pressure, SystemTime::now()));
    }

    /// When the next heartbeat is due, if it is to be scheduled now.
    pub(crate) fn schedule_beat(&mut self, now: Instant) -> Option<Instant> {
        let due = !self.watchers.is_empty() && !self.beating;
        self.beating |= due;
        due.then(|| now + HEARTBEAT)
    }

    /// Tells the watchers that we are there.
    pub(crate) fn beat(&mut self) {
        self.beating = false;
        self.tell_watchers(&heartbeat_row(SystemTime::now()));
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

/// A table as JSON rows. Ages and times are milliseconds in keys that end in `_ms`, moments are RFC 3339.
fn rows(table: &Table) -> impl Iterator<Item = Row> + '_ {
    table.rows.iter().map(|cells| {
        table.columns.iter().zip(cells).filter_map(|(column, cell)| field(column.name, cell)).collect()
    })
}

/// The key under which a column's values go.
pub(crate) fn key(name: &str, cell: &Cell) -> String {
    match cell {
        Cell::Seconds(_) | Cell::Micros(_) => format!("{}_ms", name.strip_suffix("_us").unwrap_or(name)),
        _ => name.to_owned(),
    }
}

/// `None`: the column before says it all.
fn field(name: &str, cell: &Cell) -> Option<(String, Value)> {
    let value = match cell {
        Cell::Null => Value::Null,
        Cell::Text(text) => Value::from(text.as_ref()),
        Cell::Int(number) => Value::from(*number),
        Cell::Time(at) => Value::from(log::rfc3339(*at)),
        Cell::Seconds(span) => milliseconds(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)),
        Cell::Micros(us) => milliseconds(*us),
        Cell::SecondsRest(_) => return None,
    };
    Some((key(name, cell), value))
}

/// Whole where it is whole.
fn milliseconds(us: u64) -> Value {
    if us.is_multiple_of(1000) { Value::from(us / 1000) } else { Value::from(us as f64 / 1000.0) }
}

/// What went wrong, and why where that is known.
fn refusal(error: &ErrorResponse) -> Reply {
    let rest = error.detail.iter().chain(&error.hint).map(|text| format!(": {text}"));
    Reply::error(format!("{}{}", error.message, rest.collect::<String>()))
}

fn notice_row(notice: &ErrorResponse) -> Row {
    let text = Some(("notice", notice.message.as_ref()));
    let detail = notice.detail.as_deref().map(|detail| ("detail", detail));
    text.into_iter().chain(detail).map(|(key, text)| (key.to_owned(), Value::from(text))).collect()
}

fn heartbeat_row(at: SystemTime) -> Row {
    [("event", Value::from("heartbeat")), ("ts", Value::from(log::rfc3339(at)))]
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .collect()
}

fn pressure_row(row: &Pressure, at: SystemTime) -> Row {
    // Rates need no more digits than this.
    let rate =
        |rate: f64| Number::from_f64((rate * 1000.0).round() / 1000.0).map_or(Value::Null, Value::Number);
    [
        ("event", Value::from("pressure")),
        ("seq", Value::from(row.seq)),
        ("ts", Value::from(log::rfc3339(at))),
        ("pool", Value::from(row.pool.as_str())),
        ("state", Value::from(row.state)),
        ("waiting", Value::from(row.waiting)),
        ("min_wait_ms", Value::from(row.min_wait_ms)),
        ("expected_wait_ms", Value::from(row.expected_wait_ms)),
        ("sv_active", Value::from(row.sv_active)),
        ("sv_idle", Value::from(row.sv_idle)),
        ("limit", Value::from(row.limit)),
        ("limit_effective", Value::from(row.limit_effective)),
        ("rejected_per_s", rate(row.rejected_per_s)),
        ("goodput_per_s", rate(row.goodput_per_s)),
        ("retry_ratio", rate(row.retry_ratio)),
        ("retry_after_ms", Value::from(row.retry_after_ms)),
        ("suggested_concurrency", Value::from(row.suggested_concurrency)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into_iter()
    .collect()
}

#[cfg(test)]
mod tests;
