//! Where to connect and as whom: conninfo strings, URLs, libpq's environment, service and password files (PostgreSQL
//! manual, "Connection Strings" to "The Connection Service File").
//!
//! All pure: the caller reads the environment and the files and hands in their text. What is written down is collected
//! as [`Pairs`], the most important first, and [`resolve`]d to a [`Conninfo`].
//!
//! Invariants: no error and no [`fmt::Debug`] shows a value or a word of the text, since any may be a password or a part
//! of one; a keyword that asks for a protection we do not have is refused, never ignored.

mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

pub use parse::{parse, passfile_password, service};

use super::scram::Secret;

/// The port of a PostgreSQL server.
pub const PORT_DEFAULT: u16 = 5432;

/// What a keyword of libpq is to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Treatment {
    /// Part of [`Conninfo`].
    Used,
    /// Makes no difference: about certificates of clients, which a server asks for itself, or a tuning of the connection.
    Ignored,
    /// These values, or none, ask for nothing we lack; any other does.
    Only(&'static [&'static str]),
}

use Treatment::{Ignored, Only, Used};

/// A keyword of libpq, and the environment variable that sets it.
type Keyword = (&'static str, Option<&'static str>, Treatment);

/// libpq's keywords, as of version 18.
const KEYWORDS: &[Keyword] = &[
    ("host", Some("PGHOST"), Used),
    ("hostaddr", Some("PGHOSTADDR"), Used),
    ("port", Some("PGPORT"), Used),
    ("dbname", Some("PGDATABASE"), Used),
    ("user", Some("PGUSER"), Used),
    ("password", Some("PGPASSWORD"), Used),
    ("passfile", Some("PGPASSFILE"), Used),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT"), Used),
    ("application_name", Some("PGAPPNAME"), Used),
    ("options", Some("PGOPTIONS"), Used),
    ("service", Some("PGSERVICE"), Used),
    ("servicefile", Some("PGSERVICEFILE"), Used),
    ("sslmode", Some("PGSSLMODE"), Used),
    ("sslrootcert", Some("PGSSLROOTCERT"), Used),
    ("channel_binding", Some("PGCHANNELBINDING"), Only(&["disable", "prefer"])),
    ("gssencmode", Some("PGGSSENCMODE"), Only(&["disable", "prefer"])),
    ("replication", None, Only(&["false", "off", "no", "0"])),
    ("require_auth", Some("PGREQUIREAUTH"), Only(&[])),
    ("requirepeer", Some("PGREQUIREPEER"), Only(&[])),
    ("requiressl", Some("PGREQUIRESSL"), Only(&["0"])),
    ("sslnegotiation", Some("PGSSLNEGOTIATION"), Only(&["postgres"])),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS"), Only(&["any"])),
    ("client_encoding", Some("PGCLIENTENCODING"), Ignored),
    ("fallback_application_name", None, Ignored),
    ("gssdelegation", Some("PGGSSDELEGATION"), Ignored),
    ("gsslib", Some("PGGSSLIB"), Ignored),
    ("keepalives", None, Ignored),
    ("keepalives_count", None, Ignored),
    ("keepalives_idle", None, Ignored),
    ("keepalives_interval", None, Ignored),
    ("krbsrvname", Some("PGKRBSRVNAME"), Ignored),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), Ignored),
    ("max_protocol_version", Some("PGMAXPROTOCOLVERSION"), Ignored),
    ("min_protocol_version", Some("PGMINPROTOCOLVERSION"), Only(&["3.0"])),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION"), Ignored),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION"), Only(&["TLSv1", "TLSv1.1", "TLSv1.2"])),
    ("sslcert", Some("PGSSLCERT"), Ignored),
    ("sslcertmode", Some("PGSSLCERTMODE"), Only(&["disable", "allow"])),
    ("sslcompression", Some("PGSSLCOMPRESSION"), Ignored),
    ("sslcrl", Some("PGSSLCRL"), Only(&[])),
    ("sslcrldir", Some("PGSSLCRLDIR"), Only(&[])),
    ("sslkey", Some("PGSSLKEY"), Ignored),
    ("sslkeylogfile", None, Ignored),
    ("sslpassword", None, Ignored),
    ("sslsni", Some("PGSSLSNI"), Ignored),
    ("tcp_user_timeout", None, Ignored),
];

