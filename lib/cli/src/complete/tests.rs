use super::*;
use crate::ctl::Argument;
use crate::flags::Flag;
use crate::settings::{Acted, Reload, Setting};
use std::path::Path;
use std::process::Command as Process;

const fn flag(short: Option<char>, long: &'static str, value: Takes) -> Flag {
    Flag { short, long, value, doc: "It's [a] flag." }
}

const USAGE: Usage = Usage {
    program: "the-gate",
    about: "A gate.",
    synopses: &[],
    flags: &[
        flag(Some('q'), "quiet", Takes::Nothing),
        flag(None, "colour", Takes::Word("C", &["red", "green", "grey"])),
        flag(None, "parts", Takes::Words("LIST", &["hinge", "handle", "lock"])),
        flag(Some('c'), "config", Takes::File("FILE")),
        flag(None, "diff", Takes::FileOr("FILE", "live")),
        flag(None, "home", Takes::Directory("DIR")),
        flag(Some('u'), "user", Takes::User("NAME")),
        flag(None, "name", Takes::Text("N:M")),
    ],
    operands: 1,
};

const CTL: Usage =
    Usage { program: "the-gate ctl", about: "", synopses: &[], flags: ctl::FLAGS, operands: 8 };

const fn row(name: &'static str, kind: Kind) -> Setting {
    let (reload, acted) = (Reload::Yes, Acted::Yes);
    Setting { name, kind, default: None, reload, acted, also_in: &[], doc: "A setting." }
}

const SETTINGS: Table = Table(&[
    row("open_wide", Kind::Bool),
    row("open_order", Kind::Enum(&["first", "last"])),
    row("key_file", Kind::Text),
    row("user", Kind::Text),
]);

fn face() -> ctl::Face {
    let command = |name: &str, arguments: Vec<Argument>| Command {
        name: name.to_owned(),
        arguments,
        doc: format!("Does {name}.").into(),
    };
    let known = |words: &[&str]| Argument {
        name: "X".to_owned(),
        words: words.iter().map(|&word| word.to_owned()).collect(),
    };
    let commands = vec![
        command("show keys", Vec::new()),
        command("show kin", Vec::new()),
        command("limits", Vec::new()),
        command("limits set", vec![known(&["front"]), known(&["width", "weight"]), Argument::free("VALUE")]),
        command("set", vec![known(&["mode=fast", "mode=slow", "timeout="])]),
    ];
    ctl::Face::new(CTL, commands, SETTINGS, "GATE_")
}

fn script(shell: Shell) -> String {
    complete(&USAGE, SETTINGS, Some(&face()), shell)
}

