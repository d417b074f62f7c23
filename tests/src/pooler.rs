//! The pooler under test as a process, configured as a person would configure it: by an ini file and a userlist.

use crate::account::Account;
use crate::client::{Client, Failure, Login, Reply, Target};
use crate::log::Log;
use crate::notify::NotifySocket;
use crate::process::{CpuTime, Process};
use crate::{PATIENCE, Postgres, build, port};
use nix::sys::signal::Signal;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What will be in the files. The usual: transaction mode, trust, users `alice`, `bob` and `admin`, no limits in the way.
#[derive(Debug, Clone)]
pub struct Config {
    settings: Vec<(String, String)>,
    databases: Vec<(String, String)>,
    users: Vec<(String, String)>,
    extra: String,
    program: Option<PathBuf>,
}

impl Config {
    /// Every database name leads to the server's database of the same name.
    pub fn new(postgres: &Postgres) -> Config {
        Config::empty().database("*", &format!("host=127.0.0.1 port={}", postgres.port()))
    }

    /// No database yet.
    pub fn empty() -> Config {
        let config = Config {
            settings: Vec::new(),
            databases: Vec::new(),
            users: Vec::new(),
            extra: String::new(),
            program: None,
        };
        config
            .set("pool_mode", "transaction")
            .set("auth_type", "trust")
            .set("admin_users", "admin")
            .user("alice", "secret of alice")
            .user("bob", "secret of bob")
            .user("admin", "secret of admin")
    }

    /// Sets a key of `[pgbouncer]`, replacing an earlier value.
    pub fn set(mut self, key: &str, value: &str) -> Config {
        put(&mut self.settings, key, value);
        self
    }

    /// Adds or replaces a line of `[databases]`.
    pub fn database(mut self, name: &str, connection: &str) -> Config {
        put(&mut self.databases, name, connection);
        self
    }

    /// Adds or replaces a line of the userlist.
    pub fn user(mut self, name: &str, secret: &str) -> Config {
        put(&mut self.users, name, secret);
        self
    }

    /// Appends text to the ini file as it is.
    pub fn text(mut self, text: &str) -> Config {
        self.extra.push_str(text);
        self
    }

    /// Runs this program instead of the pooler under test.
    pub fn program(mut self, program: &str) -> Config {
        self.program = Some(std::fs::canonicalize(program).unwrap());
        self
    }

    /// Starts a pooler and waits until it is ready.
    pub fn start(&self) -> Pooler {
        Pooler::start(self)
    }

    fn ini(&self, directory: &Path, port: u16) -> String {
        let mut ini = String::from("[databases]\n");
        for (name, connection) in &self.databases {
            ini.push_str(&format!("{name} = {connection}\n"));
        }
        ini.push_str(&format!("[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"));
        ini.push_str(&format!("unix_socket_dir = {0}\nauth_file = {0}/userlist.txt\n", directory.display()));
        for (key, value) in &self.settings {
            ini.push_str(&format!("{key} = {value}\n"));
        }
        ini.push_str(&self.extra);
        ini
    }

    fn userlist(&self) -> String {
        let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        self.users.iter().map(|(name, secret)| format!("{} {}\n", quote(name), quote(secret))).collect()
    }
}

/// A running pooler. Dropping it kills it; when the test is failing, its log is printed.
#[derive(Debug)]
pub struct Pooler {
    process: Process,
    notify: NotifySocket,
    directory: TempDir,
    port: u16,
}

impl Pooler {
    /// Starts one and waits until it is ready.
    pub fn start(config: &Config) -> Pooler {
        // Somebody may take the port between the look and the use.
        for _ in 0..3 {
            let mut pooler = Pooler::launch(config);
            // Another program may know nothing of sd_notify: its open port has to do.
            let address = (Ipv4Addr::LOCALHOST, pooler.port);
            let serves = || config.program.is_some() && TcpStream::connect(address).is_ok();
            if pooler.notify.wait("READY=1", || pooler.process.running() && !serves()) || serves() {
                return pooler;
            }
            if !pooler.process.running() {
                pooler.log().wait_end();
            }
            assert!(
                pooler.log().contains("in use") || pooler.log().contains("AddrInUse"),
                "the pooler did not become ready:\n{}",
                pooler.log().lines().join("\n")
            );
        }
        panic!("no port for the pooler in three attempts");
    }

