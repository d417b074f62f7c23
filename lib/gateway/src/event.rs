//! Log events of the gateway: the table, and the lines.

use sluice_unix::log::Level;

use crate::gate::{Event, Field};
use crate::origins::Change;

macro_rules! events {
    ($($name:ident = $text:literal, $doc:literal;)+) => {
        $(#[doc = $doc] pub const $name: &str = $text;)+

        /// Every event of the gateway with a line about it, for documentation and its test.
        pub const EVENTS: &[(&str, &str)] = &[$(($text, $doc)),+];
    };
}

events! {
    UP = "up", "The process is about to serve.";
    LISTENING = "listening", "A listening socket is open.";
    REQUEST = "request", "A request was answered, or its client left.";
    REFUSED = "conn.refused", "Connections were refused or could not be accepted.";
    ORIGIN_FAILING = "origin.failing", "Requests fail at an origin; at most once in ten seconds, as a sum.";
    ORIGIN_UP = "origin.up", "An origin is used again.";
    ORIGIN_DOWN = "origin.down", "An origin is left out.";
    RELOAD = "config.reload", "The configuration was read anew, or could not be.";
    DRAIN_BEGIN = "drain.begin", "No new connections are accepted; what is there may finish.";
    DRAIN_END = "drain.end", "Nobody is left.";
    CONTROL = "control", "The control socket: trouble, and commands that change something.";
    RESOLVE = "resolve", "The name of an origin could not be looked up.";
    EXIT = "exit", "The process ends.";
}

/// So many requests have failed at an origin, the last one like this.
pub(crate) fn origin_failing(name: &str, code: &str, why: &str, failures: u64) -> Event {
    let requests = if failures == 1 { "a request" } else { "requests" };
    let text = format!("origin {name} fails {requests}: {why}");
    let fields = vec![
        ("origin", Field::Text(name.to_owned())),
        ("code", Field::Text(code.to_owned())),
        ("failures", Field::Number(failures as i64)),
    ];
    Event { level: Level::Warning, name: ORIGIN_FAILING, text, fields }
}

/// An origin changed sides.
pub(crate) fn origin_changed(name: &str, change: Change, why: &str) -> Event {
    let (level, event, text) = match change {
        Change::Up => (Level::Log, ORIGIN_UP, format!("origin {name} is used again: {why}")),
        Change::Down => (Level::Warning, ORIGIN_DOWN, format!("origin {name} is left out: {why}")),
    };
    let fields = vec![("origin", Field::Text(name.to_owned())), ("reason", Field::Text(why.to_owned()))];
    Event { level, name: event, text, fields }
}
