//! The settings a server has, or would have from its files: name, value, type, source. The other side of a comparison.
//!
//! Built from rows of `pg_settings`, or from the files and the table of a major. Pure.

use std::collections::BTreeMap;

use super::server::Row;
use super::value::{self, Domain, Refused, Value};
use crate::conf::FileSettings;
use crate::guc::{self, Apply, Context, Guc, Kind};

/// What is asked of `pg_settings`: the columns [`Settings::from_rows`] reads.
pub const QUERY: &str = "SELECT name, setting, unit, vartype, context, source, sourcefile, sourceline, \
                         pending_restart, boot_val, min_val, max_val, enumvals FROM pg_catalog.pg_settings";

/// Blocks of a WAL segment of 16 MB, the most wal_buffers take by themselves; and the least they take.
const WAL_BUFFERS_AUTO: std::ops::RangeInclusive<f64> = 8.0..=2048.0;

/// A setting as it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Current {
    /// Its name, in the server's spelling.
    pub name: String,
    /// Its value as written.
    pub text: String,
    /// Its value as understood, or why the server will not take it.
    pub value: Result<Value, Refused>,
    /// What values it takes.
    pub domain: Domain,
    /// What a bare number counts; empty for none.
    pub unit: String,
    /// What a change needs.
    pub apply: Apply,
    /// Who set it: a place in a file, or the server's word.
    pub source: String,
    /// Whether the files hold another value that waits for a restart.
    pub pending: Pending,
}

/// Whether a value waits for a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pending {
    /// None does.
    No,
    /// One does.
    Restart,
}

/// All settings, by name in lower case.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Settings(BTreeMap<String, Current>);

impl Settings {
    /// The rows of [`QUERY`]; a row that is none of its shape is left out.
    pub fn from_rows(rows: Vec<Row>) -> Self {
        let known = rows.into_iter().filter_map(from_row);
        Self(known.map(|current| (current.name.to_ascii_lowercase(), current)).collect())
    }

    /// What a server of this major would have with these files.
    pub fn from_files(files: &FileSettings, major: u32) -> Self {
        let known = guc::rows(major).map(|guc| from_file(&guc, files));
        Self(known.map(|current| (current.name.to_ascii_lowercase(), current)).collect())
    }

    /// A setting by its name in lower case.
    pub fn find(&self, name: &str) -> Option<&Current> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Current> {
        self.0.values()
    }

    /// The value that counts: -1 stands for the value of another setting, or for one the server works out.
    pub fn effective(&self, name: &str) -> Option<Value> {
        let value = self.find(name)?.value.clone().ok()?;
        if value != Value::Number(-1.0) {
            return Some(value);
        }
        match name {
            "autovacuum_work_mem" => self.effective("maintenance_work_mem"),
            "autovacuum_vacuum_cost_limit" => self.effective("vacuum_cost_limit"),
            "autovacuum_vacuum_cost_delay" => self.effective("vacuum_cost_delay"),
            "wal_buffers" => {
                let blocks = (self.number("shared_buffers")? / 32.0).floor();
                Some(Value::Number(blocks.clamp(*WAL_BUFFERS_AUTO.start(), *WAL_BUFFERS_AUTO.end())))
            }
            _ => Some(value),
        }
    }

    /// The effective value of a setting with a number, in its base unit.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.effective(name)? {
            Value::Number(number) => Some(number),
            Value::Bool(_) | Value::Word(_) | Value::Text(_) => None,
        }
    }

    /// The effective value of a setting of memory, in kB.
    pub fn kilobytes(&self, name: &str) -> Option<f64> {
        let scale = match self.find(name)?.unit.as_str() {
            "B" => 1.0 / 1024.0,
            "kB" => 1.0,
            "8kB" => 8.0,
            "MB" => 1024.0,
            _ => return None,
        };
        Some(self.number(name)? * scale)
    }

    /// The value of a setting as people write it; empty for one that is not there.
    pub fn shown(&self, name: &str) -> String {
        match (self.find(name), self.effective(name)) {
            (Some(current), Some(value)) => value::show(&value, &current.unit),
            _ => String::new(),
        }
    }

    /// Whether a setting has this value; false for one that is not there.
    pub fn is(&self, name: &str, text: &str) -> bool {
        let Some(current) = self.find(name) else { return false };
        current.value.is_ok() && current.value == value::read(&current.domain, text)
    }
}

fn from_row(row: Row) -> Option<Current> {
    let [name, setting, unit, vartype, context, source, file, line, pending, _boot, min, max, words]: [Option<
        String,
    >;
        13] = row.try_into().ok()?;
    let (name, text, unit) = (name?, setting.unwrap_or_default(), unit.unwrap_or_default());
    let bound = |text: Option<String>| text.and_then(|text| text.parse::<f64>().ok());
    let range = bound(min).zip(bound(max));
    let domain = match vartype?.as_str() {
        "bool" => Domain::Bool,
        "integer" => Domain::Integer { range, unit: unit.clone() },
        "real" => Domain::Real { range, unit: unit.clone() },
        "enum" => Domain::Enum(array(&words.unwrap_or_default())),
        _ => Domain::Text,
    };
    let source = match (file, line) {
        (Some(file), Some(line)) => format!("{file}:{line}"),
        _ => source.unwrap_or_default(),
    };
    let value = value::read(&domain, &text);
    let apply = Context::from_word(&context?).map_or(Apply::Restart, Context::apply);
    let pending = if pending.as_deref() == Some("t") { Pending::Restart } else { Pending::No };
    Some(Current { name, text, value, domain, unit, apply, source, pending })
}