    /// Starts one that is expected to refuse its configuration: exit status and log.
    pub fn refused(config: &Config) -> (ExitStatus, Log) {
        let mut pooler = Pooler::launch(config);
        let status = pooler.process.wait(PATIENCE).expect("a pooler that refuses its configuration");
        pooler.log().wait_end();
        (status, pooler.log().clone())
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn target(&self) -> Target {
        Target::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
    }

    /// Its Unix socket.
    pub fn unix_target(&self) -> Target {
        Target::Unix(self.directory.path().join(format!(".s.PGSQL.{}", self.port)))
    }

    /// The directory with its files and sockets.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A login over TCP.
    pub fn login(&self, user: &str, database: &str) -> Login {
        Login::new(self.target(), user, database)
    }

    /// A client of database `postgres`; must be let in.
    pub fn client(&self, user: &str) -> Client {
        self.login(user, "postgres")
            .connect()
            .unwrap_or_else(|failure| panic!("login of {user}: {failure:?}"))
    }

    /// An administrator on the console.
    pub fn console(&self) -> Client {
        let login = self.login("admin", "pgbouncer").password("secret of admin");
        login.connect().unwrap_or_else(|failure| panic!("console: {failure:?}"))
    }

    /// One console command over a connection of its own.
    pub fn command(&self, command: &str) -> Result<Reply, Failure> {
        self.console().query(command)
    }

    /// What a SHOW command answers.
    pub fn show(&self, what: &str) -> Table {
        Table::show(&mut self.console(), what)
    }

    /// Asks a SHOW command again and again until the answer is as wanted; panics with the last answer otherwise.
    pub fn until(&self, what: &str, wanted: impl Fn(&Table) -> bool) -> Table {
        let mut console = self.console();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let table = Table::show(&mut console, what);
            if wanted(&table) {
                return table;
            }
            assert!(Instant::now() < deadline, "SHOW {what} never became as expected: {table:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Replaces the ini file and the userlist; nothing is told to the process.
    pub fn rewrite(&self, config: &Config) {
        write(config, self.directory.path(), self.port);
    }

    /// The process, for signals and its end.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// As `Process::cpu_time`.
    pub fn cpu_time(&self) -> CpuTime {
        self.process.cpu_time()
    }

    /// As `Process::resident_bytes`.
    pub fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
    }

    /// As `Process::voluntary_switches`.
    pub fn voluntary_switches(&self) -> u64 {
        self.process.voluntary_switches()
    }

    /// What it wrote to stderr.
    pub fn log(&self) -> &Log {
        self.process.log()
    }

    fn launch(config: &Config) -> Pooler {
        let account = Account::choose();
        let directory = account.directory();
        let port = port::free();
        write(config, directory.path(), port);
        let notify = NotifySocket::bind(directory.path());
        let program = config.program.as_deref().unwrap_or_else(|| under_test());
        let program = account.reachable(program, directory.path());
        let mut command = account.command(program, "KILL");
        command
            .arg(directory.path().join("pooler.ini"))
            .env("NOTIFY_SOCKET", notify.path())
            .env("POOLERD_CONTROL_SOCKET", directory.path().join("control.sock"));
        Pooler { process: Process::spawn(command, Signal::SIGKILL), notify, directory, port }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the pooler's log\n{}\n---", self.log().lines().join("\n"));
        }
    }
}

/// Answer of a SHOW command.
#[derive(Debug, Clone)]
pub struct Table {
    /// Column names.
    pub columns: Vec<String>,
    /// Rows.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Asks the console.
    pub fn show(console: &mut Client, what: &str) -> Table {
        let reply = console
            .query(&format!("SHOW {what}"))
            .unwrap_or_else(|failure| panic!("SHOW {what}: {failure:?}"));
        assert!(reply.errors().is_empty(), "SHOW {what}: {:?}", reply.errors());
        Table { columns: reply.columns(), rows: reply.rows() }
    }

    /// The rows with that value in that column.
    pub fn filter(&self, column: &str, value: &str) -> Table {
        let index = self.index(column);
        let rows = self.rows.iter().filter(|row| row[index] == value).cloned().collect();
        Table { columns: self.columns.clone(), rows }
    }

    /// The values of a column.
    pub fn column(&self, column: &str) -> Vec<String> {
        let index = self.index(column);
        self.rows.iter().map(|row| row[index].clone()).collect()
    }

    /// The sum of a numeric column.
    pub fn sum(&self, column: &str) -> i64 {
        self.column(column).iter().map(|value| value.parse::<i64>().unwrap()).sum()
    }

    fn index(&self, column: &str) -> usize {
        self.columns
            .iter()
            .position(|name| name == column)
            .unwrap_or_else(|| panic!("no column {column} in {:?}", self.columns))
    }
}

/// The pooler under test: SLUICE_POOLER, else poolerd, built now from the sources as they are.
fn under_test() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match std::env::var_os("SLUICE_POOLER") {
        Some(program) => std::fs::canonicalize(program).unwrap(),
        None => build::program("poolerd"),
    })
}

fn write(config: &Config, directory: &Path, port: u16) {
    std::fs::write(directory.join("pooler.ini"), config.ini(directory, port)).unwrap();
    std::fs::write(directory.join("userlist.txt"), config.userlist()).unwrap();
}

fn put(list: &mut Vec<(String, String)>, name: &str, value: &str) {
    list.retain(|(present, _)| present != name);
    list.push((name.to_owned(), value.to_owned()));
}
