//! What is in front of the server: the application's environment and sections of ini files.

use std::fmt::Write as _;

use super::Reasons;
use crate::config::Url;
use crate::explain;
use crate::pooler::Line;
use crate::tune::Plan;

/// `NAME=value` lines that a shell, systemd's EnvironmentFile and docker's --env-file read alike.
pub(super) fn env(plan: &Plan, reasons: Reasons) -> String {
    let mut text = String::new();
    if let Some(url) = &plan.wishes.pool.url {
        for name in ["DATABASE_URL", "DB_URL"] {
            reason(&mut text, name, "--pool-host, --database and --user", reasons);
            let _ = writeln!(text, "{name}={}", database_url(url));
        }
    }
    for line in &plan.pooling.app {
        reason(&mut text, line.name, &line.rule, reasons);
        let _ = writeln!(text, "{}={}", line.name, line.amount);
    }
    text
}

/// A section of an ini file. Comments have lines of their own: behind a value they would be part of it.
pub(super) fn section(name: &str, lines: &[Line], reasons: Reasons) -> String {
    format!("[{name}]\n{}", keys(lines, reasons))
}

/// Keys without a section: for the top of a file.
pub(super) fn keys(lines: &[Line], reasons: Reasons) -> String {
    let mut text = String::new();
    for line in lines {
        reason(&mut text, line.name, &line.rule, reasons);
        let _ = writeln!(text, "{} = {}", line.name, line.amount);
    }
    text
}

/// The comment above a line that is no setting of PostgreSQL.
pub(super) fn reason(text: &mut String, name: &str, rule: &str, reasons: Reasons) {
    if reasons == Reasons::Given {
        if !text.is_empty() {
            text.push('\n');
        }
        for line in explain::lines(name, &format!("{name}: {rule}")) {
            let _ = writeln!(text, "# {line}");
        }
    }
}

/// A URL without a password. What RFC 3986 does not leave alone is percent-encoded, so no shell sees anything in it.
pub(super) fn database_url(url: &Url) -> String {
    let host = encoded(&url.host, b".-_:[]");
    format!("postgresql://{}@{host}/{}", encoded(&url.user, b".-_~"), encoded(&url.database, b".-_~"))
}

fn encoded(part: &str, plain: &[u8]) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
