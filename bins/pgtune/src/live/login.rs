//! Where to connect and as whom: `--dsn`, then the service file, then libpq's environment, then defaults; and the
//! password, which libpq would take from the same places.
//!
//! Reads the files and hands the texts to `wire::pg::conninfo`. No password is ever part of a message.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use sluice_cli::ini;
use sluice_unix::privs;
use sluice_unix::tls::{Connector, SetupError, Verify};
use sluice_wire::pg::conninfo::{self, Conninfo, ConninfoError, Host, Pairs, SslMode};
use sluice_wire::pg::login::{Credentials, StartupParams};
use sluice_wire::pg::scram::Secret;

/// Where servers put their Unix socket: Debian's packages and most others, then PostgreSQL's own default.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// What the session is called unless something else is given.
const APPLICATION: &str = "pgtune";

/// Looks up an environment variable.
pub type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Everything a connection needs.
#[derive(Debug)]
pub struct Plan {
    /// The endpoint.
    pub host: Host,
    /// The port, also part of a Unix socket's name.
    pub port: u16,
    /// How the connection is encrypted, if it may be.
    pub tls: Option<Tls>,
    /// How long connecting may take, if that was said.
    pub connect_timeout_s: Option<u32>,
    /// What the StartupMessage says.
    pub params: StartupParams,
    /// Who logs in.
    pub credentials: Credentials,
    /// What to tell the user.
    pub notes: Vec<String>,
}

/// Whether a server may be on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Near {
    /// Its address is one of this machine.
    Maybe,
    /// It is somewhere else.
    No,
}

impl Plan {
    /// Whether the address is one of this machine.
    #[must_use]
    pub fn is_near(&self) -> Near {
        let near = match &self.host {
            Host::Unix(_) => true,
            Host::Name(name) => name == "localhost",
            Host::Address(address) => address.is_loopback(),
        };
        if near { Near::Maybe } else { Near::No }
    }
}

/// How a connection is encrypted.
#[derive(Debug)]
pub struct Tls {
    /// What happens if the server cannot.
    pub demand: Demand,
    /// Makes the session.
    pub connector: Connector,
    /// The name the certificate is looked at for.
    pub name: String,
}

/// What happens if a server does not encrypt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Demand {
    /// It goes on in the clear.
    Prefer,
    /// There is no connection.
    Require,
}

/// Why a connection cannot even be tried. The user is at fault.
#[derive(Debug)]
pub enum LoginFault {
    /// `--dsn`, the environment or the service is wrong.
    Conninfo(ConninfoError),
    /// No service file has the service.
    Service,
    /// A service file cannot be read.
    Unreadable(ini::Fault),
    /// There is no file of trusted certificates, and one is needed.
    NoRoots(PathBuf),
    /// The trusted certificates cannot be read.
    Tls(SetupError),
    /// Nobody said who logs in, and the system does not know who we are.
    NoUser,
}

impl std::fmt::Display for LoginFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Conninfo(error) => write!(f, "connection: {error}"),
            Self::Service => f.write_str("connection: no service file has that service"),
            Self::Unreadable(fault) => write!(f, "connection: {fault}"),
            Self::NoRoots(path) => write!(
                f,
                "connection: sslmode asks for trusted certificates and there is no {}: sslrootcert names a file, or system",
                path.display()
            ),
            Self::Tls(error) => write!(f, "connection: {error}"),
            Self::NoUser => f.write_str("connection: no user given, and this account has no name"),
        }
    }
}

impl std::error::Error for LoginFault {}

/// The connection that `dsn` and the environment describe.
///
/// # Errors
/// [`LoginFault`].
pub fn plan(dsn: Option<&str>, variable: Variable<'_>) -> Result<Plan, LoginFault> {
    let given = conninfo::parse(dsn.unwrap_or_default()).map_err(LoginFault::Conninfo)?;
    let environment = Pairs::from_environment(variable);
    let service = service(&given.clone().or(environment.clone()), variable)?;
    let info = conninfo::resolve(&given.or(service).or(environment)).map_err(LoginFault::Conninfo)?;
    let mut notes = Vec::new();
    let user = match &info.user {
        Some(user) => user.clone(),
        None => privs::user_name(privs::user_id()).ok().flatten().ok_or(LoginFault::NoUser)?,
    };
    let dbname = info.dbname.clone().unwrap_or_else(|| user.clone());
    let secret = match info.password.clone() {
        Some(secret) => Some(secret),
        None => from_passfile(&info, &dbname, &user, variable, &mut notes).map(Secret::Plain),
    };
    let application = info.application_name.clone().unwrap_or_else(|| APPLICATION.to_owned());
    let mut others = vec![pair("application_name", &application), pair("client_encoding", "UTF8")];
    others.extend(info.options.as_deref().map(|options| pair("options", options)));
    Ok(Plan {
        tls: tls(&info, variable)?,
        host: info.host.unwrap_or_else(|| usual_host(info.port)),
        port: info.port,
        connect_timeout_s: info.connect_timeout_s,
        params: StartupParams { database: dbname.into_bytes(), others },
        credentials: Credentials { user: user.into_bytes(), secret, scram_keys: None },
        notes,
    })
}

