//! PostgreSQL's message loop behind the login, as the manual's "Message Flow" and `tcop/postgres.c` have it.
//!
//! Used twice: behind the pooler as a fake server, and beside each client as the private server that the client would
//! have had. Both must say the same. A session does one thing per [`Session::step`] and stops before each statement
//! that takes time, so that a cancel can hit it there.

use std::collections::BTreeMap;

use sluice_wire::pg::error::{ErrorResponse, Severity};
use sluice_wire::pg::frame::{self, HEADER_LEN};
use sluice_wire::pg::frontend::{self, KIND_STATEMENT};
use sluice_wire::pg::sqlstate::SqlState;
use sluice_wire::pg::{backend, backend::TransactionStatus};

use crate::sql::{self, Statement, Verb};
use crate::work::{CopyIn, Work};

/// An error that ends a statement.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: &'static [u8; 5],
    pub(crate) text: String,
    /// Tells an injected cancel from all else; names what it hit.
    pub(crate) detail: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: &'static [u8; 5], text: impl Into<String>) -> Self {
        Failure { code, text: text.into(), detail: None }
    }
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing to do without more input.
    Idle,
    /// Something was done.
    Moved,
    /// The statement of this name runs with the next step, unless it is cancelled.
    About(String),
    /// The session has ended.
    Over,
}

/// A prepared statement.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// `None`: of an empty text.
    pub(crate) statement: Option<Statement>,
}

#[derive(Clone, Debug)]
pub(crate) struct Portal {
    pub(crate) statement: Option<Statement>,
    pub(crate) parameters: Vec<Vec<u8>>,
    pub(crate) rows_sent: usize,
    pub(crate) done: bool,
    pub(crate) runs: usize,
}

/// Parameters that a session reports, by lower-case name.
pub(crate) type Values = BTreeMap<String, String>;

#[derive(Debug)]
pub(crate) struct Session {
    /// What it said, not yet taken away.
    pub(crate) out: Vec<u8>,
    input: Vec<u8>,
    consumed: usize,
    pub(crate) status: TransactionStatus,
    /// The values to go back to on rollback, while a transaction (an implicit one too) is open.
    saved: Option<Values>,
    pub(crate) extended: bool,
    pub(crate) skipping: bool,
    pub(crate) work: Option<Work>,
    pub(crate) copy: Option<CopyIn>,
    pub(crate) statements: BTreeMap<Vec<u8>, Prepared>,
    pub(crate) unnamed: Option<Prepared>,
    pub(crate) portals: BTreeMap<Vec<u8>, Portal>,
    pub(crate) values: Values,
    defaults: Values,
    reported: Values,
    pending: Vec<String>,
    /// Markers of inserts that were committed.
    pub(crate) committed: Vec<String>,
    pub(crate) over: bool,
}

impl Session {
    /// A session that has just said its first ReadyForQuery. `values` are what the client's startup set.
    pub(crate) fn new(defaults: Values, values: Values) -> Self {
        Session {
            out: Vec::new(),
            input: Vec::new(),
            consumed: 0,
            status: TransactionStatus::Idle,
            saved: None,
            extended: false,
            skipping: false,
            work: None,
            copy: None,
            statements: BTreeMap::new(),
            unnamed: None,
            portals: BTreeMap::new(),
            reported: values.clone(),
            values,
            defaults,
            pending: Vec::new(),
            committed: Vec::new(),
            over: false,
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.input.drain(..self.consumed);
        self.consumed = 0;
        self.input.extend_from_slice(bytes);
    }

    /// Has read all it was sent, said all it will say to it, and is neither in a transaction nor in a batch.
    pub(crate) fn is_settled(&self) -> bool {
        self.over || self.is_quiet() && self.saved.is_none() && !self.skipping && self.copy.is_none()
    }

    /// Has read all it was sent and will say nothing more without further input.
    pub(crate) fn is_quiet(&self) -> bool {
        self.over || self.work.is_none() && self.input.len() == self.consumed
    }

    /// Tag of the next whole message.
    pub(crate) fn next_tag(&self) -> Option<u8> {
        frame::message(&self.input[self.consumed..]).ok().flatten().map(|m| m.tag)
    }

    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let bytes = &self.input[self.consumed..];
        let header = frame::header(bytes).expect("the pooler keeps the framing")?;
        let body = bytes.get(HEADER_LEN..header.total())?.to_vec();
        self.consumed += header.total();
        Some((header.tag, body))
    }

