//! The command as its users meet it: what is printed where, what is refused and how, and the exit codes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Read as _;
use std::process::{Command, Output, Stdio};

struct Run {
    code: i32,
    out: String,
    err: String,
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgtune"));
    // What this machine or its user would add.
    command.args(arguments).env_clear();
    command
}

fn run(arguments: &[&str]) -> Run {
    run_with(arguments, &[])
}

fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> Run {
    let Output { status, stdout, stderr } =
        program(arguments).envs(environment.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

/// Refused: exit 2, nothing on standard output, and these words.
fn refused(arguments: &[&str], words: &str) {
    let run = run(arguments);
    assert_eq!((run.code, run.out.as_str()), (2, ""), "{arguments:?}: {}", run.err);
    assert!(run.err.starts_with("pgtune: ") && run.err.contains(words), "{arguments:?}: {}", run.err);
}

#[test]
fn version_help_and_completions() {
    for flag in ["-V", "--version"] {
        assert_eq!(run(&[flag]).out, format!("pgtune (sluice) {}\n", env!("CARGO_PKG_VERSION")));
    }
    for flag in ["-h", "--help"] {
        let run = run(&[flag]);
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        for word in ["Usage: pgtune [flags]\n", "--memory SIZE", "--diff FILE", "--undo-dir D"] {
            assert!(run.out.contains(word), "{word}\n{}", run.out);
        }
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["--completions", shell]).out.contains("pool-size"), "{shell}");
    }
    refused(&["--completions", "tcsh"], "only for bash, zsh and fish");
}

#[test]
fn a_configuration_goes_out_and_warnings_aside() {
    let run = run(&["--memory", "2GB", "--cpus", "2", "--sysroot", "/nowhere"]);
    assert_eq!(run.code, 0);
    let first = run.out.lines().next().unwrap();
    assert_eq!(
        first,
        "# detected: memory 2GB (--memory), cpus 2 (--cpus), disk ssd (assumed), os Linux (this system), PostgreSQL 18 (default)"
    );
    assert!(run.out.contains("\n\n# memory\nshared_buffers = 512MB\n"), "{}", run.out);
    assert!(run.out.contains("# warning: budget: max_connections 200 -> 174\n"), "{}", run.out);
    assert!(run.err.contains("pgtune: warning: budget: max_connections 200 -> 174\n"), "{}", run.err);
    let quiet = self::run(&["--memory", "2GB", "--cpus", "2", "--sysroot", "/nowhere", "-q"]);
    assert_eq!((quiet.out, quiet.err.as_str()), (run.out, ""));
}

#[test]
fn memory_out_of_range_is_refused_with_the_accepted_form() {
    let form = "expected a size from 1kB to 64TB, with a unit: B kB MB GB TB (powers of 1024)";
    for memory in ["0", "-1GB", "2XB", "65TB", "", "GB", "0.0001kB"] {
        refused(&[&format!("--memory={memory}")], form);
    }
    refused(&["--memory", "63MB"], "memory 63MB (--memory): expected a size from 64MB to 64TB");
    refused(&["--memory", "2048"], "memory 2kB (--memory): expected");
    refused(&["--memory", "1GB", "--reserve", "1GB"], "--reserve 1GB: expected less than the memory, 1GB");
    refused(&["--memory", "1GB", "--reserve", "1000MB"], "memory 24MB without the reserve of 1000MB");
    for memory in ["64MB", "64tb", "67108864b", "65536K", "0.0625 g"] {
        assert_eq!(run(&["--memory", memory, "-q"]).code, 0, "{memory}");
    }
}

#[test]
fn counts_out_of_range_are_refused_with_the_range() {
    for cpus in ["0", "4096.001", "-1", "two"] {
        refused(&[&format!("--cpus={cpus}")], "expected a number from 0.001 to 4096");
    }
    for connections in ["0", "-5", "262144", "1.5"] {
        refused(&[&format!("--connections={connections}")], "expected a whole number from 1 to 262143");
    }
    refused(&["--worst-case", "0"], "expected a number from 0.1 to 1000");
    refused(&["--http-timeout", "2.9"], "--http-timeout 2.9s: expected 3s or more");
    let few = run(&["--memory", "1GB", "--connections", "19"]);
    assert_eq!(few.code, 0);
    assert!(few.err.contains("pgtune: warning: few-connections: "), "{}", few.err);
}

