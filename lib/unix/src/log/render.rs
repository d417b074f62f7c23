//! One log record as one line: PgBouncer's, or a JSON object.

use std::fmt::{self, Write};
use std::time::SystemTime;

use super::Level;
use super::stamp::Stamp;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `YYYY-MM-DD hh:mm:ss.mmm ZONE [pid] LEVEL text`, a newline in the text being followed by a tab.
    #[default]
    Pgbouncer,
    /// An object with ts, level, event, msg, the record's fields, and pid.
    Json,
}

/// One thing to log.
pub struct Record<'a> {
    /// How important it is.
    pub level: Level,
    /// Stable name of the kind of event, for machines; a JSON line has it, PgBouncer's has not.
    pub event: &'static str,
    /// What stands before the text in PgBouncer's line, `C-0x..: db/user@host:port `; JSON has it as fields.
    pub context: fmt::Arguments<'a>,
    /// The text, for people.
    pub text: fmt::Arguments<'a>,
    /// What JSON has beyond: name and value, units in the name.
    pub fields: &'a [(&'static str, Value<'a>)],
}

/// Value of a field.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// Something that can be shown as text, such as an address.
    Shown(&'a dyn fmt::Display),
    /// A whole number.
    Number(i64),
    /// A number.
    Real(f64),
    /// Yes or no.
    Flag(bool),
}

/// Renders records, keeping what one line shares with the next.
#[derive(Debug)]
pub(super) struct Renderer {
    format: Format,
    pid: u32,
    stamp: Stamp,
    /// The line being made: kept for its memory.
    line: String,
}

impl Renderer {
    pub(super) fn new(format: Format, pid: u32) -> Self {
        Self { format, pid, stamp: Stamp::default(), line: String::new() }
    }

    pub(super) fn set_format(&mut self, format: Format) {
        self.format = format;
        // A stamp renders one zone only.
        self.stamp = Stamp::default();
    }

    /// Appends the line of `record`, its newline included.
    pub(super) fn render(&mut self, out: &mut Vec<u8>, record: &Record<'_>, at: SystemTime) {
        self.line.clear();
        match self.format {
            Format::Pgbouncer => self.render_text(record, at),
            Format::Json => self.render_json(record, at),
        }
        self.line.push('\n');
        out.extend_from_slice(self.line.as_bytes());
    }

    /// Appends a JSON line for each line of `members`, which holds members of an object, comma-separated.
    pub(super) fn render_members(
        &mut self,
        out: &mut Vec<u8>,
        level: Level,
        event: &str,
        members: &str,
        at: SystemTime,
    ) {
        for members in members.lines() {
            let line = &mut self.line;
            line.clear();
            line.push_str("{\"ts\":\"");
            self.stamp.push_utc(line, at);
            let (level, pid) = (level.json_name(), self.pid);
            push(
                line,
                format_args!("\",\"level\":\"{level}\",\"event\":\"{event}\",{members},\"pid\":{pid}}}\n"),
            );
            out.extend_from_slice(line.as_bytes());
        }
    }

    fn render_text(&mut self, record: &Record<'_>, at: SystemTime) {
        let line = &mut self.line;
        self.stamp.push_local(line, at);
        let Record { level, context, text, .. } = record;
        push(line, format_args!(" [{}] {} ", self.pid, level.name()));
        push(&mut Continued(line), format_args!("{context}{text}"));
    }

    fn render_json(&mut self, record: &Record<'_>, at: SystemTime) {
        let line = &mut self.line;
        line.push_str("{\"ts\":\"");
        self.stamp.push_utc(line, at);
        push(
            line,
            format_args!("\",\"level\":\"{}\",\"event\":\"{}\"", record.level.json_name(), record.event),
        );
        line.push_str(",\"msg\":");
        push_string(line, record.text);
        for (name, value) in record.fields {
            push(line, format_args!(",\"{name}\":"));
            match value {
                Value::Text(text) => push_string(line, format_args!("{text}")),
                Value::Shown(shown) => push_string(line, format_args!("{shown}")),
                Value::Number(number) => push(line, format_args!("{number}")),
                Value::Real(number) if number.is_finite() => push(line, format_args!("{number}")),
                // RFC 8259 §6: JSON has no infinity and no NaN.
                Value::Real(_) => line.push_str("null"),
                Value::Flag(flag) => push(line, format_args!("{flag}")),
            }
        }
        push(line, format_args!(",\"pid\":{}}}", self.pid));
    }
}

fn push(out: &mut impl Write, text: fmt::Arguments<'_>) {
    // Nothing here fails but a Display that says it does; what it wrote until then is the text.
    let _ = out.write_fmt(text);
}

fn push_string(line: &mut String, text: fmt::Arguments<'_>) {
    line.push('"');
    push(&mut Escaped(line), text);
    line.push('"');
}

