//! The login of a server connection: from the StartupMessage to the first ReadyForQuery, in the role of a client.
//!
//! ```text
//! Start --request--> Answered --AuthenticationOk--------------------> Welcome --ReadyForQuery--> Over
//! Start --SASL--> Sasl --continue (and keys), final, then AuthenticationOk--> Welcome
//! Start --AuthenticationOk (trust)--> Welcome          any error: Over
//! ```
//! Sans-IO: the owner frames the server's messages, holds each whole within [`body_len_max`], hands it in and sends what
//! is appended to `out`. Knows trust, cleartext, md5 and SCRAM-SHA-256.
//!
//! Invariants: every authentication message is accepted once and in its order; a SASL exchange that did not end with
//! the server's proof is never taken for a login, whatever the server says next.

#[cfg(test)]
mod tests;

use std::fmt;

use super::backend::{
    AUTHENTICATION, Authentication, BACKEND_KEY_DATA, ERROR_RESPONSE, Mechanisms, NOTICE_RESPONSE,
    PARAMETER_STATUS, READY_FOR_QUERY, TransactionStatus, read_backend_key_data, read_parameter_status,
    read_ready_for_query,
};
use super::error::Fields;
use super::scram::{
    ClientExchange, ClientStep, Derived, MECHANISM, MESSAGE_LEN_MAX, NONCE_LEN, Recipe, ScramError, Secret,
};
use super::sqlstate::SqlState;
use super::startup::VERSION_3_0;
use super::{Malformed, frontend};

/// Bytes of the longest ParameterStatus, ErrorResponse or NoticeResponse body that is held whole.
const REPORT_LEN_MAX: usize = 65_536;

/// Keys to log in with without knowing the password: they carry the salt and the iterations they belong to.
pub type ClientKeys = Derived;

/// What the StartupMessage says beside the user.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StartupParams {
    /// The database.
    pub database: Vec<u8>,
    /// Further parameters, in order: name and value.
    pub others: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Who logs in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// The user.
    pub user: Vec<u8>,
    /// The stored secret, if there is one. Any kind answers some requests and not others.
    pub secret: Option<Secret>,
    /// Keys for SCRAM: learnt from a client, or kept from an earlier login.
    pub scram_keys: Option<ClientKeys>,
}

/// What a message of the server meant.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// Go on; there may be something to send.
    Continue,
    /// A setting and its value.
    Parameter(&'a [u8], &'a [u8]),
    /// Process id and secret for cancel requests.
    Key([u8; 4], &'a [u8]),
    /// A notice.
    Notice(Fields<'a>),
    /// Derive these keys and hand them to [`Login::derived`]; until then there is nothing to send.
    Derive(Recipe),
    /// Logged in, and idle: the machine is done.
    Ready,
}

/// A way to authenticate that needs a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// The password as it is.
    Cleartext,
    /// A salted hash.
    Md5,
    /// SCRAM-SHA-256.
    Scram,
}

/// An ErrorResponse of the server, owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerError {
    /// The severity, `FATAL` for example; None if the server gave none.
    pub severity: Option<String>,
    /// The code; None if the server gave none.
    pub sqlstate: Option<SqlState>,
    /// The message; empty if the server gave none.
    pub message: String,
}

impl ServerError {
    /// Reads the body of an ErrorResponse; what is not there is left out.
    pub fn read(body: &[u8]) -> Self {
        let fields = Fields::new(body);
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Self {
            severity: fields.severity().map(text),
            sqlstate: fields.sqlstate(),
            message: fields.message().map(text).unwrap_or_default(),
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.severity.as_deref().unwrap_or("FATAL"), self.message)
    }
}

/// Why a login has failed. Displayed, it is the text for the log and, but for [`LoginError::Server`], for clients; they
/// are told what the server said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoginError {
    /// The server refused.
    Server(ServerError),
    /// We have no secret of a kind that this method can use: our configuration is at fault.
    WrongPasswordType(Method),
    /// The server does not know the secret it claims to check.
    BadSignature,
    /// The server offers no SASL mechanism we know.
    NoMechanism,
    /// The server wants a method we do not know, by its number.
    UnknownMethod(u32),
    /// The server broke the SCRAM exchange.
    Scram(ScramError),
    /// The server sent a malformed message.
    Malformed {
        /// Its tag.
        tag: u8,
        /// What is wrong with it.
        reason: Malformed,
    },
    /// The server sent a message longer than [`body_len_max`].
    TooLong {
        /// Its tag.
        tag: u8,
    },
    /// The server sent a message that has no place here.
    Protocol {
        /// Its tag.
        tag: u8,
    },
}

