//! The console's side of the protocol: simple queries, and the extended protocol without parameters, which is what
//! drivers use.
//!
//! A session is never inside a transaction: portals end at Sync. After an error in an extended batch everything is
//! skipped up to its Sync, as PostgreSQL does. Knows nothing of what commands do.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use sluice_wire::pg::backend::{self, TransactionStatus};
use sluice_wire::pg::error::{ErrorResponse, Severity};
use sluice_wire::pg::frontend::{self, BindHead, Execute, KIND_STATEMENT, Parse, Target};
use sluice_wire::pg::sqlstate::SqlState;

use super::commands::{self, Done, Outcome, Privilege, refusal};
use super::parse::Request;
use super::table::{self, Format, Row};
use super::wait::Asker;
use crate::core::client::{ClientState, Departure};
use crate::core::effect::{Effect, Peer, Survey};
use crate::core::requests::{Message, Step};
use crate::core::{ClientId, Core};

/// Longest message of a console session, in bytes. Derivation: far more than any command and its argument.
const MESSAGE_LEN_MAX: usize = 64 * 1024;

/// Statements, and portals, a session may have.
const NAMES_MAX: usize = 256;

/// What a console session remembers.
#[derive(Debug, Default)]
pub(in crate::core) struct Session {
    statements: HashMap<Vec<u8>, Rc<Request>>,
    portals: HashMap<Vec<u8>, Portal>,
    skipping: bool,
    manner: Manner,
}

/// How the command at hand was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Manner {
    /// By Query: ReadyForQuery follows the answer.
    #[default]
    Simple,
    /// By Execute: the client's Sync asks for ReadyForQuery.
    Extended,
}

#[derive(Debug)]
struct Portal {
    request: Rc<Request>,
    formats: Vec<Format>,
    /// What is left of its rows, once it has run.
    rows: Option<VecDeque<Row>>,
}

impl Core {
    /// One message of a console session.
    pub(in crate::core) fn console_input(
        &mut self,
        id: ClientId,
        chunk: &[u8],
        at: usize,
        now: Instant,
    ) -> Step {
        let header = match self.client_header(id, chunk, at, now) {
            Ok(header) => header,
            Err(step) => return step,
        };
        if header.total() > MESSAGE_LEN_MAX {
            let detail = format!("a message of {} bytes is too long for the console", header.len);
            return self.refuse_message(id, "bad packet", detail, now);
        }
        let message = Message { header, chunk, at };
        if !message.is_whole() {
            return Step::Need(header.total());
        }
        let Some(session) = self.console.sessions.get(&id) else { return Step::Closed };
        let skipping = session.skipping;
        if let Some(client) = self.clients.get_mut(id.0) {
            client.request_at = now;
        }
        let body = message.body();
        let outcome = match header.tag {
            frontend::TERMINATE => {
                self.close_client(id, "client close request", Departure::Terminated, now);
                return Step::Closed;
            }
            frontend::SYNC => {
                self.console_sync(id);
                Ok(())
            }
            _ if skipping => Ok(()),
            tag if self.must_be_surveyed(id, tag, body) => return Step::Blocked,
            frontend::QUERY => {
                let Ok(text) = frontend::read_query(body) else { return self.broken(id, "Query", now) };
                self.console_query(id, text, now);
                Ok(())
            }
            frontend::PARSE => match Parse::read(body) {
                Ok(parse) => self.console_parse(id, parse),
                Err(_) => return self.broken(id, "Parse", now),
            },
            frontend::BIND => match BindHead::read(body) {
                Ok(Some(head)) => self.console_bind(id, head, &body[head.tail..]),
                _ => return self.broken(id, "Bind", now),
            },
            frontend::DESCRIBE => match Target::read(body) {
                Ok(target) => self.console_describe(id, target),
                Err(_) => return self.broken(id, "Describe", now),
            },
            frontend::EXECUTE => match Execute::read(body) {
                Ok(execute) => self.console_execute(id, execute, now),
                Err(_) => return self.broken(id, "Execute", now),
            },
            frontend::CLOSE => match Target::read(body) {
                Ok(target) => {
                    self.console_close(id, target);
                    Ok(())
                }
                Err(_) => return self.broken(id, "Close", now),
            },
            frontend::FLUSH => Ok(()),
            tag => {
                let text = format!("unsupported packet type for admin console: {tag}");
                self.expel_with(id, &crate::core::route::violation(text), now);
                return Step::Closed;
            }
        };
        self.console.survey = None;
        if let Err(error) = outcome {
            self.console_error(id, &error, Manner::Extended);
        }
        Step::Used(header.total())
    }