/// Continues a line after a newline with a tab, and shows other control characters: whoever chose a user name must
/// not be able to write log lines or to a terminal.
struct Continued<'a>(&'a mut String);

impl Write for Continued<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(|c: char| c.is_control()) {
            let mut chars = piece.chars();
            match chars.next_back() {
                Some('\n') => {
                    self.0.push_str(chars.as_str());
                    self.0.push_str("\n\t");
                }
                Some(last) if last.is_control() && last != '\t' => {
                    self.0.push_str(chars.as_str());
                    self.0.extend(last.escape_default());
                }
                _ => self.0.push_str(piece),
            }
        }
        Ok(())
    }
}

/// Escapes what a JSON string must not hold (RFC 8259 §7).
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| c.is_control() || c == '"' || c == '\\') {
            self.0.push_str(&rest[..at]);
            let mut tail = rest[at..].chars();
            match tail.next() {
                Some('"') => self.0.push_str("\\\""),
                Some('\\') => self.0.push_str("\\\\"),
                Some('\n') => self.0.push_str("\\n"),
                Some('\t') => self.0.push_str("\\t"),
                Some(other) => write!(self.0, "\\u{:04x}", u32::from(other))?,
                None => {}
            }
            rest = tail.as_str();
        }
        self.0.push_str(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn rendered(format: Format, record: &Record<'_>) -> String {
        let mut out = Vec::new();
        let at = UNIX_EPOCH + Duration::from_millis(1_767_323_045_678);
        Renderer::new(format, 42).render(&mut out, record, at);
        String::from_utf8(out).unwrap()
    }

    fn record<'a>(text: fmt::Arguments<'a>, fields: &'a [(&'static str, Value<'a>)]) -> Record<'a> {
        Record { level: Level::Log, event: "test", context: format_args!("C-0x1: "), text, fields }
    }

    #[test]
    fn text_lines_are_pgbouncer_s() {
        let line = rendered(Format::Pgbouncer, &record(format_args!("closing because: {}", "x"), &[]));
        assert!(line.ends_with(" [42] LOG C-0x1: closing because: x\n"), "{line}");
        let date = line.split(' ').next().unwrap();
        assert!(date.len() == 10 && date.starts_with("2026-01-0"), "{line}");
        assert!(line.contains(":05.678 "), "{line}");
    }

    #[test]
    fn no_text_makes_a_line_of_its_own() {
        let text = "a\nb\r\n2026-01-01 fake\x1b[31m\tend\u{85}é";
        let line = rendered(Format::Pgbouncer, &record(format_args!("{text}"), &[]));
        let tail = line.split_once("C-0x1: ").unwrap().1;
        assert_eq!(tail, "a\n\tb\\r\n\t2026-01-01 fake\\u{1b}[31m\tend\\u{85}é\n");
        let line = rendered(Format::Json, &record(format_args!("{text}"), &[("user", Value::Text(text))]));
        assert_eq!(line.matches('\n').count(), 1);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((object["msg"].as_str(), object["user"].as_str()), (Some(text), Some(text)));
    }

    #[test]
    fn every_character_survives_json() {
        let text: String = (0..=0x17f).filter_map(char::from_u32).collect();
        let line = rendered(Format::Json, &record(format_args!("{text}"), &[]));
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["msg"], text);
    }

    #[test]
    fn members_become_a_line_each() {
        let mut out = Vec::new();
        let at = UNIX_EPOCH + Duration::from_millis(1_767_323_045_678);
        let members = "\"a\":1,\"b\":\"x\"\n\"a\":2\n";
        Renderer::new(Format::Json, 42).render_members(&mut out, Level::Log, "request", members, at);
        let expected = concat!(
            r#"{"ts":"2026-01-02T03:04:05.678Z","level":"info","event":"request","a":1,"b":"x","pid":42}"#,
            "\n",
            r#"{"ts":"2026-01-02T03:04:05.678Z","level":"info","event":"request","a":2,"pid":42}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn json_lines_have_their_fields_in_order() {
        let fields = [
            ("db", Value::Text("d\"q\"")),
            ("addr", Value::Shown(&std::net::Ipv4Addr::LOCALHOST)),
            ("age_s", Value::Number(-3)),
            ("ratio", Value::Real(0.5)),
            ("nothing", Value::Real(f64::NAN)),
            ("tls", Value::Flag(true)),
        ];
        let line = rendered(Format::Json, &record(format_args!("m"), &fields));
        let expected = concat!(
            r#"{"ts":"2026-01-02T03:04:05.678Z","level":"info","event":"test","msg":"m","db":"d\"q\"","#,
            r#""addr":"127.0.0.1","age_s":-3,"ratio":0.5,"nothing":null,"tls":true,"pid":42}"#,
            "\n"
        );
        assert_eq!(line, expected);
    }
}
