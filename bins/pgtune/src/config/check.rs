//! What no single row of the table can check: options against each other.

use std::time::Duration;

use crate::conf;
use crate::guc::MAJORS;
use crate::tune::Kb;

use super::{Action, ConfigError, How, Known, Profile, Request, options};

/// Least memory the native rules work with.
pub(super) const LEAST_MEMORY: Kb = Kb(64 << 10);
/// Most memory: more is what a broken file says.
const MOST_MEMORY: Kb = Kb(options::MOST_MEMORY.unsigned_abs() / 1024);
/// Majors the web calculator knows.
const COMPAT_MAJORS: std::ops::RangeInclusive<u32> = 10..=18;
/// Window between two samples of advice: shorter ones see too little, longer ones nobody waits for.
const WINDOW: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(3600);
/// Shortest wait of a caller from which the timeouts behind it can be told apart in whole seconds.
const LEAST_HTTP_TIMEOUT: Duration = Duration::from_secs(3);

/// Refuses what cannot be meant.
///
/// # Errors
/// [`ConfigError`] for the first thing found.
pub(super) fn request(request: &Request) -> Result<(), ConfigError> {
    version(request)?;
    compat(request)?;
    memory(request)?;
    server(request)?;
    if request.given.wal_shared && request.given.wal_disk_kb.is_none() {
        return err("--wal-shared needs --wal-disk: what is free on the common volume".into());
    }
    let wait = request.wishes.pool.http_timeout;
    if wait < LEAST_HTTP_TIMEOUT {
        return err(format!(
            "--http-timeout {}s: expected {}s or more, so that the waits behind it can be shorter",
            wait.as_secs_f64(),
            LEAST_HTTP_TIMEOUT.as_secs()
        ));
    }
    Ok(())
}

fn version(request: &Request) -> Result<(), ConfigError> {
    let known = if request.wishes.compat { COMPAT_MAJORS } else { MAJORS };
    match &request.given.major {
        Some(major) if !known.contains(&major.value) => {
            let list: Vec<String> = known.map(|major| major.to_string()).collect();
            err(format!("--pg-version {}: expected one of {}", major.value, list.join(", ")))
        }
        _ => Ok(()),
    }
}

fn compat(request: &Request) -> Result<(), ConfigError> {
    if !request.wishes.compat {
        return Ok(());
    }
    if request.wishes.profile == Profile::Seed {
        return err("--compat pgtune has no profile seed".into());
    }
    if request.action != Action::Tune {
        return err(
            "--compat pgtune only prints: it is no basis for --diff, --advise, --apply or --undo".into()
        );
    }
    if request.given.memory_kb.is_none() {
        return err("--compat pgtune detects nothing: give --memory, such as --memory 16GB".into());
    }
    Ok(())
}

fn memory(request: &Request) -> Result<(), ConfigError> {
    let Some(memory) = &request.given.memory_kb else { return Ok(()) };
    enough(memory, request.wishes.reserve_kb, request.wishes.compat)
}

/// Whether memory, in kB, is enough to tune for.
///
/// # Errors
/// [`ConfigError`] that names the least.
pub fn enough(memory_kb: &Known<u64>, reserve_kb: u64, compat: bool) -> Result<(), ConfigError> {
    let (memory, reserve) = (Kb(memory_kb.value), Kb(reserve_kb));
    if reserve >= memory {
        return err(format!("--reserve {reserve}: expected less than the memory, {memory}"));
    }
    let left = Kb(memory.0 - reserve.0);
    if !compat && !(LEAST_MEMORY..=MOST_MEMORY).contains(&left) {
        let without =
            if reserve_kb == 0 { String::new() } else { format!(" without the reserve of {reserve}") };
        let from = &memory_kb.from;
        return err(format!("memory {left}{without} ({from}): expected a size from {LEAST_MEMORY} to 64TB"));
    }
    Ok(())
}

/// What is about a running server.
fn server(request: &Request) -> Result<(), ConfigError> {
    let live = &request.live;
    if live.yes && !matches!(request.action, Action::Apply(_) | Action::Undo(_)) {
        return err("--yes only means something with --apply or --undo".into());
    }
    if !live.window.is_zero() && !WINDOW.contains(&live.window) {
        return err(format!(
            "--window {}s: expected 10s to 1h, or 0 for all since the statistics were reset",
            live.window.as_secs_f64()
        ));
    }
    let name = &live.conf_name;
    let is_fit = conf::is_member(name.as_ref()) && !name.contains(['/', '\0', '\n']);
    if request.action == Action::Apply(How::ConfD) && !is_fit {
        return err(format!(
            "--conf-name {name}: expected a name that ends in .conf, without a leading dot and without /"
        ));
    }
    Ok(())
}

fn err(message: String) -> Result<(), ConfigError> {
    Err(ConfigError(message))
}
