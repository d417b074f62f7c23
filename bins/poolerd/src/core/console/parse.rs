//! The console's grammar: one command, perhaps an argument, perhaps a semicolon; or `SET key = value`.
//!
//! A word is a run of characters without blanks, quotes, `;` and `=`, or anything in double quotes, in which a doubled quote
//! stands for one. Commands compare without case. Knows the table of commands and does nothing.

use super::commands::{Argument, COMMANDS, Command};
use super::shows::{SHOWS, Show};

/// Longest argument, in bytes, as PgBouncer has it.
const ARGUMENT_LEN_MAX: usize = 63;

/// Longest value of SET.
const VALUE_LEN_MAX: usize = 255;

/// Parameters every driver may ask for or set; the console answers so that they go on.
const FAKED: &[(&str, &str)] = &[
    ("client_encoding", "UTF-8"),
    ("default_transaction_isolation", "read committed"),
    ("standard_conforming_strings", "on"),
    ("datestyle", "ISO"),
    ("timezone", "GMT"),
    ("extra_float_digits", "2"),
];

/// A command line understood.
#[derive(Clone, Debug)]
pub(super) enum Request {
    /// SHOW, or SELECT.
    Show(&'static Show),
    /// SHOW of a parameter that is not ours: its name and value.
    ShowFaked(usize),
    /// SET of such a parameter.
    SetFaked,
    /// SET.
    Set { key: String, value: String },
    /// Anything else; the argument is empty if there was none.
    Command { command: &'static Command, argument: String },
}

/// A command line not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParseError {
    /// There is no such command.
    Invalid,
    /// An argument is too long or missing.
    Arguments,
}

/// Name and value of a faked parameter.
pub(super) fn faked(at: usize) -> (&'static str, &'static str) {
    FAKED.get(at).copied().unwrap_or(("", ""))
}

fn find_faked(name: &str) -> Option<usize> {
    FAKED.iter().position(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// Reads one command line.
pub(super) fn parse(text: &str) -> Result<Request, ParseError> {
    let mut line = Line(text);
    let word = line.word()?.ok_or(ParseError::Invalid)?;
    if word.eq_ignore_ascii_case("set")
        && let Some(request) = set(line)?
    {
        return Ok(request);
    }
    let argument = line.word()?.unwrap_or_default();
    line.end()?;
    if argument.len() > ARGUMENT_LEN_MAX {
        return Err(ParseError::Arguments);
    }
    if ["show", "select"].iter().any(|show| word.eq_ignore_ascii_case(show)) {
        if let Some(at) = find_faked(&argument) {
            return Ok(Request::ShowFaked(at));
        }
        let show = SHOWS.iter().find(|show| show.name.eq_ignore_ascii_case(&argument));
        return show.map(Request::Show).ok_or(ParseError::Invalid);
    }
    let command = COMMANDS.iter().find(|command| command.name.eq_ignore_ascii_case(&word));
    let command = command.ok_or(ParseError::Invalid)?;
    let fits = match command.argument {
        Argument::None => argument.is_empty(),
        Argument::Word(words) => {
            argument.is_empty() || words.iter().any(|word| word.eq_ignore_ascii_case(&argument))
        }
        Argument::Database | Argument::OptionalDatabase | Argument::Client => true,
        Argument::Show | Argument::Setting => false,
    };
    if fits { Ok(Request::Command { command, argument }) } else { Err(ParseError::Invalid) }
}

/// What follows the word SET; `None` if it is no assignment.
fn set(mut line: Line<'_>) -> Result<Option<Request>, ParseError> {
    let Some(key) = line.word()? else { return Ok(None) };
    if !line.assignment() {
        return Ok(None);
    }
    let Some(value) = line.value()? else { return Err(ParseError::Invalid) };
    line.end()?;
    if key.is_empty() || key.len() > ARGUMENT_LEN_MAX || value.len() > VALUE_LEN_MAX {
        return Err(ParseError::Arguments);
    }
    Ok(Some(match find_faked(&key) {
        Some(_) => Request::SetFaked,
        None => Request::Set { key, value },
    }))
}

/// What is left of the line.
#[derive(Clone, Copy)]
struct Line<'a>(&'a str);

impl Line<'_> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// The next word, if there is one; blanks or the line's end must follow it.
    fn word(&mut self) -> Result<Option<String>, ParseError> {
        self.skip_blanks();
        if self.0.starts_with('"') {
            return self.quoted('"').map(Some);
        }
        Ok(self.run(&[' ', '\t', '\n', '\r', ';', '"', '\'', '=']))
    }

    /// The value of SET.
    fn value(&mut self) -> Result<Option<String>, ParseError> {
        self.skip_blanks();
        match self.0.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote).map(Some),
            _ => Ok(self.run(&[' ', '\t', '\n', '\r', ';', '"', '\''])),
        }
    }

    fn run(&mut self, ends: &[char]) -> Option<String> {
        let (word, rest) = self.0.split_at(self.0.find(ends).unwrap_or(self.0.len()));
        self.0 = rest;
        (!word.is_empty()).then(|| word.to_owned())
    }

    fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        let mut word = String::new();
        let mut chars = self.0[1..].char_indices().peekable();
        while let Some((at, char)) = chars.next() {
            if char != quote {
                word.push(char);
            } else if chars.next_if(|&(_, next)| next == quote).is_some() {
                word.push(quote);
            } else {
                self.0 = &self.0[1 + at + 1..];
                return Ok(word);
            }
        }
        Err(ParseError::Invalid)
    }

    /// `=` or `TO`.
    fn assignment(&mut self) -> bool {
        self.skip_blanks();
        if let Some(rest) = self.0.strip_prefix('=') {
            self.0 = rest;
            return true;
        }
        match self.0.split_at_checked(2) {
            Some((to, rest)) if to.eq_ignore_ascii_case("to") => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// One semicolon may end the line.
    fn end(&mut self) -> Result<(), ParseError> {
        self.skip_blanks();
        let rest = self.0.strip_prefix(';').unwrap_or(self.0);
        if rest.trim_matches([' ', '\t', '\n', '\r']).is_empty() { Ok(()) } else { Err(ParseError::Invalid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Option<(&'static str, String)> {
        match parse(text) {
            Ok(Request::Command { command, argument }) => Some((command.name, argument)),
            Ok(Request::Show(show)) => Some(("SHOW", show.name.to_owned())),
            Ok(Request::Set { key, value }) => Some(("SET", format!("{key}={value}"))),
            _ => None,
        }
    }

    #[test]
    fn commands_and_their_arguments() {
        for (text, name, argument) in [
            ("reload", "RELOAD", ""),
            ("  PAUSE \n\t;  ", "PAUSE", ""),
            ("Pause one", "PAUSE", "one"),
            ("pause \"my \"\"db\"\"; x\" ;", "PAUSE", "my \"db\"; x"),
            ("show Pools;", "SHOW", "POOLS"),
            ("select pools", "SHOW", "POOLS"),
            ("shutdown wait_for_clients", "SHUTDOWN", "wait_for_clients"),
            ("set x=1", "SET", "x=1"),
            ("SET x TO y;", "SET", "x=y"),
            ("set x = 'it''s; so'", "SET", "x=it's; so"),
            ("set \"x\" = ''", "SET", "x="),
            ("set x=/a=b/1.5", "SET", "x=/a=b/1.5"),
        ] {
            assert_eq!(command(text), Some((name, argument.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_command() {
        for text in [
            "",
            " ; ",
            "pools",
            "show",
            "show nothing",
            "show pools clients",
            "show pools; show lists",
            "reload x",
            "suspend x",
            "shutdown later",
            "pause \"x",
            "set",
            "set x",
            "set x=",
            "set x='1",
            "set x=1 2",
            "ünknown",
        ] {
            assert_eq!(parse(text).err(), Some(ParseError::Invalid), "{text}");
        }
    }

    #[test]
    fn lengths_at_and_beyond_their_limits() {
        let name = |len| "x".repeat(len);
        assert!(command(&format!("pause {}", name(63))).is_some());
        assert_eq!(parse(&format!("pause {}", name(64))).err(), Some(ParseError::Arguments));
        assert!(command(&format!("set a='{}'", name(255))).is_some());
        assert_eq!(parse(&format!("set a='{}'", name(256))).err(), Some(ParseError::Arguments));
        assert_eq!(parse("set \"\"=1").err(), Some(ParseError::Arguments));
    }

    #[test]
    fn drivers_are_humoured() {
        assert!(matches!(parse("SET DateStyle = 'ISO'"), Ok(Request::SetFaked)));
        assert!(matches!(parse("set client_encoding to utf8"), Ok(Request::SetFaked)));
        match parse("SHOW TimeZone") {
            Ok(Request::ShowFaked(at)) => assert_eq!(faked(at), ("timezone", "GMT")),
            other => panic!("{other:?}"),
        }
    }
}
