//! The private server a client would have had: what it says is what the client must hear through the pooler.
//!
//! It runs no further than what was heard, so that a cancel, which strikes a fake server at some moment, can be
//! repeated at the same place. NOTICEs and notifications come and go and are not compared.

use sluice_wire::pg::error::Fields;
use sluice_wire::pg::{backend, frame, frontend};

use crate::session::{Session, Step, Values};

#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) session: Session,
}

/// A message from the pooler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard<'a> {
    pub(crate) tag: u8,
    pub(crate) body: &'a [u8],
}

impl std::fmt::Display for Heard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.tag as char, String::from_utf8_lossy(self.body))
    }
}

impl Reference {
    pub(crate) fn new(defaults: Values, values: Values) -> Self {
        Reference { session: Session::new(defaults, values) }
    }

    /// Nothing more is to be heard before the client says more.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.pass_silent();
        self.session.out.is_empty() && self.session.is_quiet()
    }

    /// Quiet, and outside any transaction, batch and copy.
    pub(crate) fn is_settled(&mut self) -> bool {
        self.is_quiet() && self.session.is_settled()
    }

    /// Compares what was heard with what is due.
    pub(crate) fn hear(&mut self, heard: Heard<'_>) -> Result<(), String> {
        if matches!(heard.tag, backend::NOTICE_RESPONSE | backend::NOTIFICATION_RESPONSE) {
            return Ok(());
        }
        if let Some(struck) = cancelled(heard) {
            match struck {
                Some(id) => self.cancel_at(&id)?,
                None => {
                    self.pass_silent();
                    if !self.session.out.is_empty() || self.session.work.is_some() {
                        return Err(format!("heard a refusal in the middle of an answer: {heard}"));
                    }
                    self.session.refuse();
                }
            }
        }
        while self.session.out.is_empty() {
            match self.session.step() {
                Step::Moved | Step::About(_) => {}
                Step::Idle | Step::Over => return Err(format!("heard {heard}, but nothing is due")),
            }
        }
        self.excuse(heard);
        let due = frame::message(&self.session.out).expect("framed by us").expect("whole");
        if (due.tag, due.body) != (heard.tag, heard.body) {
            let due = Heard { tag: due.tag, body: due.body };
            return Err(format!("heard {heard}, but due is {due}"));
        }
        let len = self.session.out.len() - due.rest.len();
        self.session.out.drain(..len);
        Ok(())
    }

    /// In a failed transaction no server can be taught a statement it does not know, so what needs one is refused like
    /// all else there, be it a Describe that needs no rows, or a Bind or Parse that is wrong in another way as well.
    fn excuse(&mut self, heard: Heard<'_>) {
        let code = |body| Fields::new(body).field(b'C').map(<[u8]>::to_vec);
        if self.session.status != backend::TransactionStatus::Failed
            || heard.tag != backend::ERROR_RESPONSE
            || code(heard.body).as_deref() != Some(b"25P02")
        {
            return;
        }
        let due = frame::message(&self.session.out).expect("framed by us").expect("whole");
        let other_error = [&b"08P01"[..], b"42P05", b"42601"];
        let milder = due.tag == backend::PARAMETER_DESCRIPTION
            || due.tag == backend::ERROR_RESPONSE
                && code(due.body).is_some_and(|code| other_error.contains(&&*code));
        if milder {
            self.session.out.clear();
            let refusal = self.session.refuse_in_failed(None);
            self.session.fail(refusal.expect_err("the transaction has failed"));
        }
    }

    /// Runs up to the statement a cancel struck.
    fn cancel_at(&mut self, id: &str) -> Result<(), String> {
        loop {
            if !self.session.out.is_empty() {
                return Err(format!("heard that {id} was cancelled before all that comes before it"));
            }
            let copying = self.session.copy.as_ref().map(|c| format!("{}/copy:{}", c.id, c.messages));
            let about = self.session.work.as_ref().and_then(|w| w.about.clone());
            if copying.as_deref() == Some(id) || self.session.copy.is_none() && about.as_deref() == Some(id) {
                self.session.cancel();
                return Ok(());
            }
            match self.session.step() {
                Step::Moved | Step::About(_) => {}
                Step::Idle | Step::Over => return Err(format!("heard that {id} was cancelled; not ours")),
            }
        }
    }

    /// Reads on over messages that get no answer.
    fn pass_silent(&mut self) {
        while self.session.out.is_empty() && self.session.copy.is_none() && self.session.work.is_none() {
            match self.session.next_tag() {
                Some(frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL | frontend::FLUSH) => {}
                Some(frontend::SYNC) | None => return,
                Some(_) if self.session.skipping => {}
                Some(_) => return,
            }
            self.session.step();
        }
    }
}

/// Is it the error of a cancel, and of which statement? The pooler's own refusal names none.
fn cancelled(heard: Heard<'_>) -> Option<Option<String>> {
    let fields = Fields::new(heard.body);
    let ours = heard.tag == backend::ERROR_RESPONSE
        && fields.field(b'C') == Some(b"57014")
        && fields.message() == Some(b"canceling statement due to user request");
    ours.then(|| fields.field(b'D').map(|id| String::from_utf8_lossy(id).into_owned()))
}
