//! The types settings are projected into, and the projection itself.

use sluice_cli::settings::Value;

sluice_cli::field_trait!();

sluice_cli::setting_words! {
    /// When a server goes back to its pool.
    PoolMode,
    /// When the client disconnects.
    Session = "session",
    /// When a transaction ends.
    Transaction = "transaction",
    /// When a statement ends; transactions of several statements are refused.
    Statement = "statement",
}

sluice_cli::setting_words! {
    /// How clients prove who they are.
    AuthType,
    /// MD5, or SCRAM where the stored secret is one.
    Md5 = "md5",
    /// SCRAM-SHA-256.
    ScramSha256 = "scram-sha-256",
    /// Password in clear text.
    Plain = "plain",
    /// No proof, but the user must be known.
    Trust = "trust",
    /// No proof and any name: the database forces its own user.
    Any = "any",
    /// TLS client certificate.
    Cert = "cert",
    /// Rules of `auth_hba_file`.
    Hba = "hba",
    /// Password in clear text, checked against a directory.
    Ldap = "ldap",
    /// Password in clear text, checked by PAM.
    Pam = "pam",
}

sluice_cli::setting_words! {
    /// Which of a database's hosts the next server connection goes to.
    LoadBalance,
    /// The next one.
    RoundRobin = "round-robin",
    /// The same one until it fails.
    Disable = "disable",
}

sluice_cli::setting_words! {
    /// The form of log lines.
    LogFormat,
    /// PgBouncer's lines.
    Pgbouncer = "pgbouncer",
    /// One JSON object a line.
    Json = "json",
}

sluice_cli::setting_words! {
    /// What becomes of a server whose client went away in the middle of a request.
    OnClientLoss,
    /// Drain after a Terminate message, cancel after a lost connection.
    Auto = "auto",
    /// Close the server connection, as PgBouncer does.
    Close = "close",
    /// Read the answer to its end, roll back, keep the server.
    Drain = "drain",
    /// Send a CancelRequest, then drain.
    Cancel = "cancel",
}

/// `server_check_query`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CheckQuery {
    /// `""`: no check.
    #[default]
    None,
    /// `<empty>`: a Query without text.
    Empty,
    /// This text.
    Sql(String),
}

impl Field for CheckQuery {
    fn from_value(value: &Value) -> Self {
        match String::from_value(value) {
            text if text.is_empty() => Self::None,
            text if text == "<empty>" => Self::Empty,
            text => Self::Sql(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn words_are_the_variants() {
        for (mode, word) in [(PoolMode::Session, "session"), (PoolMode::Statement, "STATEMENT")] {
            assert_eq!(PoolMode::from_word(word), Some(mode));
        }
        assert_eq!(PoolMode::from_word("sessions"), None);
        for word in AuthType::WORDS {
            assert_eq!(AuthType::from_word(word).map(AuthType::word), Some(*word));
        }
    }

    #[test]
    fn zero_is_off_and_negative_is_no_limit() {
        assert_eq!(Option::<Duration>::from_value(&Value::Seconds(Duration::ZERO)), None);
        let second = Duration::from_secs(1);
        assert_eq!(Option::<Duration>::from_value(&Value::Seconds(second)), Some(second));
        assert_eq!(u32::from_value(&Value::Int(-1)), 0);
        assert_eq!(u32::from_value(&Value::Int(i64::from(u32::MAX) + 1)), u32::MAX);
        assert_eq!(Option::<String>::from_value(&Value::Text(String::new())), None);
    }

    #[test]
    fn check_query() {
        let of = |text: &str| CheckQuery::from_value(&Value::Text(text.into()));
        assert_eq!(of(""), CheckQuery::None);
        assert_eq!(of("<empty>"), CheckQuery::Empty);
        assert_eq!(of("select 1"), CheckQuery::Sql("select 1".into()));
    }
}
