//! ALTER SYSTEM statements and the undo file that is made of them. Pure.
//!
//! An undo file has one statement a line and comments, nothing else: what is run from it can only set or reset settings.

use std::fmt;

/// A change of `postgresql.auto.conf`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A setting gets this value.
    Set(String, String),
    /// A setting is taken out.
    Reset(String),
}

impl Change {
    /// The name of the setting.
    pub fn name(&self) -> &str {
        match self {
            Self::Set(name, _) | Self::Reset(name) => name,
        }
    }
}

impl fmt::Display for Change {
    /// The statement, without the semicolon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(name, value) => write!(f, "ALTER SYSTEM SET {name} = {}", literal(value)),
            Self::Reset(name) => write!(f, "ALTER SYSTEM RESET {name}"),
        }
    }
}

/// A string constant that means the same whatever standard_conforming_strings is.
fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

/// The text of an undo file.
pub fn undo_text(undo: &[Change], major: u32) -> String {
    let mut text = format!(
        "-- What pgtune --apply alter-system changed on a PostgreSQL {major}, the way it was before.\n"
    );
    text.push_str("-- Run it with: pgtune --undo FILE --yes\n");
    for change in undo {
        text.push_str(&format!("{change};\n"));
    }
    text
}

/// A line of an undo file that is no statement of ours, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotOurs(pub u32);

/// Reads an undo file.
///
/// # Errors
/// [`NotOurs`] for the first line that is neither a comment nor a statement as [`undo_text`] writes it.
pub fn parse_undo(text: &str) -> Result<Vec<Change>, NotOurs> {
    let lines =
        (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with("--"));
    lines.map(|(number, line)| statement(line).ok_or(NotOurs(number))).collect()
}

fn statement(line: &str) -> Option<Change> {
    let inner = line.trim_end().strip_suffix(';')?.strip_prefix("ALTER SYSTEM ")?;
    if let Some(name) = inner.strip_prefix("RESET ") {
        return is_name(name).then(|| Change::Reset(name.to_owned()));
    }
    let (name, value) = inner.strip_prefix("SET ")?.split_once(" = ")?;
    let value = match value.strip_prefix('E') {
        Some(escaped) => unquote(escaped, Backslash::Escapes)?,
        None => unquote(value, Backslash::Plain)?,
    };
    is_name(name).then(|| Change::Set(name.to_owned(), value))
}

/// Whether a text is the name of a setting and needs no quotes in SQL.
pub fn is_name(text: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    // ALL is a word of the grammar, and would take out everything.
    text.split('.').count() <= 2 && text.split('.').all(is_part) && !text.eq_ignore_ascii_case("all")
}

#[derive(Clone, Copy, PartialEq)]
enum Backslash {
    Escapes,
    Plain,
}

/// What a string constant means; None unless the text is one, and nothing else.
fn unquote(text: &str, backslash: Backslash) -> Option<String> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut plain = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => plain.push(chars.next().filter(|&c| c == '\'')?),
            '\\' if backslash == Backslash::Plain => return None,
            '\\' => plain.push(chars.next().filter(|&c| c == '\\')?),
            '\0' => return None,
            c => plain.push(c),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Change {
        Change::Set(name.to_owned(), value.to_owned())
    }

    #[test]
    fn an_undo_file_is_read_back() {
        let undo = [
            set("work_mem", "4MB"),
            set("log_line_prefix", "it's \\ 100% 'quoted'"),
            set("x.y", ""),
            set("a", "'"),
            set("b", "\\'"),
            Change::Reset("shared_buffers".to_owned()),
        ];
        let text = undo_text(&undo, 15);
        assert!(text.contains("\nALTER SYSTEM SET work_mem = '4MB';\n"), "{text}");
        assert!(text.contains("= E'it''s \\\\ 100% ''quoted''';\n"), "{text}");
        assert!(text.ends_with("ALTER SYSTEM RESET shared_buffers;\n"), "{text}");
        assert_eq!(parse_undo(&text), Ok(undo.to_vec()));
        assert_eq!(parse_undo("\n-- nothing\n"), Ok(vec![]));
    }

    #[test]
    fn nothing_else_is_run() {
        for line in [
            "DROP TABLE t;",
            "ALTER SYSTEM RESET ALL; DROP TABLE t;",
            "ALTER SYSTEM RESET a; DROP TABLE t;",
            "ALTER SYSTEM SET a = 'b'; DROP TABLE t; --';",
            "ALTER SYSTEM SET a = 'b' 'c';",
            "ALTER SYSTEM SET a = 'b\\';",
            "ALTER SYSTEM SET a = E'\\x41';",
            "ALTER SYSTEM SET a = b;",
            "ALTER SYSTEM SET a.b.c = 'd';",
            "ALTER SYSTEM SET \"a\" = 'd';",
            "ALTER SYSTEM SET a = 'b'",
            "  ALTER SYSTEM RESET a;",
            "ALTER SYSTEM RESET ALL;",
            "ALTER SYSTEM RESET all;",
        ] {
            assert_eq!(parse_undo(&format!("-- x\n{line}\n")), Err(NotOurs(2)), "{line}");
        }
    }

    #[test]
    fn whatever_a_value_is_it_stays_one_constant() {
        for value in sluice_check::exhaustive(b"a'\\;E", 5) {
            let value = String::from_utf8(value).unwrap();
            let change = set("name", &value);
            assert_eq!(statement(&format!("{change};")), Some(change), "{value}");
        }
    }
}
