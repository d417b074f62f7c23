//! The server role: checks that a client of ours knows the password behind a stored secret.
//!
//! ```text
//! First --client-first / server-first--> Final --client-final / server-final--> Over
//!   any error: Over
//! ```
//! An unknown user gets a mock: the same messages from a salt that stays the same for that user, the same computing, and
//! the same failure as a wrong password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::message::{Attributes, is_nonce, text};
use super::{KEY_LEN, NONCE_LEN, SALT_LEN, ScramError, ScramSecret, hmac, same_bytes, sha256, xor};

/// An exchange with a client.
#[derive(Debug)]
pub struct ServerExchange {
    secret: ScramSecret,
    subject: Subject,
    state: State,
}

/// What the exchange does next.
#[derive(Clone, PartialEq, Eq)]
pub enum ServerStep {
    /// Send this server-first message (AuthenticationSASLContinue) and await the client's answer.
    Continue(Vec<u8>),
    /// The client knows the password.
    Done {
        /// Send this server-final message (AuthenticationSASLFinal), then AuthenticationOk.
        server_final: Vec<u8>,
        /// The client's key, which logs in to a server that stores the same secret.
        client_key: [u8; 32],
    },
}

impl std::fmt::Debug for ServerStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Continue(_) => "Continue(..)",
            Self::Done { .. } => "Done(..)",
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Subject {
    User,
    Nobody,
}

#[derive(Debug)]
enum State {
    First { nonce: String },
    Final(Challenge),
    Over,
}

/// What client-final is checked against.
#[derive(Debug)]
struct Challenge {
    /// The base64 of the GS2 header, which the client must repeat.
    binding: &'static str,
    client_first_bare: String,
    server_first: String,
    nonce: String,
}

impl ServerExchange {
    /// An exchange with a user whose stored secret is `secret`; `nonce` is fresh randomness.
    pub fn new(secret: ScramSecret, nonce: &[u8; NONCE_LEN]) -> Self {
        Self { secret, subject: Subject::User, state: State::First { nonce: BASE64.encode(nonce) } }
    }

    /// An exchange with `user`, who does not exist or has no secret SCRAM can use. It fails at its end, not before.
    ///
    /// `process_key` is random and the same for the life of the process, so that asking twice shows the same salt;
    /// `iterations` are those existing users have.
    pub fn mock(process_key: &[u8], user: &[u8], iterations: u32, nonce: &[u8; NONCE_LEN]) -> Self {
        let salt = hmac(process_key, &[b"salt", user])[..SALT_LEN].to_vec();
        let secret = ScramSecret {
            iterations,
            salt,
            stored_key: hmac(process_key, &[b"stored", user]),
            server_key: hmac(process_key, &[b"server", user]),
        };
        Self { subject: Subject::Nobody, ..Self::new(secret, nonce) }
    }

    /// Takes the client's next message: the data of its SASLInitialResponse, then of its SASLResponse.
    ///
    /// # Errors
    /// [`ScramError`] if the client is to be refused; the exchange is over then.
    pub fn step(&mut self, message: &[u8]) -> Result<ServerStep, ScramError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::First { nonce } => {
                let challenge = self.client_first(text(message)?, &nonce)?;
                let server_first = challenge.server_first.clone().into_bytes();
                self.state = State::Final(challenge);
                Ok(ServerStep::Continue(server_first))
            }
            State::Final(challenge) => self.client_final(text(message)?, &challenge),
            State::Over => Err(ScramError::OutOfOrder),
        }
    }

    /// Replaces the nonce, to replay a published exchange.
    #[cfg(test)]
    pub(super) fn set_nonce(&mut self, nonce: &str) {
        self.state = State::First { nonce: nonce.to_owned() };
    }

    fn client_first(&self, message: &str, own_nonce: &str) -> Result<Challenge, ScramError> {
        // gs2-header = gs2-cbind-flag "," [authzid] ",": `y` says that the client could bind but thinks that we cannot,
        // which is true.
        let (flag, rest) = message.split_once(',').ok_or(ScramError::Malformed)?;
        let binding = match flag {
            "n" => "biws",
            "y" => "eSws",
            _ if flag.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(ScramError::Malformed),
        };
        let (authzid, bare) = rest.split_once(',').ok_or(ScramError::Malformed)?;
        if !authzid.is_empty() {
            return Err(if authzid.starts_with("a=") {
                ScramError::AuthorizationIdentity
            } else {
                ScramError::Malformed
            });
        }
        let mut attributes = Attributes::new(bare);
        // Ignored, as in PostgreSQL: the user is the one in the StartupMessage.
        attributes.expect(b'n')?;
        let client_nonce = attributes.expect(b'r')?;
        if !is_nonce(client_nonce) {
            return Err(ScramError::Malformed);
        }
        attributes.skip_rest()?;
        let nonce = format!("{client_nonce}{own_nonce}");
        let salt = BASE64.encode(&self.secret.salt);
        let server_first = format!("r={nonce},s={salt},i={}", self.secret.iterations);
        Ok(Challenge { binding, client_first_bare: bare.to_owned(), server_first, nonce })
    }

    fn client_final(&self, message: &str, challenge: &Challenge) -> Result<ServerStep, ScramError> {
        // The proof is the last attribute and covers all before it.
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut attributes = Attributes::new(without_proof);
        if attributes.expect(b'c')? != challenge.binding {
            return Err(ScramError::ChannelBinding);
        }
        if !same_bytes(attributes.expect(b'r')?.as_bytes(), challenge.nonce.as_bytes()) {
            return Err(ScramError::Nonce);
        }
        attributes.skip_rest()?;
        let proof: [u8; KEY_LEN] =
            BASE64.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or(ScramError::Malformed)?;

        let Challenge { client_first_bare, server_first, .. } = challenge;
        let auth_message = format!("{client_first_bare},{server_first},{without_proof}");
        let client_key = xor(&proof, &hmac(&self.secret.stored_key, &[auth_message.as_bytes()]));
        let known = same_bytes(&sha256(&client_key), &self.secret.stored_key);
        let signature = hmac(&self.secret.server_key, &[auth_message.as_bytes()]);
        if !known || self.subject == Subject::Nobody {
            return Err(ScramError::Proof);
        }
        let server_final = format!("v={}", BASE64.encode(signature)).into_bytes();
        Ok(ServerStep::Done { server_final, client_key })
    }
}
