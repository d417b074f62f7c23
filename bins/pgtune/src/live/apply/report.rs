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

/// What has come of a setting.
fn outcome(current: Option<&Current>, wanted: &str) -> &'static str {
    match current {
        None => "unknown",
        Some(current) if current.pending == Pending::Restart => "pending",
        Some(current) if diff::is_same(current, wanted) => "in effect",
        Some(_) => "overridden",
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
                outcome(current, wanted).to_owned(),
            ]
        })
        .collect();
    print(&table::table(&["NAME", "NOW", "CHANGED", "SOURCE", "STATE"], &rows))?;
    say(request, reload);
    let count = |state: &str| rows.iter().filter(|row| row.last().is_some_and(|last| last == state)).count();
    if count("pending") > 0 {
        note(request, &format_args!("{} settings wait for a restart", count("pending")));
    }
    let all = count("pending") + count("in effect") == rows.len();
    Ok(if all || reload == Reload::Denied { Exit::Done } else { Exit::No })
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
            let state = if pending { "pending" } else { "in effect" };
            vec![change.name().to_owned(), settings.shown(change.name()), source.to_owned(), state.to_owned()]
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
