//! Rows of facts, and how they look on the wire.
//!
//! A cell keeps what it means (a moment, a wait, a number), so that each face shows it in its own way: the console as
//! PgBouncer does, the control socket with milliseconds and RFC 3339 times. Knows no command.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use sluice_wire::pg::backend;

/// PostgreSQL type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `text`.
    Text,
    /// `int4`.
    Int4,
    /// `int8`.
    Int8,
    /// `numeric`; here always a whole number.
    Numeric,
    /// `bytea`.
    Bytea,
}

impl Type {
    /// The type's oid in `pg_type`.
    #[must_use]
    pub fn oid(self) -> u32 {
        match self {
            Type::Bytea => 17,
            Type::Int8 => 20,
            Type::Int4 => 23,
            Type::Text => 25,
            Type::Numeric => 1700,
        }
    }

    /// `pg_type.typlen`.
    fn len(self) -> i16 {
        match self {
            Type::Int8 => 8,
            Type::Int4 => 4,
            Type::Text | Type::Numeric | Type::Bytea => -1,
        }
    }
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name as the console shows it.
    pub name: &'static str,
    /// Type.
    pub kind: Type,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// NULL.
    Null,
    /// Text.
    Text(Cow<'static, str>),
    /// A number.
    Int(i64),
    /// A moment; the console shows local time.
    Time(SystemTime),
    /// A time span, of which the console shows the whole seconds in this column.
    Seconds(Duration),
    /// The microseconds of the span in the column before that are no whole second.
    SecondsRest(Duration),
    /// A time span in microseconds.
    Micros(u64),
}

impl Cell {
    /// Text, or NULL.
    pub(super) fn option(text: Option<impl Into<Cow<'static, str>>>) -> Self {
        text.map_or(Cell::Null, |text| Cell::Text(text.into()))
    }

    /// A number; one too large for the console's types is shown as the largest.
    pub(super) fn count(count: impl TryInto<i64>) -> Self {
        Cell::Int(count.try_into().unwrap_or(i64::MAX))
    }

    /// As the number the console shows, if it is one.
    fn number(&self) -> Option<i64> {
        match self {
            Cell::Int(number) => Some(*number),
            Cell::Seconds(span) => i64::try_from(span.as_secs()).ok(),
            Cell::SecondsRest(span) => Some(span.subsec_micros().into()),
            Cell::Micros(us) => i64::try_from(*us).ok(),
            Cell::Null | Cell::Text(_) | Cell::Time(_) => None,
        }
    }
}

impl From<&'static str> for Cell {
    fn from(text: &'static str) -> Self {
        Cell::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(Cow::Owned(text))
    }
}

impl From<&std::rc::Rc<str>> for Cell {
    fn from(text: &std::rc::Rc<str>) -> Self {
        Cell::Text(Cow::Owned(text.to_string()))
    }
}

/// One row, as long as its table has columns.
pub type Row = Vec<Cell>;

/// Columns and rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Columns, in order.
    pub columns: &'static [Column],
    /// Rows, each as long as `columns`.
    pub rows: Vec<Row>,
}

/// How a result column is asked for (manual, "Formats and Format Codes").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Text,
    Binary,
}

/// Shows moments as local time.
pub(in crate::core) type LocalText = fn(SystemTime) -> String;

/// Appends a RowDescription. `formats` is empty (text), one for all columns, or one for each.
pub(super) fn describe(columns: &[Column], formats: &[Format], out: &mut Vec<u8>) {
    let start = out.len();
    let described: Vec<backend::Column<'_>> = columns
        .iter()
        .map(|column| backend::Column {
            name: column.name.as_bytes(),
            type_oid: column.kind.oid(),
            type_len: column.kind.len(),
        })
        .collect();
    backend::row_description(out, &described);
    // The builder describes text. A column's format is the last two of the 18 bytes behind its name's zero.
    let mut at = start + 7;
    for (number, column) in columns.iter().enumerate() {
        at += column.name.len() + 1 + 18;
        if format_of(formats, number) == Format::Binary {
            out[at - 1] = 1;
        }
    }
}

pub(super) fn format_of(formats: &[Format], column: usize) -> Format {
    match formats {
        [one] => *one,
        many => many.get(column).copied().unwrap_or_default(),
    }
}

