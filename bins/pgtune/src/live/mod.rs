//! What needs a running server, or the files of one: comparing, advice, changing.
//!
//! ```text
//! login ─▶ server (blocks, by deadlines) ─rows─▶ current ─┐
//! conf (files) ───────────────────────────────▶ current ─┴▶ diff, advise::rules, apply::check: pure ─▶ table
//! ```
//! This module and the `mod.rs` of [`advise`] and [`apply`] are the shell: they ask, call what decides, and print.
//! Tables go to standard output, everything else to standard error; no password to either.

pub mod advise;
pub mod apply;
pub mod current;
pub mod diff;
pub mod login;
pub mod server;
pub mod table;
pub mod value;

use std::fmt::Display;
use std::path::Path;

use sluice_cli::exit::{self, Exit, say};

use crate::conf;
use crate::config::{Action, Feature, Request};
use crate::facts::{self, Facts, Place, ServerFacts};
use crate::tune::{self, Plan};
use current::Settings;
use diff::{Difference, HEADS, State};
use server::{Fault, Row, Server};

/// What `--diff` compares with a running server.
const LIVE: &str = "live";

/// Compares, advises or changes.
#[must_use]
pub fn run(request: &Request) -> Exit {
    remarks(request);
    let outcome = match &request.action {
        Action::Tune => Ok(Exit::Done),
        Action::Diff(target) if target == LIVE => diff_live(request),
        Action::Diff(file) => diff_file(request, Path::new(file)),
        Action::Advise => advise::run(request),
        Action::Apply(how) => apply::run(request, *how),
        Action::Undo(file) => apply::undo(request, file),
    };
    outcome.unwrap_or_else(|exit| exit)
}

fn remarks(request: &Request) {
    for remark in request.remarks.iter().filter(|_| !request.output.quiet) {
        say(&format_args!("pgtune: warning: options: {remark}"));
    }
}

/// Says why there is nothing more to do; its value is what the caller returns.
fn failed(error: &dyn Display, exit: Exit) -> Exit {
    say(&format_args!("pgtune: {error}"));
    exit
}

/// Says something that is no failure.
fn note(request: &Request, text: &dyn Display) {
    if !request.output.quiet {
        say(&format_args!("pgtune: {text}"));
    }
}

/// Says what could not be done because of the server, and why.
fn lost(doing: &str, fault: &Fault) -> Exit {
    failed(&format_args!("{doing}: {fault}"), fault.exit())
}

/// Prints to standard output, whose reader may have read enough.
fn print(text: &str) -> Result<(), Exit> {
    match exit::print("pgtune", text) {
        Exit::Done => Ok(()),
        failed => Err(failed),
    }
}

/// What initdb lets a WAL segment be, in kB.
const WAL_SEGMENT_KB: std::ops::RangeInclusive<u64> = 1 << 10..=1 << 20;

/// A server, and what it said of itself.
#[derive(Debug)]
struct Connected {
    server: Server,
    facts: ServerFacts,
    settings: Settings,
}

fn connect(request: &Request) -> Result<Connected, Exit> {
    let variable = |name: &str| std::env::var(name).ok();
    let plan =
        login::plan(request.live.dsn.as_deref(), &variable).map_err(|fault| failed(&fault, Exit::Usage))?;
    for text in &plan.notes {
        note(request, text);
    }
    let is_near = plan.is_near();
    let mut server = Server::connect(plan).map_err(|fault| failed(&fault, fault.exit()))?;
    let settings = settings(&mut server)?;
    let facts = describe(&mut server, &settings, is_near)
        .map_err(|fault| lost("asking which process serves us", &fault))?;
    Ok(Connected { server, facts, settings })
}

/// All settings of the server, as its sessions see them.
fn settings(server: &mut Server) -> Result<Settings, Exit> {
    let rows = server.ask(current::QUERY).map_err(|fault| lost("reading pg_settings", &fault))?;
    let settings = Settings::from_rows(rows);
    if settings.find("server_version_num").is_none() {
        return Err(failed(&"this is no PostgreSQL server: it has no settings", Exit::Temporary));
    }
    Ok(settings)
}

/// What the server says of itself.
///
/// # Errors
/// The exit code, after saying why.
pub fn server_facts(request: &Request) -> Result<ServerFacts, Exit> {
    connect(request).map(|connected| connected.facts)
}

