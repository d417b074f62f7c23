//! A file in a directory that `postgresql.conf` includes: which directory, whether it would count, and how it is put there.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::conf::{AUTO_CONF, FileSettings};
use crate::output::{self, Existing, OutputError};

/// Why a file in the directory would not do what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// The configuration file includes no directory, or several.
    NoDirectory(usize),
    /// The configuration file does not include this directory.
    NotIncluded(PathBuf),
    /// Lines that are read later set the same names: name and place.
    Overridden(Vec<(String, String)>),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory(0) => f.write_str("the configuration file includes no directory: add include_dir = 'conf.d' as its last line, or name one with --conf-dir"),
            Self::NoDirectory(count) => write!(f, "the configuration file includes {count} directories: name one with --conf-dir"),
            Self::NotIncluded(directory) => {
                let quoted = directory.display().to_string().replace('\'', "''");
                write!(f, "the configuration file does not include that directory: add as its last line\ninclude_dir = '{quoted}'")
            }
            Self::Overridden(lines) => {
                f.write_str("these lines are read later and would count instead:")?;
                for (name, place) in lines {
                    write!(f, "\n{place}: {name}")?;
                }
                if lines.iter().any(|(_, place)| place.contains(AUTO_CONF)) {
                    f.write_str("\nALTER SYSTEM RESET takes those of ")?;
                    f.write_str(AUTO_CONF)?;
                    f.write_str(" out")?;
                }
                Ok(())
            }
        }
    }
}

/// The directory to use: the one given, else the only one the configuration file includes.
///
/// # Errors
/// [`Obstacle::NoDirectory`].
pub fn choose(given: Option<&Path>, files: &FileSettings) -> Result<PathBuf, Obstacle> {
    let mut included: Vec<&PathBuf> = files.directories.iter().map(|directory| &directory.path).collect();
    included.dedup();
    match (given, &included[..]) {
        (Some(given), _) => Ok(given.to_owned()),
        (None, [only]) => Ok((*only).clone()),
        (None, several) => Err(Obstacle::NoDirectory(several.len())),
    }
}

/// Whether lines of the file `name` in `directory` would be the ones that count for these settings.
///
/// # Errors
/// [`Obstacle`] if the directory is not included, or later lines set the same.
pub fn check(files: &FileSettings, directory: &Path, name: &str, settings: &[&str]) -> Result<(), Obstacle> {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let wanted = real(directory);
    // The last time it is included is the one that counts.
    let included = files.directories.iter().rfind(|included| real(&included.path) == wanted);
    let Some(included) = included else { return Err(Obstacle::NotIncluded(wanted)) };
    let later: Vec<_> = files
        .entries
        .iter()
        .enumerate()
        .filter(|(at, entry)| {
            let file = &entry.place.file;
            let inside = file.parent().is_some_and(|parent| real(parent) == wanted);
            let behind =
                inside && file.file_name().is_some_and(|other| other.as_encoded_bytes() > name.as_bytes());
            settings.contains(&entry.name.as_str()) && (behind || *at >= included.end)
        })
        .map(|(_, entry)| (entry.name.clone(), entry.place.to_string()))
        .collect();
    if later.is_empty() { Ok(()) } else { Err(Obstacle::Overridden(later)) }
}

/// What [`install`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Installed {
    /// The file held this text already.
    Unchanged,
    /// There was no file.
    New,
    /// There was another one, which is here now.
    Replaced(PathBuf),
}

/// Puts `text` at `path`, whole or not at all; a file with another text stays beside it as `NAME.bak.STAMP`. Killed
/// anywhere, the old file or the new one is at `path`.
///
/// # Errors
/// [`OutputError`]; nothing has changed then but for a backup that may be there.
pub fn install(path: &Path, text: &str, stamp: &str) -> Result<Installed, OutputError> {
    if fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(Installed::Unchanged);
    }
    let backup = back_up(path, stamp).map_err(|error| OutputError::Io(path.to_owned(), error))?;
    output::write_file(path, text.as_bytes(), Existing::Replace)?;
    Ok(backup.map_or(Installed::New, Installed::Replaced))
}

