//! Changes a server: by ALTER SYSTEM statements or by a file in an included directory; and takes changes back.
//!
//! ```text
//! diff ─▶ refusals? ─▶ --yes? ─▶ undo file ─▶ one statement a message ─▶ reload ─▶ what came of it
//!                                └▶ or: backup, new file, rename ────────┘
//! ```
//! Invariants: nothing is written without `--yes`; the undo file is on the disk before the first statement; a statement
//! that fails ends the run, and what was changed is taken back.

pub mod check;
pub mod conf_d;
mod report;
pub mod statements;
pub mod undo_file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sluice_cli::exit::{Exit, say};
use sluice_cli::ini;
use sluice_unix::log::rfc3339;

use super::current::Settings;
use super::diff::{self, Difference, State};
use super::server::{Fault, Row, Server, printable};
use super::{Connected, connect, failed, lost, note, plan_for, print, recommended, show, table};
use crate::conf::{self, AUTO_CONF};
use crate::config::{Format, How, Request};
use crate::facts::Place;
use crate::render;
use crate::tune::Plan;
use check::{Force, Role, refusals};
use conf_d::Installed;
use report::{reload, report};

pub use report::Outcome;
use statements::{Change, parse_undo, undo_text};

/// What is being done while the server reads its files again.
const RELOADING: &str = "reloading the server";

/// Applies the plan for a server to it.
///
/// # Errors
/// The exit code, after saying why.
pub fn run(request: &Request, how: How) -> Result<Exit, Exit> {
    let mut connected = connect(request)?;
    let plan = plan_for(request, Some(&connected.facts))?;
    let wanted = recommended(&plan);
    let differences = diff::compare(wanted.clone(), &connected.settings);
    let shown = show(request, &differences)?;
    let changes: Vec<(&str, String)> = match how {
        How::AlterSystem => wanted.into_iter().filter(|(name, _)| is_open(&differences, name)).collect(),
        // The file replaces the one before, so it has to be whole.
        How::ConfD => wanted,
    };
    refuse(request, &mut connected, &plan, &changes)?;
    if shown == Exit::Done && how == How::AlterSystem {
        return Ok(Exit::Done);
    }
    match how {
        How::AlterSystem => alter_system(request, connected, &changes),
        How::ConfD => conf_d(request, connected, &plan, &changes),
    }
}

fn is_open(differences: &[Difference], name: &str) -> bool {
    differences.iter().any(|row| row.name == name && row.state != State::Ok)
}

/// Says what forbids the changes, if anything does.
fn refuse(
    request: &Request,
    connected: &mut Connected,
    plan: &Plan,
    changes: &[(&str, String)],
) -> Result<(), Exit> {
    let recovering = connected
        .server
        .value("SELECT pg_catalog.pg_is_in_recovery()")
        .map_err(|fault| lost("asking whether the server is a standby", &fault))?;
    let role = if recovering.as_deref() == Some("t") { Role::Standby } else { Role::Primary };
    let force = if request.output.force { Force::Yes } else { Force::No };
    let majors = (plan.major(), connected.facts.major);
    let refused = refusals(changes, &connected.settings, majors, role, force);
    for refusal in &refused {
        failed(&format_args!("refused: {refusal}"), Exit::No);
    }
    if refused.is_empty() { Ok(()) } else { Err(Exit::No) }
}

/// The moment, as it stands in names of files.
fn stamp() -> String {
    let now = rfc3339(SystemTime::now());
    let seconds = now.split('.').next().unwrap_or_default();
    format!("{}Z", seconds.replace(['-', ':'], ""))
}

fn alter_system(request: &Request, connected: Connected, changes: &[(&str, String)]) -> Result<Exit, Exit> {
    let Connected { mut server, facts, settings } = connected;
    may_alter(&mut server, &settings, facts.major, changes)?;
    if !request.live.yes {
        note(request, &"nothing has been changed: --yes changes it");
        return Ok(Exit::Done);
    }
    let old = held(request, &mut server, &settings)?;
    let undo: Vec<Change> = changes
        .iter()
        .map(|(name, _)| match old.get(*name) {
            Some(value) => Change::Set((*name).to_owned(), value.clone()),
            None => Change::Reset((*name).to_owned()),
        })
        .collect();
    let directory = &request.live.undo_dir;
    let file = undo_file::create(directory, &stamp(), &undo_text(&undo, facts.major)).map_err(|error| {
        let text = format!("could not write an undo file in {}: {error}", directory.display());
        failed(&text, Exit::Temporary)
    })?;
    // Whoever asked for quiet needs it all the same.
    say(&format_args!("pgtune: undo file: {}", file.display()));
    for (done, (name, value)) in changes.iter().enumerate() {
        let change = Change::Set((*name).to_owned(), value.clone());
        if let Err(fault) = server.ask(&change.to_string()) {
            return Err(take_back(&mut server, &fault, &change, &undo[..done], &file));
        }
    }
    let reload = reload(&mut server).map_err(|fault| lost_after(&fault, &file))?;
    let now = super::settings(&mut server)?;
    report(request, changes, &now, reload)
}

