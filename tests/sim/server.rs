//! A fake PostgreSQL server process: login, then a [`Session`].

use sluice_wire::pg::error::{ErrorResponse, Severity};
use sluice_wire::pg::frame;
use sluice_wire::pg::scram::{self, ScramSecret, Secret, ServerExchange, ServerStep};
use sluice_wire::pg::startup::{self, First, Progress};
use sluice_wire::pg::{backend, frontend};

use crate::session::{Session, Step, Values, canonical, reported_name, state};

/// Everybody's password.
pub(crate) const PASSWORD: &[u8] = b"secret";

/// How a server treats a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Trust,
    Md5,
    Scram,
    /// Refused by the error of this code.
    Refuse(&'static [u8; 5]),
}

#[derive(Debug)]
enum Stage {
    Startup,
    Md5 {
        user: Vec<u8>,
        salt: [u8; 4],
    },
    SaslInitial(Box<ServerExchange>),
    Sasl(Box<ServerExchange>),
    Session,
    /// It took a CancelRequest and closes.
    Over,
}

/// What a server process has just learnt that concerns others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A CancelRequest for the process with this key.
    Cancel([u8; 4], Vec<u8>),
    /// A StartupMessage for this database and user.
    Startup(String, String),
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) pid: [u8; 4],
    pub(crate) secret: [u8; 4],
    login: Login,
    stage: Stage,
    input: Vec<u8>,
    pub(crate) session: Session,
}

impl Server {
    pub(crate) fn new(number: u32, login: Login, defaults: Values) -> Self {
        Server {
            pid: number.to_be_bytes(),
            secret: (number ^ 0x5a5a_5a5a).to_be_bytes(),
            login,
            stage: Stage::Startup,
            input: Vec::new(),
            session: Session::new(defaults.clone(), defaults),
        }
    }

    pub(crate) fn is_logged_in(&self) -> bool {
        matches!(self.stage, Stage::Session)
    }

    /// It has ended, or will when what it said has left.
    pub(crate) fn is_over(&self) -> bool {
        self.session.over || matches!(self.stage, Stage::Over)
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.is_logged_in() {
            self.session.feed(bytes);
        } else {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Does one thing.
    pub(crate) fn step(&mut self) -> (Step, Option<News>) {
        match self.stage {
            Stage::Session => (self.session.step(), None),
            Stage::Over => (Step::Over, None),
            Stage::Startup => self.startup(),
            _ => (self.proof(), None),
        }
    }

    fn startup(&mut self) -> (Step, Option<News>) {
        let (consumed, news, user) = match startup::read(&self.input).expect("startup packets are valid") {
            Progress::Need(_) => return (Step::Idle, None),
            Progress::Done { consumed, first: First::Cancel { pid, secret } } => {
                (consumed, News::Cancel(pid, secret.to_vec()), None)
            }
            Progress::Done { consumed, first: First::Startup(message) } => {
                let text =
                    |name| String::from_utf8_lossy(message.param(name).unwrap_or_default()).into_owned();
                for (name, value) in message.params() {
                    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                    let value = String::from_utf8_lossy(value);
                    if let Some(known) = self.session.values.get_mut(&name) {
                        *known = canonical(&name, &value);
                    }
                }
                (consumed, News::Startup(text(b"database"), text(b"user")), Some(text(b"user")))
            }
            Progress::Done { first, .. } => panic!("the pooler asked a server for {first:?}"),
        };
        self.input.drain(..consumed);
        match user {
            Some(user) => self.challenge(&user),
            None => self.stage = Stage::Over,
        }
        (Step::Moved, Some(news))
    }

    fn challenge(&mut self, user: &str) {
        let out = &mut self.session.out;
        match self.login {
            Login::Trust => self.welcome(),
            Login::Md5 => {
                let salt = [1, 2, 3, self.pid[3]];
                backend::authentication_md5(out, salt);
                self.stage = Stage::Md5 { user: user.as_bytes().to_vec(), salt };
            }
            Login::Scram => {
                backend::authentication_sasl(out, &[scram::MECHANISM]);
                let salt = b"sixteen bytes ok".to_vec();
                let secret = ScramSecret::new(&scram::derive(PASSWORD, &salt, 4), salt, 4);
                let exchange = ServerExchange::new(secret, &[self.pid[3]; scram::NONCE_LEN]);
                self.stage = Stage::SaslInitial(Box::new(exchange));
            }
            Login::Refuse(code) => {
                ErrorResponse::new(Severity::Fatal, state(code), "login refused by plan").write(out);
                self.stage = Stage::Over;
            }
        }
    }

    fn proof(&mut self) -> Step {
        let Some(message) = frame::message(&self.input).expect("the pooler keeps the framing") else {
            return Step::Idle;
        };
        assert_eq!(message.tag, frontend::PASSWORD, "a server is told its password");
        let (body, rest) = (message.body.to_vec(), message.rest.to_vec());
        self.input = rest;
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Md5 { user, salt } => {
                let answer = frontend::read_password(&body).expect("a password is terminated");
                assert!(Secret::Plain(PASSWORD.to_vec()).accepts_md5(&user, salt, answer), "md5 answer");
                self.welcome();
            }
            Stage::SaslInitial(exchange) => {
                let initial = frontend::SaslInitial::read(&body).expect("a SASLInitialResponse");
                self.sasl(exchange, initial.data.expect("with data"));
            }
            Stage::Sasl(exchange) => self.sasl(exchange, &body),
            Stage::Startup | Stage::Session | Stage::Over => {}
        }
        Step::Moved
    }

    fn sasl(&mut self, mut exchange: Box<ServerExchange>, data: &[u8]) {
        match exchange.step(data).expect("the pooler knows the password") {
            ServerStep::Continue(answer) => {
                backend::sasl_continue(&mut self.session.out, &answer);
                self.stage = Stage::Sasl(exchange);
            }
            ServerStep::Done { server_final, .. } => {
                backend::sasl_final(&mut self.session.out, &server_final);
                self.welcome();
            }
        }
    }

    fn welcome(&mut self) {
        let values = self.session.values.clone();
        let said = std::mem::take(&mut self.session.out);
        self.session = Session::new(values.clone(), values.clone());
        let out = &mut self.session.out;
        out.extend_from_slice(&said);
        backend::authentication_ok(out);
        backend::parameter_status(out, b"server_version", b"15.7");
        for (name, value) in &values {
            backend::parameter_status(out, reported_name(name).as_bytes(), value.as_bytes());
        }
        backend::backend_key_data(out, self.pid, &self.secret);
        backend::ready_for_query(out, backend::TransactionStatus::Idle);
        self.session.feed(&std::mem::take(&mut self.input));
        self.stage = Stage::Session;
    }
}