impl LoginError {
    /// What the log says beyond the error's own text, where there is more to say.
    pub fn log_text(&self) -> Option<&'static str> {
        match self {
            Self::WrongPasswordType(Method::Scram) => {
                Some("cannot do SCRAM authentication: wrong password type")
            }
            Self::WrongPasswordType(Method::Md5) => Some("cannot do MD5 authentication: wrong password type"),
            Self::WrongPasswordType(Method::Cleartext) => {
                Some("cannot do cleartext authentication: wrong password type")
            }
            _ => None,
        }
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("server login failed: ")?;
        match self {
            Self::Server(error) => write!(f, "{error}"),
            Self::WrongPasswordType(_) => f.write_str("wrong password type"),
            Self::BadSignature => f.write_str("invalid server signature"),
            Self::NoMechanism => {
                f.write_str("none of the server's SASL authentication mechanisms are supported")
            }
            Self::UnknownMethod(number) => write!(f, "unknown authentication method {number}"),
            Self::Scram(error) => write!(f, "{error}"),
            Self::Malformed { tag, reason } => write!(f, "message {:?}: {reason}", char::from(*tag)),
            Self::TooLong { tag } => write!(f, "message {:?} is too long", char::from(*tag)),
            Self::Protocol { tag } => write!(f, "unexpected message {:?}", char::from(*tag)),
        }
    }
}

impl std::error::Error for LoginError {}

/// Bytes of the longest body with this tag that a login accepts. A longer one can be refused by its header alone.
pub fn body_len_max(tag: u8) -> usize {
    match tag {
        // The number in front, and the longest SCRAM message.
        AUTHENTICATION => 4 + MESSAGE_LEN_MAX,
        PARAMETER_STATUS | ERROR_RESPONSE | NOTICE_RESPONSE => REPORT_LEN_MAX,
        // Process id and the longest secret; everything else that has a place in a login is shorter.
        _ => 4 + 256,
    }
}

/// The login machine.
#[derive(Debug)]
pub struct Login {
    params: StartupParams,
    credentials: Credentials,
    nonce: [u8; NONCE_LEN],
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing has been asked yet.
    Start,
    /// A password or hash is with the server.
    Answered,
    /// A SASL exchange is under way, or over and waiting for AuthenticationOk.
    Sasl(Box<ClientExchange>),
    /// Logged in; settings and key follow.
    Welcome,
    /// Ready, or failed.
    Over,
}

impl Login {
    /// A login; `nonce` is fresh randomness, used if the server wants SCRAM.
    pub fn new(params: StartupParams, credentials: Credentials, nonce: [u8; NONCE_LEN]) -> Self {
        Self { params, credentials, nonce, state: State::Start }
    }

    /// Appends the StartupMessage (protocol 3.0): the first thing to send.
    pub fn start(&self, out: &mut Vec<u8>) {
        let own: [(&[u8], &[u8]); 2] =
            [(b"user", &self.credentials.user), (b"database", &self.params.database)];
        let others = self.params.others.iter().map(|(name, value)| (&name[..], &value[..]));
        let params: Vec<_> = own.into_iter().chain(others).collect();
        frontend::startup(out, VERSION_3_0, &params);
    }

