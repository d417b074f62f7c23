//! `--apply conf.d`: the directory has to count, the file is whole at every moment, the old one stays beside it.

use super::*;
use sluice_check::Rng;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

/// A server whose configuration includes `conf.d` last.
fn server() -> (Postgres, PathBuf) {
    let postgres = Postgres::start();
    let directory = postgres.data_directory().join("conf.d");
    fs::create_dir(&directory).unwrap();
    append(&postgres, "include_dir = 'conf.d'\n");
    (postgres, directory)
}

fn append(postgres: &Postgres, text: &str) {
    let path = postgres.data_directory().join("postgresql.conf");
    fs::write(&path, fs::read_to_string(&path).unwrap() + text).unwrap();
}

fn apply(postgres: &Postgres, more: &[&str]) -> Run {
    tune(postgres, &[&["--apply", "conf.d"], more].concat())
}

#[test]
fn apply_restart_diff() {
    let (mut postgres, directory) = server();
    let path = directory.join("90_pgtune.conf");
    let dry = apply(&postgres, &[]);
    assert_eq!(dry.code, 0, "{dry:?}");
    assert!(dry.err.contains("nothing has been changed") && !path.exists(), "{dry:?}");
    let applied = apply(&postgres, &["--yes", "--reload"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    assert_eq!((applied.state("work_mem"), applied.state("shared_buffers")), ("effect", "pending"));
    restart(&mut postgres);
    let done = tune(&postgres, &["--diff", "live"]);
    assert_eq!((done.code, done.out.as_str()), (0, ""), "{done:?}");

    let old = fs::read_to_string(&path).unwrap();
    let other = apply(&postgres, &["--yes", "--memory", "2GB"]);
    assert_eq!(other.code, 0, "{other:?}");
    let backup = other.path("as it was before: ");
    assert_eq!(fs::read_to_string(backup).unwrap(), old);
    assert_ne!(fs::read_to_string(&path).unwrap(), old);
    assert!(!other.out.contains(" in effect"), "without --reload nothing is known to be in effect");
    restart(&mut postgres);
    assert_eq!(postgres.sql("SHOW shared_buffers")[0][0], "512MB");
}

#[test]
fn a_directory_that_does_not_count_is_refused() {
    let postgres = Postgres::start();
    let directory = postgres.data_directory().join("conf.d");
    fs::create_dir(&directory).unwrap();
    let not = apply(&postgres, &["--yes"]);
    assert!(not.code == 1 && not.err.contains("includes no directory"), "{not:?}");
    let dir = directory.to_str().unwrap();
    let named = apply(&postgres, &["--yes", "--conf-dir", dir]);
    assert!(named.code == 1 && named.err.contains(&format!("\ninclude_dir = '{dir}'")), "{named:?}");
    append(&postgres, "include_dir 'conf.d'\nWork_Mem 1MB\n");
    let late = apply(&postgres, &["--yes"]);
    assert!(late.code == 1 && late.err.contains(": work_mem"), "{late:?}");
    let bad_name = apply(&postgres, &["--yes", "--conf-name", "../x.conf"]);
    assert_eq!(bad_name.code, 2, "{bad_name:?}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    append(&postgres, "work_mem = \n");
    let broken = apply(&postgres, &["--yes"]);
    assert!(broken.code == 2 && broken.err.contains("postgresql.conf:"), "{broken:?}");
}

#[test]
fn an_ordinary_user_is_not_told_where_the_file_is() {
    let (postgres, directory) = server();
    let refused = tune_as(&dsn(&postgres, "alice"), &["--apply", "conf.d", "--yes"]);
    assert!(refused.code == 1 && refused.err.contains("pg_read_all_settings"), "{refused:?}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn killed_at_any_moment_the_old_or_the_new_file_is_there() {
    let (postgres, directory) = server();
    let path = directory.join("90_pgtune.conf");
    let mut texts = Vec::new();
    for memory in ["2GB", "1GB"] {
        assert_eq!(apply(&postgres, &["--yes", "--memory", memory]).code, 0);
        texts.push(fs::read_to_string(&path).unwrap());
    }
    let started = Instant::now();
    apply(&postgres, &["--yes"]);
    let whole = started.elapsed();
    let (mut rng, mut killed) = (Rng::new(1), 0);
    for round in 0..60 {
        let memory = ["2GB", "1GB"][round % 2];
        let target = dsn(&postgres, "postgres");
        let arguments =
            [&["--apply", "conf.d", "--yes", "-q", "--dsn", &target], &FACTS[..], &["--memory", memory]];
        let mut child =
            command(&arguments.concat()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Somewhere in its last part, where it writes.
        let until = Instant::now() + whole.mul_f64(0.5 + rng.below(600) as f64 / 1000.0);
        while Instant::now() < until {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        killed += usize::from(child.wait().unwrap().code().is_none());
        let found = fs::read_to_string(&path).unwrap();
        assert!(texts.contains(&found), "round {round}: {found}");
    }
    assert!(killed > 0, "at least one was killed before its end");
    // What a killed run left is not what the server includes, and is not in the way of the next.
    let strangers =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(strangers.filter(|name| name.ends_with(".conf")).count(), 1);
    assert_eq!(apply(&postgres, &["--yes"]).code, 0);
}
