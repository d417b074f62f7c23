//! The table of commands, from which the parser, SHOW HELP and the manual are held together, and what each one does.

use std::sync::Arc;
use std::time::Instant;

use sluice_cli::nearest::nearest;
use sluice_wire::pg::error::{ErrorResponse, Severity};
use sluice_wire::pg::sqlstate::SqlState;

use super::parse::{self, ParseError, Request};
use super::shows::{SHOWS, ShowKind};
use super::table::{Cell, Column, Table, Type};
use super::wait::{Asker, Wait};
use crate::config::SETTINGS;
use crate::core::effect::Effect;
use crate::core::log::{Event, Level};
use crate::core::route::CONSOLE;
use crate::core::{ControlId, Core, DatabaseId, Shutdown};

/// Who may give a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Privilege {
    /// `stats_users` and `admin_users`.
    Stats,
    /// `admin_users` only.
    Admin,
}

/// What stands behind a command's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    None,
    /// The name of a database.
    Database,
    /// The name of a database, or nothing for all.
    OptionalDatabase,
    /// The id of a client.
    Client,
    /// One of these words, or nothing.
    Word(&'static [&'static str]),
    /// What to show.
    Show,
    /// `key = value`.
    Setting,
}

/// A command.
#[derive(Debug)]
pub struct Command {
    /// Its name, also its command tag.
    pub name: &'static str,
    /// What stands behind the name.
    pub argument: Argument,
    /// Who may give it.
    pub privilege: Privilege,
    /// What it does, in one line.
    pub doc: &'static str,
    run: fn(&mut Core, Call<'_>) -> Outcome,
}

/// One invocation.
#[derive(Clone, Copy)]
struct Call<'a> {
    argument: &'a str,
    asker: Asker,
    now: Instant,
}

/// What a command came to.
#[derive(Debug)]
pub enum Outcome {
    /// Facts.
    Rows(Table),
    /// Carried out.
    Done(Done),
    /// What it waits for is yet to come; the answer follows then.
    Wait,
    /// Refused.
    Error(ErrorResponse),
}

/// A command carried out.
#[derive(Debug)]
pub struct Done {
    /// The command tag.
    pub tag: String,
    /// Something to tell besides.
    pub notice: Option<ErrorResponse>,
}

macro_rules! commands {
    ($($name:literal, $argument:expr, $privilege:ident, $run:expr, $doc:literal;)*) => {
        /// Every command of the console, in alphabetical order.
        pub const COMMANDS: &[Command] = &[$(Command {
            name: $name,
            argument: $argument,
            privilege: Privilege::$privilege,
            doc: $doc,
            run: $run,
        }),*];
    };
}

commands! {
    "DISABLE", Argument::Database, Admin, disable, "Refuse new clients of a database.";
    "ENABLE", Argument::Database, Admin, enable, "Accept clients of a database again.";
    "KILL", Argument::OptionalDatabase, Admin, kill, "Close clients and servers at once; RESUME lets new ones in.";
    "KILL_CLIENT", Argument::Client, Admin, kill_client, "Close one client, by its id in SHOW CLIENTS.";
    "PAUSE", Argument::OptionalDatabase, Admin, pause, "Close servers as they become free; answers when none is left.";
    "RECONNECT", Argument::OptionalDatabase, Admin, reconnect, "Replace each server as it becomes free.";
    "RELOAD", Argument::None, Admin, reload, "Read the configuration again.";
    "RESUME", Argument::OptionalDatabase, Admin, resume, "End PAUSE, KILL or SUSPEND.";
    "SET", Argument::Setting, Admin, unreached, "Change a setting until the next RELOAD.";
    "SHOW", Argument::Show, Stats, unreached, "Show facts.";
    "SHUTDOWN", Argument::Word(&["WAIT_FOR_SERVERS", "WAIT_FOR_CLIENTS"]), Admin, shutdown,
        "End the process: at once, when all servers are released, or when all clients have left.";
    "SUSPEND", Argument::None, Admin, suspend, "Stop reading; answers when everything is flushed.";
    "WAIT_CLOSE", Argument::OptionalDatabase, Admin, wait_close, "Answers when no server that RECONNECT marked is left.";
}

/// An error of the console: its severity is never worse, the session goes on.
pub(super) fn refusal(text: impl Into<std::borrow::Cow<'static, str>>) -> ErrorResponse {
    ErrorResponse::new(Severity::Error, SqlState::PROTOCOL_VIOLATION, text)
}

