//! ErrorResponse and NoticeResponse: a list of one-byte codes with a string each.
//!
//! The reader is lenient: what a server says is worth reporting even if it is cut short, and a field that is not there
//! is None, never an assumption. Field codes: PostgreSQL manual, "Error and Notice Message Fields".

use std::borrow::Cow;

use super::backend::{ERROR_RESPONSE, NOTICE_RESPONSE};
use super::reader::Reader;
use super::sqlstate::SqlState;
use super::writer;

/// Fields whose value is prose and may therefore name a statement: message, detail, hint, internal query, context.
const PROSE: &[u8] = b"MDHqW";

/// The body of an ErrorResponse or NoticeResponse.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    body: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads a body; what is not well-formed at its end is left out.
    pub fn new(body: &'a [u8]) -> Self {
        Self { body }
    }

    /// The fields in the order they came: code and value.
    pub fn iter(&self) -> FieldIter<'a> {
        FieldIter { rest: self.body }
    }

    /// The value of the first field with `code`.
    pub fn field(&self, code: u8) -> Option<&'a [u8]> {
        self.iter().find(|&(found, _)| found == code).map(|(_, value)| value)
    }

    /// The severity, `FATAL` for example: the untranslated one (V) if there is one, else the translated one (S).
    pub fn severity(&self) -> Option<&'a [u8]> {
        self.field(b'V').or_else(|| self.field(b'S'))
    }

    /// The code, if there is a well-formed one.
    pub fn sqlstate(&self) -> Option<SqlState> {
        self.field(b'C').and_then(SqlState::read)
    }

    /// The primary message.
    pub fn message(&self) -> Option<&'a [u8]> {
        self.field(b'M')
    }
}

/// Iterator over the fields of a body.
#[derive(Clone, Debug)]
pub struct FieldIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for FieldIter<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = Reader::new(self.rest);
        let code = reader.byte().ok().filter(|&code| code != 0)?;
        let value = reader.string().ok()?;
        self.rest = reader.rest();
        Some((code, value))
    }
}

/// How grave a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The server goes down.
    Panic,
    /// The session ends.
    Fatal,
    /// The request failed.
    Error,
    /// Something may be wrong.
    Warning,
    /// Something worth knowing.
    Notice,
    /// Something asked for.
    Info,
    /// Something for the log.
    Log,
    /// Something for a developer.
    Debug,
}

impl Severity {
    /// The untranslated word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Panic => "PANIC",
            Self::Fatal => "FATAL",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
            Self::Info => "INFO",
            Self::Log => "LOG",
            Self::Debug => "DEBUG",
        }
    }
}

/// An ErrorResponse or NoticeResponse of our own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorResponse {
    /// Fields S and V.
    pub severity: Severity,
    /// Field C.
    pub sqlstate: SqlState,
    /// Field M: one line.
    pub message: Cow<'static, str>,
    /// Field D: more about it.
    pub detail: Option<Cow<'static, str>>,
    /// Field H: what to do about it.
    pub hint: Option<Cow<'static, str>>,
}

impl ErrorResponse {
    /// A response without detail and hint.
    pub fn new(severity: Severity, sqlstate: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        Self { severity, sqlstate, message: message.into(), detail: None, hint: None }
    }

    /// The same with a detail.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<Cow<'static, str>>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Appends an ErrorResponse: fields S V C M D H.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_tagged(out, ERROR_RESPONSE);
    }

    /// Appends a NoticeResponse: the same fields.
    pub fn write_notice(&self, out: &mut Vec<u8>) {
        self.write_tagged(out, NOTICE_RESPONSE);
    }

    fn write_tagged(&self, out: &mut Vec<u8>, tag: u8) {
        writer::message(out, tag, |out| {
            let mut put = |code, value: &[u8]| {
                out.push(code);
                writer::string(out, value);
            };
            put(b'S', self.severity.as_str().as_bytes());
            put(b'V', self.severity.as_str().as_bytes());
            put(b'C', self.sqlstate.as_bytes());
            put(b'M', self.message.as_bytes());
            if let Some(detail) = &self.detail {
                put(b'D', detail.as_bytes());
            }
            if let Some(hint) = &self.hint {
                put(b'H', hint.as_bytes());
            }
            out.push(0);
        });
    }
}