/// Appends a DataRow.
pub(super) fn write_row(
    columns: &[Column],
    row: &[Cell],
    formats: &[Format],
    local_text: LocalText,
    out: &mut Vec<u8>,
) {
    let values: Vec<Option<Vec<u8>>> = columns
        .iter()
        .zip(row)
        .enumerate()
        .map(|(at, (column, cell))| value(column.kind, cell, format_of(formats, at), local_text))
        .collect();
    backend::data_row(out, values.iter().map(Option::as_deref));
}

fn value(kind: Type, cell: &Cell, format: Format, local_text: LocalText) -> Option<Vec<u8>> {
    match (cell, cell.number(), format) {
        (Cell::Null, ..) => None,
        (Cell::Text(text), ..) => Some(text.as_bytes().to_vec()),
        (Cell::Time(at), ..) => Some(local_text(*at).into_bytes()),
        (_, Some(number), Format::Binary) => Some(binary(kind, number)),
        (_, number, _) => Some(number.unwrap_or(i64::MAX).to_string().into_bytes()),
    }
}

fn binary(kind: Type, number: i64) -> Vec<u8> {
    match kind {
        Type::Int4 => i32::try_from(number).unwrap_or(i32::MAX).to_be_bytes().to_vec(),
        Type::Int8 => number.to_be_bytes().to_vec(),
        Type::Numeric => numeric(number),
        Type::Text | Type::Bytea => number.to_string().into_bytes(),
    }
}

/// A whole number as PostgreSQL sends `numeric`: how many digits of base 10000, the weight of the first, the sign,
/// digits behind the point, the digits. Source: `numeric_send` of PostgreSQL.
fn numeric(number: i64) -> Vec<u8> {
    const NEGATIVE: u16 = 0x4000;
    let mut digits = Vec::new();
    let mut rest = number.unsigned_abs();
    while rest > 0 {
        digits.push((rest % 10_000) as u16);
        rest /= 10_000;
    }
    let count = digits.len() as u16;
    let sign = if number < 0 { NEGATIVE } else { 0 };
    let mut out = Vec::with_capacity(8 + digits.len() * 2);
    for word in [count, count.saturating_sub(1), sign, 0].into_iter().chain(digits.into_iter().rev()) {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column { name: "name", kind: Type::Text },
        Column { name: "n", kind: Type::Int4 },
        Column { name: "total", kind: Type::Numeric },
    ];

    fn local(_: SystemTime) -> String {
        "then".into()
    }

    #[test]
    fn the_format_lands_in_its_column() {
        let (mut text, mut binary) = (Vec::new(), Vec::new());
        describe(COLUMNS, &[], &mut text);
        describe(COLUMNS, &[Format::Text, Format::Binary, Format::Text], &mut binary);
        let differing: Vec<usize> = (0..text.len()).filter(|&at| text[at] != binary[at]).collect();
        // 'T', length, count, "name\0" and its 18 bytes, "n\0" and its 18 bytes.
        assert_eq!(differing, [7 + 5 + 18 + 2 + 18 - 1]);
        let mut all = Vec::new();
        describe(COLUMNS, &[Format::Binary], &mut all);
        assert_eq!((0..text.len()).filter(|&at| text[at] != all[at]).count(), 3);
    }

    #[test]
    fn values_in_both_formats() {
        let at = SystemTime::UNIX_EPOCH;
        let span = Duration::from_micros(3_000_017);
        for (kind, cell, text, binary) in [
            (Type::Text, Cell::Time(at), &b"then"[..], &b"then"[..]),
            (Type::Int4, Cell::Seconds(span), b"3", &[0, 0, 0, 3]),
            (Type::Int4, Cell::SecondsRest(span), b"17", &[0, 0, 0, 17]),
            (Type::Int8, Cell::Int(-1), b"-1", &[0xFF; 8]),
            (Type::Int4, Cell::Int(1 << 40), b"1099511627776", &[0x7F, 0xFF, 0xFF, 0xFF]),
            (Type::Numeric, Cell::Micros(0), b"0", &[0; 8]),
            (Type::Numeric, Cell::Int(10_000), b"10000", &[0, 2, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0]),
            (Type::Numeric, Cell::Int(-5), b"-5", &[0, 1, 0, 0, 0x40, 0, 0, 0, 0, 5]),
        ] {
            assert_eq!(value(kind, &cell, Format::Text, local).as_deref(), Some(text), "{cell:?}");
            assert_eq!(value(kind, &cell, Format::Binary, local).as_deref(), Some(binary), "{cell:?}");
        }
        assert_eq!(value(Type::Text, &Cell::Null, Format::Binary, local), None);
    }
}