fn describe(server: &mut Server, settings: &Settings, is_near: login::Near) -> Result<ServerFacts, Fault> {
    // The number of 15.4 is 150004.
    let major = settings.number("server_version_num").unwrap_or(0.0) as u32 / 10_000;
    let text =
        |name: &str| settings.find(name).map(|current| current.text.clone()).filter(|text| !text.is_empty());
    let place = match is_near {
        login::Near::No => Place::Elsewhere,
        login::Near::Maybe => place(server)?,
    };
    let mut features = Vec::new();
    let has = |name: &str, word: &str| {
        settings.find(name).is_some_and(|current| value::read(&current.domain, word).is_ok())
    };
    if has("wal_compression", "lz4") {
        features.push(Feature::Lz4);
    }
    if has("wal_compression", "zstd") {
        features.push(Feature::Zstd);
    }
    Ok(ServerFacts {
        major,
        data_dir: text("data_directory").map(Into::into).filter(|_| place == Place::Here),
        wal_segment_kb: settings
            .kilobytes("wal_segment_size")
            .map(|kb| kb as u64)
            .filter(|kb| WAL_SEGMENT_KB.contains(kb)),
        features,
        place,
    })
}

/// Whether the process that serves us is one of this machine: a container or a tunnel may have a near address too.
fn place(server: &mut Server) -> Result<Place, Fault> {
    let pid = server.value("SELECT pg_catalog.pg_backend_pid()")?.unwrap_or_default();
    let is_number = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
    let name = if is_number { std::fs::read_to_string(format!("/proc/{pid}/comm")).ok() } else { None };
    let is_ours = name.is_some_and(|name| name.trim_end() == "postgres");
    Ok(if is_ours { Place::Here } else { Place::Elsewhere })
}

fn facts_of(request: &Request, server: Option<&ServerFacts>) -> Result<Facts, Exit> {
    facts::detect(request, server).map_err(|error| failed(&error, Exit::Usage))
}

fn plan_for(request: &Request, server: Option<&ServerFacts>) -> Result<Plan, Exit> {
    let plan = tune::plan(&request.wishes, &facts_of(request, server)?);
    for warning in plan.warnings.iter().filter(|_| !request.output.quiet) {
        say(&format_args!("pgtune: warning: {warning}"));
    }
    Ok(plan)
}

/// What a plan recommends: names and values.
fn recommended(plan: &Plan) -> Vec<(&'static str, String)> {
    plan.settings.iter().map(|setting| (setting.name, setting.amount.to_string())).collect()
}

fn diff_live(request: &Request) -> Result<Exit, Exit> {
    let connected = connect(request)?;
    let plan = plan_for(request, Some(&connected.facts))?;
    let differences = diff::compare(recommended(&plan), &connected.settings);
    show(request, &differences)
}

fn diff_file(request: &Request, path: &Path) -> Result<Exit, Exit> {
    let files = conf::read(path).map_err(|error| failed(&error, Exit::Usage))?;
    let server = if request.live.ask { Some(server_facts(request)?) } else { None };
    // The file tells where its server's data is, unless somebody else did; and so the version, the disk, the WAL.
    let mut request = request.clone();
    let data_dir = Some(&files.data_directory).filter(|directory| directory.join("PG_VERSION").is_file());
    request.given.data_dir = request.given.data_dir.or_else(|| data_dir.cloned());
    let request = &request;
    let plan = plan_for(request, server.as_ref())?;
    let settings = Settings::from_files(&files, plan.major());
    show(request, &diff::compare(recommended(&plan), &settings))
}

/// Prints the rows that need something, or all; the exit code says whether there are any.
fn show(request: &Request, differences: &[Difference]) -> Result<Exit, Exit> {
    let wanted = |row: &&Difference| request.live.all || row.state != State::Ok;
    let rows: Vec<_> = differences.iter().filter(wanted).map(diff::cells).collect();
    print(&table::table(&HEADS, &rows))?;
    let open = differences.iter().filter(|row| row.state != State::Ok).count();
    note(request, &format_args!("{open} of {} settings are not as recommended", differences.len()));
    Ok(if open == 0 { Exit::Done } else { Exit::No })
}

/// The first value of the first row.
fn first(rows: &[Row]) -> Option<&str> {
    rows.first()?.first()?.as_deref()
}