    /// Does one thing.
    pub(crate) fn step(&mut self) -> Step {
        if self.over {
            return Step::Over;
        }
        if self.work.is_some() && self.copy.is_none() {
            return self.work_on();
        }
        let Some((tag, body)) = self.next() else { return Step::Idle };
        if self.copy.is_some() {
            self.copy_message(tag, &body);
        } else {
            self.message(tag, &body);
        }
        Step::Moved
    }

    /// A cancel signal arrives. Only a statement that is about to run, or a copy that waits for data, notices.
    pub(crate) fn cancel(&mut self) -> Option<String> {
        let id = match (&self.copy, &self.work) {
            _ if self.over => return None,
            (Some(copy), _) => format!("{}/copy:{}", copy.id, copy.messages),
            (None, Some(work)) => work.about.clone()?,
            (None, None) => return None,
        };
        let text = "canceling statement due to user request";
        self.fail(Failure { detail: Some(id.clone()), ..Failure::new(b"57014", text) });
        Some(id)
    }

    /// The next request is refused before anything of it ran, as a cancel does that comes in time.
    pub(crate) fn refuse(&mut self) {
        while let Some(frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL | frontend::FLUSH) =
            self.next_tag()
        {
            self.next();
        }
        let Some((tag, _)) = self.next() else { return };
        self.extended = !matches!(tag, frontend::QUERY | frontend::FUNCTION_CALL | frontend::SYNC);
        self.start();
        self.fail(Failure::new(b"57014", "canceling statement due to user request"));
    }

    /// Says its last words and ends.
    pub(crate) fn terminate(&mut self, code: &'static [u8; 5], text: &str) {
        let error = ErrorResponse::new(Severity::Fatal, state(code), text.to_owned());
        error.write(&mut self.out);
        self.end();
    }

    /// The connection is gone.
    pub(crate) fn end(&mut self) {
        self.pending.clear();
        self.over = true;
    }

    fn message(&mut self, tag: u8, body: &[u8]) {
        match tag {
            frontend::TERMINATE => return self.end(),
            frontend::SYNC => {
                self.skipping = false;
                self.extended = false;
                self.finish();
                return self.ready();
            }
            _ if self.skipping => return,
            frontend::QUERY | frontend::FUNCTION_CALL => self.extended = false,
            frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL => {
                self.extended = false;
                return;
            }
            frontend::FLUSH => return,
            _ => self.extended = true,
        }
        self.start();
        let outcome = match tag {
            frontend::QUERY => self.query(body),
            frontend::FUNCTION_CALL => self.function_call(body),
            frontend::PARSE => self.parse(body),
            frontend::BIND => self.bind(body),
            frontend::DESCRIBE => self.describe(body),
            frontend::EXECUTE => self.execute(body),
            frontend::CLOSE => self.close(body),
            other => panic!("message type {:?} reached a server", other as char),
        };
        if let Err(failure) = outcome {
            self.fail(failure);
        }
    }

    fn query(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.unnamed = None;
        self.portals.remove(&b""[..]);
        let text = frontend::read_query(body).expect("a Query is relayed whole");
        let statements = sql::parse(text).map_err(|e| Failure::new(b"42601", e.to_string()))?;
        if statements.is_empty() {
            backend::empty_query_response(&mut self.out);
            self.finish();
            self.ready();
            return Ok(());
        }
        self.work = Some(Work::simple(statements));
        Ok(())
    }

    fn function_call(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.refuse_in_failed(None)?;
        if body.windows(4).any(|w| w == b"fail") {
            return Err(Failure::new(b"42883", format!("no function {}", String::from_utf8_lossy(body))));
        }
        self.out.push(backend::FUNCTION_CALL_RESPONSE);
        self.out.extend_from_slice(&(body.len() as u32 + 8).to_be_bytes());
        self.out.extend_from_slice(&(body.len() as u32).to_be_bytes());
        self.out.extend_from_slice(body);
        self.finish();
        self.ready();
        Ok(())
    }

    fn parse(&mut self, body: &[u8]) -> Result<(), Failure> {
        let parse = frontend::Parse::read(body).expect("a Parse is well formed");
        if parse.name.is_empty() {
            self.unnamed = None;
        }
        let mut all = sql::parse(parse.query()).map_err(|e| Failure::new(b"42601", e.to_string()))?;
        if all.len() > 1 {
            return Err(Failure::new(b"42601", "cannot insert multiple commands into a prepared statement"));
        }
        let prepared = Prepared { statement: all.pop() };
        if prepared.statement.is_some() {
            self.refuse_in_failed(prepared.statement.as_ref())?;
        }
        if parse.name.is_empty() {
            self.unnamed = Some(prepared);
        } else if self.statements.contains_key(parse.name) {
            let name = String::from_utf8_lossy(parse.name);
            return Err(Failure::new(b"42P05", format!("prepared statement \"{name}\" already exists")));
        } else {
            self.statements.insert(parse.name.to_vec(), prepared);
        }
        backend::parse_complete(&mut self.out);
        Ok(())
    }

