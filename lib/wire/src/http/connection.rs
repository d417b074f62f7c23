//! What a head says about the connection it came on (RFC 9112 §9.3, RFC 9110 §7.6.1).

use super::fields::Fields;
use super::names::Name;
use super::request::Version;

/// Whether a connection goes on after a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Persistence {
    /// Another exchange may follow.
    KeepAlive,
    /// This exchange is the last.
    Close,
}

/// The options of the Connection fields of one head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    persistence: Persistence,
    upgrade: Upgrade,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Upgrade {
    Named,
    Absent,
}

impl Connection {
    /// Reads the Connection fields of a message of `version`.
    pub(super) fn of(version: Version, fields: &Fields) -> Self {
        let (mut close, mut keep_alive, mut upgrade) = (false, false, Upgrade::Absent);
        for option in fields.elements(Name::Connection) {
            if option.eq_ignore_ascii_case(b"close") {
                close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                upgrade = Upgrade::Named;
            }
        }
        let persists = !close && (keep_alive || version == Version::Http11);
        let persistence = if persists { Persistence::KeepAlive } else { Persistence::Close };
        Self { persistence, upgrade }
    }

    /// Whether the sender wants to go on.
    pub fn persistence(self) -> Persistence {
        self.persistence
    }

    /// Whether the Upgrade field is meant for this connection.
    pub fn has_upgrade(self) -> bool {
        self.upgrade == Upgrade::Named
    }
}
