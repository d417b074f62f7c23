//! Files, environment and flags to a [`Snapshot`]: all of it, or an error that names file, line and fault.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use sluice_cli::ini::{self, Ini, IniError, Item, Place};
use sluice_cli::load::{Misfit, Overrides, Written, comment_warning, shorten};
use sluice_cli::nearest::nearest;
use sluice_cli::settings::{Origin, SetError};

use super::entries::{self, EntryError, WILDCARD};
use super::table::Global;
use super::{Secrets, Severity, Snapshot, Warning, check, userlist};

/// What environment variables that set a key begin with.
pub const ENVIRONMENT_PREFIX: &str = "POOLERD_";

const SECTIONS: &[&str] = &["pgbouncer", "databases", "users", "peers"];
/// What keys of `[databases]` are called in `[pgbouncer]`.
const ELSEWHERE: [(&str, &str); 2] =
    [("pool_size", "default_pool_size"), ("reserve_pool", "reserve_pool_size")];
/// A configuration that cannot be used. Whoever wrote it is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or the environment variable or flag.
    pub file: String,
    /// The line, counted from 1; 0 where the fault is not in one line.
    pub line: u32,
    /// All that is to be said, place included.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Reads the configuration file and what it names.
///
/// # Errors
/// [`ConfigError`]; nothing of the file holds then.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Snapshot, ConfigError> {
    let lines = Ini::open(path).map_err(|error| of_ini(&error))?;
    build(path, lines, overrides)
}

/// Reads `text` as if it were the configuration file `path`.
///
/// # Errors
/// As [`load`].
pub fn parse(path: &Path, text: &str, overrides: &Overrides) -> Result<Snapshot, ConfigError> {
    build(path, Ini::of_bytes(path, text.as_bytes().to_vec()), overrides)
}

impl Snapshot {
    /// The configuration as its file is now. Keys that need a restart keep their value, with a warning where the file
    /// has another.
    ///
    /// # Errors
    /// As [`load`], and when `auth_file` cannot be read whole; `self` goes on.
    pub fn reload(&self, overrides: &Overrides) -> Result<Self, ConfigError> {
        let path = self.global.conffile.clone().unwrap_or_default();
        let mut next = load(Path::new(&path), overrides)?;
        next.keep_fixed(self);
        match next.broken_part() {
            Some(part) => {
                let (file, line) = part.place.clone().unwrap_or((path, 0));
                Err(ConfigError { file, line, message: part.to_string() })
            }
            None => Ok(next),
        }
    }

    fn keep_fixed(&mut self, running: &Self) {
        let warn = |message| Warning { severity: Severity::Warning, place: None, message };
        self.warnings.extend(self.values.keep_fixed(&running.values).into_iter().map(warn));
        self.global = Global::from_values(&self.values);
    }
}

/// Where in a file the loader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    None,
    Pgbouncer,
    Pairs(entries::Section),
}

struct Loader {
    snapshot: Snapshot,
    section: Section,
    /// A `[pgbouncer]` header was seen.
    headed: bool,
    /// A key was read as one of `[pgbouncer]`, or its header was seen.
    begun: bool,
    /// What is set and has no effect yet.
    idle: BTreeSet<&'static str>,
    /// Where the file sets `auth_type`.
    auth_type: Option<Place>,
}

fn build(path: &Path, lines: Ini, overrides: &Overrides) -> Result<Snapshot, ConfigError> {
    let mut loader = Loader {
        snapshot: Snapshot::default(),
        section: Section::None,
        headed: false,
        begun: false,
        idle: BTreeSet::new(),
        auth_type: None,
    };
    // No default, so no section header resets it.
    let set = loader.snapshot.values.set("conffile", &path.to_string_lossy(), Origin::Default);
    set.map_err(|error| at_file(path, super::show::describe("conffile", "", &error, "")))?;
    for line in lines {
        let line = line.map_err(|error| of_ini(&error))?;
        match line.item {
            Item::Section(name) => loader.enter(&name, &line.place)?,
            Item::Entry { key, value } => loader.entry(&key, &value, &line.place)?,
        }
    }
    if !loader.begun {
        return Err(at_file(path, format!("no section [pgbouncer] in {}", path.display())));
    }
    loader.environment(overrides)?;
    loader.flags(overrides)?;
    check::global(&loader.snapshot.values).map_err(|message| match &loader.auth_type {
        Some(place) => at(place, format!("{message} ({place})")),
        None => at_file(path, message),
    })?;
    Ok(loader.finish())
}