    fn prepared(&self, name: &[u8]) -> Result<Prepared, Failure> {
        let missing = || {
            let name = String::from_utf8_lossy(name);
            let text = match &*name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Failure::new(b"26000", text)
        };
        let found = if name.is_empty() { self.unnamed.as_ref() } else { self.statements.get(name) };
        found.cloned().ok_or_else(missing)
    }

    fn bind(&mut self, body: &[u8]) -> Result<(), Failure> {
        let head = frontend::BindHead::read(body).expect("a Bind is well formed").expect("and whole");
        let prepared = self.prepared(head.statement)?;
        let parameters = bind_parameters(&body[head.tail..]);
        let wanted = prepared.statement.as_ref().map_or(0, Statement::parameters);
        if parameters.len() != wanted {
            let name = String::from_utf8_lossy(head.statement);
            let given = parameters.len();
            let text = format!(
                "bind message supplies {given} parameters, but prepared statement \"{name}\" requires {wanted}"
            );
            return Err(Failure::new(b"08P01", text));
        }
        self.refuse_in_failed(prepared.statement.as_ref().filter(|_| parameters.is_empty()))?;
        if !head.portal.is_empty() && self.portals.contains_key(head.portal) {
            let name = String::from_utf8_lossy(head.portal);
            return Err(Failure::new(b"42P03", format!("cursor \"{name}\" already exists")));
        }
        let portal = Portal { statement: prepared.statement, parameters, rows_sent: 0, done: false, runs: 0 };
        self.portals.insert(head.portal.to_vec(), portal);
        backend::bind_complete(&mut self.out);
        Ok(())
    }

    fn describe(&mut self, body: &[u8]) -> Result<(), Failure> {
        let target = frontend::Target::read(body).expect("a Describe is well formed");
        let statement = if target.kind == KIND_STATEMENT {
            self.prepared(target.name)?.statement
        } else {
            self.portal(target.name)?.statement.clone()
        };
        if statement.as_ref().is_some_and(|s| s.verb.returns_rows()) {
            self.refuse_in_failed(None)?;
        }
        if target.kind == KIND_STATEMENT {
            let count = statement.as_ref().map_or(0, Statement::parameters);
            backend::parameter_description(&mut self.out, &vec![25; count]);
        }
        match &statement {
            Some(s) if s.verb.returns_rows() => self.describe_rows(&s.text.clone()),
            _ => backend::no_data(&mut self.out),
        }
        Ok(())
    }

    pub(crate) fn describe_rows(&mut self, text: &str) {
        let column = backend::Column { name: text.as_bytes(), type_oid: 25, type_len: -1 };
        backend::row_description(&mut self.out, &[column]);
    }

    pub(crate) fn portal(&mut self, name: &[u8]) -> Result<&mut Portal, Failure> {
        let shown = String::from_utf8_lossy(name).into_owned();
        let missing = move || Failure::new(b"34000", format!("portal \"{shown}\" does not exist"));
        self.portals.get_mut(name).ok_or_else(missing)
    }

    fn execute(&mut self, body: &[u8]) -> Result<(), Failure> {
        let execute = frontend::Execute::read(body).expect("an Execute is well formed");
        let portal = self.portal(execute.portal)?;
        let Some(statement) = portal.statement.clone() else {
            backend::empty_query_response(&mut self.out);
            return Ok(());
        };
        portal.runs += 1;
        let parameters = String::from_utf8_lossy(&portal.parameters.join(&b',')).into_owned();
        let id = format!("{}({parameters})#{}", statement.text, portal.runs);
        self.refuse_in_failed(Some(&statement))?;
        self.work =
            Some(Work::portal(execute.portal.to_vec(), execute.max_rows.max(0) as usize, id, statement));
        Ok(())
    }

    fn close(&mut self, body: &[u8]) -> Result<(), Failure> {
        let target = frontend::Target::read(body).expect("a Close is well formed");
        match (target.kind == KIND_STATEMENT, target.name) {
            (true, b"") => self.unnamed = None,
            (true, name) => drop(self.statements.remove(name)),
            (false, name) => drop(self.portals.remove(name)),
        }
        backend::close_complete(&mut self.out);
        Ok(())
    }

