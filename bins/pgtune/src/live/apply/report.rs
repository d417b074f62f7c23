//! After a change: the reload, and what has come of each setting.

use std::thread;
use std::time::{Duration, Instant};

use sluice_cli::exit::Exit;

use super::super::current::{Current, Pending, Settings};
use super::super::diff;
use super::super::server::{Fault, Server};
use super::super::{note, print, table};
use super::statements::Change;
use crate::config::Request;

/// How long the server may take to read its files again, and how often it is asked.
const RELOAD_WAIT: Duration = Duration::from_secs(5);
const RELOAD_EVERY: Duration = Duration::from_millis(50);

/// What became of a reload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reload {
    /// Our session has read the files.
    Done,
    /// It has not within [`RELOAD_WAIT`]: the files may be faulty.
    Late,
    /// We have no right to ask for it.
    Denied,
}

/// Asks for a reload and waits until our session has seen it.
pub(super) fn reload(server: &mut Server) -> Result<Reload, Fault> {
    const LOADED: &str = "SELECT pg_catalog.pg_conf_load_time()";
    let before = server.value(LOADED)?;
    match server.ask("SELECT pg_catalog.pg_reload_conf()") {
        Err(Fault::Refused(_)) => return Ok(Reload::Denied),
        result => result?,
    };
    let deadline = Instant::now() + RELOAD_WAIT;
    while server.value(LOADED)? == before {
        if Instant::now() >= deadline {
            return Ok(Reload::Late);
        }
        thread::sleep(RELOAD_EVERY);
    }
    Ok(Reload::Done)
}

sluice_cli::words! {
    /// What has come of a change.
    pub Outcome,
    /// The server works with it.
    InEffect = "in effect",
    /// It waits for a restart.
    Pending = "pending",
    /// Something else counts more: the command line, another file, the database or the role.
    Overridden = "overridden",
}

fn outcome(current: Option<&Current>, wanted: &str) -> Outcome {
    match current {
        Some(current) if current.pending == Pending::Restart => Outcome::Pending,
        Some(current) if diff::is_same(current, wanted) => Outcome::InEffect,
        Some(_) | None => Outcome::Overridden,
    }
}

/// Prints what has come of the changes; the exit code says whether all of them count, now or after a restart.
pub(super) fn report(
    request: &Request,
    changes: &[(&str, String)],
    settings: &Settings,
    reload: Reload,
) -> Result<Exit, Exit> {
    let rows: Vec<Vec<String>> = changes
        .iter()
        .map(|(name, wanted)| {
            let current = settings.find(&name.to_ascii_lowercase());
            let source = current.map_or("", |current| current.source.as_str());
            vec![
                (*name).to_owned(),
                settings.shown(name),
                wanted.clone(),
                source.to_owned(),
                outcome(current, wanted).word().to_owned(),
            ]
        })
        .collect();
    print(&table::table(&["NAME", "NOW", "CHANGED", "SOURCE", "STATE"], &rows))?;
    say(request, reload);
    let count = |outcome: Outcome| {
        rows.iter().filter(|row| row.last().is_some_and(|last| last == outcome.word())).count()
    };
    if count(Outcome::Pending) > 0 {
        note(request, &format_args!("waiting for a restart: {}", count(Outcome::Pending)));
    }
    Ok(if count(Outcome::Overridden) == 0 || reload == Reload::Denied { Exit::Done } else { Exit::No })
}

/// Prints how the settings of an undo file stand now.
pub(super) fn after_undo(
    request: &Request,
    changes: &[Change],
    settings: &Settings,
    reload: Reload,
) -> Result<Exit, Exit> {
    let rows: Vec<Vec<String>> = changes
        .iter()
        .map(|change| {
            let current = settings.find(&change.name().to_ascii_lowercase());
            let pending = current.is_some_and(|current| current.pending == Pending::Restart);
            let source = current.map_or("", |current| current.source.as_str());
            let state = if pending { Outcome::Pending } else { Outcome::InEffect };
            vec![
                change.name().to_owned(),
                settings.shown(change.name()),
                source.to_owned(),
                state.word().to_owned(),
            ]
        })
        .collect();
    print(&table::table(&["NAME", "NOW", "SOURCE", "STATE"], &rows))?;
    say(request, reload);
    Ok(if reload == Reload::Late { Exit::No } else { Exit::Done })
}

fn say(request: &Request, reload: Reload) {
    let text = match reload {
        Reload::Done => return,
        Reload::Late => "the server did not take its files within 5 s: see its log, or pg_file_settings",
        Reload::Denied => "no right to reload the server: a reload or restart puts it into effect",
    };
    note(request, &format_args!("warning: {text}"));
}
