//! What came back.

use std::collections::BTreeMap;
use std::fmt;

/// A backend message.
#[derive(Clone)]
pub struct Message {
    /// Its tag.
    pub tag: u8,
    /// What stands behind the length.
    pub body: Vec<u8>,
}

impl Message {
    /// The body read as an ErrorResponse or NoticeResponse.
    pub fn error(&self) -> ServerError {
        let fields = self
            .body
            .split(|byte| *byte == 0)
            .filter(|field| !field.is_empty())
            .map(|field| (field[0] as char, String::from_utf8_lossy(&field[1..]).into_owned()))
            .collect();
        ServerError { fields }
    }

    /// The body read as a DataRow; NULL is "NULL".
    fn row(&self) -> Vec<String> {
        let mut rest = &self.body[2..];
        let mut row = Vec::new();
        while let Some((len, behind)) = rest.split_first_chunk::<4>() {
            match usize::try_from(i32::from_be_bytes(*len)) {
                Ok(len) => {
                    row.push(String::from_utf8_lossy(&behind[..len]).into_owned());
                    rest = &behind[len..];
                }
                Err(_) => {
                    row.push("NULL".to_owned());
                    rest = behind;
                }
            }
        }
        row
    }

    /// Column names of a RowDescription.
    fn columns(&self) -> Vec<String> {
        let mut rest = &self.body[2..];
        let mut names = Vec::new();
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
            rest = &rest[end + 19..];
        }
        names
    }

    fn types(&self) -> Vec<u32> {
        let mut rest = &self.body[2..];
        let mut types = Vec::new();
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            types.push(u32::from_be_bytes(rest[end + 7..end + 11].try_into().unwrap()));
            rest = &rest[end + 19..];
        }
        types
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.body[..self.body.len().min(300)];
        write!(f, "{}\"{}\"", self.tag as char, shown.escape_ascii())
    }
}

/// An ErrorResponse or NoticeResponse.
#[derive(Debug, Clone)]
pub struct ServerError {
    fields: BTreeMap<char, String>,
}

impl ServerError {
    /// A field by its code, empty if absent.
    pub fn field(&self, code: char) -> &str {
        self.fields.get(&code).map_or("", String::as_str)
    }

    /// Severity.
    pub fn severity(&self) -> &str {
        self.field('S')
    }

    /// SQLSTATE.
    pub fn code(&self) -> &str {
        self.field('C')
    }

    /// The primary message.
    pub fn message(&self) -> &str {
        self.field('M')
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.severity(), self.code(), self.message())
    }
}

/// Messages through a ReadyForQuery, without ParameterStatus, notices and notifications.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// In order; the last is the ReadyForQuery.
    pub messages: Vec<Message>,
}

impl Reply {
    /// The tags as text, such as `TDCZ`.
    pub fn tags(&self) -> String {
        self.messages.iter().map(|message| message.tag as char).collect()
    }

    /// All rows; NULL is "NULL".
    pub fn rows(&self) -> Vec<Vec<String>> {
        self.of(b'D').map(Message::row).collect()
    }

    /// The first value of the first row, empty if there is no row.
    pub fn value(&self) -> String {
        self.rows().first().map(|row| row[0].clone()).unwrap_or_default()
    }

    /// Column names of the first RowDescription.
    pub fn columns(&self) -> Vec<String> {
        self.of(b'T').next().map(Message::columns).unwrap_or_default()
    }

    /// Type oids of the first RowDescription.
    pub fn types(&self) -> Vec<u32> {
        self.of(b'T').next().map(Message::types).unwrap_or_default()
    }

    /// Command tags.
    pub fn commands(&self) -> Vec<String> {
        self.of(b'C')
            .map(|message| {
                String::from_utf8_lossy(message.body.trim_ascii_end()).trim_end_matches('\0').to_owned()
            })
            .collect()
    }

    /// The errors.
    pub fn errors(&self) -> Vec<ServerError> {
        self.of(b'E').map(Message::error).collect()
    }

    /// SQLSTATE of the first error, empty if there is none.
    pub fn code(&self) -> String {
        self.of(b'E').next().map(|message| message.error().code().to_owned()).unwrap_or_default()
    }

    /// Transaction status of the ReadyForQuery: `I`, `T` or `E`.
    pub fn status(&self) -> char {
        self.messages.last().map_or('?', |message| message.body[0] as char)
    }

    fn of(&self, tag: u8) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(move |message| message.tag == tag)
    }
}
