//! The client's half of start-up and authentication: cleartext, md5, SCRAM-SHA-256.

use super::{Client, Failure};
use crate::message;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum Target {
    /// TCP.
    Tcp(SocketAddr),
    /// The socket file itself.
    Unix(PathBuf),
}

/// Who logs in to what, and how.
#[derive(Debug, Clone)]
pub struct Login {
    target: Target,
    version: u32,
    password: String,
    parameters: Vec<(String, String)>,
}

impl Login {
    /// Protocol 3.0 and no password.
    pub fn new(target: Target, user: &str, database: &str) -> Login {
        let parameters =
            vec![("user".to_owned(), user.to_owned()), ("database".to_owned(), database.to_owned())];
        Login { target, version: 3 << 16, password: String::new(), parameters }
    }

    /// Answers password requests with this.
    pub fn password(mut self, password: &str) -> Login {
        password.clone_into(&mut self.password);
        self
    }

    /// Adds a startup parameter.
    pub fn parameter(mut self, name: &str, value: &str) -> Login {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks for protocol 3.`minor`.
    pub fn minor(mut self, minor: u16) -> Login {
        self.version = 3 << 16 | u32::from(minor);
        self
    }

    /// The StartupMessage.
    pub fn startup(&self) -> Vec<u8> {
        let parameters: Vec<(&str, &str)> =
            self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        message::startup(self.version, &parameters)
    }

    /// Where it goes.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Connects and logs in.
    pub fn connect(&self) -> Result<Client, Failure> {
        let mut client = Client::raw(&self.target)?;
        client.send(&self.startup())?;
        self.finish(&mut client)?;
        Ok(client)
    }

    /// Goes on behind the StartupMessage, through the first ReadyForQuery.
    pub fn finish(&self, client: &mut Client) -> Result<(), Failure> {
        let mut scram = ScramSha256::new(self.password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let message = client.receive()?;
            match message.tag {
                b'R' => self.authenticate(client, &mut scram, &message.body)?,
                b'K' => {
                    let (pid, secret) = message.body.split_at(4);
                    client.key = Some((pid.try_into().unwrap(), secret.to_vec()));
                }
                b'E' => return Err(Failure::Server(message.error())),
                b'S' | b'N' | b'v' => {}
                b'Z' => return Ok(()),
                tag => return Err(Failure::Protocol(format!("{} during login", tag as char))),
            }
        }
    }

    fn authenticate(&self, client: &mut Client, scram: &mut ScramSha256, body: &[u8]) -> Result<(), Failure> {
        let (kind, rest) = body.split_at(4);
        match u32::from_be_bytes(kind.try_into().unwrap()) {
            0 => Ok(()),
            3 => client.send(&password(&self.password)),
            5 => {
                let user = &self.parameters[0].1;
                let hash = md5_hash(user.as_bytes(), self.password.as_bytes(), rest.try_into().unwrap());
                client.send(&password(&hash))
            }
            10 => {
                let mut body = [SCRAM_SHA_256.as_bytes(), &[0]].concat();
                body.extend(u32::try_from(scram.message().len()).unwrap().to_be_bytes());
                body.extend(scram.message());
                client.send(&message::message(b'p', &body))
            }
            11 => {
                scram.update(rest).map_err(Failure::Io)?;
                client.send(&message::message(b'p', scram.message()))
            }
            12 => scram.finish(rest).map_err(Failure::Io),
            other => Err(Failure::Protocol(format!("authentication request {other}"))),
        }
    }
}

fn password(text: &str) -> Vec<u8> {
    message::message(b'p', &[text.as_bytes(), &[0]].concat())
}
