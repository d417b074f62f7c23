//! What is known about the machine and the server: given, asked of a server, or detected.
//!
//! The only part that looks at the kernel and the data directory. Each fact keeps its origin. What cannot be found out
//! is `None`, never zero; a file that is missing, empty or garbage is as if the kernel had said nothing.

mod cgroup;
mod cpus;
mod disk;
mod memory;
mod mounts;
mod root;
mod volume;

use std::fmt;
use std::path::PathBuf;

use sluice_unix::machine;

use crate::config::{ConfigError, Disk, Feature, Given, Known, Os, Request, enough};
use crate::guc::MAJORS;
use root::Root;

pub use volume::{Share, WalVolume};

/// The size of a WAL segment where nobody knows another, in kB.
const SEGMENT_KB: u64 = 16 << 10;

/// The origin of what nobody told.
pub const ASSUMED: &str = "assumed";

/// Everything the formulas need to know.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Memory, in kB.
    pub memory_kb: Known<u64>,
    /// A limit of memory below which the kernel already throttles, in kB.
    pub memory_high_kb: Option<u64>,
    /// Whether a control group limits memory.
    pub confinement: Confinement,
    /// CPUs in thousandths; `None` only for `--compat`.
    pub cpus_milli: Option<Known<u64>>,
    /// What the data is on.
    pub disk: Known<Disk>,
    /// Whether that is more than a guess.
    pub disk_certainty: Certainty,
    /// The system of the server.
    pub os: Known<Os>,
    /// Major version.
    pub major: Known<u32>,
    /// The volume of the WAL.
    pub wal: Option<Known<WalVolume>>,
    /// Free space where the data is, in kB.
    pub data_free_kb: Option<u64>,
    /// The data directory that was given, where it could not be looked into.
    pub unread_data_dir: Option<PathBuf>,
    /// Size of /dev/shm, in kB.
    pub shm_kb: Option<Known<u64>>,
    /// Size of a huge page, in kB.
    pub huge_page_kb: Option<u64>,
    /// How many files a process may open.
    pub descriptors: Option<u64>,
    /// Size of a WAL segment, in kB.
    pub wal_segment_kb: u64,
    /// Features a server says it was built with.
    pub features: Vec<Feature>,
}

/// Whether a control group limits memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// None does.
    None,
    /// One does.
    Group,
}

/// Whether a fact is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// It was given or found out.
    Known,
    /// It was assumed.
    Assumed,
}

/// What a running server said of itself.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// Its major version.
    pub major: u32,
    /// Its data directory, where it may be told.
    pub data_dir: Option<PathBuf>,
    /// Size of its WAL segments, in kB.
    pub wal_segment_kb: Option<u64>,
    /// What the words of its settings say it was built with.
    pub features: Vec<Feature>,
    /// Where it runs.
    pub place: Place,
}

/// Where a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine, so that what is detected is about it.
    Here,
    /// On another one.
    Elsewhere,
}

/// Why there are no facts. Whoever asks can help by giving them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactsError {
    /// Memory is neither given nor found.
    NoMemory(&'static str),
    /// The version found is none of [`MAJORS`].
    Major(u32, String),
    /// What was found cannot be tuned for.
    Config(ConfigError),
}