/// Whether these statements can be run at all.
fn may_alter(
    server: &mut Server,
    settings: &Settings,
    major: u32,
    changes: &[(&str, String)],
) -> Result<(), Exit> {
    if settings.is("allow_alter_system", "off") {
        let text =
            "refused: allow_alter_system is off: settings are managed elsewhere; use --apply conf.d there";
        return Err(failed(&text, Exit::No));
    }
    let unknown = |fault| lost("asking for the right to change settings", &fault);
    let is_superuser = server.value("SELECT pg_catalog.current_setting('is_superuser')").map_err(unknown)?;
    if is_superuser.as_deref() == Some("on") {
        return Ok(());
    }
    let mut lacking = Vec::new();
    for (name, _) in changes {
        // Names are of the table of settings: nothing in them needs quotes.
        let query = format!("SELECT pg_catalog.has_parameter_privilege('{name}', 'ALTER SYSTEM')");
        let may = if major < 15 { None } else { server.value(&query).map_err(unknown)? };
        if may.as_deref() != Some("t") {
            lacking.push(*name);
        }
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let grant = if major < 15 {
        "a superuser is needed"
    } else {
        "a superuser, or GRANT ALTER SYSTEM ON PARAMETER, is needed"
    };
    Err(failed(&format_args!("refused: no right to change {}: {grant}", lacking.join(", ")), Exit::No))
}

/// What `postgresql.auto.conf` holds now.
fn held(
    request: &Request,
    server: &mut Server,
    settings: &Settings,
) -> Result<BTreeMap<String, String>, Exit> {
    const QUERY: &str =
        "SELECT name, setting, sourcefile, sourceline, error FROM pg_catalog.pg_file_settings ORDER BY seqno";
    match server.ask(QUERY) {
        Ok(rows) => held_by(rows).map_err(|fault| {
            let what = "what postgresql.auto.conf holds is not known before that is mended";
            failed(&format_args!("refused: the server cannot read its files: {fault}; {what}"), Exit::No)
        }),
        Err(Fault::Refused(_)) => {
            note(
                request,
                &"warning: pg_file_settings may not be read: the undo file has the values in force, which are not those \
                  of the file for settings that wait for a restart",
            );
            let from_auto = |place: &str| place.contains(&format!("/{AUTO_CONF}:"));
            let held = settings.iter().filter(|current| from_auto(&current.source));
            Ok(held.map(|current| (current.name.clone(), current.text.clone())).collect())
        }
        Err(fault) => Err(lost("reading pg_file_settings", &fault)),
    }
}

/// The lines of `postgresql.auto.conf` among those of all files; or the place and the words of a fault that keeps the server
/// from reading all of them, and so perhaps that one.
fn held_by(rows: Vec<Row>) -> Result<BTreeMap<String, String>, String> {
    let mut held = BTreeMap::new();
    for row in rows {
        let Ok([name, value, file, line, error]) = <[Option<String>; 5]>::try_from(row) else { continue };
        let file = file.unwrap_or_default();
        match (name, value) {
            (Some(name), Some(value)) if file.ends_with(&format!("/{AUTO_CONF}")) => {
                held.insert(name, value);
            }
            (Some(_), _) => {}
            (None, _) => {
                let (line, error) = (line.unwrap_or_default(), error.unwrap_or_default());
                return Err(printable(&format!("{file}:{line}: {error}")));
            }
        }
    }
    Ok(held)
}

/// A statement has failed: takes back those before it.
fn take_back(server: &mut Server, fault: &Fault, failing: &Change, undo: &[Change], file: &Path) -> Exit {
    let doing = format!("{failing}: {fault}");
    if !matches!(fault, Fault::Refused(_)) {
        failed(&doing, Exit::Temporary);
        return failed(
            &format_args!(
                "some settings may be changed; to take them back: pgtune --undo {} --yes",
                file.display()
            ),
            Exit::Temporary,
        );
    }
    failed(&doing, Exit::No);
    for change in undo.iter().rev() {
        if let Err(fault) = server.ask(&change.to_string()) {
            failed(&format_args!("{change}: {fault}"), Exit::No);
            let exit = if matches!(fault, Fault::Refused(_)) { Exit::No } else { Exit::Temporary };
            return failed(
                &format_args!("could not take back everything; the rest is in {}", file.display()),
                exit,
            );
        }
    }
    failed(&format_args!("the {} settings changed before have been taken back", undo.len()), Exit::No)
}

fn lost_after(fault: &Fault, file: &Path) -> Exit {
    lost(RELOADING, fault);
    failed(
        &format_args!("all is changed; to take it back: pgtune --undo {} --yes", file.display()),
        fault.exit(),
    )
}

fn conf_d(
    request: &Request,
    connected: Connected,
    plan: &Plan,
    changes: &[(&str, String)],
) -> Result<Exit, Exit> {
    let Connected { mut server, facts, settings } = connected;
    let name = request.live.conf_name.as_str();
    if facts.place == Place::Elsewhere {
        return Err(failed(
            &"refused: the server's files are on another machine; --apply alter-system reaches them",
            Exit::No,
        ));
    }
    let main = settings.find("config_file").map(|current| PathBuf::from(&current.text));
    let Some(main) = main.filter(|main| !main.as_os_str().is_empty()) else {
        return Err(failed(
            &"refused: the server does not say where its configuration file is: pg_read_all_settings is needed",
            Exit::No,
        ));
    };
    if std::fs::metadata(&main).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(failed(&format_args!("refused: {} is not a file", main.display()), Exit::No));
    }
    let files = conf::read(&main).map_err(|error| failed(&error, Exit::Usage))?;
    let names: Vec<&str> = changes.iter().map(|(name, _)| *name).collect();
    let refused = |obstacle: conf_d::Obstacle| {
        failed(&format_args!("refused: {}: {obstacle}", main.display()), Exit::No)
    };
    let directory = conf_d::choose(request.live.conf_dir.as_deref(), &files).map_err(refused)?;
    conf_d::check(&files, &directory, name, &names).map_err(refused)?;
    let path = directory.join(name);
    if !request.live.yes {
        note(request, &format_args!("nothing has been changed: --yes writes {}", path.display()));
        return Ok(Exit::Done);
    }
    let mut output = request.output.clone();
    output.format = Format::Conf;
    match conf_d::install(&path, &render::render(plan, &output), &stamp()) {
        Ok(Installed::Unchanged) => note(request, &format_args!("unchanged: {}", path.display())),
        Ok(Installed::New) => note(request, &format_args!("written: {}", path.display())),
        Ok(Installed::Replaced(backup)) => {
            note(request, &format_args!("written: {}", path.display()));
            note(request, &format_args!("as it was before: {}", backup.display()));
        }
        Err(error) => return Err(failed(&error, Exit::Temporary)),
    }
    if !request.live.reload {
        note(request, &"a reload or restart of the server puts it into effect");
        return Ok(Exit::Done);
    }
    let reload = reload(&mut server).map_err(|fault| lost(RELOADING, &fault))?;
    let now = super::settings(&mut server)?;
    report(request, changes, &now, reload)
}

