//! Plans as the command makes them, without running it.

use std::ffi::OsString;

use pgtune::config::Request;
use pgtune::config::command::{Command, CommandError, command};
use pgtune::tune::Plan;
use pgtune::{facts, render, tune};

/// A sysroot with nothing in it: no fact is detected but CPUs and descriptors.
pub(crate) const NOWHERE: &str = "/nowhere";

/// The request the arguments make.
pub(crate) fn request(arguments: &[&str]) -> Result<Box<Request>, String> {
    match command(arguments.iter().map(OsString::from).collect::<Vec<_>>(), &[]) {
        Ok(Command::Run(request) | Command::Check(request)) => Ok(request),
        Ok(Command::Print(text)) => panic!("{text}"),
        Err(CommandError::Usage(text)) => Err(text),
        Err(CommandError::Config(error)) => Err(error.to_string()),
    }
}

/// The plan the arguments make.
pub(crate) fn try_plan(arguments: &[&str]) -> Result<Plan, String> {
    let request = request(arguments)?;
    let facts = facts::detect(&request, None).map_err(|error| error.to_string())?;
    Ok(tune::plan(&request.wishes, &facts))
}

/// The same, of arguments that must do, and without what this machine would add.
pub(crate) fn plan(arguments: &str) -> Plan {
    let mut words: Vec<&str> = arguments.split_whitespace().collect();
    if !words.contains(&"--sysroot") {
        words.extend(["--sysroot", NOWHERE]);
    }
    try_plan(&words).unwrap_or_else(|error| panic!("{arguments}: {error}"))
}

/// What is printed.
pub(crate) fn rendered(arguments: &str) -> String {
    let words: Vec<&str> = arguments.split_whitespace().chain(["--sysroot", NOWHERE]).collect();
    let request = request(&words).unwrap_or_else(|error| panic!("{arguments}: {error}"));
    let facts = facts::detect(&request, None).unwrap_or_else(|error| panic!("{arguments}: {error}"));
    render::render(&tune::plan(&request.wishes, &facts), &request.output)
}

/// The value of a setting; nothing where the plan has none.
pub(crate) fn value(plan: &Plan, name: &str) -> String {
    plan.setting(name).map(|setting| setting.amount.to_string()).unwrap_or_default()
}

/// The codes of the warnings, in order.
pub(crate) fn codes(plan: &Plan) -> Vec<&'static str> {
    plan.warnings.iter().map(|warning| warning.code.word()).collect()
}
