//! The command line: what is printed where, and the exit codes.

use std::process::Output;

use crate::daemon::poolerd;

struct Run {
    code: i32,
    out: String,
    err: String,
}

fn run(arguments: &[&str]) -> Run {
    run_with(arguments, &[])
}

fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> Run {
    let mut command = poolerd();
    command.args(arguments).envs(environment.iter().copied());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

/// A file of this content, and its path.
fn file(content: &str) -> (tempfile::NamedTempFile, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    (file, path)
}

#[test]
fn version_and_help_go_to_standard_output() {
    for flag in ["-V", "--version"] {
        let run = run(&[flag]);
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        assert!(run.out.starts_with("PgBouncer 1.25.2 (sluice poolerd "), "{}", run.out);
    }
    for flag in ["-h", "--help"] {
        let run = run(&[flag]);
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        assert!(run.out.contains("--test-config"), "{}", run.out);
    }
}

#[test]
fn wrong_usage_is_2_and_shows_how() {
    for arguments in [&[][..], &["--colour", "f"], &["-u"], &["a", "b"]] {
        let run = run(arguments);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{arguments:?}");
        assert!(run.err.starts_with("poolerd: ") && run.err.contains("\nUsage: poolerd "), "{}", run.err);
    }
}

#[test]
fn a_good_configuration_is_told_with_its_warnings() {
    let (_file, path) = file("[pgbouncer]\nverbose = 1 # loud\nsyslog = 1\n");
    for flag in ["-t", "--test-config"] {
        let run = run(&[flag, &path]);
        assert_eq!((run.code, run.out.as_str()), (0, "configuration OK\n"), "{}", run.err);
        let comment = format!(
            "WARNING the value of verbose ends before a comment: comments need a line of their own ({path}:2)"
        );
        assert_eq!(
            run.err.lines().collect::<Vec<_>>(),
            [&comment, "WARNING syslog is set but has no effect yet"]
        );
    }
}

#[test]
fn a_bad_configuration_is_2_and_names_its_line() {
    let (_file, path) = file("[pgbouncer]\npol_mode = session\n");
    for arguments in [&["-t", &path][..], &[&path]] {
        let run = run(arguments);
        assert_eq!((run.code, run.out.as_str()), (2, ""));
        let expected =
            format!("poolerd: unknown parameter: pgbouncer/pol_mode ({path}:2), the nearest is pool_mode\n");
        assert_eq!(run.err, expected);
    }
    let run = run(&["-t", "/nonexistent/poolerd.ini"]);
    assert_eq!(run.code, 2);
    assert!(
        run.err.starts_with("poolerd: could not open configuration file /nonexistent/poolerd.ini: "),
        "{}",
        run.err
    );
}

#[test]
fn the_environment_is_read() {
    let (_file, path) = file("[pgbouncer]\n");
    let run = run_with(&["-t", &path], &[("POOLERD_POOL_MODE", "fast")]);
    assert_eq!(run.code, 2);
    assert!(
        run.err.contains("in environment variable POOLERD_POOL_MODE: expected one of session"),
        "{}",
        run.err
    );
}

#[test]
fn a_daemon_needs_a_pidfile() {
    let (_file, path) = file("[pgbouncer]\nuser = nobody\nlisten_addr =\nunix_socket_dir =\n");
    let run = run(&["-d", &path]);
    assert_eq!(run.code, 2);
    assert_eq!(run.err, "poolerd: --daemon needs pidfile to be set\n");
}

#[test]
fn what_does_not_work_is_not_ok() {
    let (_file, path) = file("[pgbouncer]\nauth_file = /nonexistent/users\n");
    let run_it = run(&["-t", &path]);
    assert_eq!((run_it.code, run_it.out.as_str()), (2, ""));
    assert!(run_it.err.starts_with("ERROR could not open auth_file /nonexistent/users: "), "{}", run_it.err);
    let (_file, path) = file("[pgbouncer]\nuser = no such user\n");
    let run_it = run(&["-t", &path]);
    assert_eq!((run_it.code, run_it.out.as_str()), (2, ""));
    assert_eq!(run_it.err, "ERROR user: no such user on this system: no such user\n");
}