/// What bash offers for the last word.
fn bash(words: &[&str]) -> Vec<String> {
    let text = format!(
        "{}\nCOMP_WORDS=(the-gate \"$@\"); COMP_CWORD=$#; _the_gate; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script(Shell::Bash)
    );
    let output = Process::new("bash").args(["--norc", "-c", &text, "bash"]).args(words).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn bash_completes_flags_and_what_they_take() {
    for (words, offered) in [
        (&["--co"][..], &["--colour", "--config"][..]),
        (
            &["-"],
            &[
                "-q",
                "--quiet",
                "--colour",
                "--parts",
                "-c",
                "--config",
                "--diff",
                "--home",
                "-u",
                "--user",
                "--name",
                "--open-wide",
                "--open-order",
                "--key-file",
            ],
        ),
        (&["--colour", "gr"], &["green", "grey"]),
        // As readline splits --colour=gr.
        (&["--colour", "=", "gr"], &["green", "grey"]),
        (&["--colour", "="], &["red", "green", "grey"]),
        (&["--parts", "h"], &["hinge", "handle"]),
        (&["--parts", "lock,ha"], &["lock,handle"]),
        (&["-u", "roo"], &["root"]),
        (&["--name", ""], &[]),
        // Nothing is offered, and so readline offers files.
        (&["-c", ""], &[]),
        (&["--key-file", ""], &[]),
        (&["--open-wide", "o"], &["on", "off"]),
        (&["--open-order", "="], &["first", "last"]),
        (&["ct"], &["ctl"]),
        (&["file", "ct"], &[]),
    ] {
        assert_eq!(bash(words), offered, "{words:?}");
    }
    assert!(bash(&["--diff", "l"]).contains(&"live".to_owned()));
}

#[test]
fn bash_completes_commands_word_by_word() {
    for (words, offered) in [
        (&["ctl", ""][..], &["show", "limits", "set"][..]),
        (&["ctl", "-"], &["-s", "--socket", "-j", "--json", "-h", "--help"]),
        (&["ctl", "-j", "sh"], &["show"]),
        (&["ctl", "-s", "/a socket", "show", "k"], &["keys", "kin"]),
        (&["ctl", "SHOW", "K"], &["keys", "kin"]),
        (&["ctl", "show", "keys", ""], &[]),
        (&["ctl", "limits", ""], &["set"]),
        (&["ctl", "limits", "set", ""], &["front"]),
        (&["ctl", "limits", "set", "any", "w"], &["width", "weight"]),
        (&["ctl", "limits", "set", "any", "width", ""], &[]),
        (&["ctl", "set", ""], &["mode=fast", "mode=slow", "timeout="]),
        (&["ctl", "set", "mode", "="], &["fast", "slow"]),
        (&["ctl", "set", "mode", "=", "s"], &["slow"]),
        (&["ctl", "set", "timeout", "="], &[""]),
    ] {
        let offered: Vec<&str> = offered.iter().copied().filter(|word| !word.is_empty()).collect();
        assert_eq!(bash(words), offered, "{words:?}");
    }
}

/// Where the shell is installed, it has to take the script; bash always is.
#[test]
fn each_shell_takes_its_script() {
    let dir = tempfile::tempdir().unwrap();
    for (shell, has_ctl) in Shell::ALL.iter().flat_map(|&shell| [(shell, true), (shell, false)]) {
        let face = has_ctl.then(face);
        let text = complete(&USAGE, SETTINGS, face.as_ref(), shell);
        let path = dir.path().join(shell.word());
        std::fs::write(&path, text).unwrap();
        match Process::new(shell.word()).arg("-n").arg(&path).output() {
            Ok(output) => assert!(output.status.success(), "{shell:?}: {output:?}"),
            Err(error) => assert!(shell != Shell::Bash, "{error}"),
        }
    }
}

#[test]
fn fish_completes_the_same_where_it_is_installed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("the-gate.fish");
    std::fs::write(&path, script(Shell::Fish)).unwrap();
    for (line, offered) in [
        ("--colour gr", &["green", "grey"][..]),
        ("--open-order=", &["--open-order=first", "--open-order=last"]),
        ("ctl show k", &["keys", "kin"]),
        ("ctl -s /x limits set any w", &["weight", "width"]),
        ("ctl set mode", &["mode=fast", "mode=slow"]),
        ("ct", &["ctl"]),
    ] {
        let Some(words) = fish(&path, line) else { return };
        assert_eq!(words, offered, "{line}");
    }
}

/// What fish offers, without descriptions; `None` without fish.
fn fish(script: &Path, line: &str) -> Option<Vec<String>> {
    let text = format!("source {}; complete -C 'the-gate {line}'", script.display());
    let output = Process::new("fish").args(["--no-config", "-c", &text]).output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect())
}

#[test]
fn every_shell_is_told_of_everything() {
    for shell in Shell::ALL {
        let text = script(*shell);
        let flags = USAGE.flags.iter().map(|flag| flag.long.to_owned());
        let settings = SETTINGS.0.iter().map(|row| row.name.replace('_', "-"));
        let values = ["green", "handle", "live", "first"].map(str::to_owned);
        let commands =
            ["keys", "limits", "front", "weight", "mode=slow", "timeout=", "socket"].map(str::to_owned);
        for word in flags.chain(settings).chain(values).chain(commands) {
            assert!(text.contains(&word), "{shell:?} knows {word}");
        }
    }
    assert!(script(Shell::Zsh).contains("'*--quiet[It'\\''s \\[a\\] flag.]'"));
    assert!(script(Shell::Zsh).contains("'*--name=[It'\\''s \\[a\\] flag.]:N\\:M: '"));
    assert!(script(Shell::Fish).contains("-l user -x -a '(__fish_complete_users)' -d 'It\\'s [a] flag.'"));
}
