//! A gateway whose gate lets everything pass: for measuring the gateway itself, and for reading how a program uses it.
//!
//! `relay LISTEN ORIGIN [KEY=VALUE…]`, as in `relay 127.0.0.1:8080 http://127.0.0.1:3000 access_log=off`.

use std::process::ExitCode;
use std::time::Instant;

use sluice_gateway::config::Config;
use sluice_gateway::gate::{
    Admission, Asker, CommandResult, Effect, Gate, Head, Outcome, Peer, QueueDrain, Ticket, Verb,
};
use sluice_gateway::metrics::{Exposition, Metric};
use sluice_gateway::route::Routes;
use sluice_gateway::settings::Settings;
use sluice_gateway::shell::{Doors, Prepared, Request, Shell};
use sluice_unix::control::Place;
use sluice_unix::fault::Failure;
use sluice_unix::log::{Format, Log, Sinks, Stderr};
use sluice_wire::control::Row;

/// Lets everything pass.
struct Open;

impl Gate for Open {
    const EVENTS: &'static [(&'static str, &'static str)] = &[];
    const METRICS: &'static [Metric] = &[];
    const VERBS: &'static [Verb] = &[];

    fn admit(&mut self, _: &Head<'_>, _: &Peer, _: Asker, _: Instant) -> Admission {
        Admission::Pass(Ticket::default())
    }

    fn settle(&mut self, _: Ticket, _: Outcome, _: Instant) {}

    fn abandon(&mut self, _: Ticket, _: Instant) {}

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn poll(&mut self) -> Option<Effect> {
        None
    }

    fn drain(&mut self, _: QueueDrain, _: Instant) {}

    fn expose(&self, _: &mut Exposition<'_>, _: Instant) {}

    fn command(&mut self, _: &Verb, _: &[&str], _: Instant) -> CommandResult {
        Ok(Vec::new())
    }

    fn snapshot(&self, _: Instant) -> Vec<Row> {
        Vec::new()
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(origin)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: relay LISTEN ORIGIN [access_log=off]");
        return ExitCode::from(2);
    };
    let mut settings = Settings { listen: vec![listen], origin: vec![origin], ..Settings::default() };
    if arguments.any(|argument| argument == "access_log=off") {
        settings.access_log = false;
    }
    match Config::new("relay", settings, Routes::new(Vec::new())) {
        Ok(config) => match serve(config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("relay: {failure}");
                ExitCode::FAILURE
            }
        },
        Err(wrong) => {
            eprintln!("relay: {} {}", wrong.key, wrong.text);
            ExitCode::from(2)
        }
    }
}

fn serve(config: Config) -> Result<(), Failure> {
    let sinks = Sinks::open(Stderr::Yes, None).map_err(Failure::system("open the log"))?;
    let log = Log::new(sinks, Format::Json).map_err(Failure::system("start the log"))?;
    let prepared = Prepared::new(config, Vec::new()).map_err(Failure::Configuration)?;
    let doors = Doors::open(&prepared)?;
    let mut shell = Shell::new(Open, prepared, doors, &Place::None, log)?;
    shell.announce("relay");
    while !shell.is_finished() {
        shell.wait(None)?;
        let mut at = 0;
        while let Some((token, readiness)) = shell.event(at) {
            at += 1;
            shell.on_event(token, readiness, Instant::now());
        }
        shell.expire(Instant::now());
        shell.run_queued();
        while let Some(request) = shell.request() {
            if request == Request::Reload {
                shell.reloaded(Err("there is nothing to read anew".to_owned()), Instant::now());
            }
        }
    }
    shell.finish();
    Ok(())
}
