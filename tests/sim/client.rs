//! A fake client: says what its generator makes, and holds what it hears against its private server.

use sluice_check::Rng;
use sluice_wire::pg::error::Fields;
use sluice_wire::pg::{backend, frame, frontend, startup};

use crate::generate::{Generator, Repertoire, Request};
use crate::reference::{Heard, Reference};
use crate::session::{Step, Values, canonical};

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waits for its first ReadyForQuery.
    Login,
    Ready,
    /// It left by itself.
    Left,
    /// It was told that its session is over.
    Told,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) stage: Stage,
    inbox: Vec<u8>,
    pub(crate) reference: Reference,
    generator: Generator,
    /// Requests sent since all was answered last.
    in_flight: usize,
    depth: usize,
    alone: bool,
    pub(crate) key: Option<([u8; 4], Vec<u8>)>,
    /// The error that ended the session: SQLSTATE and text.
    pub(crate) last_words: Option<(String, String)>,
    /// CancelRequests sent for it.
    pub(crate) cancels_asked: usize,
    /// Statements of its that a cancel struck.
    pub(crate) cancels_struck: usize,
    /// Messages heard: a measure of progress.
    pub(crate) heard: usize,
}

impl Client {
    pub(crate) fn new(number: usize, defaults: &Values, repertoire: Repertoire, rng: &mut Rng) -> Self {
        let mut values = defaults.clone();
        if repertoire.parameters && rng.chance(1, 2) {
            values.insert("application_name".to_owned(), format!("app{}", rng.below(3)));
        }
        if repertoire.parameters && rng.chance(1, 3) {
            values.insert("timezone".to_owned(), format!("zone'{}", rng.below(3)));
        }
        if repertoire.parameters && rng.chance(1, 3) {
            values.insert("client_encoding".to_owned(), format!("enc{}", rng.below(3)));
        }
        Client {
            number,
            stage: Stage::Login,
            inbox: Vec::new(),
            reference: Reference::new(defaults.clone(), values),
            generator: Generator::new(number, repertoire),
            in_flight: 0,
            depth: rng.between(1, 4),
            alone: false,
            key: None,
            last_words: None,
            cancels_asked: 0,
            cancels_struck: 0,
            heard: 0,
        }
    }

    /// Its StartupMessage.
    pub(crate) fn startup(&mut self, database: &str, user: &str, defaults: &Values) -> Vec<u8> {
        let session = &mut self.reference.session;
        let mut params: Vec<(&[u8], &[u8])> =
            vec![(b"user", user.as_bytes()), (b"database", database.as_bytes())];
        let differing = session.values.iter().filter(|(name, value)| defaults.get(*name) != Some(value));
        params.extend(differing.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let mut bytes = Vec::new();
        frontend::startup(&mut bytes, startup::VERSION_3_0, &params);
        // What a server would have made of them.
        let values = session.values.iter().map(|(n, v)| (n.clone(), canonical(n, v))).collect::<Values>();
        *session = crate::session::Session::new(defaults.clone(), values);
        bytes
    }

    pub(crate) fn is_here(&self) -> bool {
        matches!(self.stage, Stage::Login | Stage::Ready)
    }

    /// May it send a request now?
    pub(crate) fn may_send(&mut self) -> bool {
        if self.stage != Stage::Ready {
            return false;
        }
        if self.reference.is_quiet() {
            self.in_flight = 0;
            self.alone = false;
            return true;
        }
        !self.alone && self.in_flight < self.depth
    }

    /// Its next request.
    pub(crate) fn request(&mut self, rng: &mut Rng) -> Request {
        let open = self.reference.is_quiet() && !self.reference.is_settled();
        let request = if open && rng.chance(1, 3) { self.ending() } else { self.generator.request(rng) };
        if request.alone && self.in_flight > 0 {
            // It has to find the session quiet as well.
            return self.request(rng);
        }
        self.say(&request);
        request
    }

    /// Ends what is open, for good.
    pub(crate) fn ending(&mut self) -> Request {
        let in_copy = self.reference.session.copy.is_some();
        self.generator.ending(in_copy)
    }

    pub(crate) fn say(&mut self, request: &Request) {
        self.in_flight += 1;
        self.alone = request.alone;
        self.reference.session.feed(&request.bytes);
    }

    /// Has it been answered in full, with nothing left open?
    pub(crate) fn is_settled(&mut self) -> bool {
        !self.is_here() || self.stage == Stage::Ready && self.reference.is_settled()
    }

    /// What its own server would have committed of all it said, had it heard the rest.
    pub(crate) fn into_committed(mut self) -> Vec<String> {
        let session = &mut self.reference.session;
        while !matches!(session.step(), Step::Idle | Step::Over) {}
        std::mem::take(&mut session.committed)
    }

    /// Is a message half heard?
    pub(crate) fn is_mid_message(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Bytes from the pooler. Answers what it heard, for the trace.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<String, String> {
        self.inbox.extend_from_slice(bytes);
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = inbox.as_slice();
        let mut shown = String::new();
        while let Some(message) = frame::message(rest).map_err(|e| format!("bad framing: {e:?}"))? {
            rest = message.rest;
            let heard = Heard { tag: message.tag, body: message.body };
            shown.push(message.tag as char);
            self.heard += 1;
            self.hear(heard).map_err(|why| format!("client {}: {why}", self.number))?;
        }
        self.inbox = rest.to_vec();
        Ok(shown)
    }

    fn hear(&mut self, heard: Heard<'_>) -> Result<(), String> {
        if heard.tag == backend::ERROR_RESPONSE {
            let fields = Fields::new(heard.body);
            if fields.severity() == Some(b"FATAL") {
                let text =
                    |code| String::from_utf8_lossy(fields.field(code).unwrap_or_default()).into_owned();
                self.last_words = Some((text(b'C'), text(b'M')));
                self.stage = Stage::Told;
                return Ok(());
            }
        }
        match self.stage {
            Stage::Left => Ok(()),
            Stage::Told => Err(format!("heard {heard} after the session's end")),
            Stage::Ready => self.reference.hear(heard),
            Stage::Login => {
                match heard.tag {
                    backend::BACKEND_KEY_DATA => {
                        let (pid, secret) =
                            backend::read_backend_key_data(heard.body).map_err(|e| format!("{e:?}"))?;
                        self.key = Some((pid, secret.to_vec()));
                    }
                    backend::READY_FOR_QUERY => self.stage = Stage::Ready,
                    backend::AUTHENTICATION
                    | backend::PARAMETER_STATUS
                    | backend::NOTICE_RESPONSE
                    | backend::NOTIFICATION_RESPONSE => {}
                    _ => return Err(format!("heard {heard} in its login")),
                }
                Ok(())
            }
        }
    }
}
