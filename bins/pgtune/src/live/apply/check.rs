//! What is refused before anything is written. Pure.

use std::fmt;

use super::super::current::Settings;
use super::super::value::{self, Refused, Value};

/// Settings that a standby must not have lower than its primary: it would stop replaying.
const STANDBY: [&str; 5] = [
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];

/// What the server is to others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows another.
    Standby,
}

/// Whether what only may go wrong is refused too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Force {
    /// It is.
    No,
    /// `--force`: not.
    Yes,
}

/// Why a change is refused.
#[derive(Clone, PartialEq, Debug)]
pub enum Refusal {
    /// The plan is for another major than the server's.
    Major {
        /// The plan's.
        plan: u32,
        /// The server's.
        server: u32,
    },
    /// The server has no such setting.
    Unknown(String),
    /// The server takes no such value.
    Value(String, String, Refused),
    /// wal_level=minimal, and this setting needs more.
    Minimal(&'static str),
    /// Lower than now, on a standby.
    Standby(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Major { plan, server } => {
                write!(f, "the settings are for PostgreSQL {plan}, the server is {server}")
            }
            Self::Unknown(name) => write!(f, "{name}: this server has no such setting"),
            Self::Value(name, value, why) => write!(f, "{name} = {value}: {why}"),
            Self::Minimal(name) => {
                write!(f, "wal_level = minimal: the server would not start with {name} as it is")
            }
            Self::Standby(name) => write!(
                f,
                "{name}: lower than now on a standby, which stops if its primary has more; --force overrides"
            ),
        }
    }
}

/// Why these changes are refused; empty if they are not.
pub fn refusals(
    changes: &[(&str, String)],
    settings: &Settings,
    majors: (u32, u32),
    role: Role,
    force: Force,
) -> Vec<Refusal> {
    let (plan, server) = majors;
    let mut refused = Vec::new();
    if plan != server {
        refused.push(Refusal::Major { plan, server });
    }
    for (name, text) in changes {
        let Some(current) = settings.find(&name.to_ascii_lowercase()) else {
            refused.push(Refusal::Unknown((*name).to_owned()));
            continue;
        };
        match value::read(&current.domain, text) {
            Err(why) => refused.push(Refusal::Value((*name).to_owned(), text.clone(), why)),
            Ok(wanted) => {
                let lower = is_lower(&wanted, current.value.as_ref().ok());
                if STANDBY.contains(name) && role == Role::Standby && force == Force::No && lower {
                    refused.push(Refusal::Standby((*name).to_owned()));
                }
            }
        }
    }
    refused.extend(minimal(changes, settings));
    refused
}

fn is_lower(wanted: &Value, current: Option<&Value>) -> bool {
    matches!((wanted, current), (Value::Number(wanted), Some(Value::Number(current))) if wanted < current)
}

/// What would keep a server with wal_level=minimal from starting, once the changes are made.
fn minimal(changes: &[(&str, String)], settings: &Settings) -> Option<Refusal> {
    let will_be = |name: &str, text: &str| {
        let Some(current) = settings.find(name) else { return false };
        let value = match changes.iter().find(|(changed, _)| *changed == name) {
            Some((_, wanted)) => value::read(&current.domain, wanted),
            None => current.value.clone(),
        };
        value.is_ok() && value == value::read(&current.domain, text)
    };
    if !changes.iter().any(|(name, _)| *name == "wal_level") || !will_be("wal_level", "minimal") {
        return None;
    }
    let known = |name: &str| settings.find(name).is_some();
    [("archive_mode", "off"), ("summarize_wal", "off"), ("max_wal_senders", "0")]
        .into_iter()
        .find(|(name, needed)| known(name) && !will_be(name, needed))
        .map(|(name, _)| Refusal::Minimal(name))
}

#[cfg(test)]
mod tests {
    use super::super::super::current::sample;
    use super::*;

    fn refused(changes: &[(&str, &str)], current: &[(&str, &str)], role: Role, force: Force) -> Vec<Refusal> {
        let changes: Vec<_> = changes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        refusals(&changes, &sample(current), (18, 18), role, force)
    }

    fn on_primary(changes: &[(&str, &str)], current: &[(&str, &str)]) -> Vec<Refusal> {
        refused(changes, current, Role::Primary, Force::No)
    }

    #[test]
    fn names_and_values_the_server_does_not_take() {
        assert_eq!(on_primary(&[("work_mem", "64kB"), ("huge_pages", "try")], &[]), []);
        assert_eq!(on_primary(&[("no_such", "1")], &[]), [Refusal::Unknown("no_such".to_owned())]);
        let low =
            Refusal::Value("work_mem".to_owned(), "63kB".to_owned(), Refused::Range(64.0, 2_147_483_647.0));
        assert_eq!(on_primary(&[("work_mem", "63kB")], &[]), [low]);
        assert!(matches!(on_primary(&[("huge_pages", "maybe")], &[])[..], [Refusal::Value(..)]));
        assert!(matches!(on_primary(&[("work_mem", "1gb")], &[])[..], [Refusal::Value(.., Refused::Case)]));
    }

    #[test]
    fn another_major() {
        let changes = [("work_mem", "4MB".to_owned())];
        let found = refusals(&changes, &sample(&[]), (18, 17), Role::Primary, Force::Yes);
        assert_eq!(found, [Refusal::Major { plan: 18, server: 17 }]);
    }

    #[test]
    fn a_standby_keeps_what_its_primary_needs() {
        let now = [("max_connections", "200")];
        let found = |value: &str, role, force| refused(&[("max_connections", value)], &now, role, force);
        let lower = [Refusal::Standby("max_connections".to_owned())];
        assert_eq!(found("199", Role::Standby, Force::No), lower);
        assert_eq!(found("200", Role::Standby, Force::No), []);
        assert_eq!(found("199", Role::Standby, Force::Yes), []);
        assert_eq!(found("199", Role::Primary, Force::No), []);
        for name in STANDBY {
            assert_eq!(refused(&[(name, "7")], &[(name, "8")], Role::Standby, Force::No).len(), 1, "{name}");
        }
        assert_eq!(refused(&[("work_mem", "1MB")], &[], Role::Standby, Force::No), []);
    }

    #[test]
    fn minimal_wal_with_what_needs_more() {
        let minimal = ("wal_level", "minimal");
        assert_eq!(on_primary(&[minimal], &[]), [Refusal::Minimal("max_wal_senders")]);
        assert_eq!(on_primary(&[minimal, ("max_wal_senders", "0")], &[]), []);
        assert_eq!(on_primary(&[minimal], &[("max_wal_senders", "0")]), []);
        let archived = [("archive_mode", "always"), ("max_wal_senders", "0")];
        assert_eq!(on_primary(&[minimal], &archived), [Refusal::Minimal("archive_mode")]);
        let summarized = [("summarize_wal", "on"), ("max_wal_senders", "0")];
        assert_eq!(on_primary(&[minimal], &summarized), [Refusal::Minimal("summarize_wal")]);
        assert_eq!(on_primary(&[("wal_level", "replica")], &[("archive_mode", "on")]), []);
        assert_eq!(on_primary(&[("work_mem", "4MB")], &[("wal_level", "minimal")]), [], "as it is already");
    }
}