    /// In a failed transaction only what ends it may run.
    pub(crate) fn refuse_in_failed(&self, statement: Option<&Statement>) -> Result<(), Failure> {
        if self.status == TransactionStatus::Failed && !statement.is_some_and(|s| s.verb.ends_transaction()) {
            let text = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Failure::new(b"25P02", text));
        }
        Ok(())
    }

    /// A transaction begins, unless one is open.
    pub(crate) fn start(&mut self) {
        if self.saved.is_none() {
            self.saved = Some(self.values.clone());
        }
    }

    /// An implicit transaction ends well.
    pub(crate) fn finish(&mut self) {
        if self.status == TransactionStatus::Idle {
            self.saved = None;
            self.portals.clear();
            self.committed.append(&mut self.pending);
        }
    }

    pub(crate) fn roll_back(&mut self) {
        if let Some(saved) = self.saved.take() {
            self.values = saved;
        }
        self.pending.clear();
    }

    /// An error: told, and everything up to where the session goes on is skipped.
    pub(crate) fn fail(&mut self, failure: Failure) {
        let code = state(failure.code);
        let mut error = ErrorResponse::new(Severity::Error, code, failure.text);
        if let Some(detail) = failure.detail {
            error = error.with_detail(detail);
        }
        error.write(&mut self.out);
        self.roll_back();
        if self.status == TransactionStatus::Idle {
            self.portals.clear();
        } else {
            self.status = TransactionStatus::Failed;
            self.start();
        }
        self.work = None;
        self.copy = None;
        if self.extended {
            self.skipping = true;
        } else {
            self.ready();
        }
    }

    /// Reports changed values, then ReadyForQuery.
    pub(crate) fn ready(&mut self) {
        for (name, value) in &self.values {
            if self.reported.get(name) != Some(value) {
                backend::parameter_status(&mut self.out, reported_name(name).as_bytes(), value.as_bytes());
            }
        }
        self.reported.clone_from(&self.values);
        backend::ready_for_query(&mut self.out, self.status);
    }

    /// Carries a transaction command out; answers its tag.
    pub(crate) fn transaction(&mut self, verb: &Verb) -> &'static str {
        match (verb, self.status) {
            (Verb::Begin, TransactionStatus::Idle) => self.status = TransactionStatus::InTransaction,
            (Verb::Begin, _) => {}
            (Verb::Commit, TransactionStatus::Failed) | (Verb::Rollback, _) => {
                self.status = TransactionStatus::Idle;
                self.roll_back();
                self.portals.clear();
                return "ROLLBACK";
            }
            (_, _) => {
                self.status = TransactionStatus::Idle;
                self.finish();
                return "COMMIT";
            }
        }
        "BEGIN"
    }

    pub(crate) fn insert(&mut self, marker: String) {
        self.pending.push(marker);
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        match self.values.get_mut(name) {
            Some(_) if value.contains("bad") => {
                Err(Failure::new(b"22023", format!("invalid value for parameter \"{name}\": \"{value}\"")))
            }
            Some(old) => {
                *old = canonical(name, value);
                Ok(())
            }
            None => Err(Failure::new(b"42704", format!("unrecognized configuration parameter \"{name}\""))),
        }
    }

    pub(crate) fn discard(&mut self) -> Result<(), Failure> {
        if self.status != TransactionStatus::Idle {
            return Err(Failure::new(b"25001", "DISCARD ALL cannot run inside a transaction block"));
        }
        self.statements.clear();
        self.portals.clear();
        self.values.clone_from(&self.defaults);
        Ok(())
    }
}

pub(crate) fn state(code: &[u8; 5]) -> SqlState {
    SqlState::read(code).expect("codes of ours are well formed")
}

/// The spelling a server gives a value.
pub(crate) fn canonical(name: &str, value: &str) -> String {
    if name == "client_encoding" { value.to_ascii_uppercase() } else { value.to_owned() }
}

/// The spelling in ParameterStatus.
pub(crate) fn reported_name(name: &str) -> &str {
    match name {
        "datestyle" => "DateStyle",
        "timezone" => "TimeZone",
        "intervalstyle" => "IntervalStyle",
        other => other,
    }
}

/// Format codes, values and result formats of a Bind, as far as its values go.
fn bind_parameters(tail: &[u8]) -> Vec<Vec<u8>> {
    let int16 = |at: usize| usize::from(u16::from_be_bytes([tail[at], tail[at + 1]]));
    let mut at = 2 + 2 * int16(0);
    let count = int16(at);
    at += 2;
    let mut values = Vec::new();
    for _ in 0..count {
        let len = u32::from_be_bytes([tail[at], tail[at + 1], tail[at + 2], tail[at + 3]]) as usize;
        at += 4;
        values.push(tail[at..at + len].to_vec());
        at += len;
    }
    values
}
