//! PostgreSQL's configuration files: what the server would read from them (manual, "Setting Parameters").
//!
//! [`grammar`] reads the text of one file and knows no other; [`walk`] follows the includes and reads
//! `postgresql.auto.conf` last. Of several lines for one name the last counts, wherever it stands.
//!
//! Invariants: nothing is held beyond [`walk::ENTRIES_MAX`] settings of [`walk::BYTES_MAX`] of text in
//! [`walk::FILES_MAX`] files, and whatever the files hold, reading them ends; every fault names file and line.

pub mod grammar;
#[cfg(test)]
mod tests;
mod walk;

pub use walk::{BYTES_MAX, DEPTH_MAX, ENTRIES_MAX, FILES_MAX, is_member, read};

use std::fmt;
use std::path::PathBuf;

use sluice_cli::ini::{self, Place};

/// The file that `ALTER SYSTEM` writes, in the data directory.
pub const AUTO_CONF: &str = "postgresql.auto.conf";

/// A line that sets something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The name, in lower case, and under the name that is valid today.
    pub name: String,
    /// The value, without its quotes.
    pub value: String,
    /// Where it stands.
    pub place: Place,
}

/// What a file and those it includes set, in the order the server reads them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileSettings {
    /// All lines, also those that a later one makes void.
    pub entries: Vec<Entry>,
    /// Directories named by `include_dir`, in order.
    pub directories: Vec<Directory>,
    /// The data directory: the one that is named, else the one the file is in.
    pub data_directory: PathBuf,
}

/// A directory whose files are included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory {
    /// Its path, absolute or relative as [`read`]'s was.
    pub path: PathBuf,
    /// How many entries had been read behind its last file: what is beyond counts more than anything in it.
    pub end: usize,
}

impl FileSettings {
    /// The line that counts for `name`, which is in lower case.
    pub fn effective(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().rfind(|entry| entry.name == name)
    }
}

/// Why a configuration cannot be read.
#[derive(Debug)]
pub struct ConfError {
    /// The line at fault; line 0 where the file itself is.
    pub place: Place,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a line or a file.
#[derive(Debug)]
pub enum Fault {
    /// The line is not of the server's grammar.
    Syntax(grammar::SyntaxError),
    /// The file cannot be read, or is too long.
    File(ini::Fault),
    /// What is included is no file.
    NotAFile(PathBuf),
    /// Files inside each other beyond [`DEPTH_MAX`].
    TooDeep,
    /// The file includes itself, directly or through others.
    Cycle(PathBuf),
    /// More than [`FILES_MAX`] files, or [`ENTRIES_MAX`] settings or [`BYTES_MAX`] bytes in all of them.
    TooMuch,
}

impl fmt::Display for ConfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.fault, self.place.line) {
            // No line asks for the file, and the fault names it.
            (Fault::File(fault), 0) => fault.fmt(f),
            (fault, 0) => write!(f, "{}: {fault}", self.place.file.display()),
            (fault, _) => write!(f, "{}: {fault}", self.place),
        }
    }
}

impl std::error::Error for ConfError {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => write!(f, "{error}"),
            Self::File(fault) => write!(f, "{fault}"),
            Self::NotAFile(path) => write!(f, "{} is not a file", path.display()),
            Self::TooDeep => write!(f, "more than {DEPTH_MAX} files include each other"),
            Self::Cycle(path) => write!(f, "{} includes itself", path.display()),
            Self::TooMuch => {
                write!(f, "more than {FILES_MAX} files, {ENTRIES_MAX} settings or {BYTES_MAX} bytes in all")
            }
        }
    }
}
