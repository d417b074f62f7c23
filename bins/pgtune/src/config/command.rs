//! From arguments, environment and file to a [`Request`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sluice_cli::complete::{Shell, complete};
use sluice_cli::flags::Given as Flags;
use sluice_cli::help::help;
use sluice_cli::ini::{self, Ini, Item, Place};
use sluice_cli::load::{Overrides, shorten};
use sluice_cli::nearest::nearest;
use sluice_cli::settings::{Kind, Origin, SetError, Table, Values};

use super::options::{self, OPTIONS, USAGE};
use super::{Action, ConfigError, ENVIRONMENT_PREFIX, How, Request, check, project};

/// What `--version` says.
pub const VERSION: &str = concat!("pgtune (sluice) ", env!("CARGO_PKG_VERSION"));

/// The section of a file that is read.
const SECTION: &str = "pgtune";

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Print a text and be done.
    Print(String),
    /// Only check.
    Check(Box<Request>),
    /// Do it.
    Run(Box<Request>),
}

/// Why there is no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// An argument does not fit the table; the synopsis helps.
    Usage(String),
    /// A value or a combination is wrong.
    Config(ConfigError),
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Reads the arguments, without the program's name, with the environment's variables and the file they name.
///
/// # Errors
/// [`CommandError`]; nothing was done then.
pub fn command<I>(arguments: I, environment: &[(String, String)]) -> Result<Command, CommandError>
where
    I: IntoIterator<Item = OsString>,
    I::IntoIter: 'static,
{
    let flags = USAGE.parse(arguments).map_err(|error| CommandError::Usage(error.to_string()))?;
    if flags.has("help") {
        return Ok(Command::Print(help(&USAGE)));
    }
    if flags.has("version") {
        return Ok(Command::Print(format!("{VERSION}\n")));
    }
    if let Some(name) = flags.value("completions") {
        let shell = Shell::of(name).map_err(|error| ConfigError(error.to_string()))?;
        return Ok(Command::Print(complete(&USAGE, Table(&[]), None, shell)));
    }
    let mut values = Values::new(OPTIONS);
    if let Some(path) = flags.value("config") {
        of_file(&mut values, Path::new(path))?;
    }
    let overrides = Overrides { environment: environment.to_vec(), flags: Vec::new() };
    let remarks = values
        .set_from_environment(overrides.variables(ENVIRONMENT_PREFIX))
        .map_err(|misfit| ConfigError(fault(&misfit.source, &misfit.value, &misfit.error)))?;
    of_flags(&mut values, &flags)?;
    let (action, yes) = (action(&flags)?, flags.has("yes"));
    let mut request = project::request(&values, action, environment)?;
    request.live.yes = yes;
    request.remarks = remarks;
    check::request(&request)?;
    let request = Box::new(request);
    Ok(if flags.has("test-config") { Command::Check(request) } else { Command::Run(request) })
}

fn action(flags: &Flags) -> Result<Action, ConfigError> {
    let chosen: Vec<&str> =
        ["diff", "advise", "apply", "undo"].into_iter().filter(|flag| flags.has(flag)).collect();
    match chosen[..] {
        [] => Ok(Action::Tune),
        ["diff"] => Ok(Action::Diff(text(flags, "diff")?)),
        ["advise"] => Ok(Action::Advise),
        ["apply"] => {
            let how = text(flags, "apply")?;
            How::from_word(&how).map(Action::Apply).ok_or_else(|| {
                let near = nearest(&how, How::WORDS.iter().copied());
                let near = near.map(|near| format!("; the nearest is {near}")).unwrap_or_default();
                ConfigError(format!("--apply {how}: expected one of {}{near}", How::WORDS.join(", ")))
            })
        }
        ["undo"] => Ok(Action::Undo(PathBuf::from(flags.value("undo").unwrap_or_default()))),
        [first, second, ..] => Err(ConfigError(format!("--{first} and --{second} exclude each other"))),
        _ => Ok(Action::Tune),
    }
}

fn text(flags: &Flags, flag: &str) -> Result<String, ConfigError> {
    let value = flags.value(flag).unwrap_or_default();
    value.to_str().map(str::to_owned).ok_or_else(|| ConfigError(format!("--{flag}: not valid UTF-8")))
}

fn of_file(values: &mut Values, path: &Path) -> Result<(), ConfigError> {
    let lines = Ini::open(path).map_err(|error| ConfigError(of_ini(&error)))?;
    let (mut inside, mut seen, mut others) = (false, false, Vec::new());
    for line in lines {
        let line = line.map_err(|error| ConfigError(of_ini(&error)))?;
        match line.item {
            Item::Section(name) => {
                inside = name == SECTION;
                seen |= inside;
                others.push(name);
            }
            Item::Entry { key, value } if inside => entry(values, &key, &value, &line.place)?,
            Item::Entry { .. } => {}
        }
    }
    if !seen {
        let near = nearest(SECTION, others.iter().map(String::as_str));
        let near = near.map(|near| format!(", the nearest is [{near}]")).unwrap_or_default();
        return Err(ConfigError(format!("no section [{SECTION}] in {}{near}", path.display())));
    }
    Ok(())
}

fn entry(values: &mut Values, key: &str, value: &str, place: &Place) -> Result<(), ConfigError> {
    let set = values.set_from_file(key, value);
    set.map(drop).map_err(|error| ConfigError(format!("{place}: {}", fault(key, value, &error))))
}

fn of_ini(error: &ini::IniError) -> String {
    match error.place.line {
        0 => error.fault.to_string(),
        _ => format!("{}: {}", error.place, error.fault),
    }
}

fn of_flags(values: &mut Values, flags: &Flags) -> Result<(), ConfigError> {
    for (long, key, takes_value) in options::flags().filter(|(long, ..)| flags.has(long)) {
        let value = if takes_value { text(flags, long)? } else { "1".to_owned() };
        // An empty variable of a script, most likely; only a connection may be described by nothing.
        let is_text = values.table().row(key).is_some_and(|row| row.kind == Kind::Text);
        if value.is_empty() && is_text && key != "dsn" {
            return Err(ConfigError(format!("--{long} '': expected a name")));
        }
        let set = values.set(key, &value, Origin::Flag);
        set.map_err(|error| ConfigError(fault(&format!("--{long}"), &value, &error)))?;
    }
    Ok(())
}

/// What is wrong with a value, without its place.
fn fault(name: &str, value: &str, error: &SetError) -> String {
    match error {
        SetError::Unknown(None) => format!("unknown key {name}"),
        SetError::Unknown(Some(near)) => format!("unknown key {name}, the nearest is {near}"),
        SetError::Invalid(expected) if value.is_empty() => format!("{name} '': {expected}"),
        SetError::Invalid(expected) => format!("{name} {}: {expected}", shorten(value)),
    }
}
