//! A fake client: says what its generator makes, and holds what it hears against its private server.

use sluice_check::Rng;
use sluice_wire::pg::error::Fields;
use sluice_wire::pg::login::{Credentials, Login, StartupParams, Step};
use sluice_wire::pg::scram::{NONCE_LEN, Secret};
use sluice_wire::pg::{backend, frame, frontend};

use crate::generate::{Generator, Repertoire, Request};
use crate::reference::{Heard, Reference};
use crate::server::PASSWORD;
use crate::session::{self, Values, canonical};

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Has asked for TLS and waits for the answer.
    Tls,
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
    login: Login,
    /// It does not know the password.
    pub(crate) impostor: bool,
    /// It has said what no server understands, and must be told so.
    pub(crate) doomed: bool,
    /// Answers that its login makes.
    pub(crate) answers: Vec<u8>,
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
    /// A client that will log in to a database as a user.
    pub(crate) fn new(
        number: usize,
        (database, user): (&str, &str),
        defaults: &Values,
        repertoire: Repertoire,
        rng: &mut Rng,
    ) -> Self {
        let impostor = repertoire.impostors && rng.chance(1, 10);
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
        let differing = values.iter().filter(|(name, value)| defaults.get(*name) != Some(value));
        let others = differing.map(|(n, v)| (n.clone().into_bytes(), v.clone().into_bytes())).collect();
        let params = StartupParams { database: database.as_bytes().to_vec(), others };
        let password = if impostor { b"wrong".to_vec() } else { PASSWORD.to_vec() };
        let secret = Some(Secret::Plain(password));
        let credentials = Credentials { user: user.as_bytes().to_vec(), secret, scram_keys: None };
        // What a server makes of them.
        let values = values.iter().map(|(n, v)| (n.clone(), canonical(n, v))).collect();
        Client {
            number,
            stage: if rng.chance(1, 4) { Stage::Tls } else { Stage::Login },
            login: Login::new(params, credentials, [number as u8; NONCE_LEN]),
            impostor,
            doomed: false,
            answers: Vec::new(),
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

    /// The first thing it says.
    pub(crate) fn first_words(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stage {
            Stage::Tls => frontend::ssl_request(&mut bytes),
            _ => self.login.start(&mut bytes),
        }
        bytes
    }

    pub(crate) fn is_here(&self) -> bool {
        matches!(self.stage, Stage::Tls | Stage::Login | Stage::Ready)
    }

    /// May it send a request now?
    pub(crate) fn may_send(&mut self) -> bool {
        if self.stage != Stage::Ready || self.doomed {
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
        !self.is_here() || self.stage == Stage::Ready && !self.doomed && self.reference.is_settled()
    }

    /// What its own server would have committed of all it said, had it heard the rest.
    pub(crate) fn into_committed(mut self) -> Vec<String> {
        let session = &mut self.reference.session;
        while !matches!(session.step(), session::Step::Idle | session::Step::Over) {}
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
        if self.stage == Stage::Tls
            && let Some((b'N', after)) = rest.split_first()
        {
            rest = after;
            self.login.start(&mut self.answers);
            self.stage = Stage::Login;
        }
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
        if self.stage == Stage::Left {
            return Ok(());
        }
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
            Stage::Tls => Err(format!("heard {heard} before the answer about TLS")),
            Stage::Login => match self.login.handle(heard.tag, heard.body, &mut self.answers) {
                Ok(Step::Key(pid, secret)) => {
                    self.key = Some((pid, secret.to_vec()));
                    Ok(())
                }
                Ok(Step::Ready) => {
                    assert!(!self.impostor, "a wrong password is as good as the right one");
                    self.stage = Stage::Ready;
                    Ok(())
                }
                Ok(Step::Derive(recipe)) => {
                    let refused = self.login.derived(recipe.derive(), &mut self.answers);
                    refused.map_err(|error| format!("refuses the keys it asked for: {error}"))
                }
                Ok(Step::Continue | Step::Parameter(..) | Step::Notice(_)) => Ok(()),
                Err(_) if heard.tag == backend::NOTIFICATION_RESPONSE => Ok(()),
                Err(error) => Err(format!("heard {heard} in its login: {error}")),
            },
        }
    }
}