/// Runs an undo file.
///
/// # Errors
/// The exit code, after saying why.
pub fn undo(request: &Request, path: &Path) -> Result<Exit, Exit> {
    let bytes = ini::read(path).map_err(|fault| failed(&fault, Exit::Usage))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| failed(&format_args!("{}: not UTF-8", path.display()), Exit::Usage))?;
    let changes = parse_undo(&text).map_err(|statements::NotOurs(line)| {
        let what = "neither a comment nor a statement of an undo file";
        failed(&format_args!("{}:{line}: {what}", path.display()), Exit::Usage)
    })?;
    let rows: Vec<_> = changes.iter().map(|change| vec![format!("{change};")]).collect();
    print(&table::table(&["STATEMENT"], &rows))?;
    if !request.live.yes {
        note(request, &"nothing has been changed: --yes runs it");
        return Ok(Exit::Done);
    }
    let Connected { mut server, .. } = connect(request)?;
    for (done, change) in changes.iter().enumerate() {
        if let Err(fault) = server.ask(&change.to_string()) {
            let text = format!("{change}: {fault} ({done} of {} statements have run)", changes.len());
            let exit = if matches!(fault, Fault::Refused(_)) { Exit::No } else { Exit::Temporary };
            return Err(failed(&text, exit));
        }
    }
    let reload = reload(&mut server).map_err(|fault| lost(RELOADING, &fault))?;
    let now = super::settings(&mut server)?;
    report::after_undo(request, &changes, &now, reload)
}