    /// Does the message show what the shell's buffers hold, and is that still to be asked?
    fn must_be_surveyed(&mut self, id: ClientId, tag: u8, body: &[u8]) -> bool {
        let session = self.console.sessions.get(&id);
        let shows = match tag {
            frontend::QUERY => {
                frontend::read_query(body).is_ok_and(|text| wants_survey(&String::from_utf8_lossy(text)))
            }
            frontend::EXECUTE => Execute::read(body)
                .ok()
                .and_then(|execute| session?.portals.get(execute.portal))
                .is_some_and(|portal| portal.rows.is_none() && commands::shows_buffers(&portal.request)),
            _ => false,
        };
        let asks = shows && self.console.survey.is_none();
        if asks {
            self.effects.push_back(Effect::Survey(id));
        }
        asks
    }

    /// The shell tells what its buffers hold, for the command that is given next.
    pub fn surveyed(&mut self, survey: Survey) {
        self.console.survey = Some(survey);
    }

    fn broken(&mut self, id: ClientId, what: &str, now: Instant) -> Step {
        let error = crate::core::route::violation(format!("broken {what} packet"));
        self.expel_with(id, &error, now);
        Step::Closed
    }

    fn privilege(&self, id: ClientId) -> Privilege {
        let admin = self.clients.get(id.0).is_some_and(|client| client.admin);
        if admin { Privilege::Admin } else { Privilege::Stats }
    }

    fn console_error(&mut self, id: ClientId, error: &ErrorResponse, manner: Manner) {
        self.outbox.write(Peer::Client(id), |out| {
            error.write(out);
            if manner == Manner::Simple {
                backend::ready_for_query(out, TransactionStatus::Idle);
            }
        });
        if let Some(session) = self.console.sessions.get_mut(&id) {
            session.skipping = manner == Manner::Extended;
        }
        self.log_pooler_error(id, &error.message);
    }

    fn console_query(&mut self, id: ClientId, text: &[u8], now: Instant) {
        self.count_console_command();
        let outcome = match commands::read(&String::from_utf8_lossy(text)) {
            Ok(request) => self.run_request(&request, self.privilege(id), Asker::Console(id), now),
            Err(error) => Outcome::Error(error),
        };
        let peer = Peer::Client(id);
        match outcome {
            Outcome::Error(error) => self.console_error(id, &error, Manner::Simple),
            Outcome::Wait => self.wait_at_console(id, Manner::Simple),
            Outcome::Done(done) => self.outbox.write(peer, |out| {
                write_done(&done, out);
                backend::ready_for_query(out, TransactionStatus::Idle);
            }),
            Outcome::Rows(table) => {
                let local_text = self.local_text;
                self.outbox.write(peer, |out| {
                    table::describe(table.columns, &[], out);
                    for row in &table.rows {
                        table::write_row(table.columns, row, &[], local_text, out);
                    }
                    backend::command_complete(out, b"SHOW");
                    backend::ready_for_query(out, TransactionStatus::Idle);
                });
            }
        }
    }

    fn count_console_command(&mut self) {
        self.console.stats.now.queries += 1;
        self.console.stats.now.transactions += 1;
    }

    /// The answer follows by [`Core::answer_console`].
    fn wait_at_console(&mut self, id: ClientId, manner: Manner) {
        if let Some(session) = self.console.sessions.get_mut(&id) {
            session.manner = manner;
            self.change_client_state(id, ClientState::ConsoleWait);
        }
    }