/// Why a connection cannot be described. Never shows what was written, which may be a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConninfoError {
    /// The text is not a conninfo string or URL; says which part is wrong.
    Syntax(&'static str),
    /// There is no such keyword: the n-th in the text, counted from 1.
    UnknownKeyword(usize),
    /// The keyword's value is none it can have.
    Value(&'static str),
    /// The keyword asks for something we do not have.
    Unsupported(&'static str),
}

impl fmt::Display for ConninfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(what) => f.write_str(what),
            Self::UnknownKeyword(place) => write!(f, "keyword {place} is not one that libpq knows"),
            Self::Value("port") => f.write_str("port must be one number from 1 to 65535"),
            Self::Value(keyword) => write!(f, "{keyword} has a value it cannot have"),
            Self::Unsupported("host") => f.write_str("lists of hosts are not supported"),
            Self::Unsupported(keyword) => write!(f, "{keyword} asks for something that is not supported"),
        }
    }
}

impl std::error::Error for ConninfoError {}

/// Keywords of libpq and their values, as one source gave them. [`fmt::Debug`] shows no value.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Pairs(BTreeMap<&'static str, String>);

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Pairs {
    /// What the environment says; `variable` looks one up.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |&(keyword, name, _): &Keyword| Some((keyword, variable(name?)?));
        Self(KEYWORDS.iter().filter_map(set).collect())
    }

    /// The value of a keyword, if it was given and is not empty.
    pub fn value(&self, keyword: &str) -> Option<&str> {
        self.0.get(keyword).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Adds the `place`-th keyword of a text; the last of equal ones counts.
    fn insert(&mut self, keyword: &str, value: String, place: usize) -> Result<(), ConninfoError> {
        let known = KEYWORDS.iter().find(|(name, ..)| *name == keyword);
        let (name, ..) = known.ok_or(ConninfoError::UnknownKeyword(place))?;
        self.0.insert(name, value);
        Ok(())
    }

    /// These, and what only `others` say. A keyword given empty stays empty, as in libpq.
    #[must_use]
    pub fn or(mut self, others: Self) -> Self {
        for (keyword, value) in others.0 {
            self.0.entry(keyword).or_insert(value);
        }
        self
    }
}

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Host {
    /// The directory of its Unix socket, or `@name` of an abstract one.
    Unix(String),
    /// A name to look up.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Whether a connection is encrypted, and what is asked of the server's certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SslMode {
    /// It is not.
    Disable,
    /// It is if the server can: `prefer`, and `allow`, which libpq would try the other way round.
    Prefer,
    /// It is, with whomever; where there is a file of trusted certificates, as [`SslMode::VerifyCa`].
    Require,
    /// And the certificate is one we trust.
    VerifyCa,
    /// And it is for the name that was asked for.
    VerifyFull,
}

/// Where to connect and as whom. None: nothing was said, and the caller has a default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conninfo {
    /// The server's host.
    pub host: Option<Host>,
    /// What the password file calls the host: the name given, where an address was given too.
    pub host_name: Option<String>,
    /// TCP port, also part of the Unix socket's name.
    pub port: u16,
    /// The user; the system's name of who runs the program otherwise.
    pub user: Option<String>,
    /// The database; the user's name otherwise.
    pub dbname: Option<String>,
    /// The password, as it is.
    pub password: Option<Secret>,
    /// The password file; `~/.pgpass` otherwise.
    pub passfile: Option<String>,
    /// How long connecting may take.
    pub connect_timeout_s: Option<u32>,
    /// Whether the connection is encrypted; never on a Unix socket, which needs none.
    pub sslmode: SslMode,
    /// The file of trusted certificates, or `system` for the system's; `~/.postgresql/root.crt` otherwise.
    pub sslrootcert: Option<String>,
    /// What the server calls the session.
    pub application_name: Option<String>,
    /// Settings for the session, in the form of the server's command line.
    pub options: Option<String>,
}

