//! Any installed PostgreSQL and a cluster of its own, to try configurations on: read by the server's own parser, or really
//! started. Unlike [`Postgres`](crate::Postgres) it adds nothing to the configuration but where to listen.

use crate::PATIENCE;
use crate::account::Account;
use crate::client::{Client, Login, Target};
use crate::process::Process;
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// An installation with a cluster.
#[derive(Debug)]
pub struct Trial {
    account: Account,
    directory: TempDir,
    bin: PathBuf,
    libraries: Option<PathBuf>,
    durability: Durability,
}

/// Whether what a server writes is to survive the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// The server waits for the disk, as it does for people.
    Real,
    /// Nobody will read it again.
    None,
}

/// A server that runs on a configuration. Dropping it stops it at once.
#[derive(Debug)]
pub struct Started {
    process: Process,
    socket: PathBuf,
}

impl Trial {
    /// The system's PostgreSQL.
    pub fn system() -> Trial {
        Trial::new(Account::choose(), crate::postgres::bin(), None)
    }

    /// An installation with `bin` and `lib` below a directory.
    pub fn installed(top: &Path) -> Trial {
        let account = Account::choose();
        Trial::new(account, top.join("bin"), Some(top.join("lib")))
    }

    fn new(account: Account, bin: PathBuf, libraries: Option<PathBuf>) -> Trial {
        let directory = account.directory();
        let mut trial = Trial { account, directory, bin, libraries, durability: Durability::None };
        if !trial.account.reaches(&trial.bin.join("postgres")) {
            trial.bring_near();
        }
        let mut initdb = trial.command("initdb");
        initdb.arg("-D").arg(trial.data()).args([
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
        trial
    }

    /// Servers wait for the disk from now on, for what is measured.
    pub fn durable(self) -> Trial {
        Trial { durability: Durability::Real, ..self }
    }

    /// Copies the installation to where the account can reach it.
    fn bring_near(&mut self) {
        let top = self.bin.parent().unwrap();
        let near = self.directory.path().join("installation");
        let copied = Command::new("cp").arg("-a").arg(top).arg(&near).status().unwrap();
        assert!(copied.success(), "cp -a {} {}", top.display(), near.display());
        self.bin = near.join("bin");
        self.libraries = self.libraries.as_ref().map(|_| near.join("lib"));
    }

    /// What the server itself calls its version, such as 15.
    pub fn major(&self) -> String {
        let output = self.command("postgres").arg("--version").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let version = text.trim().rsplit(' ').find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        version.unwrap().split('.').next().unwrap().to_owned()
    }

    /// The data directory, with the configuration that initdb wrote.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// What the server takes a setting to be when it reads this text as its configuration file.
    ///
    /// # Errors
    /// Everything it says, if it refuses or warns.
    pub fn read(&self, conf: &str, setting: &str) -> Result<String, String> {
        let file = self.file(conf);
        let mut command = self.command("postgres");
        command.args(["-C", setting, "-D"]).arg(self.data());
        let output = command.arg("-c").arg(format!("config_file={}", file.display())).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        // 14 and later say so at every look of this kind.
        let said: Vec<&str> =
            err.lines().filter(|line| !line.contains("database system is shut down")).collect();
        if output.status.success() && said.is_empty() {
            Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
        } else {
            Err(err)
        }
    }

    /// Starts the server on this text as its configuration file.
    ///
    /// # Errors
    /// What it logged, if it did not start.
    pub fn start(&self, conf: &str) -> Result<Started, String> {
        let file = self.file(conf);
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).env_remove("NOTIFY_SOCKET").env("LC_ALL", "C");
        for setting in [
            format!("config_file={}", file.display()),
            format!("unix_socket_directories={}", self.directory.path().display()),
            "listen_addresses=".to_owned(),
        ] {
            command.args(["-c", &setting]);
        }
        if self.durability == Durability::None {
            command.args(["-c", "fsync=off"]);
        }
        let process = Process::spawn(command, Signal::SIGQUIT);
        if process.log().wait("database system is ready to accept connections").is_none() {
            return Err(process.log().lines().join("\n"));
        }
        Ok(Started { process, socket: self.directory.path().join(".s.PGSQL.5432") })
    }

    fn file(&self, conf: &str) -> PathBuf {
        let path = self.directory.path().join("tried.conf");
        std::fs::write(&path, conf).unwrap();
        path
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.account.command(self.bin.join(program), "KILL");
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}

impl Started {
    /// A superuser's session.
    pub fn superuser(&self) -> Client {
        Login::new(Target::Unix(self.socket.clone()), "postgres", "postgres").connect().unwrap()
    }

    /// The directory of its socket, for libpq's PGHOST.
    pub fn socket_directory(&self) -> &Path {
        self.socket.parent().unwrap()
    }

    /// What the server logged.
    pub fn log(&self) -> Vec<String> {
        self.process.log().lines()
    }

    /// Stops it as an administrator would.
    pub fn stop(mut self) {
        self.process.signal(Signal::SIGINT);
        assert!(self.process.wait(PATIENCE).is_some(), "PostgreSQL did not stop");
    }
}
