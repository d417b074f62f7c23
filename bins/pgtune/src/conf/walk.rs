//! The files: a configuration file, what it includes, and `postgresql.auto.conf`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use sluice_cli::ini::{self, Place};

use super::grammar::{Directive, directives};
use super::{AUTO_CONF, ConfError, Directory, Entry, Fault, FileSettings};

/// Files that may be open inside each other beyond the first: the server's own limit.
pub const DEPTH_MAX: usize = 10;

/// Files that are read in all. A file that includes two that include two more would otherwise be a thousand.
pub const FILES_MAX: usize = 1000;

/// Bytes that are read in all.
pub const BYTES_MAX: usize = 16 << 20;

/// Lines that set something, in all files. Each is kept, and is many times as long in memory.
pub const ENTRIES_MAX: usize = 100_000;

/// Names of old that the server still takes.
const OLD_NAMES: [(&str, &str); 2] = [("sort_mem", "work_mem"), ("vacuum_mem", "maintenance_work_mem")];

/// Reads the file `path`, all it includes, and last the `postgresql.auto.conf` of the data directory: the one the file
/// names, else the one the file is in.
///
/// # Errors
/// [`ConfError`] for the first line or file at fault.
pub fn read(path: &Path) -> Result<FileSettings, ConfError> {
    let mut walk = Walk { found: FileSettings::default(), open: Vec::new(), files: 0, bytes: 0 };
    walk.file(path, &Place::of_file(path))?;
    walk.found.data_directory = match walk.found.effective("data_directory") {
        Some(entry) => beside(path, entry.value.as_bytes()),
        None => path.parent().map(Path::to_owned).unwrap_or_default(),
    };
    let auto = walk.found.data_directory.join(AUTO_CONF);
    if exists(&auto) {
        walk.include(&auto, &Place::of_file(path))?;
    }
    Ok(walk.found)
}

struct Walk {
    found: FileSettings,
    /// The files being read, outermost first.
    open: Vec<PathBuf>,
    files: usize,
    bytes: usize,
}

impl Walk {
    /// Reads one file; `from` is the line that asks for it.
    fn file(&mut self, path: &Path, from: &Place) -> Result<(), ConfError> {
        let fail = |fault| Err(ConfError { place: from.clone(), fault });
        let bytes = match ini::read(path) {
            Ok(bytes) => bytes,
            Err(fault) => return fail(Fault::File(fault)),
        };
        self.files += 1;
        self.bytes += bytes.len();
        if self.files > FILES_MAX || self.bytes > BYTES_MAX {
            return fail(Fault::TooMuch);
        }
        // What could be read has such a path, unless it has just gone or is a pipe.
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.open.contains(&real) {
            return fail(Fault::Cycle(path.to_owned()));
        }
        self.open.push(real);
        let file: Arc<Path> = path.into();
        for (line, directive) in directives(&bytes) {
            let place = Place { file: Arc::clone(&file), line };
            match directive {
                Ok(directive) => self.directive(directive, path, place)?,
                Err(error) => return Err(ConfError { place, fault: Fault::Syntax(error) }),
            }
        }
        self.open.pop();
        Ok(())
    }

    fn directive(&mut self, directive: Directive, path: &Path, place: Place) -> Result<(), ConfError> {
        match directive {
            Directive::Set { name, value } => {
                let known = OLD_NAMES.into_iter().find(|(old, _)| *old == name);
                let name = known.map_or(name, |(_, new)| new.to_owned());
                let value = String::from_utf8_lossy(&value).into_owned();
                if self.found.entries.len() == ENTRIES_MAX {
                    return Err(ConfError { place, fault: Fault::TooMuch });
                }
                self.found.entries.push(Entry { name, value, place });
                Ok(())
            }
            Directive::Include(named) => self.include(&beside(path, &named), &place),
            Directive::IncludeIfExists(named) => match beside(path, &named) {
                file if exists(&file) => self.include(&file, &place),
                _ => Ok(()),
            },
            Directive::IncludeDir(named) => {
                let directory = beside(path, &named);
                for file in members(&directory).map_err(|error| {
                    let fault = Fault::File(ini::Fault::Unreadable(directory.clone(), error));
                    ConfError { place: place.clone(), fault }
                })? {
                    self.include(&file, &place)?;
                }
                let end = self.found.entries.len();
                self.found.directories.push(Directory { path: directory, end });
                Ok(())
            }
        }
    }

    fn include(&mut self, file: &Path, place: &Place) -> Result<(), ConfError> {
        let fail = |fault| Err(ConfError { place: place.clone(), fault });
        if self.open.len() > DEPTH_MAX {
            return fail(Fault::TooDeep);
        }
        // A pipe or a device could keep us for ever.
        if fs::metadata(file).is_ok_and(|metadata| !metadata.is_file()) {
            return fail(Fault::NotAFile(file.to_owned()));
        }
        self.file(file, place)
    }
}

/// Whether there is such a file. One that cannot be looked at is there: the server, another user, may well read it.
fn exists(path: &Path) -> bool {
    !matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// What a file means by the name of another: relative ones start where it is itself.
fn beside(path: &Path, named: &[u8]) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join(OsStr::from_bytes(named))
}

/// Whether the server includes a file of this name with its directory: `*.conf` without a leading dot.
pub fn is_member(name: &OsStr) -> bool {
    name.as_bytes().ends_with(b".conf") && !name.as_bytes().starts_with(b".")
}

/// The files of a directory that the server includes, in the order of their bytes.
fn members(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if is_member(&entry.file_name()) && !entry.path().is_dir() {
            found.push(entry.path());
        }
    }
    found.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    Ok(found)
}
