//! Statements as a session runs them: those of a simple Query in turn, one portal, or a copy from the client.

use std::collections::VecDeque;

use sluice_wire::pg::{backend, frontend};

use crate::session::{Failure, Session, Step, reported_name};
use crate::sql::{Statement, Verb};

/// What a session is in the middle of.
#[derive(Debug)]
pub(crate) struct Work {
    kind: Kind,
    /// The name of the statement that runs next, once it was announced.
    pub(crate) about: Option<String>,
}

#[derive(Debug)]
enum Kind {
    Simple { rest: VecDeque<Statement>, several: bool },
    Portal { name: Vec<u8>, max_rows: usize, id: String, statement: Statement },
}

/// A copy that waits for the client's data.
#[derive(Debug)]
pub(crate) struct CopyIn {
    pub(crate) id: String,
    /// Messages read so far: names the place where a cancel struck.
    pub(crate) messages: usize,
    rows: usize,
}

impl Work {
    pub(crate) fn simple(statements: Vec<Statement>) -> Self {
        let several = statements.len() > 1;
        Work { kind: Kind::Simple { rest: statements.into(), several }, about: None }
    }

    pub(crate) fn portal(name: Vec<u8>, max_rows: usize, id: String, statement: Statement) -> Self {
        Work { kind: Kind::Portal { name, max_rows, id, statement }, about: None }
    }

    fn next(&self) -> Option<(String, Verb)> {
        match &self.kind {
            Kind::Simple { rest, .. } => rest.front().map(|s| (s.text.clone(), s.verb.clone())),
            Kind::Portal { id, statement, .. } => Some((id.clone(), statement.verb.clone())),
        }
    }
}

impl Session {
    /// Announces or runs the next statement.
    pub(crate) fn work_on(&mut self) -> Step {
        let Some(work) = &mut self.work else { return Step::Idle };
        let Some((id, verb)) = work.next() else {
            self.work = None;
            self.finish();
            self.ready();
            return Step::Moved;
        };
        if verb.takes_time() && work.about.is_none() {
            work.about = Some(id.clone());
            return Step::About(id);
        }
        work.about = None;
        let next = match &mut work.kind {
            Kind::Simple { rest, several } => rest.pop_front().map(|s| (s, Err(*several))),
            Kind::Portal { name, max_rows, statement, .. } => {
                Some((statement.clone(), Ok((std::mem::take(name), *max_rows))))
            }
        };
        self.start();
        let outcome = match next {
            Some((statement, Ok((name, max_rows)))) => {
                self.work = None;
                self.run_portal(&name, max_rows, &statement, id)
            }
            Some((statement, Err(several))) => self.run_simple(&statement, several),
            None => Ok(()),
        };
        if let Err(failure) = outcome {
            self.fail(failure);
        }
        Step::Moved
    }

    fn run_simple(&mut self, statement: &Statement, several: bool) -> Result<(), Failure> {
        self.refuse_in_failed(Some(statement))?;
        if statement.parameters() > 0 {
            return Err(Failure::new(b"42P02", "there is no parameter $1"));
        }
        if statement.verb == Verb::DiscardAll && several {
            return Err(Failure::new(b"25001", "DISCARD ALL cannot run inside a transaction block"));
        }
        match &statement.verb {
            Verb::Rows(count) => {
                self.describe_rows(&statement.text);
                self.rows(&statement.text, &[], 0..*count);
                self.complete(&format!("SELECT {count}"));
            }
            Verb::Show(name) => {
                self.describe_rows(&statement.text);
                self.show(name)?;
                self.complete("SHOW");
            }
            _ => return self.run_command(statement, statement.text.clone()),
        }
        Ok(())
    }

    fn run_portal(
        &mut self,
        name: &[u8],
        max_rows: usize,
        statement: &Statement,
        id: String,
    ) -> Result<(), Failure> {
        let portal = self.portal(name)?;
        if let Verb::Rows(count) = statement.verb {
            let first = portal.rows_sent;
            let wanted = if max_rows == 0 { count } else { count.min(first + max_rows) };
            portal.rows_sent = wanted;
            let suspended = max_rows > 0 && wanted - first == max_rows;
            let parameters = portal.parameters.clone();
            self.rows(&statement.text, &parameters, first..wanted);
            if suspended {
                self.out.extend_from_slice(&[backend::PORTAL_SUSPENDED, 0, 0, 0, 4]);
            } else {
                self.complete(&format!("SELECT {}", wanted - first));
            }
            return Ok(());
        }
        if std::mem::replace(&mut portal.done, true) {
            let name = String::from_utf8_lossy(name);
            return Err(Failure::new(b"55000", format!("portal \"{name}\" cannot be run")));
        }
        let parameters = portal.parameters.clone();
        if let Verb::Show(name) = &statement.verb {
            self.show(name)?;
            self.complete("SHOW");
            return Ok(());
        }
        if statement.verb == Verb::Fail {
            return Err(Failure::new(b"22012", format!("{} {parameters:?}", statement.text)));
        }
        self.run_command(statement, id)
    }