fn done(tag: &str) -> Outcome {
    Outcome::Done(Done { tag: tag.to_owned(), notice: None })
}

fn refuse(text: impl Into<std::borrow::Cow<'static, str>>) -> Outcome {
    Outcome::Error(refusal(text))
}

/// The command that may have been meant by one there is not.
fn meant(text: &str) -> Option<String> {
    let mut words = text.trim_end_matches(';').split_ascii_whitespace();
    match (words.next()?, words.next()) {
        (show, Some(what)) if show.eq_ignore_ascii_case("show") => {
            nearest(what, SHOWS.iter().map(|show| show.name)).map(|name| format!("SHOW {name}"))
        }
        (word, _) => nearest(word, COMMANDS.iter().map(|command| command.name))
            .filter(|name| !name.eq_ignore_ascii_case(word))
            .map(str::to_owned),
    }
}

/// The request a text stands for, or the error to answer.
pub(super) fn read(text: &str) -> Result<Request, ErrorResponse> {
    parse::parse(text).map_err(|error| match error {
        ParseError::Invalid => {
            let error = refusal(format!("invalid command '{text}', use SHOW HELP;"));
            match meant(text) {
                Some(meant) => error.with_hint(format!("The nearest is {meant}.")),
                None => error,
            }
        }
        ParseError::Arguments => refusal("bad arguments"),
    })
}

/// The columns a request answers with; `None` if it answers with none.
pub(super) fn columns(request: &Request) -> Option<&'static [Column]> {
    match request {
        Request::Show(show) => match show.kind {
            ShowKind::Rows(columns, _) | ShowKind::Surveyed(columns, _) => Some(columns),
            ShowKind::Help | ShowKind::Unsupported => None,
        },
        Request::ShowFaked(at) => Some(faked_column(*at)),
        Request::SetFaked | Request::Set { .. } | Request::Command { .. } => None,
    }
}

/// Does it show what the shell's buffers hold?
pub(super) fn shows_buffers(request: &Request) -> bool {
    matches!(request, Request::Show(show) if matches!(show.kind, ShowKind::Surveyed(..)))
}

impl Core {
    /// Carries a command of the control socket out, with admin rights. After [`Outcome::Wait`] an
    /// [`Effect::Answer`] for `control` follows.
    pub fn command(&mut self, control: ControlId, text: &str, now: Instant) -> Outcome {
        let outcome = match read(text) {
            Ok(request) => self.run_request(&request, Privilege::Admin, Asker::Control(control), now),
            Err(error) => Outcome::Error(error),
        };
        self.check_invariants();
        outcome
    }

    pub(super) fn run_request(
        &mut self,
        request: &Request,
        privilege: Privilege,
        asker: Asker,
        now: Instant,
    ) -> Outcome {
        let needed = match request {
            Request::Show(show) => show.privilege,
            Request::ShowFaked(_) | Request::SetFaked => Privilege::Stats,
            Request::Set { .. } => Privilege::Admin,
            Request::Command { command, .. } => command.privilege,
        };
        if privilege < needed {
            return refuse("admin access needed");
        }
        match request {
            Request::Show(show) => match show.kind {
                ShowKind::Rows(columns, rows) => Outcome::Rows(Table { columns, rows: rows(self, now) }),
                ShowKind::Surveyed(columns, rows) => {
                    let survey = self.console.survey.take().unwrap_or_default();
                    Outcome::Rows(Table { columns, rows: rows(self, &survey, now) })
                }
                ShowKind::Help => Outcome::Done(Done { tag: "SHOW".into(), notice: Some(help()) }),
                ShowKind::Unsupported => Outcome::Error(ErrorResponse::new(
                    Severity::Error,
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("SHOW {} is not supported yet", show.name),
                )),
            },
            Request::ShowFaked(at) => {
                let value = parse::faked(*at).1;
                Outcome::Rows(Table { columns: faked_column(*at), rows: vec![vec![Cell::from(value)]] })
            }
            Request::SetFaked => {
                Outcome::Done(Done { tag: "SET".into(), notice: Some(notice("SET ignored")) })
            }
            Request::Set { key, value } => self.set(key, value, now),
            Request::Command { command, argument } => (command.run)(self, Call { argument, asker, now }),
        }
    }

