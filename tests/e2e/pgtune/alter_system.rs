//! `--apply alter-system` and `--undo`: the round trip, and every way it may break off.

use super::relay::{self, Mischief};
use super::*;
use sluice_check::Rng;
use sluice_tests::postgres::Options;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;
use tempfile::TempDir;

/// Applies with --yes; the undo file goes to the directory.
fn apply(dsn: &str, undo: &TempDir) -> Run {
    tune_as(dsn, &["--apply", "alter-system", "--yes", "--undo-dir", undo.path().to_str().unwrap()])
}

fn files(directory: &TempDir) -> usize {
    std::fs::read_dir(directory.path()).unwrap().count()
}

#[test]
fn apply_restart_diff_undo() {
    let mut postgres = Postgres::with(&Options::default().set("log_statement", "all"));
    postgres.sql("ALTER SYSTEM SET work_mem = '7MB'");
    postgres.sql("ALTER SYSTEM SET log_line_prefix = 'it''s %m '");
    postgres.sql("SELECT pg_reload_conf()");
    let (before, undo) = (auto_conf(&postgres), TempDir::new().unwrap());

    let undo_dir = undo.path().to_str().unwrap();
    let dry = tune(&postgres, &["--apply", "alter-system", "--undo-dir", undo_dir]);
    assert_eq!(dry.code, 0, "{dry:?}");
    assert_eq!((dry.state("work_mem"), dry.state("shared_buffers")), ("high", "low"));
    assert!(dry.err.contains("nothing has been changed"), "{dry:?}");
    assert_eq!((auto_conf(&postgres), files(&undo)), (before.clone(), 0));

    let applied = apply(&dsn(&postgres, "postgres"), &undo);
    assert_eq!(applied.code, 0, "{applied:?}");
    let file = applied.path("undo file: ").to_owned();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("ALTER SYSTEM SET work_mem = '7MB';\n"), "{text}");
    assert!(text.contains("ALTER SYSTEM RESET shared_buffers;\n"), "{text}");
    assert!(!text.contains("log_line_prefix"), "only what is changed");
    let log = postgres.log().lines();
    let statements: Vec<_> =
        log.iter().filter(|line| line.contains("statement: ALTER SYSTEM SET max_wal")).collect();
    assert_eq!(statements.len(), 1, "{statements:?}");
    assert!(
        statements[0].ends_with("ALTER SYSTEM SET max_wal_size = '4GB'"),
        "one statement a message: {statements:?}"
    );

    let waiting = tune(&postgres, &["--diff", "live"]);
    assert_eq!(waiting.code, 1, "{waiting:?}");
    assert!(waiting.out.lines().skip(1).all(|line| line.ends_with(" pending")), "{waiting:?}");
    restart(&mut postgres);
    let done = tune(&postgres, &["--diff", "live"]);
    assert_eq!((done.code, done.out.as_str()), (0, ""), "{done:?}");
    let again = apply(&dsn(&postgres, "postgres"), &undo);
    assert_eq!((again.code, files(&undo)), (0, 1), "nothing to change, nothing to undo: {again:?}");

    let shown = tune(&postgres, &["--undo", &file]);
    assert!(shown.code == 0 && shown.out.contains("ALTER SYSTEM SET work_mem = '7MB';"), "{shown:?}");
    assert_ne!(auto_conf(&postgres), before);
    let undone = tune(&postgres, &["--undo", &file, "--yes"]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(undone.row("work_mem")[1], "7MB");
    let mut after = auto_conf(&postgres);
    let mut expected = before;
    after.sort();
    expected.sort();
    assert_eq!(after, expected);
    restart(&mut postgres);
    assert_eq!(postgres.sql("SHOW shared_buffers")[0][0], "32MB");
}

#[test]
fn a_failing_statement_takes_back_those_before_it() {
    let postgres = Postgres::start();
    postgres.sql("ALTER SYSTEM SET shared_buffers = '48MB'");
    let (before, undo) = (auto_conf(&postgres), TempDir::new().unwrap());
    let port = relay::before(&postgres, 5, Mischief::Spoil);
    let failed = apply(&format!("host=127.0.0.1 port={port} user=postgres dbname=postgres"), &undo);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(
        failed.err.contains("syntax error")
            && failed.err.contains("the 4 settings changed before have been taken back"),
        "{failed:?}"
    );
    assert_eq!(auto_conf(&postgres), before);
}