    /// What the session waited for has come true, or will not.
    pub(super) fn answer_console(&mut self, id: ClientId, tag: &str, outcome: Result<(), ErrorResponse>) {
        let Some(session) = self.console.sessions.get(&id) else { return };
        let manner = session.manner;
        match outcome {
            Err(error) => self.console_error(id, &error, manner),
            Ok(()) => self.outbox.write(Peer::Client(id), |out| {
                backend::command_complete(out, tag.as_bytes());
                if manner == Manner::Simple {
                    backend::ready_for_query(out, TransactionStatus::Idle);
                }
            }),
        }
        self.change_client_state(id, ClientState::Console);
        self.effects.push_back(Effect::Pump(Peer::Client(id)));
    }

    fn console_sync(&mut self, id: ClientId) {
        if let Some(session) = self.console.sessions.get_mut(&id) {
            session.skipping = false;
            session.portals.clear();
        }
        self.outbox.write(Peer::Client(id), |out| backend::ready_for_query(out, TransactionStatus::Idle));
    }

    fn console_parse(&mut self, id: ClientId, parse: Parse<'_>) -> Result<(), ErrorResponse> {
        let Some(session) = self.console.sessions.get_mut(&id) else { return Ok(()) };
        let request = commands::read(&String::from_utf8_lossy(parse.query()))?;
        if !parse.name.is_empty() && session.statements.contains_key(parse.name) {
            let name = String::from_utf8_lossy(parse.name);
            let text = format!("prepared statement \"{name}\" already exists");
            return Err(error(SqlState::DUPLICATE_PREPARED_STATEMENT, text));
        }
        check_room(session.statements.len())?;
        session.statements.insert(parse.name.to_vec(), Rc::new(request));
        self.outbox.write(Peer::Client(id), backend::parse_complete);
        Ok(())
    }

    fn console_bind(&mut self, id: ClientId, head: BindHead<'_>, tail: &[u8]) -> Result<(), ErrorResponse> {
        let Some(session) = self.console.sessions.get_mut(&id) else { return Ok(()) };
        let request = session.statement(head.statement)?;
        let formats = result_formats(tail)?;
        check_room(session.portals.len())?;
        session.portals.insert(head.portal.to_vec(), Portal { request, formats, rows: None });
        self.outbox.write(Peer::Client(id), backend::bind_complete);
        Ok(())
    }

    fn console_describe(&mut self, id: ClientId, target: Target<'_>) -> Result<(), ErrorResponse> {
        let Some(session) = self.console.sessions.get(&id) else { return Ok(()) };
        let (request, formats) = if target.kind == KIND_STATEMENT {
            (session.statement(target.name)?, Vec::new())
        } else {
            let portal = session.portals.get(target.name).ok_or_else(|| no_portal(target.name))?;
            (Rc::clone(&portal.request), portal.formats.clone())
        };
        self.outbox.write(Peer::Client(id), |out| {
            if target.kind == KIND_STATEMENT {
                backend::parameter_description(out, &[]);
            }
            match commands::columns(&request) {
                Some(columns) => table::describe(columns, &formats, out),
                None => backend::no_data(out),
            }
        });
        Ok(())
    }

