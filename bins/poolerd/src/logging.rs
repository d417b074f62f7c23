//! The log by the configuration, and lines of the core as the log wants them.

use sluice_unix::log::{Format, Level, Log, Record, Stderr, Value};
use sluice_unix::start::Logging;

use crate::config::{LogFormat, Severity, Snapshot};
use crate::core::{self, ConnectionName, LogLine, Side};

/// Writes a line of the core.
pub(crate) fn write(log: &Log, line: &LogLine) {
    let level = line.level;
    if !log.is_shown(level) {
        return;
    }
    let Some(name) = &line.connection else {
        return log.line(level, line.event.name(), format_args!("{}", line.text));
    };
    let address = name.address.map(|a| a.to_string());
    let side = match name.side {
        Side::Client => "client",
        Side::Server => "server",
    };
    let mut fields: Vec<(&'static str, Value<'_>)> = vec![
        ("side", Value::Text(side)),
        ("id", Value::Number(name.serial as i64)),
        ("db", Value::Text(&name.database)),
        ("user", Value::Text(&name.user)),
    ];
    if let Some(address) = &address {
        fields.push(("addr", Value::Text(address)));
    }
    if let Some(age_s) = line.age_s {
        fields.push(("age_s", Value::Number(age_s as i64)));
    }
    if let Some(reason) = &line.reason {
        fields.push(("reason", Value::Text(reason)));
    }
    log.write(&Record {
        level,
        event: line.event.name(),
        context: format_args!("{}", Prefix(name)),
        text: format_args!("{}", line.text),
        fields: &fields,
    });
}

/// The log that a configuration asks for.
#[must_use]
pub fn wanted(stderr: Stderr, snapshot: &Snapshot) -> Logging<'_> {
    let global = &snapshot.global;
    let format = match global.log_format {
        LogFormat::Pgbouncer => Format::Pgbouncer,
        LogFormat::Json => Format::Json,
    };
    Logging { stderr, file: global.logfile.as_deref(), format, verbosity: global.verbose }
}

/// Writes what a configuration gave reason to warn of.
pub fn warnings(log: &Log, snapshot: &Snapshot) {
    for warning in &snapshot.warnings {
        let level = match warning.severity {
            Severity::Warning => Level::Warning,
            Severity::Error => Level::Error,
        };
        log.line(level, core::Event::Config.name(), format_args!("{warning}"));
    }
}

/// `C-0x1f: db/user@host:port `, as PgBouncer begins a line about a connection.
struct Prefix<'a>(&'a ConnectionName);

impl std::fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.0;
        let letter = match name.side {
            Side::Client => 'C',
            Side::Server => 'S',
        };
        write!(f, "{letter}-{:#x}: {}/{}@", name.serial, name.database, name.user)?;
        match &name.address {
            Some(address) => write!(f, "{address} "),
            None => f.write_str("(none) "),
        }
    }
}