impl Loader {
    fn enter(&mut self, name: &str, place: &Place) -> Result<(), ConfigError> {
        self.section = match name {
            "pgbouncer" => {
                if self.headed {
                    self.snapshot.values.reset();
                    self.warn(
                        place,
                        "section [pgbouncer] begins again: what was set before is back at its default",
                    );
                }
                (self.headed, self.begun) = (true, true);
                Section::Pgbouncer
            }
            "databases" => Section::Pairs(entries::Section::Databases),
            "users" => Section::Pairs(entries::Section::Users),
            "peers" => Section::Pairs(entries::Section::Peers),
            _ => {
                let near =
                    nearest(name, SECTIONS.iter().copied()).map(|near| format!(", the nearest is [{near}]"));
                let message =
                    format!("unknown section [{}] ({place}){}", shorten(name), near.unwrap_or_default());
                return Err(at(place, message));
            }
        };
        Ok(())
    }

    fn entry(&mut self, key: &str, value: &str, place: &Place) -> Result<(), ConfigError> {
        match self.section {
            Section::Pairs(section) => self.pairs(section, key, value, place),
            Section::Pgbouncer => self.setting(key, value, place),
            Section::None => {
                if !self.begun {
                    self.begun = true;
                    self.warn(place, "a key before any section is read as one of [pgbouncer]");
                }
                self.setting(key, value, place)
            }
        }
    }

    fn setting(&mut self, key: &str, value: &str, place: &Place) -> Result<(), ConfigError> {
        if key == "auth_type" {
            self.auth_type = Some(place.clone());
        }
        let values = &mut self.snapshot.values;
        let mut error = match values.set_from_file(key, value) {
            Ok(Written::Whole) => return Ok(()),
            Ok(Written::BeforeComment) => {
                self.warn(place, &comment_warning(key));
                return Ok(());
            }
            Err(error) => error,
        };
        if let SetError::Unknown(near) = &mut error
            && let Some((_, meant)) = ELSEWHERE.iter().find(|(name, _)| *name == key)
        {
            *near = Some(meant);
        }
        let whose = match error {
            SetError::Unknown(_) => format!(" ({place})"),
            SetError::Invalid(_) => format!(" in configuration ({place})"),
        };
        Err(at(place, super::show::describe(key, &shorten(value), &error, &whose)))
    }

    fn pairs(
        &mut self,
        section: entries::Section,
        name: &str,
        text: &str,
        place: &Place,
    ) -> Result<(), ConfigError> {
        let Err(error) = self.add(section, name, text, place) else { return Ok(()) };
        if ini::without_comment(text).any(|text| self.add(section, name, text, place).is_ok()) {
            self.warn(place, &comment_warning(name));
            return Ok(());
        }
        Err(at(place, format!("{error} ({place})")))
    }

    fn add(
        &mut self,
        section: entries::Section,
        name: &str,
        text: &str,
        place: &Place,
    ) -> Result<(), EntryError> {
        let again = match section {
            entries::Section::Databases => {
                let database = entries::database(name, text)?;
                self.idle.extend(idle_keys(&database));
                if name == WILDCARD {
                    self.snapshot.wildcard.replace(database).is_some()
                } else {
                    self.snapshot.databases.insert(name.to_owned(), database).is_some()
                }
            }
            entries::Section::Users => {
                let user = entries::user(name, text)?;
                self.snapshot.users.insert(name.to_owned(), user).is_some()
            }
            entries::Section::Peers => {
                entries::peer(name, text)?;
                self.idle.insert("section [peers]");
                false
            }
        };
        if again {
            self.warn(place, &format!("{name} has an entry already, and this one replaces it"));
        }
        Ok(())
    }