/// Another name for the file itself: no moment without it, and owner and mode stay. An existing name is never taken.
fn back_up(path: &Path, stamp: &str) -> io::Result<Option<PathBuf>> {
    let Some(name) = path.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for n in 1.. {
        let mut backup = name.to_os_string();
        backup.push(format!(".bak.{stamp}"));
        if n > 1 {
            backup.push(format!("-{n}"));
        }
        let backup = path.with_file_name(backup);
        match fs::hard_link(&real, &backup) {
            Ok(()) => return Ok(Some(backup)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && n < 1000 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(main: &str, inside: &[(&str, &str)]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("postgresql.conf"), main).unwrap();
            for name in ["conf.d", "other.d"] {
                fs::create_dir(directory.path().join(name)).unwrap();
            }
            for (name, text) in inside {
                fs::write(directory.path().join("conf.d").join(name), text).unwrap();
            }
            Self(directory)
        }

        fn files(&self) -> FileSettings {
            conf::read(&self.0.path().join("postgresql.conf")).unwrap()
        }

        fn check(&self) -> Result<(), String> {
            let directory = self.0.path().join("conf.d");
            check(&self.files(), &directory, "90_pgtune.conf", &["work_mem"]).map_err(|obstacle| {
                obstacle
                    .to_string()
                    .replace(&format!("{}/", fs::canonicalize(self.0.path()).unwrap().display()), "")
                    .replace(&format!("{}/", self.0.path().display()), "")
            })
        }
    }

    #[test]
    fn what_is_read_later_counts() {
        let includes = "work_mem = 1MB\ninclude_dir = 'conf.d'\n";
        assert_eq!(
            Tree::new(includes, &[("10.conf", "work_mem = 2MB\n"), ("90_pgtune.conf", "work_mem = 3MB")])
                .check(),
            Ok(())
        );
        let behind = Tree::new(includes, &[("95.conf", "port = 1\nWORK_MEM = 2MB\n")]).check().unwrap_err();
        assert!(behind.ends_with("instead:\nconf.d/95.conf:2: work_mem"), "{behind}");
        let after = Tree::new("include_dir 'conf.d'\nwork_mem = 1MB\n", &[]).check().unwrap_err();
        assert!(after.ends_with("postgresql.conf:2: work_mem"), "{after}");
        let other = Tree::new("include_dir 'conf.d'\nport = 1\n", &[]);
        assert_eq!(other.check(), Ok(()));
        fs::write(other.0.path().join(AUTO_CONF), "work_mem = 1MB\n").unwrap();
        assert!(other.check().unwrap_err().contains("ALTER SYSTEM RESET"));
    }

    #[test]
    fn a_directory_has_to_be_included() {
        let not = Tree::new("", &[]).check().unwrap_err();
        assert!(not.ends_with("add as its last line\ninclude_dir = 'conf.d'"), "{not}");
        let chosen = |main: &str| choose(None, &Tree::new(main, &[]).files());
        assert_eq!(chosen(""), Err(Obstacle::NoDirectory(0)));
        assert!(chosen("include_dir 'conf.d'\n").unwrap().ends_with("conf.d"));
        assert!(chosen("include_dir 'conf.d'\ninclude_dir 'conf.d'\n").is_ok());
        assert!(chosen("include_dir 'conf.d'\ninclude_dir 'other.d'\n").is_err());
    }

    #[test]
    fn the_old_file_stays_beside_the_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("90_pgtune.conf");
        let replaced = |text| match install(&path, text, "1").unwrap() {
            Installed::Replaced(backup) => backup,
            other => panic!("{other:?}"),
        };
        assert_eq!(install(&path, "one\n", "1").unwrap(), Installed::New);
        let first = replaced("two\n");
        let second = replaced("three\n");
        assert_eq!(install(&path, "three\n", "1").unwrap(), Installed::Unchanged);
        assert!(first.ends_with("90_pgtune.conf.bak.1") && second.ends_with("90_pgtune.conf.bak.1-2"));
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(
            (read(&path), read(&first), read(&second)),
            ("three\n".into(), "one\n".into(), "two\n".into())
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "nothing else is left");
        assert!([first, second].iter().all(|backup| !conf::is_member(backup.file_name().unwrap())));
    }
}