    fn set(&mut self, key: &str, value: &str, now: Instant) -> Outcome {
        let changed = match self.config.with_setting(key, value) {
            Ok(changed) => changed,
            Err(why) => {
                self.log_plain(Level::Error, Event::Config, &why);
                return Outcome::Error(refusal("SET failed").with_detail(why));
            }
        };
        let fixed = SETTINGS.row(key).is_some_and(|row| row.reload == sluice_cli::settings::Reload::No);
        if !fixed {
            self.reload(Arc::new(changed), now);
            self.effects.push_back(Effect::Configured);
        }
        let notice = fixed.then(|| notice(format!("{key} changes only at a restart")));
        Outcome::Done(Done { tag: format!("SET {key}={value}"), notice })
    }

    fn log_command(&mut self, name: &str, argument: &str) {
        let text = match argument {
            "" => format!("{name} command issued"),
            _ => format!("{name} '{argument}' command issued"),
        };
        self.log_plain(Level::Log, Event::Command, &text);
    }

    /// The database a command names, made from the `*` entry if need be.
    fn named_database(&mut self, name: &str, verb: &str, now: Instant) -> Result<DatabaseId, Outcome> {
        if name == CONSOLE {
            return Err(refuse(format!("cannot {verb} admin db: {name}")));
        }
        let found = self.find_database(name, now);
        let id = found.ok_or_else(|| refuse(format!("no such database: {name}")))?;
        self.register_database(id, now);
        Ok(id)
    }

    /// As [`Core::named_database`], or `None` where no name is given.
    fn scope(&mut self, call: Call<'_>, verb: &str) -> Result<Option<DatabaseId>, Outcome> {
        match call.argument {
            "" => Ok(None),
            name => self.named_database(name, verb, call.now).map(Some),
        }
    }

    fn wait_unless(&mut self, over: bool, asker: Asker, wait: Wait) -> Outcome {
        if over {
            return done(wait.tag());
        }
        self.console.waiting.push((asker, wait));
        Outcome::Wait
    }
}

fn notice(text: impl Into<std::borrow::Cow<'static, str>>) -> ErrorResponse {
    ErrorResponse::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, text)
}

/// The usage, made from the tables.
fn help() -> ErrorResponse {
    let shows: Vec<&str> = SHOWS.iter().map(|show| show.name).collect();
    let mut detail = format!("\n\tSHOW {}", shows.join("|"));
    for command in COMMANDS {
        let argument = match command.argument {
            Argument::Show => continue,
            Argument::None => String::new(),
            Argument::Database => " <db>".to_owned(),
            Argument::OptionalDatabase => " [<db>]".to_owned(),
            Argument::Client => " <client_id>".to_owned(),
            Argument::Word(words) => format!(" [{}]", words.join("|")),
            Argument::Setting => " key = value".to_owned(),
        };
        detail.push_str("\n\t");
        detail.push_str(command.name);
        detail.push_str(&argument);
    }
    notice("Console usage").with_detail(detail)
}

fn faked_column(at: usize) -> &'static [Column] {
    const fn text(name: &'static str) -> [Column; 1] {
        [Column { name, kind: Type::Text }]
    }
    static COLUMNS: [[Column; 1]; 6] = [
        text("client_encoding"),
        text("default_transaction_isolation"),
        text("standard_conforming_strings"),
        text("datestyle"),
        text("timezone"),
        text("extra_float_digits"),
    ];
    COLUMNS.get(at).map_or(&[], |column| column)
}

/// SHOW and SET have requests of their own.
fn unreached(_: &mut Core, call: Call<'_>) -> Outcome {
    refuse(format!("invalid command '{}', use SHOW HELP;", call.argument))
}

fn reload(core: &mut Core, call: Call<'_>) -> Outcome {
    core.log_command("RELOAD", "");
    core.effects.push_back(Effect::Reload);
    core.wait_unless(false, call.asker, Wait::Reload)
}

fn pause(core: &mut Core, call: Call<'_>) -> Outcome {
    if core.is_paused() || core.suspended {
        return refuse("already suspended/paused");
    }
    core.log_command("PAUSE", call.argument);
    let database = match core.scope(call, "pause") {
        Ok(database) => database,
        Err(outcome) => return outcome,
    };
    match database {
        None => core.pause_all(call.now),
        Some(database) => core.pause_database(database, call.now),
    }
    let over = core.servers_left(database) == 0;
    core.wait_unless(over, call.asker, Wait::Pause(database))
}

