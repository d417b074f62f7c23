//! The lines of one configuration file: `name [=] value`, a comment behind `#`.
//!
//! ```text
//! line      = blank | [name ["="] value] [comment]
//! name      = ID | ID "." ID                         value = ID | WORD | INTEGER | REAL | STRING
//! ID        = letter (letter | digit)*               letter: A-Z a-z _ and every byte beyond ASCII
//! WORD      = letter (letter | digit | - . _ : /)*   but not ID "." ID, which is a name and no value
//! INTEGER   = [+-] (digits | 0x hex) A-Za-z*         REAL = [+-] digits* "." digits* [exponent]
//! STRING    = ' (no quote, backslash, newline | \any | '')* '
//! ```
//! The longest token wins, as in the server's scanner. A token ends where the next begins, with or without a blank
//! between them: `work_mem'4MB'` is a setting. Pure: text in, directives out.

use std::fmt;

/// What a line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Directive {
    /// `name = value`, the name in lower case.
    Set {
        /// The name.
        name: String,
        /// The value without quotes and escapes.
        value: Vec<u8>,
    },
    /// `include 'file'`.
    Include(Vec<u8>),
    /// `include_if_exists 'file'`.
    IncludeIfExists(Vec<u8>),
    /// `include_dir 'directory'`.
    IncludeDir(Vec<u8>),
}

/// Why a line is not of the grammar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyntaxError {
    /// It does not begin with a name.
    Name,
    /// No value follows the name, or one that has to be quoted.
    Value,
    /// Something follows the value.
    Trailing,
    /// The value of an include is empty.
    NoFile,
    /// The value has a zero byte.
    ZeroByte,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "syntax error: a line begins with a name",
            Self::Value => "syntax error: no value behind the name, or one that needs quotes",
            Self::Trailing => "syntax error behind the value",
            Self::NoFile => "an include without a name",
            Self::ZeroByte => "a zero byte in a value",
        })
    }
}

impl std::error::Error for SyntaxError {}

/// The directives of a text, each with its line, counted from 1. Lines after a faulty one are read all the same.
pub fn directives(text: &[u8]) -> impl Iterator<Item = (u32, Result<Directive, SyntaxError>)> {
    (1..).zip(text.split(|&byte| byte == b'\n')).filter_map(|(number, line)| Some((number, directive(line)?)))
}

/// The directive on a line; None if it is blank.
fn directive(line: &[u8]) -> Option<Result<Directive, SyntaxError>> {
    let (first, rest) = token(line);
    match first {
        Token::End => None,
        Token::Id(name) | Token::QualifiedId(name) => Some(set(name, rest)),
        _ => Some(Err(SyntaxError::Name)),
    }
}

fn set(name: &[u8], rest: &[u8]) -> Result<Directive, SyntaxError> {
    let (mut next, mut rest) = token(rest);
    if matches!(next, Token::Equals) {
        (next, rest) = token(rest);
    }
    let value = match next {
        Token::Id(text) | Token::Word(text) => text.to_vec(),
        Token::String(inner) => unescape(inner),
        _ => return Err(SyntaxError::Value),
    };
    if !matches!(token(rest).0, Token::End) {
        return Err(SyntaxError::Trailing);
    }
    if value.contains(&0) {
        return Err(SyntaxError::ZeroByte);
    }
    let include = [
        ("include", Directive::Include as fn(_) -> _),
        ("include_if_exists", Directive::IncludeIfExists),
        ("include_dir", Directive::IncludeDir),
    ];
    match include.into_iter().find(|(word, _)| name.eq_ignore_ascii_case(word.as_bytes())) {
        Some(_) if value.is_empty() => Err(SyntaxError::NoFile),
        Some((_, directive)) => Ok(directive(value)),
        None => Ok(Directive::Set { name: String::from_utf8_lossy(name).to_ascii_lowercase(), value }),
    }
}

