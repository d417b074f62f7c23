//! The little SQL that fake servers speak: enough to carry markers, fail, copy, set parameters and hold transactions.

use std::fmt;

/// What a statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// `select M` or `rows N M`: rows that show the text and the parameters.
    Rows(usize),
    /// `insert M`: an effect that a commit makes visible.
    Insert,
    /// `fail M`: an error when it runs.
    Fail,
    Begin,
    Commit,
    Rollback,
    Set {
        name: String,
        value: String,
    },
    Show(String),
    DiscardAll,
    DeallocateAll,
    CopyIn,
    CopyOut(usize),
}

impl Verb {
    /// Does a description of it have columns?
    pub(crate) fn returns_rows(&self) -> bool {
        matches!(self, Verb::Rows(_) | Verb::Show(_))
    }

    /// May it run in a failed transaction?
    pub(crate) fn ends_transaction(&self) -> bool {
        matches!(self, Verb::Commit | Verb::Rollback)
    }

    /// Can a cancel stop it? The others are over before one could.
    pub(crate) fn takes_time(&self) -> bool {
        matches!(self, Verb::Rows(_) | Verb::Insert | Verb::Fail | Verb::CopyIn | Verb::CopyOut(_))
    }
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) verb: Verb,
}

impl Statement {
    /// Parameters: as many as there are `$` signs.
    pub(crate) fn parameters(&self) -> usize {
        self.text.matches('$').count()
    }
}

/// Not a statement of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError(pub(crate) String);

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "syntax error at or near \"{}\"", self.0)
    }
}

/// The statements of a text, in order; none of them runs if one is wrong, as on PostgreSQL.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<Statement>, SyntaxError> {
    let text = String::from_utf8_lossy(text);
    split(&text).into_iter().map(statement).collect()
}

/// Cuts at semicolons outside quotes; what is blank is no statement.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\'' => quoted = !quoted,
            b';' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn statement(text: &str) -> Result<Statement, SyntaxError> {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default().to_ascii_lowercase();
    let second = words.next().unwrap_or_default();
    let count = || second.parse().map_err(|_| SyntaxError(second.to_owned()));
    let verb = match first.as_str() {
        "select" => Verb::Rows(1),
        "rows" => Verb::Rows(count()?),
        "insert" => Verb::Insert,
        "fail" => Verb::Fail,
        "begin" => Verb::Begin,
        "commit" => Verb::Commit,
        "rollback" => Verb::Rollback,
        "set" => set(text)?,
        "show" => Verb::Show(second.to_ascii_lowercase()),
        "discard" => Verb::DiscardAll,
        "deallocate" => Verb::DeallocateAll,
        "copyin" => Verb::CopyIn,
        "copyout" => Verb::CopyOut(count()?),
        _ => return Err(SyntaxError(first)),
    };
    Ok(Statement { text: text.to_owned(), verb })
}

fn set(text: &str) -> Result<Verb, SyntaxError> {
    let (name, value) = text[3..].split_once('=').ok_or_else(|| SyntaxError("set".to_owned()))?;
    let value = value.trim().trim_start_matches('E');
    let value = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')).unwrap_or(value);
    let value = value.replace("''", "'").replace("\\\\", "\\");
    Ok(Verb::Set { name: name.trim().to_ascii_lowercase(), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_several_statements_or_none() {
        assert_eq!(parse(b" ; ;").unwrap(), []);
        let two = parse(b"SET a='x;''y';rows 3 m").unwrap();
        assert_eq!(two[0].verb, Verb::Set { name: "a".to_owned(), value: "x;'y".to_owned() });
        assert_eq!(two[1].verb, Verb::Rows(3));
        assert!(parse(b"select 1; selekt").is_err());
        assert_eq!(parse(b"select $1 $2").unwrap()[0].parameters(), 2);
    }
}