impl fmt::Display for FactsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory(why) => write!(f, "{why}: give --memory, such as --memory 16GB"),
            Self::Major(major, from) => {
                let (first, last) = (MAJORS.start(), MAJORS.end());
                write!(f, "PostgreSQL {major} ({from}): expected {first} to {last}; --pg-version chooses one")
            }
            Self::Config(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FactsError {}

/// Gathers the facts: what was given, what the server said, what is found below the request's sysroot.
///
/// # Errors
/// [`FactsError`].
pub fn detect(request: &Request, server: Option<&ServerFacts>) -> Result<Facts, FactsError> {
    if request.wishes.compat {
        return assumed(&request.given);
    }
    let facts = if server.is_some_and(|server| server.place == Place::Elsewhere) {
        let mut facts = assumed(&request.given)?;
        facts.cpus_milli = Some(request.given.cpus_milli.clone().unwrap_or(Known::new(1000, ASSUMED)));
        facts
    } else {
        found(request, server)?
    };
    let facts = with_server(facts, &request.given, server);
    if !MAJORS.contains(&facts.major.value) {
        return Err(FactsError::Major(facts.major.value, facts.major.from.into_owned()));
    }
    enough(&facts.memory_kb, request.wishes.reserve_kb, false).map_err(FactsError::Config)?;
    Ok(facts)
}

/// Only what was given, and defaults for the rest: of a server elsewhere, and for the web calculator's formulas.
fn assumed(given: &Given) -> Result<Facts, FactsError> {
    let memory_kb = given.memory_kb.clone();
    let (disk, disk_certainty) = disk::or_assumed(given.disk.clone());
    Ok(Facts {
        memory_kb: memory_kb
            .ok_or(FactsError::NoMemory("the memory of another machine is not known here"))?,
        memory_high_kb: None,
        confinement: Confinement::None,
        cpus_milli: given.cpus_milli.clone(),
        disk,
        disk_certainty,
        os: given.os.clone().unwrap_or(Known::new(Os::Linux, ASSUMED)),
        major: given.major.clone().unwrap_or(Known::new(*MAJORS.end(), "default")),
        wal: volume::given(given),
        data_free_kb: None,
        unread_data_dir: None,
        shm_kb: given.shm_kb.clone(),
        huge_page_kb: None,
        descriptors: None,
        wal_segment_kb: SEGMENT_KB,
        features: Vec::new(),
    })
}

/// What was given, and what this machine says where nothing was.
fn found(request: &Request, server: Option<&ServerFacts>) -> Result<Facts, FactsError> {
    let (given, root) = (&request.given, Root::new(&request.sysroot));
    let data_dir = given.data_dir.clone().or_else(|| server.and_then(|server| server.data_dir.clone()));
    let data_dir = data_dir.as_deref();
    let groups = cgroup::Groups::read(&root);
    let detected = memory::detect(&root, &groups);
    let no_memory = if cfg!(target_os = "linux") {
        "the memory of this machine could not be read from /proc/meminfo"
    } else {
        "memory is detected on Linux only"
    };
    let confined = groups.memory().is_some();
    let memory_kb = given.memory_kb.clone().or(detected).ok_or(FactsError::NoMemory(no_memory))?;
    let cpus = given.cpus_milli.clone().unwrap_or_else(|| cpus::detect(&root, &groups));
    let (disk, disk_certainty) = match given.disk.clone() {
        Some(disk) => (disk, Certainty::Known),
        None => disk::detect(&root, data_dir),
    };
    let told = data_dir.and_then(volume::major);
    let unread_data_dir = given.data_dir.clone().filter(|_| told.is_none());
    let major = given.major.clone().or(told);
    Ok(Facts {
        memory_high_kb: groups.memory_high_kb().filter(|high| *high < memory_kb.value),
        memory_kb,
        confinement: if confined { Confinement::Group } else { Confinement::None },
        cpus_milli: Some(cpus),
        disk,
        disk_certainty,
        os: given.os.clone().unwrap_or_else(this_system),
        major: major.unwrap_or(Known::new(*MAJORS.end(), "default")),
        wal: volume::given(given).or_else(|| data_dir.and_then(volume::wal)),
        data_free_kb: data_dir.and_then(volume::free_kb),
        unread_data_dir,
        shm_kb: given.shm_kb.clone().or_else(|| volume::shm(&root)),
        huge_page_kb: memory::huge_page_kb(&root),
        descriptors: machine::descriptor_limit().ok(),
        wal_segment_kb: SEGMENT_KB,
        features: Vec::new(),
    })
}

fn with_server(mut facts: Facts, given: &Given, server: Option<&ServerFacts>) -> Facts {
    let Some(server) = server else { return facts };
    if given.major.is_none() {
        facts.major = Known::new(server.major, "server");
    }
    facts.wal_segment_kb = server.wal_segment_kb.unwrap_or(facts.wal_segment_kb);
    facts.features.clone_from(&server.features);
    facts
}

fn this_system() -> Known<Os> {
    let os = match std::env::consts::OS {
        "macos" => Os::Macos,
        "windows" => Os::Windows,
        _ => Os::Linux,
    };
    Known::new(os, "this system")
}
