//! Who the daemons under test run as. PostgreSQL and poolers refuse root, so root's tests run them as `postgres`
//! (Debian's package makes that account) or `nobody`; anybody else's tests run them as themselves.

use nix::unistd::{Gid, Uid, User, chown};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The account of the daemons.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name, as PostgreSQL and poolers know it.
    pub name: String,
    other: Option<(Uid, Gid)>,
}

impl Account {
    /// The account to use: the caller's own unless that is root.
    pub fn choose() -> Account {
        let own = Uid::effective();
        if !own.is_root() {
            let name = User::from_uid(own).unwrap().map_or_else(|| own.to_string(), |user| user.name);
            return Account { name, other: None };
        }
        let user = ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).unwrap())
            .expect("an account named postgres or nobody");
        Account { name: user.name, other: Some((user.uid, user.gid)) }
    }

    /// A command run as this account that gets `death` (a signal name) when the thread that spawned it ends, however it ends.
    pub fn command(&self, program: impl AsRef<OsStr>, death: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", death]);
        if let Some((uid, gid)) = self.other {
            command.args(["--reuid", &uid.to_string(), "--regid", &gid.to_string(), "--init-groups"]);
        }
        // The account may not be allowed where the tests were started.
        command.arg("--").arg(program).current_dir("/");
        command
    }

    /// Gives a path to the account.
    pub fn own(&self, path: &Path) {
        if let Some((uid, gid)) = self.other {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }

    /// A fresh directory that belongs to the account, removed when dropped.
    pub fn directory(&self) -> TempDir {
        let directory = TempDir::with_prefix("sluice-").unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        self.own(directory.path());
        directory
    }

    /// Whether the account can execute the file: a checkout below /root is closed to it.
    pub fn reaches(&self, program: &Path) -> bool {
        let mut test = self.command("test", "KILL");
        test.arg("-x").arg(program).status().unwrap().success()
    }

    /// The program, or a copy of it in the directory if the account cannot reach it where it is.
    pub fn reachable(&self, program: &Path, directory: &Path) -> PathBuf {
        if self.reaches(program) {
            return program.to_path_buf();
        }
        let copy = directory.join(program.file_name().unwrap());
        std::fs::copy(program, &copy).unwrap();
        copy
    }
}
