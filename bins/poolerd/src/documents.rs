//! The tables of flags, commands and events against the man pages.

use sluice_cli::complete::Shell;
use sluice_cli::daemon::Command;
use sluice_cli::documents::{self, under};

use crate::config::command;
use crate::control::EXTRAS;
use crate::core::{Argument, COMMANDS, Event, SHOWS};
use crate::ctl;

const POOLERD: &str = include_str!("../../../man/poolerd.8");
const CONTROL: &str = include_str!("../../../man/sluice-control.7");
const LOG: &str = include_str!("../../../man/sluice-log.7");

#[test]
fn every_flag_is_described_and_no_other() {
    for (usage, heading) in
        [(&command::USAGE, ".Sh DESCRIPTION"), (&ctl::USAGE, ".Ss Asking a running poolerd")]
    {
        let described: Vec<_> =
            under(POOLERD, heading).into_iter().filter(|line| line.starts_with(".It ")).collect();
        assert_eq!(described, documents::flags(usage));
    }
}

#[test]
fn every_command_is_described_and_no_other() {
    let item = |name: &str, argument| match argument {
        Argument::None => format!(".It Ic {name}"),
        Argument::Database => format!(".It Ic {name} Ar database"),
        Argument::OptionalDatabase => format!(".It Ic {name} Op Ar database"),
        Argument::Client => format!(".It Ic {name} Ar id"),
        Argument::Word(words) => format!(".It Ic {name} Op Cm {}", words.join(" | ")),
        Argument::Show => format!(".It Ic {name} Ar what"),
        Argument::Setting => format!(".It Ic {name} Ar key Cm = Ar value"),
    };
    let commands: Vec<String> = COMMANDS.iter().map(|c| item(c.name, c.argument)).collect();
    let described = |page, heading| -> Vec<&'static str> {
        under(page, heading).into_iter().filter(|line| line.starts_with(".It ")).collect()
    };
    assert_eq!(described(POOLERD, ".Ss Commands"), commands);
    let small: Vec<String> = commands
        .iter()
        .map(|line| {
            let (lead, rest) = line.split_at(".It Ic ".len());
            let rest: Vec<String> = rest
                .split(' ')
                .map(|word| if word.len() > 2 { word.to_lowercase() } else { word.to_owned() })
                .collect();
            format!("{lead}{}", rest.join(" "))
        })
        .chain(EXTRAS.iter().map(|extra| format!(".It Ic {}", extra.name)))
        .collect();
    assert_eq!(described(CONTROL, ".Sh COMMANDS OF POOLERD"), small);
}

#[test]
fn everything_that_can_be_shown_is_described() {
    let shows: Vec<&str> = SHOWS.iter().map(|show| show.name).collect();
    assert_eq!(documents::items(&under(POOLERD, ".Ss What can be shown"), ".It Cm "), shows);
}

#[test]
fn every_event_is_described_and_no_other() {
    let mut events: Vec<&str> = Event::ALL.iter().map(|event| event.name()).collect();
    events.sort_unstable();
    assert_eq!(documents::items(&under(LOG, ".Sh EVENTS OF POOLERD"), ".It Cm "), events);
}

#[test]
fn shells_are_told_of_every_flag_and_command() {
    for shell in Shell::WORDS {
        let Ok(Command::Print(script)) = command::FACE.command(["--completions".into(), shell.into()]) else {
            panic!("no script for {shell}")
        };
        let commands = COMMANDS.iter().map(|c| c.name).chain(SHOWS.iter().map(|s| s.name));
        let extras = EXTRAS.iter().map(|extra| extra.name);
        let flags = command::USAGE.flags.iter().chain(ctl::USAGE.flags).map(|flag| flag.long);
        for word in flags.chain(commands).chain(extras) {
            assert!(script.contains(&word.to_lowercase()), "{shell}: {word}");
        }
    }
}
