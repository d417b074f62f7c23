//! The client role: logs in to a server, with a password or with keys learnt from a client that knows it.
//!
//! ```text
//! First --server-first / client-final--> Final --server-final--> Verified
//! First --server-first--> Keys --derived / client-final--> Final        any error: Over
//! ```

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::message::{Attributes, is_nonce, text};
use super::{ITERATIONS_MAX, Keys, NONCE_LEN, Recipe, ScramError, ScramSecret, hmac, same_bytes, xor};
use crate::pg::secret::decimal;

/// No channel binding, no authorization identity.
const GS2_HEADER: &str = "n,,";
/// `GS2_HEADER` in base64.
const BINDING: &str = "biws";

/// Keys and what they were derived with: worth keeping, because the next login to the same server needs no PBKDF2 then.
#[derive(Clone, PartialEq, Eq)]
pub struct Derived {
    /// The salt, not encoded.
    pub salt: Vec<u8>,
    /// PBKDF2 iterations.
    pub iterations: u32,
    /// The keys.
    pub keys: Keys,
}

impl Derived {
    /// What checks a client against the password these keys were derived from.
    pub fn to_secret(&self) -> ScramSecret {
        ScramSecret::new(&self.keys, self.salt.clone(), self.iterations)
    }

    /// The keys for pass-through: those of the stored `secret`, and the client key its user has shown us.
    pub fn from_client(secret: &ScramSecret, client_key: [u8; 32]) -> Self {
        let keys = Keys { client_key, stored_key: secret.stored_key, server_key: secret.server_key };
        Self { salt: secret.salt.clone(), iterations: secret.iterations, keys }
    }

    fn fits(&self, salt: &[u8], iterations: u32) -> bool {
        self.salt == salt && self.iterations == iterations
    }
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// An exchange with a server.
pub struct ClientExchange {
    password: Option<Vec<u8>>,
    derived: Option<Derived>,
    nonce: String,
    state: State,
}

/// What comes of a server-first message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientStep {
    /// Send this client-final message, in a SASLResponse.
    Answer(Vec<u8>),
    /// Derive these keys first, and hand them to [`ClientExchange::derived`].
    Derive(Recipe),
}

enum State {
    First,
    /// The keys are being derived.
    Keys(Challenge),
    Final {
        server_signature: [u8; 32],
    },
    Verified,
    Over,
}

/// What a server has asked.
struct Challenge {
    server_first: String,
    full_nonce: String,
    salt: Vec<u8>,
    iterations: u32,
}

impl ClientExchange {
    /// An exchange with a plain `password`; `nonce` is fresh randomness. Keys `derived` at an earlier login are used if
    /// they fit the server's salt and iterations.
    pub fn with_password(password: &[u8], derived: Option<Derived>, nonce: &[u8; NONCE_LEN]) -> Self {
        Self { password: Some(password.to_vec()), derived, nonce: BASE64.encode(nonce), state: State::First }
    }

    /// An exchange with keys only: it fails if the server's salt or iterations are others.
    pub fn with_keys(keys: Derived, nonce: &[u8; NONCE_LEN]) -> Self {
        Self { password: None, derived: Some(keys), nonce: BASE64.encode(nonce), state: State::First }
    }

    /// The client-first message, for a SASLInitialResponse: the first thing to send. Like PostgreSQL's own client it
    /// names no user: the server knows it from the StartupMessage.
    pub fn client_first(&self) -> Vec<u8> {
        format!("{GS2_HEADER}{}", self.client_first_bare()).into_bytes()
    }

    /// Replaces the nonce, to replay a published exchange.
    #[cfg(test)]
    pub(super) fn set_nonce(&mut self, nonce: &str) {
        nonce.clone_into(&mut self.nonce);
    }