/// How the connection is encrypted, by libpq's rules.
fn tls(info: &Conninfo, variable: Variable<'_>) -> Result<Option<Tls>, LoginFault> {
    let own = || home(variable).unwrap_or_default().join(".postgresql/root.crt");
    let file = match info.sslrootcert.as_deref() {
        Some("system") => None,
        Some(file) => Some(PathBuf::from(file)),
        None => Some(own()),
    };
    let there = file.as_ref().is_none_or(|file| file.exists());
    let (demand, verify) = match info.sslmode {
        SslMode::Disable => return Ok(None),
        SslMode::Prefer => (Demand::Prefer, Verify::Nothing),
        SslMode::Require if there => (Demand::Require, Verify::Chain),
        SslMode::Require => (Demand::Require, Verify::Nothing),
        SslMode::VerifyCa => (Demand::Require, Verify::Chain),
        SslMode::VerifyFull => (Demand::Require, Verify::Name),
    };
    let roots = match (verify, &file) {
        (Verify::Nothing, _) => None,
        (_, Some(file)) if !there => return Err(LoginFault::NoRoots(file.clone())),
        (_, file) => file.as_deref(),
    };
    let connector = Connector::new(roots, verify, Some(b"postgresql")).map_err(LoginFault::Tls)?;
    let name = info.host_name.clone().or_else(|| match &info.host {
        Some(Host::Address(address)) => Some(address.to_string()),
        _ => None,
    });
    Ok(Some(Tls { demand, connector, name: name.unwrap_or_default() }))
}

fn pair(name: &str, value: &str) -> (Vec<u8>, Vec<u8>) {
    (name.as_bytes().to_vec(), value.as_bytes().to_vec())
}

/// The path of the Unix socket in `directory`, or the abstract name behind a leading `@`.
pub fn socket_path(directory: &str, port: u16) -> String {
    format!("{directory}/.s.PGSQL.{port}")
}

/// Where a server listens by default: a Unix socket if there is one, else this machine.
fn usual_host(port: u16) -> Host {
    let there = |directory: &&str| Path::new(&socket_path(directory, port)).exists();
    match SOCKET_DIRECTORIES.into_iter().find(there) {
        Some(directory) => Host::Unix(directory.to_owned()),
        None => Host::Name("localhost".to_owned()),
    }
}

/// What the service says that `pairs` name, if they name one.
fn service(pairs: &Pairs, variable: Variable<'_>) -> Result<Pairs, LoginFault> {
    let Some(name) = pairs.value("service") else { return Ok(Pairs::default()) };
    let own = match pairs.value("servicefile") {
        Some(file) => Some(PathBuf::from(file)),
        None => home(variable).map(|home| home.join(".pg_service.conf")),
    };
    let system = variable("PGSYSCONFDIR").map(|directory| Path::new(&directory).join("pg_service.conf"));
    for path in own.into_iter().chain(system) {
        let bytes = match ini::read(&path) {
            Ok(bytes) => bytes,
            Err(ini::Fault::Unreadable(_, error)) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(fault) => return Err(LoginFault::Unreadable(fault)),
        };
        let found = conninfo::service(&String::from_utf8_lossy(&bytes), name);
        if let Some(service) = found.map_err(LoginFault::Conninfo)? {
            return Ok(service);
        }
    }
    Err(LoginFault::Service)
}

