//! Servers that are none, or will not let us in; and that no password is ever shown.

use super::*;
use sluice_check::Rng;
use sluice_tests::account::Account;
use sluice_tests::postgres::Options;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use tempfile::TempDir;

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
        b"S",
        b"",
    ] {
        for sslmode in ["disable", "require"] {
            let port = stranger(bytes);
            let at = format!("host=127.0.0.1 port={port} user=u password=hunter2 connect_timeout=1");
            let refused = diff(&format!("{at} sslmode={sslmode}"));
            // An N is an answer to whoever wants to encrypt, and a no.
            let code = if sslmode == "require" && bytes.starts_with(b"N") { 2 } else { 75 };
            assert_eq!(refused.code, code, "{} {sslmode}: {refused:?}", bytes.escape_ascii());
        }
    }
    assert_eq!(diff("host=/nonexistent user=u").code, 75);
}

/// Wherever the server goes away, it is an error that may pass, and nothing is printed but what is whole.
#[test]
fn a_server_that_goes_away_anywhere() {
    let postgres = Postgres::start();
    let mut rng = Rng::new(3);
    let everywhere = (0..500).step_by(9).chain((0..40).map(|_| rng.between(500, 60_000)));
    let mut lost = 0;
    for after in everywhere {
        let port = relay::cut(&postgres, after as u64);
        let dsn = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=disable");
        let found = tune_as(&dsn, &["--diff", "live"]);
        match found.code {
            75 => {
                assert_eq!(found.out, "", "{after}: {found:?}");
                lost += 1;
            }
            // All was said before.
            _ => assert!(found.code == 1 && found.out.contains("\nshared_buffers "), "{after}: {found:?}"),
        }
    }
    assert!(lost >= 56, "in a login at least");
}

/// Copies a file of lib/unix's test certificates to where a server may read it.
fn certificate(directory: &TempDir, account: &Account, name: &str) -> String {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lib/unix/tests/data/tls").join(name);
    let to = directory.path().join(name);
    fs::copy(from, &to).unwrap();
    fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
    account.own(&to);
    to.to_str().unwrap().to_owned()
}

#[test]
fn encrypted_connections() {
    let account = Account::choose();
    let directory = account.directory();
    let [chain, key, roots, strangers] =
        ["a.pem", "a.key", "ca.pem", "stranger.pem"].map(|name| certificate(&directory, &account, name));
    let options = Options::default().method("scram-sha-256").set("ssl", "on");
    let options = options.set("ssl_cert_file", &chain).set("ssl_key_file", &key);
    let postgres = Postgres::with(&options);
    let mut superuser = postgres.superuser();
    superuser.rows("SET password_encryption = 'scram-sha-256'");
    superuser.rows("ALTER ROLE alice PASSWORD 'hunter2'");
    let port = postgres.port();
    let at = format!("port={port} user=alice dbname=postgres password=hunter2");
    // Only encrypted sessions are let in, so whoever gets in has one.
    let hba = postgres.data_directory().join("pg_hba.conf");
    fs::write(&hba, "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n").unwrap();
    postgres.sql("SELECT pg_reload_conf()");
    for good in [
        "host=127.0.0.1".to_owned(),
        "host=127.0.0.1 sslmode=require".to_owned(),
        format!("host=127.0.0.1 sslmode=verify-full sslrootcert={roots}"),
        format!("host=a.test hostaddr=127.0.0.1 sslmode=verify-full sslrootcert={roots}"),
        format!("host=b.test hostaddr=127.0.0.1 sslmode=verify-ca sslrootcert={roots}"),
        format!("host=b.test hostaddr=127.0.0.1 sslmode=require sslrootcert={roots}"),
    ] {
        assert_eq!(diff_rows(&format!("{good} {at}")), 1, "{good}");
    }
    for (bad, why) in [
        ("host=127.0.0.1 sslmode=disable".to_owned(), "no pg_hba.conf entry"),
        (
            format!("host=b.test hostaddr=127.0.0.1 sslmode=verify-full sslrootcert={roots}"),
            "TLS: invalid peer certificate",
        ),
        (
            format!("host=127.0.0.1 sslmode=verify-ca sslrootcert={strangers}"),
            "TLS: invalid peer certificate",
        ),
        ("host=127.0.0.1 sslmode=verify-full".to_owned(), "there is no /nonexistent/.postgresql/root.crt"),
    ] {
        let refused = diff(&format!("{bad} {at}"));
        assert!(refused.code == 2 && refused.err.contains(why), "{bad}: {refused:?}");
    }
    let plain = Postgres::start();
    let at = format!("host=127.0.0.1 port={} user=alice dbname=postgres", plain.port());
    assert_eq!(diff_rows(&at), 1, "prefer goes on in the clear");
    let refused = diff(&format!("{at} sslmode=require"));
    assert!(refused.code == 2 && refused.err.contains("does not encrypt connections"), "{refused:?}");
}

/// The exit code of a comparison that has to find something.
fn diff_rows(dsn: &str) -> i32 {
    let found = tune_as(dsn, &["--diff", "live"]);
    assert!(found.out.contains("shared_buffers") && !format!("{found:?}").contains("hunter2"), "{found:?}");
    found.code
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
