//! The types settings are projected into, and the projection itself.

use std::time::Duration;

use sluice_cli::settings::Value;

/// A field type of [`super::Global`], made from the value of its key.
///
/// Total on purpose: the row's kind has bounded the value before, and a test holds every row of the table against
/// its field. A value of another kind gives the type's zero.
pub(crate) trait Field {
    fn from_value(value: &Value) -> Self;
}

impl Field for bool {
    fn from_value(value: &Value) -> Self {
        matches!(value, Value::Bool(true))
    }
}

/// Negative numbers, which PgBouncer takes for some limits, mean the same as 0: no limit.
impl Field for u32 {
    fn from_value(value: &Value) -> Self {
        match value {
            Value::Int(n) => Self::try_from((*n).max(0)).unwrap_or(Self::MAX),
            _ => 0,
        }
    }
}

impl Field for u16 {
    fn from_value(value: &Value) -> Self {
        match value {
            Value::Int(n) => Self::try_from((*n).max(0)).unwrap_or(Self::MAX),
            _ => 0,
        }
    }
}

impl Field for usize {
    fn from_value(value: &Value) -> Self {
        match value {
            Value::Int(n) => Self::try_from((*n).max(0)).unwrap_or(Self::MAX),
            _ => 0,
        }
    }
}

/// A plain number is seconds.
impl Field for Duration {
    fn from_value(value: &Value) -> Self {
        match value {
            Value::Seconds(time) | Value::Milliseconds(time) => *time,
            Value::Int(_) => Self::from_secs(u32::from_value(value).into()),
            _ => Self::ZERO,
        }
    }
}

/// For times where 0 means off.
impl Field for Option<Duration> {
    fn from_value(value: &Value) -> Self {
        Some(Duration::from_value(value)).filter(|time| !time.is_zero())
    }
}

impl Field for String {
    fn from_value(value: &Value) -> Self {
        match value {
            Value::Text(text) | Value::List(text) => text.clone(),
            Value::Word(word) => (*word).to_owned(),
            _ => Self::new(),
        }
    }
}

/// For texts where empty and unset mean the same.
impl Field for Option<String> {
    fn from_value(value: &Value) -> Self {
        Some(String::from_value(value)).filter(|text| !text.is_empty())
    }
}

impl Field for Vec<String> {
    fn from_value(value: &Value) -> Self {
        value.words().map(str::to_owned).collect()
    }
}

/// An enum whose variants are words of the configuration file.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident, $($(#[doc = $about:literal])+ $variant:ident = $word:literal,)+) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $about])+ $variant,)+ }

        impl $name {
            /// The words, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As written in the file.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The variant of `word`, in any letter case.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.word().eq_ignore_ascii_case(word))
            }
        }

        impl Field for $name {
            fn from_value(value: &Value) -> Self {
                let word = if let Value::Word(word) = value { Self::from_word(word) } else { None };
                word.unwrap_or(Self::ALL[0])
            }
        }
    };
}

words! {
    /// When a server goes back to its pool.
    PoolMode,
    /// When the client disconnects.
    Session = "session",
    /// When a transaction ends.
    Transaction = "transaction",
    /// When a statement ends; transactions of several statements are refused.
    Statement = "statement",
}

words! {
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

words! {
    /// Which of a database's hosts the next server connection goes to.
    LoadBalance,
    /// The next one.
    RoundRobin = "round-robin",
    /// The same one until it fails.
    Disable = "disable",
}

words! {
    /// The form of log lines.
    LogFormat,
    /// PgBouncer's lines.
    Pgbouncer = "pgbouncer",
    /// One JSON object a line.
    Json = "json",
}

words! {
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
