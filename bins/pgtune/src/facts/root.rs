//! Files below a root that may be a fixture's. All reads of /proc and /sys go through here.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Longest file read, in bytes: a mountinfo of thousands of lines fits.
const FILE_BYTES: u64 = 4 << 20;

/// The directory that stands for `/`.
#[derive(Clone, Debug)]
pub(super) struct Root(PathBuf);

impl Root {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where an absolute path of the system is.
    pub(super) fn path(&self, absolute: &str) -> PathBuf {
        self.0.join(absolute.trim_start_matches('/'))
    }

    /// The text of a file of the system, if it can be read.
    pub(super) fn read(&self, absolute: &str) -> Option<String> {
        read(&self.path(absolute))
    }
}

/// The text of a file, if it can be read; bytes that are no UTF-8 are replaced. What is no file tells nothing: a pipe
/// would keep us for ever.
pub(super) fn read(path: &Path) -> Option<String> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The names in a directory, sorted; none where it cannot be read.
pub(super) fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}
