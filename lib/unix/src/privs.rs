//! Who the process is: user, descriptor limit, pid file, background.
//!
//! Called by `main` before the loop and before any thread starts. These calls may block.

use std::ffi::CString;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::kill;
use nix::unistd::{self, Pid, Uid, User};

/// Why the process cannot become what it should be.
#[derive(Debug)]
pub enum PrivsError {
    /// No such user on this system.
    NoSuchUser(String),
    /// The user asked for is root, or somebody who could become root again.
    Root,
    /// The kernel or the user database refused the call named.
    Call(&'static str, io::Error),
    /// The pid file names a process that is alive.
    Running(PathBuf, i32),
    /// The pid file cannot be read or written.
    PidFile(PathBuf, io::Error),
}

impl fmt::Display for PrivsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchUser(name) => write!(f, "no such user on this system: {name}"),
            Self::Root => f.write_str("root should not run this program"),
            Self::Call(call, error) => write!(f, "{call}(): {error}"),
            Self::Running(path, _) => {
                write!(f, "pidfile '{}' exists, another instance running?", path.display())
            }
            Self::PidFile(path, error) => write!(f, "pidfile '{}': {error}", path.display()),
        }
    }
}

impl std::error::Error for PrivsError {}

/// Whether the process is root.
#[must_use]
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Effective user id of the process.
#[must_use]
pub fn user_id() -> u32 {
    Uid::effective().as_raw()
}

/// Name of a user, for a peer known by its id.
///
/// # Errors
/// When the user database cannot be asked; `Ok(None)` if it does not know the id.
pub fn user_name(user_id: u32) -> io::Result<Option<String>> {
    Ok(User::from_uid(Uid::from_raw(user_id))?.map(|user| user.name))
}

/// Id of a group by its name or number.
///
/// # Errors
/// When the user database cannot be asked; `Ok(None)` if it does not know the group.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    Ok(unistd::Group::from_name(name)?.map(|group| group.gid.as_raw()))
}

/// Becomes `name` for good, with its groups. A process that is that user already is left alone.
///
/// # Errors
/// [`PrivsError::NoSuchUser`]; [`PrivsError::Root`] for a user that is root; [`PrivsError::Call`] mostly when the
/// process is not root and so may not change.
pub fn become_user(name: &str) -> Result<(), PrivsError> {
    let user = find_user(name)?;
    if user.uid == Uid::effective() && user.uid == Uid::current() {
        return Ok(());
    }
    let c_name = CString::new(name).map_err(|_| PrivsError::NoSuchUser(name.to_owned()))?;
    unistd::initgroups(&c_name, user.gid).map_err(call("initgroups"))?;
    unistd::setgid(user.gid).map_err(call("setgid"))?;
    unistd::setuid(user.uid).map_err(call("setuid"))?;
    // The one thing that must not be left to hope.
    if unistd::setuid(Uid::from_raw(0)).is_ok() { Err(PrivsError::Root) } else { Ok(()) }
}

/// Whether [`become_user`] would find a user to become, without changing anything.
///
/// # Errors
/// [`PrivsError::NoSuchUser`]; [`PrivsError::Root`]; [`PrivsError::Call`] when the user database cannot be asked.
pub fn check_user(name: &str) -> Result<(), PrivsError> {
    find_user(name).map(|_| ())
}

fn find_user(name: &str) -> Result<User, PrivsError> {
    let user = User::from_name(name).map_err(call("getpwnam"))?;
    let user = user.ok_or_else(|| PrivsError::NoSuchUser(name.to_owned()))?;
    if user.uid.is_root() { Err(PrivsError::Root) } else { Ok(user) }
}

/// Raises the limit of open descriptors as far as it goes, and returns it.
///
/// # Errors
/// As `getrlimit` and `setrlimit`.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Goes to the background: the caller's process ends here and its child returns, leader of a session of its own,
/// with the null device for standard input, output and error. The working directory stays, as relative paths of
/// the configuration depend on it. Threads do not survive: call before any is started.
///
/// # Errors
/// As `fork`.
pub fn daemonize() -> Result<(), PrivsError> {
    unistd::daemon(true, false).map_err(call("daemon"))
}