#[test]
fn a_server_lost_on_the_way_leaves_the_undo_file() {
    let postgres = Postgres::start();
    let (before, undo) = (auto_conf(&postgres), TempDir::new().unwrap());
    let port = relay::before(&postgres, 5, Mischief::HangUp);
    let lost = apply(&format!("host=127.0.0.1 port={port} user=postgres dbname=postgres"), &undo);
    assert_eq!(lost.code, 75, "{lost:?}");
    let file = lost.path("undo file: ").to_owned();
    assert!(lost.err.contains(&format!("pgtune --undo {file} --yes")), "{lost:?}");
    assert_eq!(auto_conf(&postgres).len(), before.len() + 4);
    assert_eq!(tune(&postgres, &["--undo", &file, "--yes"]).code, 0);
    assert_eq!(auto_conf(&postgres), before);
}

/// Killed anywhere, what has been changed can be taken back: the undo file was whole before the first change.
#[test]
fn killed_at_any_moment_the_undo_file_is_there_first() {
    let postgres = Postgres::start();
    postgres.sql("ALTER SYSTEM SET work_mem = '7MB'");
    let before = auto_conf(&postgres);
    let target = dsn(&postgres, "postgres");
    let whole = TempDir::new().unwrap();
    let started = Instant::now();
    let file = apply(&target, &whole).path("undo file: ").to_owned();
    let whole_run = started.elapsed();
    assert_eq!(tune(&postgres, &["--undo", &file, "--yes"]).code, 0);
    assert_eq!(auto_conf(&postgres), before);
    let (mut rng, mut changed) = (Rng::new(2), 0);
    for round in 0..40 {
        let undo = TempDir::new().unwrap();
        let directory = undo.path().to_str().unwrap();
        let arguments = ["--apply", "alter-system", "--yes", "-q", "--dsn", &target, "--undo-dir", directory];
        let mut command = command(&[&arguments, &FACTS[..]].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + whole_run.mul_f64(rng.below(1000) as f64 / 1000.0);
        while Instant::now() < until {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // A statement that was under way ends with its session.
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgtune'";
        while postgres.sql(sessions)[0][0] != "0" {}
        if auto_conf(&postgres) == before {
            continue;
        }
        changed += 1;
        let mut names = std::fs::read_dir(undo.path()).unwrap().map(|entry| entry.unwrap().path());
        let file = names.next().unwrap_or_else(|| panic!("round {round}: changed, and no undo file"));
        assert_eq!(tune(&postgres, &["--undo", file.to_str().unwrap(), "--yes"]).code, 0, "round {round}");
        assert_eq!(auto_conf(&postgres), before, "round {round}");
    }
    assert!(changed > 0, "at least one was killed on its way");
}

/// Whoever has stopped listening (`pgtune ... 2>&1 | head -1`) finds the server changed, or taken back; never in between.
#[test]
fn nobody_has_to_listen() {
    let postgres = Postgres::start();
    let undo = TempDir::new().unwrap();
    let (before, heard) = (auto_conf(&postgres), apply(&dsn(&postgres, "postgres"), &undo));
    let changed = auto_conf(&postgres);
    assert_eq!(tune(&postgres, &["--undo", heard.path("undo file: "), "--yes"]).code, 0);
    let port = relay::before(&postgres, 5, Mischief::Spoil);
    let spoilt = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    for (dsn, code, after) in [(dsn(&postgres, "postgres"), 0, changed), (spoilt, 1, before)] {
        let directory = undo.path().to_str().unwrap();
        let arguments = ["--apply", "alter-system", "--yes", "--dsn", &dsn, "--undo-dir", directory];
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = command(&[&arguments, &FACTS[..]].concat());
        let output = command.stdout(writer.try_clone().unwrap()).stderr(writer).output().unwrap();
        assert_eq!((output.status.code(), auto_conf(&postgres)), (Some(code), after));
        let last = heard.path("undo file: ");
        assert_eq!(tune(&postgres, &["--undo", last, "--yes"]).code, 0);
    }
}

/// A standby keeps what its primary needs, unless it is forced.
#[test]
fn a_standby_is_not_lowered() {
    let mut postgres = Postgres::start();
    postgres.stop();
    std::fs::write(postgres.data_directory().join("standby.signal"), "").unwrap();
    postgres.start_again();
    let undo = TempDir::new().unwrap();
    let refused = apply(&dsn(&postgres, "postgres"), &undo);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("refused: max_connections"), "{refused:?}");
    assert_eq!((auto_conf(&postgres), files(&undo)), (vec![], 0));
    let directory = undo.path().to_str().unwrap();
    let forced = tune(&postgres, &["--apply", "alter-system", "--yes", "--force", "--undo-dir", directory]);
    assert_eq!((forced.code, files(&undo)), (0, 1), "{forced:?}");
}

#[test]
fn ordinary_users_need_the_privilege() {
    let postgres = Postgres::start();
    let undo = TempDir::new().unwrap();
    let before = auto_conf(&postgres);
    let refused = apply(&dsn(&postgres, "alice"), &undo);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("refused: no right to change max_connections, "), "{refused:?}");
    assert_eq!((auto_conf(&postgres), files(&undo)), (before.clone(), 0));

    if postgres.major() < 15 {
        return assert!(refused.err.contains(": a superuser is needed\n"), "{refused:?}");
    }
    let names: Vec<String> = refused
        .err
        .lines()
        .find_map(|line| line.split_once("no right to change "))
        .and_then(|(_, rest)| rest.split_once(": "))
        .map(|(names, _)| names.split(", ").map(str::to_owned).collect())
        .unwrap();
    for name in &names {
        postgres.sql(&format!("GRANT ALTER SYSTEM ON PARAMETER {name} TO alice"));
    }
    let granted = apply(&dsn(&postgres, "alice"), &undo);
    assert_eq!(granted.code, 0, "{granted:?}");
    assert!(
        granted.err.contains("pg_file_settings may not be read")
            && granted.err.contains("no right to reload"),
        "{granted:?}"
    );
    assert_eq!(auto_conf(&postgres).len(), before.len() + names.len());
}

