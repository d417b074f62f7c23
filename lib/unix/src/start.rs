//! How a daemon starts: who it is, whether it goes to the background, where its log goes, what its loop waits for.
//!
//! [`Setup::start`] is called by `main` before any thread starts. These calls may block. The order matters and is here
//! once: the limit of descriptors can be raised only while still root; a file is opened by the user who will open it anew;
//! what can fail fails before the background, while somebody still reads standard error.

use std::path::Path;

use crate::fault::Failure;
use crate::log::{Format, Log, Sinks, Stderr};
use crate::notify::Notify;
use crate::poller::{Poller, Waker};
use crate::privs::{self, PidFile};
use crate::signals::Signals;
use crate::token::Token;

/// Whether the process goes to the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// It stays.
    No,
    /// It goes, which needs a pid file.
    Yes,
}

/// Where log lines go and how they look.
#[derive(Clone, Copy, Debug)]
pub struct Logging<'a> {
    /// Whether standard error gets them.
    pub stderr: Stderr,
    /// The file that gets them.
    pub file: Option<&'a str>,
    /// Their form.
    pub format: Format,
    /// How many there are, as [`Log::set_verbosity`] takes it.
    pub verbosity: u32,
}

/// What a configuration makes of the process.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The user to become.
    pub user: Option<&'a str>,
    /// The file that says which process runs.
    pub pidfile: Option<&'a str>,
    /// Whether to go to the background.
    pub background: Background,
    /// The log.
    pub logging: Logging<'a>,
}

/// A process that is what it should be. Dropping it removes the pid file.
#[derive(Debug)]
pub struct Process {
    /// The log.
    pub log: Log,
    descriptors: u64,
    _pidfile: Option<PidFile>,
}

impl Setup<'_> {
    /// Takes on the identity asked for, goes to the background if asked to, and opens the log.
    ///
    /// # Errors
    /// [`Failure`]; the process may have become the user by then.
    pub fn start(&self) -> Result<Process, Failure> {
        if privs::is_root() && self.user.is_none() {
            let text = "root should not run this program: set user, or give --user";
            return Err(Failure::Configuration(text.to_owned()));
        }
        if self.background == Background::Yes && self.pidfile.is_none() {
            return Err(Failure::Configuration("--daemon needs pidfile to be set".to_owned()));
        }
        let descriptors = privs::raise_descriptor_limit().map_err(Failure::system("raise limits"))?;
        if let Some(user) = self.user {
            privs::become_user(user)?;
        }
        let pidfile = self.pidfile.map(Path::new);
        if let Some(path) = pidfile {
            PidFile::check(path)?;
        }
        let sinks = self.logging.open()?;
        if self.background == Background::Yes {
            privs::daemonize()?;
        }
        let pidfile = pidfile.map(PidFile::create).transpose()?;
        let log = Log::new(sinks, self.logging.format).map_err(Failure::system("start the log"))?;
        log.set_verbosity(self.logging.verbosity());
        Ok(Process { log, descriptors, _pidfile: pidfile })
    }
}

impl Process {
    /// What to warn of where a setting lets in more connections than descriptors may be open.
    #[must_use]
    pub fn shortage(&self, setting: &str, connections: u32) -> Option<String> {
        let descriptors = self.descriptors;
        (u64::from(connections) > descriptors).then(|| {
            format!("{setting} is {connections}, but only {descriptors} file descriptors may be open")
        })
    }
}

/// What every loop waits for besides its own sockets.
#[derive(Debug)]
pub struct LoopParts {
    /// The poller, with the two below registered.
    pub poller: Poller,
    /// Signals of the process.
    pub signals: Signals,
    /// Ends a wait from other threads.
    pub waker: Waker,
    /// The service manager.
    pub notify: Notify,
}