    fn environment(&mut self, overrides: &Overrides) -> Result<(), ConfigError> {
        let set = self.snapshot.values.set_from_environment(overrides.variables(ENVIRONMENT_PREFIX));
        let warnings = set.map_err(|Misfit { source, key, value, error }| {
            let whose = format!(" in environment variable {source}");
            let message = super::show::describe(&key, &value, &error, &whose);
            ConfigError { file: source, line: 0, message }
        })?;
        let warn = |message| Warning { severity: Severity::Warning, place: None, message };
        self.snapshot.warnings.extend(warnings.into_iter().map(warn));
        Ok(())
    }

    fn flags(&mut self, overrides: &Overrides) -> Result<(), ConfigError> {
        let set = self.snapshot.values.set_from_flags(&overrides.flags);
        set.map_err(|Misfit { source, key, value, error }| {
            let message = super::show::describe(&key, &value, &error, " in a flag");
            ConfigError { file: format!("--{source}"), line: 0, message }
        })
    }

    fn finish(mut self) -> Snapshot {
        self.snapshot.global = Global::from_values(&self.snapshot.values);
        self.auth_file();
        self.warn_idle();
        self.snapshot
    }

    fn auth_file(&mut self) {
        let Some(file) = self.snapshot.global.auth_file.clone() else { return };
        let (secrets, broken) = match ini::read(Path::new(&file)) {
            Ok(bytes) => {
                let (secrets, broken) = userlist::parse(&bytes);
                (secrets, broken.map(|broken| (broken.line, broken.fault.to_string())))
            }
            Err(ini::Fault::Unreadable(_, error)) => {
                (Secrets::default(), Some((0, format!("could not open auth_file {file}: {error}"))))
            }
            Err(fault) => (Secrets::default(), Some((0, fault.to_string()))),
        };
        self.snapshot.secrets = secrets;
        if let Some((line, message)) = broken {
            let place = (line > 0).then_some((file, line));
            self.snapshot.warnings.push(Warning { severity: Severity::Error, place, message });
        }
    }

    fn warn_idle(&mut self) {
        let keys: BTreeSet<&str> = self.snapshot.values.idle().chain(self.idle.iter().copied()).collect();
        for key in keys {
            let global = &self.snapshot.global;
            let effect = match key {
                "client_tls_sslmode" if global.clients_need_tls() => {
                    "there is no TLS yet: TCP clients are refused"
                }
                "server_tls_sslmode" if global.servers_need_tls() => {
                    "there is no TLS yet: TCP servers are not used"
                }
                // That is what happens.
                "client_tls_sslmode" if global.client_tls_sslmode == "disable" => continue,
                "server_tls_sslmode" if global.server_tls_sslmode == "disable" => continue,
                "client_tls_sslmode" | "server_tls_sslmode" => {
                    "has no effect yet: connections are not encrypted"
                }
                _ => "has no effect yet",
            };
            let message = format!("{key} is set but {effect}");
            self.snapshot.warnings.push(Warning { severity: Severity::Warning, place: None, message });
        }
    }

    fn warn(&mut self, place: &Place, message: &str) {
        let place = Some((place.file.display().to_string(), place.line));
        self.snapshot.warnings.push(Warning {
            severity: Severity::Warning,
            place,
            message: message.to_owned(),
        });
    }
}

/// Keys of a database that were set and that this version does not act on.
fn idle_keys(database: &super::Database) -> impl Iterator<Item = &'static str> {
    let keys = [
        ("auth_user of a database", database.auth_user.is_some()),
        ("auth_dbname of a database", database.auth_dbname.is_some()),
        ("auth_query of a database", database.auth_query.is_some()),
    ];
    keys.into_iter().filter(|(_, set)| *set).map(|(key, _)| key)
}

fn of_ini(error: &IniError) -> ConfigError {
    let IniError { place, fault } = error;
    let message = match fault {
        ini::Fault::Syntax(what) => {
            format!("syntax error in configuration ({place}), stopping loading: {what}")
        }
        ini::Fault::Unreadable(path, error) if place.line == 0 => {
            format!("could not open configuration file {}: {error}", path.display())
        }
        fault if place.line == 0 => fault.to_string(),
        fault => format!("{fault} ({place})"),
    };
    at(place, message)
}

fn at(place: &Place, message: String) -> ConfigError {
    ConfigError { file: place.file.display().to_string(), line: place.line, message }
}

fn at_file(path: &Path, message: String) -> ConfigError {
    at(&Place::of_file(path), message)
}

#[cfg(test)]
mod tests;
