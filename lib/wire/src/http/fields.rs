//! The field lines of one head or trailer section, as ranges over its bytes.
//!
//! Owned by the head that was read. Two allocations, however many fields: the bytes and the ranges. Names are known by
//! number ([`Name`]); values never begin or end with white space.

use super::fault::Fault;
use super::names::{Name, NameSet, Traits};

/// Field lines that can be told apart at all: settings may ask for fewer, never for more.
pub const FIELDS_CAP: usize = 256;

/// One field line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    /// The name, if it is a known one.
    pub name: Name,
    /// The name as it was spelled.
    pub text: &'a [u8],
    /// The value, without white space around it.
    pub value: &'a [u8],
}

/// Where a field line stands in the bytes of its section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Line {
    name: Name,
    name_len: u16,
    name_at: u32,
    value_at: u32,
    value_len: u32,
}

/// Field lines in the order they came.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Fields {
    bytes: Box<[u8]>,
    lines: Vec<Line>,
    present: NameSet,
}

impl Fields {
    /// Reads the field lines of `section` from `start` on, the empty line that ends them included. The bytes before
    /// `start` are kept too: a head keeps its first line there.
    ///
    /// # Errors
    /// [`Fault::FieldName`], [`Fault::FieldValue`], [`Fault::LineEnd`]; [`Fault::FieldsMany`] beyond `fields_max` lines.
    pub(super) fn read(section: &[u8], start: usize, fields_max: usize) -> Result<Self, Fault> {
        let mut slots = [httparse::EMPTY_HEADER; FIELDS_CAP];
        let slots = slots.get_mut(..fields_max).ok_or(Fault::FieldsMany)?;
        let block = section.get(start..).unwrap_or_default();
        let headers = match httparse::parse_headers(block, slots) {
            Ok(httparse::Status::Complete((used, headers))) if used == block.len() => headers,
            Ok(_) => return Err(Fault::LineEnd),
            Err(error) => return Err(fault_of(error)),
        };
        let base = section.as_ptr() as usize;
        let mut lines = Vec::with_capacity(headers.len());
        let mut present = NameSet::default();
        for header in headers.iter() {
            let text = header.name.as_bytes();
            let name = Name::of(text);
            present.insert(name);
            lines.push(Line {
                name,
                name_len: u16::try_from(text.len()).map_err(|_| Fault::FieldLong)?,
                name_at: offset(base, text)?,
                value_at: offset(base, header.value)?,
                value_len: u32::try_from(header.value.len()).map_err(|_| Fault::FieldLong)?,
            });
        }
        Ok(Self { bytes: section.into(), lines, present })
    }

    /// All field lines, in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().map(|line| self.field(line))
    }

    /// The values of `name`, one for each line.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.of(name).map(|field| field.value)
    }

    /// The values of the field called `text`, in letters of any case, known or not.
    pub fn named<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.of(Name::of(text)).filter(|field| field.text.eq_ignore_ascii_case(text)).map(|field| field.value)
    }

    /// The first value of `name`.
    pub fn first(&self, name: Name) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// Whether there is a line of `name`.
    pub fn has(&self, name: Name) -> bool {
        self.present.contains(name)
    }

    /// The comma-separated elements of all lines of `name` (RFC 9110 §5.6.1), empty ones left out, quoted strings kept
    /// whole.
    pub fn elements(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.all(name).flat_map(elements)
    }

    /// Whether one of the elements of `name` is `token`, in letters of any case.
    pub fn lists(&self, name: Name, token: &[u8]) -> bool {
        self.elements(name).any(|element| element.eq_ignore_ascii_case(token))
    }

    /// Field lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What the Connection fields ask to remove.
    pub fn nominated(&self) -> Nominated<'_> {
        let mut known = NameSet::default();
        for element in self.elements(Name::Connection) {
            known.insert(Name::of(element));
        }
        Nominated { known, fields: self }
    }

    /// Bytes of the section, its first line included.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn of(&self, name: Name) -> impl Iterator<Item = Field<'_>> {
        // Most names asked for are not there: the set says so at once.
        let lines = if self.has(name) { self.lines.as_slice() } else { &[] };
        lines.iter().filter(move |line| line.name == name).map(|line| self.field(line))
    }

    fn field(&self, line: &Line) -> Field<'_> {
        let cut = |at: u32, len: usize| self.bytes.get(at as usize..at as usize + len).unwrap_or_default();
        Field {
            name: line.name,
            text: cut(line.name_at, usize::from(line.name_len)),
            value: cut(line.value_at, line.value_len as usize),
        }
    }
}

/// The fields that Connection says belong to this connection alone (RFC 9110 §7.6.1).
#[derive(Clone, Copy, Debug)]
pub struct Nominated<'a> {
    known: NameSet,
    fields: &'a Fields,
}

impl Nominated<'_> {
    /// Whether `field` must not be forwarded: it belongs to one connection by its nature or by nomination. Fields on
    /// which framing, routing, credentials or caching rest are kept, whatever Connection says: a client must not be able
    /// to strip them before the origin sees them.
    pub fn removes(&self, field: &Field<'_>) -> bool {
        if field.name.is(Traits::HOP) {
            return true;
        }
        if !self.known.contains(field.name) || field.name.is(Traits::KEPT) {
            return false;
        }
        field.name != Name::Other || self.fields.lists(Name::Connection, field.text)
    }
}

/// The elements of one list value, empty ones left out. A comma within a quoted string separates nothing.
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(value, b',')
}

/// The parts of `value` between `separator`s that stand outside quoted strings, trimmed, empty ones left out.
pub(super) fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        loop {
            let here = rest?;
            let end = separator_at(here, separator);
            let part = here.get(..end).unwrap_or_default().trim_ascii();
            rest = here.get(end + 1..);
            if !part.is_empty() {
                return Some(part);
            }
        }
    })
}

/// Where the first `separator` outside a quoted string stands; the length if there is none.
fn separator_at(value: &[u8], separator: u8) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, &byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => return at,
            _ => (),
        }
    }
    value.len()
}

/// Whether `text` is a token (RFC 9110 §5.6.2): not empty, letters, digits and a few signs.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// Whether `byte` may stand in a token.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn offset(base: usize, part: &[u8]) -> Result<u32, Fault> {
    // An empty value may point anywhere; it is never looked at.
    if part.is_empty() {
        return Ok(0);
    }
    u32::try_from((part.as_ptr() as usize).wrapping_sub(base)).map_err(|_| Fault::HeadLong)
}

fn fault_of(error: httparse::Error) -> Fault {
    match error {
        httparse::Error::HeaderValue => Fault::FieldValue,
        httparse::Error::TooManyHeaders => Fault::FieldsMany,
        httparse::Error::NewLine => Fault::LineEnd,
        _ => Fault::FieldName,
    }
}