impl LoopParts {
    /// Begins to catch signals. Events of these and of the waker have tokens of the classes given.
    ///
    /// # Errors
    /// [`Failure::System`].
    pub fn new(signal_class: u8, waker_class: u8) -> Result<Self, Failure> {
        let mut poller = Poller::new().map_err(Failure::system("make a poller"))?;
        let signals = Signals::new().map_err(Failure::system("catch signals"))?;
        let watched = poller.register_readable(&signals, Token::single(signal_class));
        watched.map_err(Failure::system("watch signals"))?;
        let waker = poller.waker(Token::single(waker_class)).map_err(Failure::system("make a waker"))?;
        let notify = Notify::from_env().map_err(Failure::system("reach the service manager"))?;
        Ok(Self { poller, signals, waker, notify })
    }
}

impl Logging<'_> {
    /// Changes a running log to this; the file is opened anew.
    ///
    /// # Errors
    /// When the file cannot be opened, with text that names it; lines go where they went, all else is changed.
    pub fn apply(&self, log: &Log) -> Result<(), Failure> {
        log.set_verbosity(self.verbosity());
        log.set_format(self.format);
        log.reopen(self.open()?);
        Ok(())
    }

    /// Whether [`Logging::apply`] would find its file as things are.
    ///
    /// # Errors
    /// As [`Logging::apply`].
    pub fn check(&self) -> Result<(), Failure> {
        self.open().map(drop)
    }

    fn open(&self) -> Result<Sinks, Failure> {
        Sinks::open(self.stderr, self.file.map(Path::new)).map_err(|error| {
            let text = format!("cannot open the log file {}: {error}", self.file.unwrap_or_default());
            Failure::of(&error, text)
        })
    }

    fn verbosity(&self) -> u8 {
        self.verbosity.min(u8::MAX.into()) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Level;
    use std::fs;

    fn logging(file: &str) -> Logging<'_> {
        Logging { stderr: Stderr::No, file: Some(file), format: Format::Json, verbosity: 0 }
    }

    fn setup<'a>(user: &'a str, pidfile: Option<&'a str>, logging: Logging<'a>) -> Setup<'a> {
        Setup { user: Some(user), pidfile, background: Background::No, logging }
    }

    #[test]
    fn a_process_has_a_pid_file_and_a_log_while_it_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (pidfile, first, second) = (path("pid"), path("log"), path("log.2"));
        // Root would have to become somebody else, which cannot be undone.
        let user = privs::user_name(privs::user_id()).unwrap().unwrap_or_default();
        if !privs::is_root() {
            let process = setup(&user, Some(&pidfile), logging(&first)).start().unwrap();
            assert_eq!(fs::read_to_string(&pidfile).unwrap(), format!("{}\n", std::process::id()));
            assert_eq!(process.shortage("most", 1), None);
            let text = process.shortage("most", u32::MAX);
            assert!(text.is_none_or(|text| text.starts_with("most is 4294967295, but only ")));
            drop(process);
            assert!(!Path::new(&pidfile).exists());
        }

        let log = Log::new(logging(&first).open().unwrap(), Format::Json).unwrap();
        Logging { verbosity: 1, format: Format::Pgbouncer, ..logging(&second) }.apply(&log).unwrap();
        assert!(log.is_shown(Level::Debug));
        let failure = logging("/nonexistent/log").apply(&log).unwrap_err();
        assert!(failure.to_string().starts_with("cannot open the log file /nonexistent/log: "), "{failure}");
        assert!(!failure.may_pass() && !log.is_shown(Level::Debug));
        log.line(Level::Log, "x", format_args!("still written"));
        drop(log);
        assert_eq!(fs::read_to_string(&first).unwrap(), "");
        assert!(fs::read_to_string(&second).unwrap().contains("still written"));
    }

    #[test]
    fn nothing_is_begun_that_cannot_be_ended() {
        let log = logging("/nonexistent/log");
        let text = |setup: Setup<'_>| setup.start().unwrap_err().to_string();
        let background = Setup { background: Background::Yes, ..setup("nobody", None, log) };
        assert_eq!(text(background), "--daemon needs pidfile to be set");
        assert_eq!(text(setup("root", None, log)), "root should not run this program");
        if privs::is_root() {
            let text = text(Setup { user: None, ..setup("root", None, log) });
            assert_eq!(text, "root should not run this program: set user, or give --user");
        }
    }
}