/// The elements of an array of plain words, as the server writes it: `{off,on,"with blank"}`.
fn array(text: &str) -> Vec<String> {
    let inner = text.trim_start_matches('{').trim_end_matches('}');
    inner.split(',').map(|word| word.trim_matches('"').to_owned()).filter(|word| !word.is_empty()).collect()
}

fn from_file(guc: &Guc, files: &FileSettings) -> Current {
    let unit = guc.unit.to_owned();
    let domain = domain(guc);
    let entry = files.effective(&guc.name.to_ascii_lowercase());
    let (text, source) = match entry {
        Some(entry) => (entry.value.clone(), entry.place.to_string()),
        None => (guc.default.to_owned(), "default".to_owned()),
    };
    let value = value::read(&domain, &text);
    Current {
        name: guc.name.to_owned(),
        text,
        value,
        domain,
        unit,
        apply: guc.context.apply(),
        source,
        pending: Pending::No,
    }
}

/// What values the table of the majors allows.
fn domain(guc: &Guc) -> Domain {
    let unit = guc.unit.to_owned();
    match guc.kind {
        Kind::Bool => Domain::Bool,
        Kind::Integer { min, max } => Domain::Integer { range: Some((min as f64, max as f64)), unit },
        Kind::Real { min, max } => Domain::Real { range: Some((min, max)), unit },
        // The build is not known: words of optional features are taken too.
        Kind::Enum(words) => Domain::Enum(words.all().map(str::to_owned).collect()),
        Kind::Text => Domain::Text,
    }
}

/// Settings for tests: a name with its row of the table of major 18, and a value.
#[cfg(test)]
pub(crate) fn sample(values: &[(&str, &str)]) -> Settings {
    let entries = values.iter().map(|(name, value)| crate::conf::Entry {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
        place: sluice_cli::ini::Place::of_file(std::path::Path::new("postgresql.conf")),
    });
    let files = FileSettings { entries: entries.collect(), ..FileSettings::default() };
    Settings::from_files(&files, 18)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row from its cells between bars, an empty one for NULL.
    fn row(cells: &str) -> Row {
        cells.split('|').map(|cell| Some(cell.to_owned()).filter(|cell| !cell.is_empty())).collect()
    }

    #[test]
    fn rows_of_pg_settings() {
        let settings = Settings::from_rows(vec![
            row("work_mem|4096|kB|integer|user|default|||f|4096|64|2147483647|"),
            row(
                "shared_buffers|16384|8kB|integer|postmaster|configuration file|/etc/p.conf|7|t|1024|16|9999999|",
            ),
            row("wal_level|replica||enum|postmaster|default|||f|replica|||{minimal,replica,logical}"),
            row("DateStyle|ISO, MDY||string|user|default|||f|ISO, MDY|||"),
            row("too short"),
            row("|no name||bool|user|default|||f|x|||"),
        ]);
        assert_eq!(settings.iter().count(), 4);
        let buffers = settings.find("shared_buffers").unwrap();
        assert_eq!(
            (buffers.source.as_str(), buffers.pending, buffers.apply),
            ("/etc/p.conf:7", Pending::Restart, Apply::Restart)
        );
        assert_eq!(settings.shown("shared_buffers"), "128MB");
        assert_eq!(settings.kilobytes("shared_buffers"), Some(131_072.0));
        assert_eq!(settings.kilobytes("work_mem"), Some(4096.0));
        assert_eq!(settings.find("work_mem").unwrap().source, "default");
        assert!(settings.is("wal_level", "hot_standby") && !settings.is("wal_level", "minimal"));
        assert!(!settings.is("nothing", "on"));
        assert_eq!(settings.shown("datestyle"), "ISO, MDY");
    }

    #[test]
    fn minus_one_stands_for_another() {
        let settings = sample(&[("shared_buffers", "128MB"), ("maintenance_work_mem", "1GB")]);
        assert_eq!(settings.shown("autovacuum_work_mem"), "1GB");
        assert_eq!(settings.shown("autovacuum_vacuum_cost_limit"), "200");
        assert_eq!(settings.shown("wal_buffers"), "4MB");
        assert_eq!(sample(&[("shared_buffers", "128kB")]).shown("wal_buffers"), "64kB");
        assert_eq!(sample(&[("shared_buffers", "8GB")]).shown("wal_buffers"), "16MB");
        assert_eq!(sample(&[("autovacuum_work_mem", "5MB")]).shown("autovacuum_work_mem"), "5MB");
        assert_eq!(settings.shown("temp_file_limit"), "-1");
    }
}