#[test]
fn what_counts_more_is_told() {
    let postgres = Postgres::start();
    let undo = TempDir::new().unwrap();
    postgres.sql("ALTER ROLE postgres SET random_page_cost = 3");
    let applied = apply(&dsn(&postgres, "postgres"), &undo);
    assert_eq!(applied.code, 1, "{applied:?}");
    assert_eq!(applied.row("random_page_cost")[1..], ["3", "1.1", "user", "overridden"]);
    assert_eq!(applied.state("max_wal_size"), "effect");
}

#[test]
fn files_the_server_cannot_read_are_mended_first() {
    let postgres = Postgres::start();
    let undo = TempDir::new().unwrap();
    postgres.sql("ALTER SYSTEM SET work_mem = '7MB'");
    let main = postgres.data_directory().join("postgresql.conf");
    std::fs::write(&main, std::fs::read_to_string(&main).unwrap() + "work_mem = = 1\n").unwrap();
    let refused = apply(&dsn(&postgres, "postgres"), &undo);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.err.contains("postgresql.conf:") && refused.err.contains(": syntax error; what"),
        "{refused:?}"
    );
    assert_eq!((auto_conf(&postgres), files(&undo)), (vec!["work_mem = '7MB'".to_owned()], 0));
}

#[test]
fn where_alter_system_is_forbidden_nothing_is_tried() {
    let mut postgres = Postgres::start();
    if postgres.major() < 17 {
        let known = postgres.sql("SELECT count(*) FROM pg_settings WHERE name = 'allow_alter_system'");
        return assert_eq!(known[0][0], "0");
    }
    let main = postgres.data_directory().join("postgresql.conf");
    std::fs::write(&main, std::fs::read_to_string(&main).unwrap() + "allow_alter_system = off\n").unwrap();
    restart(&mut postgres);
    let undo = TempDir::new().unwrap();
    let refused = apply(&dsn(&postgres, "postgres"), &undo);
    assert!(refused.code == 1 && refused.err.contains("use --apply conf.d there"), "{refused:?}");
    assert_eq!((auto_conf(&postgres), files(&undo)), (vec![], 0));
}

#[test]
fn what_is_refused() {
    let postgres = Postgres::start();
    let undo = TempDir::new().unwrap();
    let strange_major = if postgres.major() == 18 { "17" } else { "18" };
    let other = tune(
        &postgres,
        &[
            "--apply",
            "alter-system",
            "--yes",
            "--pg-version",
            strange_major,
            "--undo-dir",
            undo.path().to_str().unwrap(),
        ],
    );
    assert_eq!(other.code, 1, "{other:?}");
    assert!(
        other.err.contains(&format!("the settings are for PostgreSQL {strange_major}, the server is")),
        "{other:?}"
    );
    let unknown = other.err.contains("io_method: this server has no such setting");
    assert_eq!(unknown, strange_major == "18", "{other:?}");
    let nowhere = tune(&postgres, &["--apply", "alter-system", "--yes", "--undo-dir", "/nonexistent"]);
    assert_eq!(nowhere.code, 75, "{nowhere:?}");
    assert_eq!(auto_conf(&postgres), Vec::<String>::new());

    let file = undo.path().join("strange.sql");
    std::fs::write(&file, "-- fine\nDROP TABLE t;\n").unwrap();
    let strange = tune(&postgres, &["--undo", file.to_str().unwrap(), "--yes"]);
    assert_eq!(strange.code, 2, "{strange:?}");
    assert!(strange.err.contains("strange.sql:2: neither a comment nor a statement"), "{strange:?}");
    assert_eq!(tune(&postgres, &["--undo", "/nonexistent/undo.sql"]).code, 2);
    assert!(!Path::new("/nonexistent").exists());
}
