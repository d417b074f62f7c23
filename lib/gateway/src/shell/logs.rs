//! Events and accesses as log lines.

use sluice_unix::log::{Level, Record, Value};

use crate::event;
use crate::gate::{Event, Field, Gate};

use super::Shell;

impl<G: Gate> Shell<G> {
    /// Writes an event of the gateway or of its gate.
    pub(super) fn log_event(&self, event: &Event) {
        let fields: Vec<(&'static str, Value<'_>)> =
            event.fields.iter().map(|(name, field)| (*name, value(field))).collect();
        self.log.write(&Record {
            level: event.level,
            event: event.name,
            context: format_args!(""),
            text: format_args!("{}", event.text),
            fields: &fields,
        });
    }

    /// Hands the lines of the access log to the log's thread.
    pub(super) fn write_access(&mut self) {
        let lines = self.gateway.take_access();
        if !lines.is_empty() {
            self.log.members(Level::Log, event::REQUEST, &String::from_utf8_lossy(&lines));
        }
        self.gateway.return_access(lines);
    }
}

fn value(field: &Field) -> Value<'_> {
    match field {
        Field::Text(text) => Value::Text(text),
        Field::Number(number) => Value::Number(*number),
    }
}