    fn client_first_bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// Takes the server-first message and gives the client-final one, or asks for the keys it takes.
    ///
    /// # Errors
    /// [`ScramError`] if the message is wrong or our keys do not fit it; the exchange is over then.
    pub fn server_first(&mut self, message: &[u8]) -> Result<ClientStep, ScramError> {
        let State::First = std::mem::replace(&mut self.state, State::Over) else {
            return Err(ScramError::OutOfOrder);
        };
        let challenge = self.challenge(text(message)?)?;
        if let Some(derived) = &self.derived
            && derived.fits(&challenge.salt, challenge.iterations)
        {
            let keys = derived.keys;
            return Ok(ClientStep::Answer(self.answer(&challenge, &keys)));
        }
        let password = self.password.clone().ok_or(ScramError::KeysDoNotFit)?;
        let recipe = Recipe { password, salt: challenge.salt.clone(), iterations: challenge.iterations };
        self.state = State::Keys(challenge);
        Ok(ClientStep::Derive(recipe))
    }

    /// Takes the keys that were asked for and gives the client-final message.
    ///
    /// # Errors
    /// [`ScramError`] if none were asked for, or others; the exchange is over then.
    pub fn derived(&mut self, derived: Derived) -> Result<Vec<u8>, ScramError> {
        let State::Keys(challenge) = std::mem::replace(&mut self.state, State::Over) else {
            return Err(ScramError::OutOfOrder);
        };
        if !derived.fits(&challenge.salt, challenge.iterations) {
            return Err(ScramError::KeysDoNotFit);
        }
        let keys = derived.keys;
        self.derived = Some(derived);
        Ok(self.answer(&challenge, &keys))
    }

    fn challenge(&self, server_first: &str) -> Result<Challenge, ScramError> {
        let mut attributes = Attributes::new(server_first);
        let full_nonce = attributes.expect(b'r')?;
        let salt = attributes.expect(b's')?;
        let iterations = attributes.expect(b'i')?;
        attributes.skip_rest()?;

        // The server must add to our nonce, or an old exchange could be replayed to us.
        let added = full_nonce.strip_prefix(&self.nonce).ok_or(ScramError::Nonce)?;
        if !is_nonce(added) {
            return Err(ScramError::Nonce);
        }
        let salt = BASE64.decode(salt).map_err(|_| ScramError::Malformed)?;
        let iterations =
            decimal(iterations).filter(|&count| count <= ITERATIONS_MAX).ok_or(ScramError::Iterations)?;
        let (server_first, full_nonce) = (server_first.to_owned(), full_nonce.to_owned());
        Ok(Challenge { server_first, full_nonce, salt, iterations })
    }

    fn answer(&mut self, challenge: &Challenge, keys: &Keys) -> Vec<u8> {
        let without_proof = format!("c={BINDING},r={}", challenge.full_nonce);
        let auth_message = format!("{},{},{without_proof}", self.client_first_bare(), challenge.server_first);
        let proof = xor(&keys.client_key, &hmac(&keys.stored_key, &[auth_message.as_bytes()]));
        let server_signature = hmac(&keys.server_key, &[auth_message.as_bytes()]);
        self.state = State::Final { server_signature };
        format!("{without_proof},p={}", BASE64.encode(proof)).into_bytes()
    }

    /// Takes the server-final message: the server has proved that it knows the secret too.
    ///
    /// # Errors
    /// [`ScramError`] if it has not; the exchange is over then.
    pub fn server_final(&mut self, message: &[u8]) -> Result<(), ScramError> {
        let State::Final { server_signature } = std::mem::replace(&mut self.state, State::Over) else {
            return Err(ScramError::OutOfOrder);
        };
        let mut attributes = Attributes::new(text(message)?);
        let signature = match attributes.any()? {
            Some((b'v', signature)) => BASE64.decode(signature).map_err(|_| ScramError::Malformed)?,
            Some((b'e', _)) => return Err(ScramError::Refused),
            _ => return Err(ScramError::Malformed),
        };
        attributes.skip_rest()?;
        if !same_bytes(&signature, &server_signature) {
            return Err(ScramError::Signature);
        }
        self.state = State::Verified;
        Ok(())
    }

    /// Whether the server has proved that it knows the secret.
    pub fn is_verified(&self) -> bool {
        matches!(self.state, State::Verified)
    }

    /// The keys this exchange has used or was given, to keep for the next one.
    pub fn into_derived(self) -> Option<Derived> {
        self.derived
    }
}

impl fmt::Debug for ClientExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientExchange").finish_non_exhaustive()
    }
}