fn resume(core: &mut Core, call: Call<'_>) -> Outcome {
    core.log_command("RESUME", call.argument);
    if core.shutdown != Shutdown::No {
        return refuse("pooler is shutting down");
    }
    if call.argument.is_empty() {
        return if core.resume_all(call.now) {
            done("RESUME")
        } else {
            refuse("pooler is not paused/suspended")
        };
    }
    let name = call.argument;
    match core.database_names.get(name).copied() {
        None if name != CONSOLE => refuse(format!("no such database: {name}")),
        Some(database) if core.resume_database(database, call.now) => done("RESUME"),
        _ => refuse(format!("database {name} is not paused")),
    }
}

fn disable(core: &mut Core, call: Call<'_>) -> Outcome {
    change_access(core, call, "DISABLE", "disable")
}

fn enable(core: &mut Core, call: Call<'_>) -> Outcome {
    change_access(core, call, "ENABLE", "enable")
}

fn change_access(core: &mut Core, call: Call<'_>, name: &'static str, verb: &str) -> Outcome {
    if call.argument.is_empty() {
        return refuse("a database is required");
    }
    core.log_command(name, call.argument);
    match core.named_database(call.argument, verb, call.now) {
        Ok(id) => {
            if let Some(database) = core.databases.get_mut(id.0) {
                database.disabled = name == "DISABLE";
            }
            done(name)
        }
        Err(outcome) => outcome,
    }
}

fn reconnect(core: &mut Core, call: Call<'_>) -> Outcome {
    core.log_command("RECONNECT", call.argument);
    match core.scope(call, "reconnect") {
        Ok(database) => {
            core.tag_servers(|pool| database.is_none_or(|d| pool.database == d), call.now);
            done("RECONNECT")
        }
        Err(outcome) => outcome,
    }
}

fn wait_close(core: &mut Core, call: Call<'_>) -> Outcome {
    core.log_command("WAIT_CLOSE", call.argument);
    match core.scope(call, "wait in") {
        Ok(database) => {
            let over = core.tagged_left(database) == 0;
            core.wait_unless(over, call.asker, Wait::Close(database))
        }
        Err(outcome) => outcome,
    }
}

fn kill(core: &mut Core, call: Call<'_>) -> Outcome {
    if core.is_paused() || core.suspended {
        return refuse("already suspended/paused");
    }
    core.log_command("KILL", call.argument);
    match core.scope(call, "kill") {
        Ok(Some(database)) => core.kill_database(database, call.now),
        Ok(None) => {
            let all: Vec<DatabaseId> = core.database_names.values().copied().collect();
            for database in all {
                core.kill_database(database, call.now);
            }
        }
        Err(outcome) => return outcome,
    }
    done("KILL")
}

fn kill_client(core: &mut Core, call: Call<'_>) -> Outcome {
    let serial = match call.argument.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => call.argument.parse(),
    };
    let Ok(serial) = serial else { return refuse("invalid client pointer supplied") };
    core.log_command("KILL_CLIENT", call.argument);
    if core.kill_client(serial, call.now) { done("KILL_CLIENT") } else { refuse("client not found") }
}

fn suspend(core: &mut Core, call: Call<'_>) -> Outcome {
    if core.is_paused() || core.suspended {
        return refuse("already suspended/paused");
    }
    if core.databases.iter().any(|(_, database)| database.paused) {
        return refuse("cannot suspend with paused databases");
    }
    core.log_command("SUSPEND", "");
    core.suspend();
    core.console.suspender = Some(call.asker);
    core.wait_unless(false, call.asker, Wait::Suspend)
}

fn shutdown(core: &mut Core, call: Call<'_>) -> Outcome {
    let mode = call.argument.to_ascii_uppercase();
    let name = if mode.is_empty() { "SHUTDOWN".to_owned() } else { format!("SHUTDOWN {mode}") };
    core.log_command(&name, "");
    match mode.as_str() {
        "WAIT_FOR_SERVERS" => core.shut_down_after_servers(call.now),
        "WAIT_FOR_CLIENTS" => core.shut_down_after_clients(),
        _ => {
            core.shut_down_now();
            // As with PgBouncer, a console is answered by the end of its connection: that of the process.
            if let Asker::Console(_) = call.asker {
                return Outcome::Wait;
            }
        }
    }
    done("SHUTDOWN")
}
