//! `--diff`: its edges, against a server and against files.

use super::*;
use std::fs;
use tempfile::TempDir;

/// effective_cache_size of 1 GB is 768 MB.
const RECOMMENDED_KB: f64 = 786_432.0;

#[test]
fn five_percent_on_a_server() {
    let postgres = Postgres::start();
    for (share, state) in [(0.951, "ok"), (1.049, "ok"), (0.949, "low"), (1.051, "high")] {
        let blocks = (RECOMMENDED_KB * share / 8.0).round();
        postgres.sql(&format!("ALTER SYSTEM SET effective_cache_size = '{blocks}'"));
        postgres.sql("SELECT pg_reload_conf()");
        let found = tune(&postgres, &["--diff", "live", "--all"]);
        assert_eq!(found.state("effective_cache_size"), state, "{share}: {found:?}");
        assert!(found.row("effective_cache_size")[4].contains("postgresql.auto.conf:"), "{found:?}");
        assert_eq!(found.code, 1, "the rest differs");
    }
    // The same value in another place: who sets it is shown.
    postgres.sql("ALTER ROLE alice SET effective_cache_size = '768MB'");
    let found = tune_as(&dsn(&postgres, "alice"), &["--diff", "live", "--all"]);
    assert_eq!(found.row("effective_cache_size")[1..], ["768MB", "768MB", "session", "user", "ok"]);
}

#[test]
fn a_value_that_waits_is_pending() {
    let postgres = Postgres::start();
    postgres.sql("ALTER SYSTEM SET max_connections = 200");
    postgres.sql("SELECT pg_reload_conf()");
    let found = tune(&postgres, &["--diff", "live"]);
    assert_eq!((found.state("max_connections"), found.state("shared_buffers")), ("pending", "low"));
}

/// Compares files with the settings of a major, without a server.
fn diff_file(files: &[(&str, &str)], more: &[&str]) -> Run {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let main = directory.path().join("postgresql.conf");
    run(&[&["--diff", main.to_str().unwrap(), "--pg-version", "15"], &FACTS[..], more].concat())
}

#[test]
fn files_as_the_server_reads_them() {
    let found = diff_file(
        &[
            (
                "postgresql.conf",
                "effective_cache_size = '768 MB'\nWORK_MEM 5KB # wrong case\ninclude_dir 'conf.d'\nrandom_page_cost = 2\n",
            ),
            ("conf.d/b.conf", "jit = on\nrandom_page_cost = 3\n"),
            ("conf.d/a.conf", "jit = off\n"),
            ("postgresql.auto.conf", "maintenance_work_mem = '64MB'\n"),
        ],
        &["--all"],
    );
    assert_eq!(found.code, 1, "{found:?}");
    assert_eq!(found.state("effective_cache_size"), "ok");
    assert_eq!((found.state("work_mem"), found.row("work_mem")[1]), ("refused", "5KB"));
    assert!(found.row("jit")[4].contains("conf.d/b.conf:1"), "{found:?}");
    assert!(found.row("random_page_cost")[4].contains("postgresql.conf:4"), "{found:?}");
    assert_eq!(found.state("maintenance_work_mem"), "ok");
    assert_eq!(found.row("max_connections")[4], "default");
}

#[test]
fn what_pgtune_prints_is_what_it_recommends() {
    let printed = run(&[&["--pg-version", "15"], &FACTS[..]].concat());
    let found = diff_file(&[("postgresql.conf", &printed.out)], &[]);
    assert_eq!((found.code, found.out.as_str()), (0, ""), "{found:?}");
}

#[test]
fn files_that_cannot_be_read() {
    for (text, error) in [
        ("a = 1\nb = = 2\n", "postgresql.conf:2: syntax error"),
        ("include 'no.conf'\n", "postgresql.conf:1: could not read"),
        ("include 'postgresql.conf'\n", "includes itself"),
    ] {
        let found = diff_file(&[("postgresql.conf", text)], &[]);
        assert!(found.code == 2 && found.err.contains(error), "{found:?}");
        assert_eq!(found.out, "");
    }
    let missing = run(&[&["--diff", "/nonexistent/postgresql.conf"], &FACTS[..]].concat());
    assert_eq!(missing.code, 2, "{missing:?}");
}