    fn run_command(&mut self, statement: &Statement, id: String) -> Result<(), Failure> {
        match &statement.verb {
            Verb::Insert => {
                self.insert(id);
                self.complete("INSERT 0 1");
            }
            Verb::Fail => return Err(Failure::new(b"22012", statement.text.clone())),
            verb @ (Verb::Begin | Verb::Commit | Verb::Rollback) => {
                let tag = self.transaction(verb);
                self.complete(tag);
            }
            Verb::Set { name, value } => {
                self.set(name, value)?;
                self.complete("SET");
            }
            Verb::DiscardAll => {
                self.discard()?;
                self.complete("DISCARD ALL");
            }
            Verb::DeallocateAll => {
                self.statements.clear();
                self.complete("DEALLOCATE ALL");
            }
            Verb::CopyIn => {
                self.out.extend_from_slice(&[backend::COPY_IN_RESPONSE, 0, 0, 0, 9, 0, 0, 1, 0, 0]);
                self.copy = Some(CopyIn { id, messages: 0, rows: 0 });
            }
            Verb::CopyOut(count) => {
                self.out.extend_from_slice(&[backend::COPY_OUT_RESPONSE, 0, 0, 0, 9, 0, 0, 1, 0, 0]);
                for row in 0..*count {
                    let line = format!("{} {row}\n", statement.text);
                    self.out.push(backend::COPY_DATA);
                    self.out.extend_from_slice(&(line.len() as u32 + 4).to_be_bytes());
                    self.out.extend_from_slice(line.as_bytes());
                }
                self.out.extend_from_slice(&[backend::COPY_DONE, 0, 0, 0, 4]);
                self.complete(&format!("COPY {count}"));
            }
            Verb::Rows(_) | Verb::Show(_) => unreachable!("done by the caller"),
        }
        Ok(())
    }

    /// A message while the server reads copy data.
    pub(crate) fn copy_message(&mut self, tag: u8, body: &[u8]) {
        let Some(copy) = &mut self.copy else { return };
        copy.messages += 1;
        match tag {
            frontend::COPY_DATA if body.starts_with(b"bad") => {
                let text = format!("bad copy line in {}", copy.id);
                self.fail(Failure::new(b"22P04", text));
            }
            frontend::COPY_DATA => copy.rows += 1,
            frontend::COPY_DONE => {
                let rows = copy.rows;
                self.copy = None;
                self.complete(&format!("COPY {rows}"));
            }
            frontend::COPY_FAIL => {
                let why = String::from_utf8_lossy(body.strip_suffix(b"\0").unwrap_or(body)).into_owned();
                self.fail(Failure::new(b"57014", format!("COPY from stdin failed: {why}")));
            }
            frontend::FLUSH | frontend::SYNC => {}
            frontend::TERMINATE => self.end(),
            _ => {
                let text = "terminating connection because protocol synchronization was lost";
                self.terminate(b"08P01", text);
            }
        }
    }

    fn rows(&mut self, text: &str, parameters: &[Vec<u8>], range: std::ops::Range<usize>) {
        for row in range {
            let number = row.to_string();
            let values = [text.as_bytes(), number.as_bytes()];
            let values = values.into_iter().chain(parameters.iter().map(Vec::as_slice)).map(Some);
            backend::data_row(&mut self.out, values);
        }
    }

    fn show(&mut self, name: &str) -> Result<(), Failure> {
        let Some(value) = self.values.get(name).cloned() else {
            let name = reported_name(name);
            return Err(Failure::new(b"42704", format!("unrecognized configuration parameter \"{name}\"")));
        };
        backend::data_row(&mut self.out, [Some(value.as_bytes())]);
        Ok(())
    }

    fn complete(&mut self, tag: &str) {
        backend::command_complete(&mut self.out, tag.as_bytes());
    }
}
