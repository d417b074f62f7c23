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

use std::time::{Instant, SystemTime};

use serde_json::{Number, Value};
use sluice_cli::settings::Origin;
use sluice_unix::control::{self as socket, Desk, Place};
use sluice_unix::log;
use sluice_unix::slab::Key;
use sluice_wire::control::{Reply, Request, Row, row};
use sluice_wire::pg::error::ErrorResponse;

use crate::config::Snapshot;
use crate::core::pressure::Pressure;
use crate::core::{Cell, ControlId, Core, Outcome, Table, wants_survey};
use crate::session::Sessions;

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

/// Where the configuration wants the socket.
pub(crate) fn place(snapshot: &Snapshot) -> Place {
    match snapshot.global.control_socket.clone() {
        None => Place::None,
        Some(path) if snapshot.origin("control_socket") == Origin::Default => Place::Usual(path),
        Some(path) => Place::Asked(path),
    }
}

/// Carries out what has been asked for.
pub(crate) fn serve(desk: &mut Desk, core: &mut Core, sessions: &Sessions, now: Instant) {
    while let Some(event) = desk.next_event() {
        match event {
            socket::Event::Line(key, line) => request(desk, core, sessions, key, &line, now),
            socket::Event::Gone(key) => {
                core.control_gone(ControlId(key));
                core.set_watchers(desk.watchers(), now);
            }
        }
    }
}

fn request(desk: &mut Desk, core: &mut Core, sessions: &Sessions, key: Key, line: &[u8], now: Instant) {
    let request = match Request::parse(line) {
        Ok(request) => request,
        Err(error) => return desk.end(key, &Reply::error(error)),
    };
    if let Some(name) = request.args.keys().next() {
        return desk.end(key, &Reply::error(format_args!("unknown key \"{name}\"")));
    }
    if request.cmd.trim().eq_ignore_ascii_case("watch") {
        let at = SystemTime::now();
        core.set_watchers(desk.watchers() + 1, now);
        return desk.watch(key, core.pressure(now).iter().map(|row| pressure_row(row, at)));
    }
    if wants_survey(&request.cmd) {
        core.surveyed(sessions.survey());
    }
    match core.command(ControlId(key), &request.cmd, now) {
        Outcome::Wait => {}
        Outcome::Error(error) => desk.end(key, &refusal(&error)),
        Outcome::Done(done) => desk.answer(key, done.notice.iter().map(notice_row)),
        Outcome::Rows(table) => desk.answer(key, rows(&table)),
    }
}

/// The answer to a command that had to wait.
pub(crate) fn answer(desk: &mut Desk, id: ControlId, outcome: Result<(), ErrorResponse>) {
    match outcome {
        Ok(()) => desk.end(id.0, &Reply::Ok),
        Err(error) => desk.end(id.0, &refusal(&error)),
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

/// A row for those who watch; `at` is now.
pub(crate) fn pressure_row(pressure: &Pressure, at: SystemTime) -> Row {
    // Rates need no more digits than this.
    let rate =
        |rate: f64| Number::from_f64((rate * 1000.0).round() / 1000.0).map_or(Value::Null, Value::Number);
    row([
        ("event", Value::from("pressure")),
        ("seq", Value::from(pressure.seq)),
        ("ts", Value::from(log::rfc3339(at))),
        ("pool", Value::from(pressure.pool.as_str())),
        ("state", Value::from(pressure.state)),
        ("waiting", Value::from(pressure.waiting)),
        ("min_wait_ms", Value::from(pressure.min_wait_ms)),
        ("expected_wait_ms", Value::from(pressure.expected_wait_ms)),
        ("sv_active", Value::from(pressure.sv_active)),
        ("sv_idle", Value::from(pressure.sv_idle)),
        ("limit", Value::from(pressure.limit)),
        ("limit_effective", Value::from(pressure.limit_effective)),
        ("rejected_per_s", rate(pressure.rejected_per_s)),
        ("goodput_per_s", rate(pressure.goodput_per_s)),
        ("retry_ratio", rate(pressure.retry_ratio)),
        ("retry_after_ms", Value::from(pressure.retry_after_ms)),
        ("suggested_concurrency", Value::from(pressure.suggested_concurrency)),
    ])
}

#[cfg(test)]
mod tests;
