use super::*;
use crate::settings::{Acted, Kind, Reload, Setting};

const ROW: Setting = Setting {
    name: "queue_size",
    kind: Kind::Int { min: 0, max: 9 },
    default: Some("1"),
    reload: Reload::Yes,
    acted: Acted::Yes,
    also_in: &[],
    doc: "How many may wait.",
};

const FACE: Face = Face {
    usage: Usage {
        program: "gate",
        about: "A gate.",
        synopses: &["[flags] FILE"],
        flags: &[USER, QUIET, VERBOSE, TEST_CONFIG, COMPLETIONS, VERSION, HELP],
        operands: 1,
    },
    version: "gate 1",
    settings: Table(&[ROW]),
    also_settings: &["user"],
    file: File::Operand,
    variables: &["GATE_"],
    ctl: || ctl::Face::new(CTL, Vec::new(), Table(&[]), "GATE_"),
};

const CTL: Usage =
    Usage { program: "gate ctl", about: "Ask a gate.", synopses: &[], flags: ctl::FLAGS, operands: 1 };

fn of(arguments: &[&str]) -> Result<Command, CommandError> {
    FACE.command(arguments.iter().map(Into::into).collect::<Vec<_>>())
}

#[test]
fn flags_that_set_settings_beat_the_file() {
    let Ok(Command::Run(start)) = of(&["--queue-size=7", "-vv", "-u", "nobody", "-q", "f"]) else {
        panic!("not taken");
    };
    assert_eq!(start.file, Some("f".into()));
    let flags = [("user", "nobody"), ("queue_size", "7"), ("verbose", "2")];
    assert_eq!(start.overrides.flags, flags.map(|(key, value)| (key, value.to_owned())));
    assert!(start.given.has("quiet") && !start.given.has("help"));
    assert!(matches!(of(&["-t", "f"]), Ok(Command::Check(_))));
}

#[test]
fn verbose_ends_at_three() {
    for (flag, value) in [("-v", "1"), ("-vvv", "3"), ("-vvvv", "3")] {
        let Ok(Command::Run(start)) = of(&[flag, "f"]) else { panic!("{flag}") };
        assert_eq!(start.overrides.flags, [("verbose", value.to_owned())]);
    }
}

#[test]
fn a_file_is_an_operand_or_a_flag() {
    assert_eq!(of(&[]), Err(CommandError::NoFile));
    assert_eq!(of(&["-t"]), Err(CommandError::NoFile));
    let by_flag = Face { file: File::Flag("user"), ..FACE };
    let Ok(Command::Run(start)) = by_flag.command(Vec::new()) else { panic!("none needed") };
    assert_eq!(start, Start::default());
    let Ok(Command::Run(start)) = by_flag.command(["-uf".into()]) else { panic!("named") };
    assert_eq!(start.file, Some("f".into()));
}

#[test]
fn what_is_printed_needs_no_file() {
    let Ok(Command::Print(text)) = of(&["--help"]) else { panic!("no help") };
    assert!(text.contains("--user NAME") && text.contains("--queue-size"), "{text}");
    assert_eq!(of(&["-V"]), Ok(Command::Print("gate 1\n".to_owned())));
    for shell in Shell::WORDS {
        let Ok(Command::Print(script)) = of(&["--completions", shell]) else { panic!("{shell}") };
        assert!(script.contains("queue-size"), "{script}");
    }
    assert_eq!(
        of(&["--completions", "tcsh"]).unwrap_err().to_string(),
        "no completions for tcsh, only for bash, zsh and fish"
    );
}

#[test]
fn a_value_that_is_no_text_names_its_flag() {
    use std::os::unix::ffi::OsStringExt as _;
    let value = OsString::from_vec(vec![0xff]);
    for (flag, named) in [("-u", "user"), ("--queue-size", "queue-size")] {
        let error = FACE.command([flag.into(), value.clone(), "f".into()]).unwrap_err();
        assert_eq!(error.to_string(), format!("the value of --{named} is not valid UTF-8"));
    }
}

#[test]
fn main_is_told_what_is_left_to_do() {
    let pair = |name: &str| (name.into(), "1".into());
    let variables = [pair("GATE_QUEUE_SIZE"), pair("HOME")];
    let asked = |arguments: &[&str]| {
        let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
        FACE.asked(arguments.into_iter(), variables.clone().into_iter())
    };
    let Asked::Ctl(words) = asked(&["gate", "ctl", "show", "-j"]) else { panic!("no ctl") };
    assert_eq!(words, ["show", "-j"]);
    let Asked::Check(start) = asked(&["gate", "-t", "f"]) else { panic!("no check") };
    assert_eq!(start.overrides.environment, [("GATE_QUEUE_SIZE".to_owned(), "1".to_owned())]);
    assert!(matches!(asked(&["gate", "f"]), Asked::Run(_)));
    assert!(matches!(asked(&["gate", "--no-such"]), Asked::Done(Exit::Usage)));
    assert!(matches!(asked(&["gate"]), Asked::Done(Exit::Usage)));
}