    fn console_execute(
        &mut self,
        id: ClientId,
        execute: Execute<'_>,
        now: Instant,
    ) -> Result<(), ErrorResponse> {
        let Some(session) = self.console.sessions.get_mut(&id) else { return Ok(()) };
        let mut portal = session.portals.remove(execute.portal).ok_or_else(|| no_portal(execute.portal))?;
        let mut rows = match portal.rows.take() {
            Some(rows) => rows,
            None => {
                self.count_console_command();
                match self.run_request(&portal.request, self.privilege(id), Asker::Console(id), now) {
                    Outcome::Rows(table) => table.rows.into(),
                    Outcome::Error(error) => return Err(error),
                    Outcome::Done(done) => {
                        self.outbox.write(Peer::Client(id), |out| write_done(&done, out));
                        return Ok(());
                    }
                    Outcome::Wait => {
                        self.wait_at_console(id, Manner::Extended);
                        return Ok(());
                    }
                }
            }
        };
        let columns = commands::columns(&portal.request).unwrap_or_default();
        let limit = usize::try_from(execute.max_rows).ok().filter(|&max| max > 0).unwrap_or(usize::MAX);
        let local_text = self.local_text;
        let more = rows.len() > limit;
        self.outbox.write(Peer::Client(id), |out| {
            for row in rows.drain(..limit.min(rows.len())) {
                table::write_row(columns, &row, &portal.formats, local_text, out);
            }
            if more {
                backend::portal_suspended(out);
            } else {
                backend::command_complete(out, b"SHOW");
            }
        });
        if more && let Some(session) = self.console.sessions.get_mut(&id) {
            portal.rows = Some(rows);
            session.portals.insert(execute.portal.to_vec(), portal);
        }
        Ok(())
    }

    fn console_close(&mut self, id: ClientId, target: Target<'_>) {
        if let Some(session) = self.console.sessions.get_mut(&id) {
            if target.kind == KIND_STATEMENT {
                session.statements.remove(target.name);
            } else {
                session.portals.remove(target.name);
            }
        }
        self.outbox.write(Peer::Client(id), backend::close_complete);
    }
}

impl Session {
    fn statement(&self, name: &[u8]) -> Result<Rc<Request>, ErrorResponse> {
        self.statements.get(name).map(Rc::clone).ok_or_else(|| {
            let text = format!("prepared statement \"{}\" does not exist", String::from_utf8_lossy(name));
            error(SqlState::INVALID_SQL_STATEMENT_NAME, text)
        })
    }
}

/// Does the command show what the shell's buffers hold? Then it is to be given after [`Core::surveyed`].
#[must_use]
pub fn wants_survey(command: &str) -> bool {
    commands::read(command).is_ok_and(|request| commands::shows_buffers(&request))
}

fn error(sqlstate: SqlState, text: impl Into<std::borrow::Cow<'static, str>>) -> ErrorResponse {
    ErrorResponse::new(Severity::Error, sqlstate, text)
}

fn no_portal(name: &[u8]) -> ErrorResponse {
    error(
        SqlState::INVALID_CURSOR_NAME,
        format!("portal \"{}\" does not exist", String::from_utf8_lossy(name)),
    )
}

fn check_room(count: usize) -> Result<(), ErrorResponse> {
    if count < NAMES_MAX {
        return Ok(());
    }
    let text = format!("more than {NAMES_MAX} statements or portals in a console session");
    Err(error(SqlState::OUT_OF_MEMORY, text))
}

fn write_done(done: &Done, out: &mut Vec<u8>) {
    if let Some(notice) = &done.notice {
        notice.write_notice(out);
    }
    backend::command_complete(out, done.tag.as_bytes());
}

/// The result formats of a Bind, from where its parameter formats start.
fn result_formats(tail: &[u8]) -> Result<Vec<Format>, ErrorResponse> {
    fn word(rest: &mut &[u8]) -> Option<u16> {
        let (word, after) = rest.split_first_chunk::<2>()?;
        *rest = after;
        Some(u16::from_be_bytes(*word))
    }
    fn words(rest: &mut &[u8]) -> Option<Vec<u16>> {
        let count = word(rest)?;
        (0..count).map(|_| word(rest)).collect()
    }
    let mut rest = tail;
    let broken = || refusal("broken Bind packet");
    words(&mut rest).ok_or_else(broken)?;
    match word(&mut rest).ok_or_else(broken)? {
        0 => {}
        count => {
            let text = format!("bind message supplies {count} parameters, but console commands take none");
            return Err(refusal(text));
        }
    }
    let formats = words(&mut rest).ok_or_else(broken)?;
    let format = |word| match word {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        other => Err(error(SqlState::INVALID_PARAMETER_VALUE, format!("unsupported format code: {other}"))),
    };
    formats.into_iter().map(format).collect()
}
