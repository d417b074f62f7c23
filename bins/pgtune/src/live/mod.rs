//! What needs a running server or a file of one: comparing, advice, changing. Not built yet; everything here says so.

use sluice_cli::exit::Exit;

use crate::config::Request;
use crate::facts::ServerFacts;

const NOT_YET: &str =
    "this version only prints configurations: no --live, --diff, --advise, --apply or --undo yet";

/// Compares, advises or changes.
#[must_use]
pub fn run(_request: &Request) -> Exit {
    eprintln!("pgtune: {NOT_YET}");
    Exit::Usage
}

/// What the server says of itself.
///
/// # Errors
/// The exit code, and what to say before it.
pub fn server_facts(_request: &Request) -> Result<ServerFacts, (Exit, String)> {
    Err((Exit::Usage, NOT_YET.to_owned()))
}
