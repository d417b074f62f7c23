//! Configuration files: lines to sections and entries, with the file and line of each.
//!
//! One line, one item: blank; a comment, whose first character other than a blank is `#` or `;`; `[section]`;
//! `%include file`; or `key = value`, where the value is the rest of the line. No continuation, no quoting of values
//! and no comment behind one. What keys and values mean is the reader's business. A file is read whole and is bounded
//! in size; includes are bounded in depth, so a file that includes itself ends in an error.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files that may be open inside each other beyond the first.
pub const INCLUDE_DEPTH: usize = 10;

/// Longest file, in bytes.
pub const FILE_BYTES: u64 = 16 << 20;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named to open it.
    pub file: Arc<Path>,
    /// The line, counted from 1.
    pub line: u32,
}

/// What stands on a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// `[name]`.
    Section(String),
    /// `key = value`, the key without its quotes, the value without blanks around it.
    Entry {
        /// The key.
        key: String,
        /// The value; may be empty.
        value: String,
    },
}

/// An item and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where.
    pub place: Place,
    /// What.
    pub item: Item,
}

/// Why reading ended before the end.
#[derive(Debug)]
pub struct IniError {
    /// The line at fault; line 0 where the file itself is.
    pub place: Place,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a line or a file.
#[derive(Debug)]
pub enum Fault {
    /// The line is none of the forms above; says which part is wrong.
    Syntax(&'static str),
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// The file is longer than [`FILE_BYTES`].
    TooLong(PathBuf),
    /// More than [`INCLUDE_DEPTH`] files inside each other.
    TooDeep,
}

/// The items of a file and of those it includes, in order. After an error there is nothing more.
#[derive(Debug)]
pub struct Ini {
    open: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    file: Arc<Path>,
    bytes: Vec<u8>,
    at: usize,
    line: u32,
}

enum Parsed {
    Nothing,
    Item(Item),
    Include(PathBuf),
}

impl Ini {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Fault::Unreadable`] or [`Fault::TooLong`].
    pub fn open(path: &Path) -> Result<Self, IniError> {
        let bytes = read(path).map_err(|fault| IniError { place: Place::of_file(path), fault })?;
        Ok(Self::of_bytes(path, bytes))
    }

    /// Reads `bytes` as if they were the file `path`.
    #[must_use]
    pub fn of_bytes(path: &Path, bytes: Vec<u8>) -> Self {
        Self { open: vec![Source { file: path.into(), bytes, at: 0, line: 0 }] }
    }

    fn step(&mut self) -> Option<Result<Line, IniError>> {
        loop {
            let source = self.open.last_mut()?;
            let Some(line) = source.next_line() else {
                self.open.pop();
                continue;
            };
            let parsed = parse_line(line);
            let place = Place { file: Arc::clone(&source.file), line: source.line };
            match parsed {
                Ok(Parsed::Nothing) => {}
                Ok(Parsed::Item(item)) => return Some(Ok(Line { place, item })),
                Ok(Parsed::Include(file)) => {
                    if let Err(fault) = self.include(&file) {
                        return Some(Err(IniError { place, fault }));
                    }
                }
                Err(what) => return Some(Err(IniError { place, fault: Fault::Syntax(what) })),
            }
        }
    }

    fn include(&mut self, named: &Path) -> Result<(), Fault> {
        if self.open.len() > INCLUDE_DEPTH {
            return Err(Fault::TooDeep);
        }
        let beside =
            self.open.last().and_then(|source| source.file.parent()).map(|directory| directory.join(named));
        let path = match beside {
            Some(beside) if !named.exists() && beside.exists() => beside,
            _ => named.to_owned(),
        };
        let bytes = read(&path)?;
        self.open.push(Source { file: path.into(), bytes, at: 0, line: 0 });
        Ok(())
    }
}

impl Iterator for Ini {
    type Item = Result<Line, IniError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if let Some(Err(_)) = step {
            self.open.clear();
        }
        step
    }
}

impl Source {
    fn next_line(&mut self) -> Option<&[u8]> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let len = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        self.at += len + 1;
        self.line = self.line.saturating_add(1);
        Some(&rest[..len])
    }
}

impl Place {
    /// A file as a whole.
    #[must_use]
    pub fn of_file(path: &Path) -> Self {
        Self { file: path.into(), line: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(what) => f.write_str(what),
            Self::Unreadable(path, error) => write!(f, "could not read {}: {error}", path.display()),
            Self::TooLong(path) => write!(f, "{} is longer than {FILE_BYTES} bytes", path.display()),
            Self::TooDeep => write!(f, "more than {INCLUDE_DEPTH} files include each other"),
        }
    }
}

/// Comments behind one value that [`without_comment`] tries.
const COMMENTS: usize = 16;

/// What `value` may be if a comment was meant to end it: the part before each `#` or `;` that follows a blank or
/// begins the value, shortest first. For files written as if comments were allowed there.
pub fn without_comment(value: &str) -> impl Iterator<Item = &str> {
    let bytes = value.as_bytes();
    let begins = move |&at: &usize| {
        matches!(bytes[at], b'#' | b';') && (at == 0 || bytes[at - 1].is_ascii_whitespace())
    };
    (0..bytes.len()).filter(begins).take(COMMENTS).map(|at| value[..at].trim_end())
}

/// A file that is read whole, up to [`FILE_BYTES`].
///
/// # Errors
/// [`Fault::Unreadable`] or [`Fault::TooLong`].
pub fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let unreadable = |error| Fault::Unreadable(path.to_owned(), error);
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(Fault::TooLong(path.to_owned()));
    }
    Ok(bytes)
}

fn parse_line(line: &[u8]) -> Result<Parsed, &'static str> {
    let line = line.trim_ascii();
    if line.starts_with(b"\xEF\xBB\xBF") {
        return Err("a byte order mark (BOM) before the text: save the file without one");
    }
    match line.first() {
        None | Some(b'#' | b';') => return Ok(Parsed::Nothing),
        Some(_) => {}
    }
    // Only now: a comment may be in any encoding.
    let line = std::str::from_utf8(line).map_err(|_| "not valid UTF-8")?;
    if line.contains('\0') {
        return Err("a NUL byte");
    }
    if let Some(rest) = line.strip_prefix('[') {
        let name = rest.strip_suffix(']').ok_or("no ] at the end of a section")?;
        return Ok(Parsed::Item(Item::Section(name.trim().to_owned())));
    }
    if let Some(rest) = line.strip_prefix('%') {
        let file = rest.strip_prefix("include").filter(|file| file.starts_with([' ', '\t']));
        return match file.map(str::trim) {
            Some(file) if !file.is_empty() => Ok(Parsed::Include(file.into())),
            _ => Err("only %include FILE may begin with %"),
        };
    }
    let (key, rest) = key(line)?;
    let value = rest.trim_start().strip_prefix('=').ok_or("no = after the key")?;
    Ok(Parsed::Item(Item::Entry { key, value: value.trim_start().to_owned() }))
}

/// The key a line begins with, and the rest of the line.
fn key(line: &str) -> Result<(String, &str), &'static str> {
    if let Some(quote @ ('\'' | '"')) = line.chars().next() {
        return quoted(&line[1..], quote);
    }
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "_.*-".contains(c);
    let end = line.find(|c| !is_bare(c)).unwrap_or(line.len());
    if end == 0 {
        Err("a key begins with a letter, a digit or a quote")
    } else {
        Ok((line[..end].to_owned(), &line[end..]))
    }
}

/// A name up to its closing quote; a doubled quote stands for one.
fn quoted(text: &str, quote: char) -> Result<(String, &str), &'static str> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once(quote).ok_or("no closing quote")?;
        name.push_str(part);
        match after.strip_prefix(quote) {
            Some(more) => {
                name.push(quote);
                rest = more;
            }
            None => return Ok((name, after)),
        }
    }
}

#[cfg(test)]
mod tests;
