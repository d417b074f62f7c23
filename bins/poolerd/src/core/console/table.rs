//! Rows of facts, rendered as PostgreSQL rows for the console and as JSON for the control socket.

/// PostgreSQL type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Text.
    Text,
    /// 32 bit integer.
    Int4,
    /// 64 bit integer.
    Int8,
    /// Decimal number.
    Numeric,
    /// Bytes.
    Bytea,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name as the console shows it.
    pub name: &'static str,
    /// Type.
    pub unit: Unit,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// NULL.
    Null,
    /// Text.
    Text(String),
    /// A number.
    Int(i64),
}

/// Columns and rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Columns, in order.
    pub columns: &'static [Column],
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}