enum Token<'a> {
    Id(&'a [u8]),
    QualifiedId(&'a [u8]),
    /// A value that needs no quotes: WORD, INTEGER or REAL.
    Word(&'a [u8]),
    /// What stands between the quotes.
    String(&'a [u8]),
    Equals,
    /// The end of the line, or a comment.
    End,
    Error,
}

/// What a text without quotes may be.
type Kind<'a> = fn(&'a [u8]) -> Token<'a>;

/// The token that `line` begins with behind blanks, and what follows it.
fn token(line: &[u8]) -> (Token<'_>, &[u8]) {
    let blank = line.iter().position(|byte| !b" \t\r".contains(byte)).unwrap_or(line.len());
    let text = &line[blank..];
    let id = id_len(text);
    let qualified = match text.get(id) {
        Some(b'.') if id > 0 => Some(id_len(&text[id + 1..])).filter(|&len| len > 0).map(|len| id + 1 + len),
        _ => None,
    };
    let word = if id > 0 { text.iter().position(|byte| !is_word(*byte)).unwrap_or(text.len()) } else { 0 };
    let number = integer_len(text).max(real_len(text));
    let plain: [(usize, Kind<'_>); 4] = [
        (id, Token::Id),
        (qualified.unwrap_or(0), Token::QualifiedId),
        (word, Token::Word),
        (number, Token::Word),
    ];
    match text.first() {
        None | Some(b'#') => (Token::End, &[]),
        Some(b'=') => (Token::Equals, &text[1..]),
        Some(b'\'') => match string_len(text) {
            Some(len) => (Token::String(&text[1..len - 1]), &text[len..]),
            None => (Token::Error, &[]),
        },
        // The longest, and of equal ones the first.
        Some(_) => match plain.into_iter().rev().max_by_key(|(len, _)| *len) {
            Some((len, kind)) if len > 0 => (kind(&text[..len]), &text[len..]),
            _ => (Token::Error, &[]),
        },
    }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

fn is_word(byte: u8) -> bool {
    is_letter(byte) || byte.is_ascii_digit() || b"-.:/".contains(&byte)
}

fn id_len(text: &[u8]) -> usize {
    match text.first() {
        Some(&first) if is_letter(first) => run(text, |byte| is_letter(byte) || byte.is_ascii_digit()),
        _ => 0,
    }
}

fn run(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|&byte| !belongs(byte)).unwrap_or(text.len())
}

fn sign_len(text: &[u8]) -> usize {
    usize::from(matches!(text.first(), Some(b'+' | b'-')))
}

/// Bytes of the INTEGER at the start; zero if there is none.
fn integer_len(text: &[u8]) -> usize {
    let sign = sign_len(text);
    let digits = run(&text[sign..], |byte| byte.is_ascii_digit());
    if digits == 0 {
        return 0;
    }
    let hex = match &text[sign..] {
        [b'0', b'x', rest @ ..] => Some(run(rest, |byte| byte.is_ascii_hexdigit())).filter(|&len| len > 0),
        _ => None,
    };
    let end = sign + hex.map_or(digits, |len| 2 + len);
    end + run(&text[end..], |byte| byte.is_ascii_alphabetic())
}

/// Bytes of the REAL at the start; zero if there is none.
fn real_len(text: &[u8]) -> usize {
    let digits = |at: usize| at + run(&text[at..], |byte| byte.is_ascii_digit());
    let point = digits(sign_len(text));
    if text.get(point) != Some(&b'.') {
        return 0;
    }
    let end = digits(point + 1);
    if !matches!(text.get(end), Some(b'e' | b'E')) {
        return end;
    }
    let exponent = end + 1 + sign_len(&text[end + 1..]);
    let exponent_end = digits(exponent);
    if exponent_end > exponent { exponent_end } else { end }
}

/// Bytes of the STRING at the start, quotes included; None if it is not closed.
fn string_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match (text.get(at)?, text.get(at + 1)) {
            (b'\\', Some(_)) | (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// Undoes the escapes of a STRING: C's control characters, octal numbers, doubled quotes.
fn unescape(inner: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let next = rest.first().copied();
        match (byte, next) {
            (b'\\', Some(b'0'..=b'7')) => {
                let digits = run(&rest[..rest.len().min(3)], |byte| (b'0'..=b'7').contains(&byte));
                let number = rest[..digits].iter().fold(0_u8, |number, digit| {
                    // Beyond a byte the high bits are lost, as in the server.
                    number.wrapping_mul(8).wrapping_add(digit - b'0')
                });
                plain.push(number);
                rest = &rest[digits..];
            }
            (b'\\', Some(letter)) => {
                plain.push(match letter {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => other,
                });
                rest = &rest[1..];
            }
            (b'\'', Some(b'\'')) => {
                plain.push(b'\'');
                rest = &rest[1..];
            }
            (other, _) => plain.push(other),
        }
    }
    plain
}
