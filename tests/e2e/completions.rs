//! Completions as a shell uses them: the scripts the programs print, in a real bash, and where `make install` puts them.

#![expect(clippy::unwrap_used, reason = "the helpers of a test report by panicking, as tests do")]

use std::path::Path;
use std::process::Command;

use sluice_tests::build;

/// What bash offers for the last of the words behind the program's name.
fn offered(program: &str, words: &[&str]) -> Vec<String> {
    let output = Command::new(build::program(program)).args(["--completions", "bash"]).output().unwrap();
    assert!(output.status.success(), "{program}");
    let script = String::from_utf8(output.stdout).unwrap();
    let function = program.replace('-', "_");
    let text = format!(
        "{script}\nCOMP_WORDS=({program} \"$@\"); COMP_CWORD=$#; _{function}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let output = Command::new("bash").args(["--norc", "-c", &text, "bash"]).args(words).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{program} {words:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_lines_of_every_program() {
    for (program, words, expected) in [
        ("poolerd", &["--comp"][..], &["--completions"][..]),
        ("poolerd", &["--completions", ""], &["bash", "zsh", "fish"]),
        ("poolerd", &["ctl", "sh"], &["show", "shutdown"]),
        ("poolerd", &["ctl", "show", "po"], &["pools"]),
        ("poolerd", &["ctl", "-s", "/x", "show", "peer"], &["peers", "peer_pools"]),
        ("poolerd", &["ctl", "set", "query_t"], &["query_timeout="]),
        ("poolerd", &["ctl", "set", "pool_mode", "=", "s"], &["session", "statement"]),
        ("poolerd", &["ctl", "shutdown", ""], &["wait_for_servers", "wait_for_clients"]),
        ("throttle-proxy", &["ct"], &["ctl"]),
        ("throttle-proxy", &["--queue-order", "="], &["adaptive", "fifo", "lifo"]),
        ("throttle-proxy", &["--max-req"], &["--max-requests"]),
        ("throttle-proxy", &["ctl", "show", "q"], &["queue"]),
        ("throttle-proxy", &["ctl", "limits", "set", "default", "queue_p"], &["queue_per_key"]),
        ("pgtune", &["--profile", "d"], &["dw", "desktop"]),
        ("pgtune", &["--extras", "guards,o"], &["guards,observe"]),
        ("pgtune", &["--apply", "="], &["alter-system", "conf.d"]),
    ] {
        assert_eq!(offered(program, words), expected, "{program} {words:?}");
    }
    assert!(offered("pgtune", &["--diff", "li"]).contains(&"live".to_owned()));
}

#[test]
fn the_scripts_are_installed_and_removed() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let room = tempfile::tempdir().unwrap();
    let release = room.path().join("target/release");
    std::fs::create_dir_all(&release).unwrap();
    for program in ["poolerd", "throttle-proxy", "pgtune"] {
        std::os::unix::fs::symlink(build::program(program), release.join(program)).unwrap();
    }
    let root = room.path().join("root");
    let make = |target: &str| {
        let mut command = Command::new("make");
        command
            .arg(target)
            .arg("PREFIX=/opt")
            .current_dir(top)
            .env("CARGO_TARGET_DIR", room.path().join("target"));
        let output = command.arg(format!("DESTDIR={}", root.display())).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let places = |program: &str| {
        [
            format!("bash-completion/completions/{program}"),
            format!("zsh/site-functions/_{program}"),
            format!("fish/vendor_completions.d/{program}.fish"),
        ]
        .map(|place| root.join("opt/share").join(place))
    };
    make("install");
    for program in ["poolerd", "throttle-proxy", "pgtune"] {
        for (shell, place) in ["bash", "zsh", "fish"].iter().zip(places(program)) {
            let printed =
                Command::new(build::program(program)).args(["--completions", shell]).output().unwrap().stdout;
            assert!(std::fs::read(&place).unwrap() == printed, "{}", place.display());
        }
    }
    make("uninstall");
    for program in ["poolerd", "throttle-proxy", "pgtune"] {
        for place in places(program) {
            assert!(!place.exists(), "{}", place.display());
        }
    }
}
