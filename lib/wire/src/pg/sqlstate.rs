//! SQLSTATE codes (PostgreSQL manual, appendix "PostgreSQL Error Codes"): those we send, and those that decide what
//! happens next when a server sends them.

use std::fmt;

/// Five digits or capital letters; the first two are the class.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// Reads a code: exactly five digits or capital letters, else None.
    pub fn read(text: &[u8]) -> Option<Self> {
        let code: [u8; 5] = text.try_into().ok()?;
        code.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()).then_some(Self(code))
    }

    /// The code's five bytes.
    pub fn as_bytes(&self) -> &[u8; 5] {
        &self.0
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in, so this never takes the second way.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The first two characters: the class of the error.
    pub fn class(&self) -> [u8; 2] {
        [self.0[0], self.0[1]]
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlState({self})")
    }
}

macro_rules! codes {
    ($($name:ident = $code:literal, $doc:literal;)*) => {
        impl SqlState {
            $(#[doc = $doc] pub const $name: Self = Self(*$code);)*

            /// Every constant above, for the test of their spelling.
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

codes! {
    SUCCESSFUL_COMPLETION = b"00000", "No error: what notices carry.";
    WARNING = b"01000", "A warning without a code of its own.";
    CONNECTION_EXCEPTION = b"08000", "Something about the connection.";
    UNABLE_TO_CONNECT = b"08001", "No connection to the server could be made.";
    CONNECTION_DOES_NOT_EXIST = b"08003", "There is no such connection.";
    SERVER_REJECTED_CONNECTION = b"08004", "The server refused the connection.";
    CONNECTION_FAILURE = b"08006", "The connection to the server was lost.";
    PROTOCOL_VIOLATION = b"08P01", "The peer broke the protocol; also what PgBouncer uses for nearly everything.";
    FEATURE_NOT_SUPPORTED = b"0A000", "Not supported; also a cached plan whose result type changed.";
    INVALID_PARAMETER_VALUE = b"22023", "A parameter has a value it cannot have.";
    INVALID_TRANSACTION_STATE = b"25000", "The transaction is in the wrong state.";
    ACTIVE_SQL_TRANSACTION = b"25001", "Not allowed inside a transaction.";
    IN_FAILED_SQL_TRANSACTION = b"25P02", "The transaction has failed; only its end is accepted.";
    IDLE_IN_TRANSACTION_SESSION_TIMEOUT = b"25P03", "The session sat idle in a transaction for too long.";
    INVALID_SQL_STATEMENT_NAME = b"26000", "There is no such prepared statement.";
    INVALID_AUTHORIZATION_SPECIFICATION = b"28000", "The user may not log in this way.";
    INVALID_PASSWORD = b"28P01", "The password, or the proof of it, is wrong.";
    INVALID_CURSOR_NAME = b"34000", "There is no such portal.";
    INVALID_CATALOG_NAME = b"3D000", "There is no such database.";
    SYNTAX_ERROR = b"42601", "The text is not understood.";
    INSUFFICIENT_PRIVILEGE = b"42501", "The user may not do this.";
    UNDEFINED_OBJECT = b"42704", "There is no such object, a setting for example.";
    DUPLICATE_PREPARED_STATEMENT = b"42P05", "A prepared statement of this name exists already.";
    INSUFFICIENT_RESOURCES = b"53000", "Something has run out.";
    OUT_OF_MEMORY = b"53200", "Memory, or an allowance of it, has run out.";
    TOO_MANY_CONNECTIONS = b"53300", "A limit of connections is reached.";
    CONFIGURATION_LIMIT_EXCEEDED = b"53400", "A configured limit is reached.";
    OBJECT_NOT_IN_PREREQUISITE_STATE = b"55000", "The object is not in a state that allows this.";
    QUERY_CANCELED = b"57014", "A cancel request, or a time limit, ended the query.";
    ADMIN_SHUTDOWN = b"57P01", "An administrator ends the session.";
    CRASH_SHUTDOWN = b"57P02", "The server ends all sessions because one of them crashed.";
    CANNOT_CONNECT_NOW = b"57P03", "The server is starting up, shutting down or recovering.";
    IDLE_SESSION_TIMEOUT = b"57P05", "The session sat idle for too long.";
    SYSTEM_ERROR = b"58000", "The operating system failed us.";
    CONFIG_FILE_ERROR = b"F0000", "The configuration cannot be used.";
    INTERNAL_ERROR = b"XX000", "A bug or damage.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constant_is_well_formed_and_there_once() {
        for code in SqlState::ALL {
            assert_eq!(SqlState::read(code.as_bytes()), Some(*code));
            assert_eq!(code.to_string().as_bytes(), code.as_bytes());
            assert_eq!(SqlState::ALL.iter().filter(|other| *other == code).count(), 1, "{code}");
        }
        assert_eq!(SqlState::PROTOCOL_VIOLATION.class(), *b"08");
    }

    #[test]
    fn what_is_not_a_code() {
        for text in [&b""[..], b"0800", b"080011", b"08p01", b"08 01", b"0800\xc3"] {
            assert_eq!(SqlState::read(text), None);
        }
    }
}