    /// Takes the server's next message and appends the answer, if there is one, to `out`.
    ///
    /// # Errors
    /// [`LoginError`] if the login has failed: close the connection. No message is accepted after that.
    pub fn handle<'a>(&mut self, tag: u8, body: &'a [u8], out: &mut Vec<u8>) -> Result<Step<'a>, LoginError> {
        let state = std::mem::replace(&mut self.state, State::Over);
        if body.len() > body_len_max(tag) {
            return Err(LoginError::TooLong { tag });
        }
        let malformed = |reason| LoginError::Malformed { tag, reason };
        let (state, step) = match (tag, state) {
            (_, State::Over) => return Err(LoginError::Protocol { tag }),
            (ERROR_RESPONSE, _) => return Err(LoginError::Server(ServerError::read(body))),
            (NOTICE_RESPONSE, state) => (state, Step::Notice(Fields::new(body))),
            (AUTHENTICATION, state) => {
                let request = Authentication::read(body).map_err(malformed)?;
                self.authenticate(&request, state, out)?
            }
            (PARAMETER_STATUS, State::Welcome) => {
                let (name, value) = read_parameter_status(body).map_err(malformed)?;
                (State::Welcome, Step::Parameter(name, value))
            }
            (BACKEND_KEY_DATA, State::Welcome) => {
                let (pid, secret) = read_backend_key_data(body).map_err(malformed)?;
                (State::Welcome, Step::Key(pid, secret))
            }
            (READY_FOR_QUERY, State::Welcome) => match read_ready_for_query(body).map_err(malformed)? {
                TransactionStatus::Idle => (State::Over, Step::Ready),
                _ => return Err(LoginError::Protocol { tag }),
            },
            _ => return Err(LoginError::Protocol { tag }),
        };
        self.state = state;
        Ok(step)
    }

    /// Keys to keep for the next login of this user to this server: those derived in this one, if any.
    pub fn into_scram_keys(self) -> Option<ClientKeys> {
        self.credentials.scram_keys
    }

    /// Takes the keys [`Step::Derive`] asked for and appends the answer they make to `out`.
    ///
    /// # Errors
    /// [`LoginError`] if none were asked for: close the connection.
    pub fn derived(&mut self, derived: Derived, out: &mut Vec<u8>) -> Result<(), LoginError> {
        let State::Sasl(mut exchange) = std::mem::replace(&mut self.state, State::Over) else {
            return Err(LoginError::Scram(ScramError::OutOfOrder));
        };
        let answer = exchange.derived(derived).map_err(scram_failure)?;
        frontend::sasl_response(out, &answer);
        self.state = State::Sasl(exchange);
        Ok(())
    }

    fn authenticate<'a>(
        &mut self,
        request: &Authentication<'_>,
        state: State,
        out: &mut Vec<u8>,
    ) -> Result<(State, Step<'a>), LoginError> {
        let state = match (request, state) {
            (Authentication::Ok, State::Start | State::Answered) => State::Welcome,
            (Authentication::Ok, State::Sasl(exchange)) => self.accept_sasl(*exchange)?,
            (Authentication::CleartextPassword, State::Start) => self.answer_cleartext(out)?,
            (Authentication::Md5Password { salt }, State::Start) => self.answer_md5(*salt, out)?,
            (Authentication::Sasl { mechanisms }, State::Start) => {
                self.begin_sasl(mechanisms.clone(), out)?
            }
            (Authentication::SaslContinue(data), State::Sasl(mut exchange)) => {
                let step = match exchange.server_first(data).map_err(scram_failure)? {
                    ClientStep::Answer(answer) => {
                        frontend::sasl_response(out, &answer);
                        Step::Continue
                    }
                    ClientStep::Derive(recipe) => Step::Derive(recipe),
                };
                return Ok((State::Sasl(exchange), step));
            }
            (Authentication::SaslFinal(data), State::Sasl(mut exchange)) => {
                exchange.server_final(data).map_err(scram_failure)?;
                State::Sasl(exchange)
            }
            (Authentication::Other(number), State::Start) => return Err(LoginError::UnknownMethod(*number)),
            _ => return Err(LoginError::Protocol { tag: AUTHENTICATION }),
        };
        Ok((state, Step::Continue))
    }

    fn accept_sasl(&mut self, exchange: ClientExchange) -> Result<State, LoginError> {
        // A server that skips its proof may not be the one that knows the secret.
        if !exchange.is_verified() {
            return Err(LoginError::BadSignature);
        }
        self.credentials.scram_keys = exchange.into_derived();
        Ok(State::Welcome)
    }

    fn answer_cleartext(&self, out: &mut Vec<u8>) -> Result<State, LoginError> {
        let Some(Secret::Plain(password)) = &self.credentials.secret else {
            return Err(LoginError::WrongPasswordType(Method::Cleartext));
        };
        frontend::password(out, password);
        Ok(State::Answered)
    }

    fn answer_md5(&self, salt: [u8; 4], out: &mut Vec<u8>) -> Result<State, LoginError> {
        let Credentials { user, secret, .. } = &self.credentials;
        let answer = secret.as_ref().and_then(|secret| secret.md5_answer(user, salt));
        frontend::password(out, &answer.ok_or(LoginError::WrongPasswordType(Method::Md5))?);
        Ok(State::Answered)
    }

    fn begin_sasl(&mut self, mut mechanisms: Mechanisms<'_>, out: &mut Vec<u8>) -> Result<State, LoginError> {
        if !mechanisms.any(|name| name == MECHANISM) {
            return Err(LoginError::NoMechanism);
        }
        let exchange = match (&self.credentials.secret, self.credentials.scram_keys.clone()) {
            (Some(Secret::Plain(password)), keys) => {
                ClientExchange::with_password(password, keys, &self.nonce)
            }
            (_, Some(keys)) => ClientExchange::with_keys(keys, &self.nonce),
            (_, None) => return Err(LoginError::WrongPasswordType(Method::Scram)),
        };
        frontend::sasl_initial(out, MECHANISM, &exchange.client_first());
        Ok(State::Sasl(Box::new(exchange)))
    }
}

fn scram_failure(error: ScramError) -> LoginError {
    match error {
        ScramError::Signature => LoginError::BadSignature,
        ScramError::KeysDoNotFit => LoginError::WrongPasswordType(Method::Scram),
        error => LoginError::Scram(error),
    }
}