/// A file that says which process runs; removed when dropped, if it still says so.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Whether the file names a live process, without changing anything: for a check before going to the
    /// background, while somebody still reads the error.
    ///
    /// # Errors
    /// [`PrivsError::Running`] if so.
    pub fn check(path: &Path) -> Result<(), PrivsError> {
        match live_owner(path) {
            Some(pid) => Err(PrivsError::Running(path.to_owned(), pid)),
            None => Ok(()),
        }
    }

    /// Writes our pid to the file, replacing what a dead process left.
    ///
    /// # Errors
    /// [`PrivsError::Running`], [`PrivsError::PidFile`].
    pub fn create(path: &Path) -> Result<Self, PrivsError> {
        Self::check(path)?;
        let failed = |error| PrivsError::PidFile(path.to_owned(), error);
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        // create_new: of two processes that got this far, one wins.
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map_err(failed)?;
        writeln!(file, "{}", process::id()).map_err(failed)?;
        Ok(Self { path: path.to_owned() })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if read_pid(&self.path) == Some(process::id().cast_signed()) {
            // Left behind, it names a dead process and is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The live process a pid file names. Our own pid is not one: after a restart in a container it is the dead
/// predecessor's.
fn live_owner(path: &Path) -> Option<i32> {
    let pid = read_pid(path)?;
    let alive = kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH);
    (alive && pid != process::id().cast_signed()).then_some(pid)
}

fn read_pid(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok().filter(|pid| *pid > 0)
}

fn call(name: &'static str) -> impl Fn(Errno) -> PrivsError {
    move |error| PrivsError::Call(name, error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_says_who_runs_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let file = PidFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", process::id()));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_live_owner_is_respected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let parent = unistd::getppid();
        fs::write(&path, format!("{parent}\n")).unwrap();
        let error = PidFile::create(&path).unwrap_err();
        assert!(matches!(error, PrivsError::Running(_, pid) if pid == parent.as_raw()));
        let text = error.to_string();
        assert_eq!(text, format!("pidfile '{}' exists, another instance running?", path.display()));
        assert!(path.exists());
    }

    #[test]
    fn what_a_dead_process_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let mut child = process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let own = process::id().to_string();
        for text in [child.id().to_string(), own, String::new(), "-1".to_owned(), "x".to_owned()] {
            fs::write(&path, text).unwrap();
            drop(PidFile::create(&path).unwrap());
        }
    }

    #[test]
    fn a_successor_s_pid_file_survives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let file = PidFile::create(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_pid_file_in_no_directory_is_an_error() {
        let error = PidFile::create(Path::new("/nonexistent/pid")).unwrap_err();
        assert!(matches!(error, PrivsError::PidFile(..)), "{error}");
    }

    #[test]
    fn nobody_becomes_root_or_unknown() {
        assert!(matches!(become_user("root"), Err(PrivsError::Root)));
        assert!(matches!(check_user("root"), Err(PrivsError::Root)));
        assert!(matches!(check_user("no such user"), Err(PrivsError::NoSuchUser(_))));
        assert!(matches!(become_user("no such user"), Err(PrivsError::NoSuchUser(_))));
    }

    #[test]
    fn names_and_ids() {
        assert_eq!(user_name(0).unwrap().as_deref(), Some("root"));
        assert_eq!(user_name(4_000_000_000).unwrap(), None);
        assert_eq!(group_id("root").unwrap(), Some(0));
        assert_eq!(group_id("42").unwrap(), Some(42));
        assert_eq!(group_id("no such group").unwrap(), None);
        assert_eq!(is_root(), user_id() == 0);
    }

    #[test]
    fn the_descriptor_limit_goes_to_its_hard_bound() {
        let limit = raise_descriptor_limit().unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((soft, hard), (limit, limit));
    }
}