#[test]
fn versions_out_of_range_are_refused_with_the_list() {
    for version in ["11", "19", "0"] {
        refused(&["--pg-version", version], "expected one of 12, 13, 14, 15, 16, 17, 18");
    }
    let compat = &["--compat", "pgtune", "--memory", "1GB", "--pg-version"];
    assert_eq!(run(&[compat as &[&str], &["10"]].concat()).code, 0);
    refused(&[compat as &[&str], &["9"]].concat(), "expected one of 10, 11, 12");
}

#[test]
fn unknown_words_are_refused_with_the_nearest() {
    refused(&["--memroy", "1GB"], "unknown flag --memroy, the nearest is --memory");
    refused(
        &["--profile", "oltpp"],
        "--profile oltpp: expected one of web, oltp, dw, desktop, mixed, seed; the nearest is oltp",
    );
    refused(&["--format", "jsn"], "the nearest is json");
    refused(&["--apply", "confd"], "the nearest is conf.d");
    refused(&["--with", "lz4,zst"], "the nearest is zstd");
    refused(&["extra"], "unexpected argument extra");
    assert_eq!(run(&["--profile", "OLTP", "--memory", "1GB", "-q"]).code, 0);
}

#[test]
fn what_excludes_each_other_is_refused() {
    refused(&["--compat", "pgtune"], "--compat pgtune detects nothing: give --memory");
    refused(&["--compat", "pgtune", "--memory", "1GB", "--profile", "seed"], "no profile seed");
    refused(&["--compat", "pgtune", "--memory", "1GB", "--apply", "conf.d"], "only prints");
    refused(&["--advise", "--undo", "f"], "--advise and --undo exclude each other");
    refused(&["--rate", "10"], "--rate and --db-time only mean something together");
    refused(&["--threads", "10"], "--threads and --conns-per-request only mean something together");
    refused(&["--wal-shared"], "--wal-shared needs --wal-disk");
    refused(&["--pool-host", "h:1"], "--pool-host, --database and --user only make DATABASE_URL together");
    refused(&["--user", "u"], "only make DATABASE_URL together");
    refused(&["--yes"], "--yes only means something with --apply or --undo");
    refused(&["--diff", "live", "--yes"], "--yes only means something");
}

#[test]
fn where_the_pooler_listens_is_a_host_and_a_port() {
    let url = |host: &str| {
        ["--database", "d", "--user", "u", "--format", "env", "-q", "--pool-host"]
            .map(str::to_owned)
            .into_iter()
            .chain([host.to_owned()])
            .collect::<Vec<_>>()
    };
    for host in ["h", "h:", ":1", "h:0", "h:65536", "h:+1", "::1:6432", "[::1", "[h]:1", "a/b:1", "u@h:1"] {
        let arguments = url(host);
        refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), "expected host:port, such as");
    }
    for host in ["h:1", "pool.internal:65535", "[::1]:6432", "10.0.0.1:6432"] {
        let arguments = url(host);
        let run = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(run.out.starts_with(&format!("DATABASE_URL=postgresql://u@{host}/d\n")), "{}", run.out);
    }
}

#[test]
fn what_is_about_a_server_is_checked_before_it_is_asked() {
    let advise = |window| ["--advise", "--window", window, "--dsn", "host=/nowhere user=u"];
    for window in ["9", "9999ms", "3601", "61min", "1d"] {
        refused(&advise(window), "expected 10s to 1h, or 0 for all since the statistics were reset");
    }
    for window in ["0", "10", "3600", "1h"] {
        assert_eq!(run(&advise(window)).code, 75, "{window}");
    }
    for name in ["x", "../x.conf", "/x.conf", ".x.conf", "x.CONF"] {
        refused(&["--apply", "conf.d", "--conf-name", name], "expected a name that ends in .conf");
    }
}

#[test]
fn an_empty_name_is_refused_where_one_is_given() {
    for flag in ["--output", "--data-dir", "--conf-dir", "--conf-name", "--undo-dir", "--sysroot", "--user"] {
        refused(&[flag, ""], &format!("{flag} '': expected a name"));
    }
    assert_eq!(run(&["--dsn", "", "-q"]).code, 0);
}

