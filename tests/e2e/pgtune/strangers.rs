//! Servers that are none, or will not let us in; and that no password is ever shown.

use super::*;
use sluice_tests::postgres::Options;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

/// A server that sends these bytes, over and over, to whoever connects first, or nothing if there are none.
fn stranger(bytes: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while !bytes.is_empty() && stream.write_all(bytes).is_ok() {}
        // Until the other end is gone.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    port
}

fn diff(dsn: &str) -> Run {
    let run = tune_as(dsn, &["--diff", "live"]);
    assert!(run.out.is_empty() && !run.err.contains("hunter2"), "{run:?}");
    run
}

#[test]
fn what_is_no_postgresql() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"R\0\0\0\x08\0\0\0\0D\x7f\xff\xff\xff",
        b"N\0\0\0\x10SNOTICE\0Mx\0\0",
        b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05IZ\0\0\0\x05I",
        b"\0\0\0\0\0\0\0\0",
        b"",
    ] {
        let dsn =
            format!("host=127.0.0.1 port={} user=u password=hunter2 connect_timeout=1", stranger(bytes));
        let refused = diff(&dsn);
        assert_eq!(refused.code, 75, "{}: {refused:?}", bytes.escape_ascii());
    }
    assert_eq!(diff("host=/nonexistent user=u").code, 75);
}

#[test]
fn every_method_and_no_password_shown() {
    for method in ["password", "md5", "scram-sha-256"] {
        let postgres = Postgres::with(&Options::default().method(method));
        let mut superuser = postgres.superuser();
        let encryption = if method == "md5" { "md5" } else { "scram-sha-256" };
        superuser.rows(&format!("SET password_encryption = '{encryption}'"));
        superuser.rows("ALTER ROLE alice PASSWORD 'hunter2'");
        let at = format!("host=127.0.0.1 port={} user=alice dbname=postgres", postgres.port());
        let right = tune_as(&format!("{at} password=hunter2"), &["--diff", "live"]);
        assert_eq!(right.code, 1, "{method}: {right:?}");
        assert!(!format!("{right:?}").contains("hunter2"));
        let url = format!("postgresql://alice:hunter2@127.0.0.1:{}/postgres?sslmode=prefer", postgres.port());
        assert_eq!(tune_as(&url, &["--diff", "live"]).code, 1);

        let wrong = diff(&format!("{at} password=hunter22"));
        assert!(
            wrong.code == 2 && wrong.err.contains("password authentication failed"),
            "{method}: {wrong:?}"
        );
        let none = diff(&at);
        assert!(none.code == 2 && none.err.contains("no password was given"), "{method}: {none:?}");
        let nobody = diff(&format!("{at}x password=hunter2"));
        assert_eq!(nobody.code, 2, "no such database: {nobody:?}");
    }
}

#[test]
fn environment_and_demands() {
    let postgres = Postgres::start();
    let mut command = command(&[&["--diff", "live"], &FACTS[..]].concat());
    command.env("PGHOST", "127.0.0.1").env("PGPORT", postgres.port().to_string());
    command.env("PGUSER", "alice").env("PGDATABASE", "postgres").env("PGPASSWORD", "hunter2");
    let found = Run::of(command.output().unwrap());
    assert!(found.code == 1 && found.out.contains("shared_buffers"), "{found:?}");
    let tls = diff("host=127.0.0.1 user=u password=hunter2 sslmode=require");
    assert!(tls.code == 2 && tls.err.contains("sslmode demands an encrypted connection"), "{tls:?}");
    for wrong in ["host=h hunter2", "port=hunter2", "postgresql://u:hunter2@[h", "hunter2=x"] {
        assert_eq!(diff(wrong).code, 2, "{wrong}");
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let postgres = Postgres::start();
    let mut command =
        command(&[&["--diff", "live", "--all", "--dsn", &dsn(&postgres, "postgres")], &FACTS[..]].concat());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let found = Run::of(command.stdout(writer).output().unwrap());
    assert!(found.code == 1 && !found.err.contains("standard output"), "{found:?}");
}