fn home(variable: Variable<'_>) -> Option<PathBuf> {
    variable("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// The password from the password file, if there is a file that only its owner can read.
fn from_passfile(
    info: &Conninfo,
    dbname: &str,
    user: &str,
    variable: Variable<'_>,
    notes: &mut Vec<String>,
) -> Option<Vec<u8>> {
    let path = match &info.passfile {
        Some(path) => PathBuf::from(path),
        None => home(variable)?.join(".pgpass"),
    };
    let metadata = fs::metadata(&path).ok()?;
    if !metadata.is_file() {
        notes.push(format!("password file {} is not a plain file: ignored", path.display()));
        return None;
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        notes.push(format!("password file {} is open to others: ignored", path.display()));
        return None;
    }
    let bytes = ini::read(&path).ok()?;
    // libpq's name for the default socket; another directory is its own name.
    let host =
        info.host_name.as_deref().filter(|host| !SOCKET_DIRECTORIES.contains(host)).unwrap_or("localhost");
    conninfo::passfile_password(&bytes, host, info.port, dbname, user)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    fn with_home(home: &Path) -> impl Fn(&str) -> Option<String> {
        let home = home.to_string_lossy().into_owned();
        move |name| match name {
            "HOME" => Some(home.clone()),
            "PGHOST" => Some("db.example".to_owned()),
            _ => None,
        }
    }

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn password(plan: &Plan) -> Option<&[u8]> {
        match plan.credentials.secret.as_ref() {
            Some(Secret::Plain(password)) => Some(password),
            Some(_) => panic!(),
            None => None,
        }
    }

    #[test]
    fn what_is_left_out_has_defaults() {
        let plan = plan(Some("user=anna host=h"), &none).unwrap();
        assert_eq!((plan.host, plan.port), (Host::Name("h".to_owned()), 5432));
        assert_eq!(plan.params.database, b"anna");
        assert_eq!(plan.params.others, [pair("application_name", "pgtune"), pair("client_encoding", "UTF8")]);
        assert!(plan.credentials.secret.is_none() && plan.notes.is_empty());
        assert_eq!(plan.tls.unwrap().demand, Demand::Prefer);
    }

    #[test]
    fn the_password_file_is_read_only_if_it_is_private() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".pgpass");
        write(&file, "db.example:5432:*:anna:secret\nlocalhost:*:*:anna:local\n", 0o600);
        let variable = with_home(home.path());
        assert_eq!(password(&plan(Some("user=anna"), &variable).unwrap()), Some(&b"secret"[..]));
        assert_eq!(password(&plan(Some("user=anna host=/tmp"), &variable).unwrap()), Some(&b"local"[..]));
        assert_eq!(password(&plan(Some("user=otto"), &variable).unwrap()), None);
        let given = plan(Some("user=anna password=mine"), &variable).unwrap();
        assert_eq!(password(&given), Some(&b"mine"[..]));

        write(&file, "*:*:*:*:pencil\n", 0o640);
        let open = plan(Some("user=anna"), &variable).unwrap();
        assert_eq!(password(&open), None);
        assert_eq!(open.notes.len(), 1);
        assert!(!format!("{open:?}").contains("pencil"));
    }

    #[test]
    fn services() {
        let home = tempfile::tempdir().unwrap();
        let variable = with_home(home.path());
        assert!(matches!(plan(Some("service=shop"), &variable), Err(LoginFault::Service)));
        write(&home.path().join(".pg_service.conf"), "[shop]\nuser=otto\nport=5433\n", 0o644);
        let found = plan(Some("service=shop port=1"), &variable).unwrap();
        assert_eq!((found.port, &found.credentials.user[..]), (1, &b"otto"[..]));
        assert_eq!(found.host, Host::Name("db.example".to_owned()));
        let file = home.path().join("other");
        write(&file, "[shop]\nuser=olga\n", 0o644);
        let dsn = format!("service=shop servicefile={}", file.display());
        assert_eq!(plan(Some(&dsn), &variable).unwrap().credentials.user, b"olga");
        assert!(matches!(
            plan(Some("service=shop servicefile=/"), &variable),
            Err(LoginFault::Unreadable(_))
        ));
    }

    #[test]
    fn encryption_as_libpq_would_ask_for_it() {
        let home = tempfile::tempdir().unwrap();
        let variable = with_home(home.path());
        let demand = |dsn: &str| plan(Some(dsn), &variable).unwrap().tls.map(|tls| (tls.demand, tls.name));
        assert_eq!(demand("user=u sslmode=disable"), None);
        assert_eq!(demand("user=u host=/tmp sslmode=require"), None);
        assert_eq!(demand("user=u sslmode=require"), Some((Demand::Require, "db.example".to_owned())));
        assert_eq!(demand("user=u host=::1"), Some((Demand::Prefer, "::1".to_owned())));
        let wrong = |dsn: &str| plan(Some(dsn), &variable).unwrap_err().to_string();
        assert!(wrong("user=u sslmode=verify-ca").contains(".postgresql/root.crt: sslrootcert names"));
        let roots = home.path().join("roots");
        fs::write(&roots, "nothing").unwrap();
        for mode in ["require", "verify-ca", "verify-full"] {
            let dsn = format!("user=u sslmode={mode} sslrootcert={}", roots.display());
            assert!(wrong(&dsn).contains("holds no certificate"), "{}", wrong(&dsn));
        }
    }

    #[test]
    fn faults_show_no_password() {
        for dsn in ["password=secret port=x", "postgresql://u:secret@h:x", "user=u secret"] {
            let fault = plan(Some(dsn), &none).unwrap_err();
            assert!(!format!("{fault} {fault:?}").contains("secret"), "{fault}");
        }
    }
}