#[test]
fn a_data_directory_that_tells_nothing_is_told_of() {
    let blind = run(&["--memory", "1GB", "--data-dir", "/nonexistent"]);
    assert_eq!(blind.code, 0);
    let words = "pgtune: warning: data-dir: /nonexistent has no PG_VERSION that can be read";
    assert!(blind.err.contains(words), "{}", blind.err);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("PG_VERSION"), "16\n").unwrap();
    let seen = run(&["--memory", "1GB", "--data-dir", directory.path().to_str().unwrap()]);
    assert!(
        !seen.err.contains("data-dir: ") && seen.out.contains("PostgreSQL 16 (PG_VERSION)"),
        "{}",
        seen.err
    );
}

/// The file tells where the data is, and that tells the version.
#[test]
fn a_file_is_compared_with_settings_for_the_version_of_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let (main, data) = (directory.path().join("postgresql.conf"), directory.path().join("data"));
    fs::create_dir(&data).unwrap();
    fs::write(data.join("PG_VERSION"), "15\n").unwrap();
    let diff = |text: &str| {
        fs::write(&main, text).unwrap();
        run(&["--diff", main.to_str().unwrap(), "--memory", "2GB", "--cpus", "2", "-q"])
    };
    let named = diff("data_directory = 'data'\n");
    assert_eq!(named.code, 1, "{}", named.err);
    assert!(
        named.out.contains("shared_buffers") && !named.out.contains("reserved_connections"),
        "{}",
        named.out
    );
    assert!(diff("").out.contains("reserved_connections"), "nothing tells: the newest");
    fs::write(directory.path().join("PG_VERSION"), "15\n").unwrap();
    assert!(!diff("").out.contains("reserved_connections"), "beside the file");
    let missing = run(&["--diff", "/no/such.conf"]);
    assert_eq!(missing.code, 2);
    assert!(missing.err.starts_with("pgtune: could not read /no/such.conf: No such"), "{}", missing.err);
}

#[test]
fn a_flag_beats_the_environment_and_that_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgtune.ini");
    fs::write(&path, "[other]\nmemory = x\n[pgtune]\nmemory = 2GB\nprofile = dw # loud\npg_version = 16\n")
        .unwrap();
    let path = path.to_str().unwrap();
    let with = |arguments: &[&str], environment: &[(&str, &str)]| {
        let run = run_with(&[&["-c", path, "-q"], arguments].concat(), environment);
        assert_eq!(run.code, 0, "{}", run.err);
        run.out.lines().next().unwrap().to_owned()
    };
    assert!(with(&[], &[]).contains("memory 2GB (configuration file)"));
    assert!(with(&[], &[]).contains("PostgreSQL 16 (configuration file)"));
    let environment = [("PGTUNE_MEMORY", "4GB")];
    assert!(with(&[], &environment).contains("memory 4GB (PGTUNE_MEMORY)"));
    assert!(with(&["--memory", "8GB"], &environment).contains("memory 8GB (--memory)"));
}

#[test]
fn a_bad_file_or_variable_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgtune.ini");
    let path = path.to_str().unwrap();
    let of = |text: &str, words: &str| {
        fs::write(path, text).unwrap();
        refused(&["-c", path], words);
    };
    of("[pgtune]\nmemroy = 1GB\n", &format!("{path}:2: unknown key memroy, the nearest is memory"));
    of("[pgtune]\n\nmemory = 1XB\n", &format!("{path}:3: memory 1XB: expected a size"));
    of("[pgtune]\nmemory\n", &format!("{path}:2: no = after the key"));
    of("[pg_tune]\n", &format!("no section [pgtune] in {path}, the nearest is [pg_tune]"));
    refused(&["-c", "/no/such"], "could not read /no/such");
    let bad = run_with(&["--memory", "1GB"], &[("PGTUNE_CPUS", "none")]);
    assert_eq!(bad.code, 2);
    assert!(bad.err.contains("PGTUNE_CPUS none: expected a number"), "{}", bad.err);
    let unknown = run_with(&["--memory", "1GB"], &[("PGTUNE_MEMROY", "1GB")]);
    assert_eq!(unknown.code, 0);
    assert!(unknown.err.contains("PGTUNE_MEMROY names no setting, the nearest is memory"), "{}", unknown.err);
}