/// The connection that `pairs` describe.
///
/// # Errors
/// [`ConninfoError`] for a value that cannot be, or that asks for something we do not have.
pub fn resolve(pairs: &Pairs) -> Result<Conninfo, ConninfoError> {
    for (keyword, _, treatment) in KEYWORDS {
        if let (Only(values), Some(value)) = (treatment, pairs.value(keyword))
            && !values.contains(&value)
        {
            return Err(ConninfoError::Unsupported(keyword));
        }
    }
    let text = |keyword| pairs.value(keyword).map(str::to_owned);
    let host = host(pairs)?;
    let sslmode = sslmode(pairs.value("sslmode"), pairs.value("sslrootcert"), host.as_ref())?;
    Ok(Conninfo {
        host,
        host_name: text("host"),
        port: number(pairs, "port")?.unwrap_or(PORT_DEFAULT),
        user: text("user"),
        dbname: text("dbname"),
        password: text("password").map(|password| Secret::Plain(password.into_bytes())),
        passfile: text("passfile"),
        // Zero and less are no limit, as in libpq.
        connect_timeout_s: number::<i64>(pairs, "connect_timeout")?
            .and_then(|s| u32::try_from(s).ok())
            .filter(|&s| s > 0),
        sslmode,
        sslrootcert: text("sslrootcert"),
        application_name: text("application_name"),
        options: text("options"),
    })
}

fn host(pairs: &Pairs) -> Result<Option<Host>, ConninfoError> {
    if let Some(address) = pairs.value("hostaddr") {
        let address = address.parse().map_err(|_| ConninfoError::Value("hostaddr"))?;
        return Ok(Some(Host::Address(address)));
    }
    let Some(host) = pairs.value("host") else { return Ok(None) };
    if host.starts_with(['/', '@']) {
        return Ok(Some(Host::Unix(host.to_owned())));
    }
    if host.contains(',') {
        return Err(ConninfoError::Unsupported("host"));
    }
    Ok(Some(host.parse().map_or_else(|_| Host::Name(host.to_owned()), Host::Address)))
}

/// libpq's rules: encryption is a matter of TCP, and who trusts the certificates of the system wants the name checked.
fn sslmode(mode: Option<&str>, roots: Option<&str>, host: Option<&Host>) -> Result<SslMode, ConninfoError> {
    let mode = match mode {
        None if roots == Some("system") => SslMode::VerifyFull,
        Some("disable") => SslMode::Disable,
        None | Some("allow" | "prefer") => SslMode::Prefer,
        Some("require") => SslMode::Require,
        Some("verify-ca") => SslMode::VerifyCa,
        Some("verify-full") => SslMode::VerifyFull,
        Some(_) => return Err(ConninfoError::Value("sslmode")),
    };
    match host {
        None | Some(Host::Unix(_)) => Ok(SslMode::Disable),
        Some(_) if roots == Some("system") && mode != SslMode::VerifyFull => {
            Err(ConninfoError::Value("sslmode"))
        }
        Some(_) => Ok(mode),
    }
}

fn number<N>(pairs: &Pairs, keyword: &'static str) -> Result<Option<N>, ConninfoError>
where
    N: std::str::FromStr + PartialEq + Default,
{
    let Some(text) = pairs.value(keyword) else { return Ok(None) };
    let number = text.trim().parse().map_err(|_| ConninfoError::Value(keyword))?;
    if keyword == "port" && number == N::default() {
        return Err(ConninfoError::Value(keyword));
    }
    Ok(Some(number))
}
