//! pgtune: the command. Reads what is asked for, gathers facts, and prints what the library works out.

use std::io::{self, IsTerminal as _};

use pgtune::config::command::{Command, CommandError, command};
use pgtune::config::{Action, ColorWhen, Request, USAGE};
use pgtune::output::{self, Existing, OutputError};
use pgtune::tune::{self, Plan};
use pgtune::{facts, live, render};
use sluice_cli::exit::{Exit, print, say};
use sluice_cli::help::synopsis;

fn main() -> Exit {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match command(std::env::args_os().skip(1).collect::<Vec<_>>(), &environment) {
        Ok(Command::Print(text)) => print("pgtune", &text),
        Ok(Command::Check(request)) => check(&request),
        Ok(Command::Run(request)) if request.action == Action::Tune => tune(&request),
        Ok(Command::Run(request)) => live::run(&request),
        Err(CommandError::Usage(text)) => {
            say(&format_args!("pgtune: {text}"));
            say(&synopsis(&USAGE).trim_end());
            Exit::Usage
        }
        Err(CommandError::Config(error)) => failed(&error, Exit::Usage),
    }
}

fn failed(error: &dyn std::fmt::Display, exit: Exit) -> Exit {
    say(&format_args!("pgtune: {error}"));
    exit
}

fn check(request: &Request) -> Exit {
    for remark in &request.remarks {
        say(&format_args!("pgtune: warning: {remark}"));
    }
    print("pgtune", "configuration OK\n")
}

/// Prints a configuration.
fn tune(request: &Request) -> Exit {
    match plan(request) {
        Ok(plan) => {
            warn(request, &plan);
            let exit = write(request, &plan);
            if exit == Exit::Done && request.output.strict && plan.is_risky() { Exit::No } else { exit }
        }
        Err(exit) => exit,
    }
}

/// The plan, or the exit code after saying why there is none.
fn plan(request: &Request) -> Result<Plan, Exit> {
    let server = if request.live.ask { Some(live::server_facts(request)?) } else { None };
    let facts = facts::detect(request, server.as_ref()).map_err(|error| failed(&error, Exit::Usage))?;
    Ok(tune::plan(&request.wishes, &facts))
}

fn warn(request: &Request, plan: &Plan) {
    if request.output.quiet {
        return;
    }
    for remark in &request.remarks {
        say(&format_args!("pgtune: warning: options: {remark}"));
    }
    for warning in &plan.warnings {
        say(&format_args!("pgtune: warning: {warning}"));
    }
}

fn write(request: &Request, plan: &Plan) -> Exit {
    let mut text = render::render(plan, &request.output);
    let Some(path) = &request.output.file else {
        let colored = match request.output.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        if colored {
            text = render::dim_comments(&text);
        }
        return print("pgtune", &text);
    };
    let existing = if request.output.force { Existing::Replace } else { Existing::Keep };
    match output::write_file(path, text.as_bytes(), existing) {
        Ok(()) => Exit::Done,
        Err(error @ OutputError::Io(..)) => failed(&error, Exit::Temporary),
        Err(error) => failed(&error, Exit::Usage),
    }
}