#[test]
fn test_config_only_checks() {
    let good = run(&["-t", "--memory", "1GB"]);
    assert_eq!((good.code, good.out.as_str()), (0, "configuration OK\n"));
    refused(&["-t", "--memory", "1XB"], "expected a size");
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("90_pgtune.conf");
    let path = path.to_str().unwrap();
    let tune = |more: &[&str]| run(&[&["--memory", "2GB", "--cpus", "2", "-q", "-o", path], more].concat());
    let first = tune(&[]);
    assert_eq!((first.code, first.out.as_str(), first.err.as_str()), (0, "", ""));
    let written = fs::read_to_string(path).unwrap();
    assert!(written.starts_with("# detected: ") && written.ends_with("\n"));
    refused(&["--memory", "2GB", "-q", "-o", "/dev/null"], "/dev/null is no regular file");
    let again = tune(&["--profile", "dw"]);
    assert_eq!(again.code, 2);
    assert!(again.err.contains("exists: --force replaces it"), "{}", again.err);
    assert_eq!(fs::read_to_string(path).unwrap(), written);
    assert_eq!(tune(&["--profile", "dw", "--force"]).code, 0);
    assert!(fs::read_to_string(path).unwrap().contains("profile dw"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let missing = run(&["--memory", "2GB", "-q", "-o", "/no/such/dir/file"]);
    assert_eq!((missing.code, missing.out.as_str()), (75, ""));
}

#[test]
fn strict_says_no_to_a_risk_and_prints_all_the_same() {
    let risky = ["--memory", "64MB", "--connections", "1000", "-q"];
    assert_eq!(run(&risky).code, 0);
    let strict = run(&[&risky as &[&str], &["--strict"]].concat());
    assert_eq!(strict.code, 1);
    assert_eq!(strict.out, run(&risky).out);
    assert_eq!(run(&["--memory", "2GB", "--cpus", "2", "-q", "--strict"]).code, 0);
}

#[test]
fn whoever_closes_the_pipe_has_read_enough() {
    let mut child = program(&["--memory", "2GB", "--format", "json", "-q"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let full = program(&["--memory", "2GB", "-q"]).stdout(full).output().unwrap();
    assert_eq!(full.status.code(), Some(75));
}

/// Whoever does not hear warnings gets the configuration all the same, and the exit codes too.
#[test]
fn nobody_has_to_hear_what_it_says() {
    let deaf = |arguments: &[&str], stderr: Stdio| program(arguments).stderr(stderr).output().unwrap();
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for stderr in [full, gone] {
        let heard = run(&["--memory", "64MB", "--connections", "1000"]);
        let printed = deaf(&["--memory", "64MB", "--connections", "1000"], stderr());
        assert_eq!((printed.status.code(), printed.stdout), (Some(0), heard.out.into_bytes()));
        assert_eq!(deaf(&["--frob"], stderr()).status.code(), Some(2));
        assert_eq!(deaf(&["--diff", "/no/such"], stderr()).status.code(), Some(2));
    }
}

#[test]
fn colour_only_where_it_is_asked_for() {
    let arguments = ["--memory", "2GB", "-q", "--color"];
    let of = |when: &str| run(&[&arguments as &[&str], &[when]].concat()).out;
    assert!(of("always").starts_with("\x1b[2m# detected: "));
    assert!(!of("auto").contains('\x1b') && !of("never").contains('\x1b'));
    let plain: String = of("always").replace("\x1b[2m", "").replace("\x1b[0m", "");
    assert_eq!(plain, of("never"));
}

#[test]
fn no_password_comes_out() {
    let secret = "hunter2secret";
    let dsn = format!("host=/nowhere user=u password={secret}");
    for arguments in [
        vec!["--memory", "1GB", "--dsn", &dsn],
        vec!["--memory", "1GB", "--dsn", &dsn, "--format", "json", "--explain"],
        vec!["--memory", "1GB", "--dsn", &dsn, "--live"],
        vec!["--memory", "1GB", "--dsn", &dsn, "--advise"],
    ] {
        let run = run_with(&arguments, &[("PGPASSWORD", secret)]);
        assert!(!run.out.contains(secret) && !run.err.contains(secret), "{arguments:?}: {}", run.err);
    }
}
