//! A throwaway PostgreSQL server. initdb runs once for a checkout; every server starts from a copy of that cluster.

use crate::account::Account;
use crate::client::{Client, Login, Target};
use crate::process::Process;
use crate::{PATIENCE, port};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// How the server is to differ from the usual: 100 connections, trust on every socket.
#[derive(Debug, Clone)]
pub struct Options {
    settings: Vec<(String, String)>,
    method: String,
}

impl Default for Options {
    fn default() -> Options {
        Options { settings: Vec::new(), method: "trust".to_owned() }
    }
}

impl Options {
    /// Sets a line of postgresql.conf; `value` is quoted as it must be.
    pub fn set(mut self, name: &str, value: &str) -> Options {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How TCP clients authenticate: a method of pg_hba.conf.
    pub fn method(mut self, method: &str) -> Options {
        method.clone_into(&mut self.method);
        self
    }
}

/// A running server. Dropping it stops it at once.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    account: Account,
    directory: TempDir,
    port: u16,
}

impl Postgres {
    /// A server with the usual options.
    pub fn start() -> Postgres {
        Postgres::with(&Options::default())
    }

    /// A server with these options, accepting connections.
    pub fn with(options: &Options) -> Postgres {
        let account = Account::choose();
        let directory = account.directory();
        copy(&template(&account), &directory.path().join("data"));
        let mut server = Postgres { process: None, account, directory, port: 0 };
        // Somebody may take the port between the look and the use.
        for _ in 0..3 {
            server.port = port::free();
            server.configure(options);
            if server.launch() {
                return server;
            }
        }
        panic!("PostgreSQL did not start:\n{}", server.process.unwrap().log().lines().join("\n"));
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its data directory, with its configuration files.
    pub fn data_directory(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The directory of its Unix socket.
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Login over TCP as a pooler would do it.
    pub fn login(&self, user: &str, database: &str) -> Login {
        Login::new(Target::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))), user, database)
    }

    /// A superuser on the Unix socket, where everybody is trusted.
    pub fn superuser(&self) -> Client {
        let socket = self.directory.path().join(format!(".s.PGSQL.{}", self.port));
        Login::new(Target::Unix(socket), "postgres", "postgres").connect().unwrap()
    }

    /// Runs SQL as the superuser; it must succeed.
    pub fn sql(&self, sql: &str) -> Vec<Vec<String>> {
        self.superuser().rows(sql)
    }

    /// Stops it as an administrator would: sessions are ended, nothing is lost.
    pub fn stop(&mut self) {
        self.end(Signal::SIGINT);
    }

    /// Ends it as a crash of one of its processes would: at once, with recovery at the next start.
    pub fn crash(&mut self) {
        self.end(Signal::SIGQUIT);
    }

    /// Starts it again after `stop` or `crash`, same port, same data.
    pub fn start_again(&mut self) {
        assert!(self.launch(), "PostgreSQL did not start again");
    }

    /// Its major version.
    pub fn major(&self) -> u32 {
        self.sql("SHOW server_version_num")[0][0].parse::<u32>().unwrap() / 10_000
    }

    /// What it wrote to stderr.
    pub fn log(&self) -> &crate::log::Log {
        self.process.as_ref().unwrap().log()
    }

    fn end(&mut self, signal: Signal) {
        let mut process = self.process.take().expect("a running server");
        process.signal(signal);
        assert!(process.wait(PATIENCE).is_some(), "PostgreSQL did not stop");
    }

    fn configure(&self, options: &Options) {
        let data = self.data_directory();
        let mut conf = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n",
            self.port,
            self.directory.path().display()
        );
        conf.push_str(
            "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nshared_buffers = 32MB\n",
        );
        conf.push_str("max_connections = 100\nautovacuum = off\nmax_wal_size = 64MB\n");
        for (name, value) in &options.settings {
            conf.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        std::fs::write(data.join("postgresql.conf"), conf).unwrap();
        let hba = format!("local all all trust\nhost all all 127.0.0.1/32 {}\n", options.method);
        std::fs::write(data.join("pg_hba.conf"), hba).unwrap();
    }

    fn launch(&mut self) -> bool {
        let mut command = self.account.command(bin().join("postgres"), "QUIT");
        command
            .arg("-D")
            .arg(self.directory.path().join("data"))
            .env_remove("NOTIFY_SOCKET")
            .env("LC_ALL", "C");
        let process = Process::spawn(command, Signal::SIGQUIT);
        // A standby accepts read-only ones.
        let ready = process.log().wait("database system is ready to accept ").is_some();
        self.process = Some(process);
        ready
    }
}

/// The directory of the PostgreSQL programs: SLUICE_POSTGRES, else the newest version, else wherever PATH has them.
pub fn bin() -> PathBuf {
    if let Some(chosen) = std::env::var_os("SLUICE_POSTGRES") {
        return std::fs::canonicalize(chosen)
            .expect("SLUICE_POSTGRES is the directory of initdb and postgres");
    }
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let bin = entry.path().join("bin");
            let version = entry.file_name().to_str()?.parse().ok()?;
            bin.join("initdb").exists().then_some((version, bin))
        })
        .collect();
    found.sort();
    found.pop().map_or_else(on_path, |(_, bin)| bin)
}

fn on_path() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).find(|directory| directory.join("initdb").exists()).expect(
        "PostgreSQL's initdb, in /usr/lib/postgresql/*/bin or on PATH (scripts/deps test installs it)",
    )
}

/// The cluster every server starts from, made by the first one that needs it and kept in the target directory.
fn template(account: &Account) -> PathBuf {
    let version = Command::new(bin().join("postgres")).arg("--version").output().unwrap().stdout;
    let version: String = String::from_utf8(version)
        .unwrap()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '.')
        .collect();
    let cache = crate::build::target_directory().join("tmp");
    std::fs::create_dir_all(&cache).unwrap();
    let template = cache.join(format!("cluster-{}-{version}-roles", account.name));

    let lock = File::create(cache.join("cluster.lock")).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap();
    if !template.exists() {
        let directory = account.directory();
        let data = directory.path().join("data");
        let mut initdb = account.command(bin().join("initdb"), "KILL");
        initdb.arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
            "-A",
            "trust",
        ]);
        let output = initdb.output().unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        create_roles(account, &data);
        let unfinished = cache.join("cluster-unfinished");
        copy(&data, &unfinished);
        std::fs::rename(unfinished, &template).unwrap();
    }
    template
}

/// Creates the roles the pooler's configuration speaks of, with the same passwords.
fn create_roles(account: &Account, data: &Path) {
    let mut single = account.command(bin().join("postgres"), "KILL");
    single
        .args(["--single", "-c", "log_checkpoints=off", "-D"])
        .arg(data)
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut child = single.spawn().unwrap();
    let mut sql = child.stdin.take().unwrap();
    for role in ["alice", "bob", "admin"] {
        writeln!(
            sql,
            "CREATE ROLE {role} LOGIN PASSWORD 'secret of {role}'; GRANT ALL ON SCHEMA public TO {role}"
        )
        .unwrap();
    }
    drop(sql);
    assert!(child.wait().unwrap().success(), "postgres --single");
}

/// Copies a directory with owners and modes.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success(), "cp -a {} {}", from.display(), to.display());
}