/// Appends the *body* of an ErrorResponse or NoticeResponse with `needle` replaced in its prose (message, detail, hint,
/// internal query, context), so that a client is told of the name it used and not of ours.
///
/// Only whole names are replaced: `PGBOUNCER_1` is left alone inside `PGBOUNCER_12`.
pub fn replace_in_fields(body: &[u8], needle: &[u8], replacement: &[u8], out: &mut Vec<u8>) {
    for (code, value) in Fields::new(body).iter() {
        out.push(code);
        if PROSE.contains(&code) {
            replace_names(value, needle, writer::until_zero(replacement), out);
        } else {
            out.extend_from_slice(value);
        }
        out.push(0);
    }
    out.push(0);
}

fn replace_names(text: &[u8], needle: &[u8], replacement: &[u8], out: &mut Vec<u8>) {
    if needle.is_empty() {
        return out.extend_from_slice(text);
    }
    let mut copied = 0;
    for at in memchr::memmem::find_iter(text, needle) {
        let end = at + needle.len();
        let inside_a_name =
            text[..at].last().is_some_and(is_name_byte) || text.get(end).is_some_and(is_name_byte);
        if !inside_a_name {
            out.extend_from_slice(&text[copied..at]);
            out.extend_from_slice(replacement);
            copied = end;
        }
    }
    out.extend_from_slice(&text[copied..]);
}

/// Whether a byte next to a name would belong to it. Not beyond ASCII: translated messages quote with »« and the like.
fn is_name_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::frame;

    const BODY: &[u8] =
        b"SFEHLER\0VERROR\0C26000\0Mprepared statement \"P_1\" does not exist\0WP_1, P_12, xP_1\0FP_1\0\0";

    #[test]
    fn fields_are_found_by_code() {
        let fields = Fields::new(BODY);
        assert_eq!(fields.severity(), Some(&b"ERROR"[..]));
        assert_eq!(fields.field(b'S'), Some(&b"FEHLER"[..]));
        assert_eq!(fields.sqlstate(), Some(SqlState::INVALID_SQL_STATEMENT_NAME));
        assert_eq!(fields.message(), Some(&b"prepared statement \"P_1\" does not exist"[..]));
        assert_eq!(fields.field(b'D'), None);
        assert_eq!(fields.iter().map(|(code, _)| code).collect::<Vec<_>>(), b"SVCMWF");
    }

    #[test]
    fn a_cut_body_yields_what_is_whole() {
        for prefix in sluice_check::prefixes(BODY) {
            let fields = Fields::new(prefix);
            let whole = Fields::new(BODY).iter().take(fields.iter().count());
            assert!(whole.eq(fields.iter()));
        }
        assert_eq!(Fields::new(b"").severity(), None);
        assert_eq!(Fields::new(b"\0Mignored\0").message(), None);
        assert_eq!(Fields::new(b"C1234\0\0").sqlstate(), None);
        assert_eq!(Fields::new(b"Sonly S\0\0").severity(), Some(&b"only S"[..]));
    }

    #[test]
    fn our_own_have_the_fields_in_order() {
        let error = ErrorResponse::new(Severity::Fatal, SqlState::PROTOCOL_VIOLATION, "no\0such")
            .with_detail("why")
            .with_hint(String::from("how"));
        let mut out = Vec::new();
        error.write(&mut out);
        assert_eq!(out, b"E\0\0\0\x28SFATAL\0VFATAL\0C08P01\0Mno\0Dwhy\0Hhow\0\0");
        error.write_notice(&mut out);
        let error = frame::message(&out).unwrap().unwrap();
        let notice = frame::message(error.rest).unwrap().unwrap();
        assert_eq!((notice.tag, notice.rest.len()), (b'N', 0));
        assert_eq!(Fields::new(notice.body).message(), Some(&b"no"[..]));
    }

    #[test]
    fn only_whole_names_in_prose_are_replaced() {
        let mut out = Vec::new();
        replace_in_fields(BODY, b"P_1", b"mine\0x", &mut out);
        let fields = Fields::new(&out);
        assert_eq!(fields.message(), Some(&b"prepared statement \"mine\" does not exist"[..]));
        assert_eq!(fields.field(b'W'), Some(&b"mine, P_12, xP_1"[..]));
        assert_eq!(fields.field(b'F'), Some(&b"P_1"[..]));
        out.clear();
        replace_in_fields("M»P_1« P_1\0\0".as_bytes(), b"P_1", b"mine", &mut out);
        assert_eq!(Fields::new(&out).message(), Some("»mine« mine".as_bytes()));
        out.clear();
        replace_in_fields(BODY, b"", b"x", &mut out);
        assert_eq!(out, BODY);
    }
}
