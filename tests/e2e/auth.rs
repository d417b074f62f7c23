//! Logins of clients and of the pooler itself, with every kind of secret.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of a test report by panicking, as tests do"
)]

use sluice_tests::{Config, Login, Pooler, Postgres, postgres};

/// The verifier PostgreSQL keeps for a role, as a userlist may hold it.
fn verifier(postgres: &Postgres, role: &str) -> String {
    postgres.sql(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'"))[0][0].clone()
}

fn md5(postgres: &Postgres, user: &str, password: &str) -> String {
    postgres.sql(&format!("SELECT 'md5' || md5('{password}{user}')"))[0][0].clone()
}

/// The right password is let in and works; a wrong one, none and an unknown user get one and the same refusal.
fn check(pooler: &Pooler, context: &str, text: &str) {
    for target in [pooler.target(), pooler.unix_target()] {
        let login = Login::new(target.clone(), "alice", "postgres");
        let mut client = login
            .clone()
            .password("secret of alice")
            .connect()
            .unwrap_or_else(|failure| panic!("{context}: {failure:?}"));
        assert_eq!(client.value("SELECT current_user"), "alice", "{context}");
        let nobody = Login::new(target, "nobody at all", "postgres");
        for refused in
            [login.clone().password("wrong"), login.password("secret of bob"), nobody.password("x")]
        {
            let failure = refused.connect().unwrap_err();
            assert_eq!((failure.code(), failure.text().as_str()), ("28P01", text), "{context}");
        }
    }
}

#[test]
fn names_that_never_got_in_are_forgotten() {
    let postgres = Postgres::start();
    let pooler = Config::new(&postgres).set("auth_type", "scram-sha-256").start();
    let before = pooler.show("USERS").column("name");
    for number in 0..10 {
        let stranger = format!("stranger {number}");
        pooler.login(&stranger, "postgres").password("x").connect().unwrap_err();
    }
    pooler.until("USERS", |users| users.column("name") == before);
}

#[test]
fn clients_log_in_with_every_kind_of_secret() {
    let postgres = Postgres::start();
    let plain = "secret of alice".to_owned();
    let md5 = md5(&postgres, "alice", "secret of alice");
    let scram = verifier(&postgres, "alice");
    assert!(scram.starts_with("SCRAM-SHA-256$"), "{scram}");
    let (password, sasl) = ("password authentication failed", "SASL authentication failed");
    for (method, secret, text) in [
        ("plain", &plain, password),
        ("plain", &md5, password),
        ("plain", &scram, password),
        ("md5", &plain, password),
        ("md5", &md5, password),
        ("scram-sha-256", &plain, sasl),
        ("scram-sha-256", &scram, sasl),
    ] {
        let pooler = Config::new(&postgres).set("auth_type", method).user("alice", secret).start();
        check(&pooler, &format!("{method} with {}", &secret[..5]), text);
    }
}

#[test]
fn md5_with_a_scram_secret_asks_for_scram() {
    let postgres = Postgres::start();
    let secret = verifier(&postgres, "alice");
    let pooler = Config::new(&postgres).set("auth_type", "md5").user("alice", &secret).start();
    let login = pooler.login("alice", "postgres");
    assert_eq!(login.clone().password("secret of alice").connect().unwrap().value("SELECT 1"), "1");
    assert_eq!(login.password("wrong").connect().unwrap_err().code(), "28P01");
}

#[test]
fn an_empty_password_and_an_empty_secret_never_match() {
    let postgres = Postgres::start();
    for method in ["plain", "md5", "scram-sha-256"] {
        let pooler = Config::new(&postgres).set("auth_type", method).user("alice", "").start();
        for password in ["", "anything"] {
            let failure = pooler.login("alice", "postgres").password(password).connect().unwrap_err();
            assert_eq!(failure.code(), "28P01", "{method}: {failure:?}");
        }
        let failure = pooler.login("bob", "postgres").password("").connect().unwrap_err();
        assert_eq!(failure.code(), "28P01", "{method}: {failure:?}");
    }
}

#[test]
fn trust_lets_known_users_in_and_nobody_else() {
    let postgres = Postgres::start();
    let pooler = Config::new(&postgres).set("auth_type", "trust").start();
    assert_eq!(pooler.client("alice").value("SELECT current_user"), "alice");
    let failure = pooler.login("stranger", "postgres").connect().unwrap_err();
    assert_eq!((failure.code(), failure.text().as_str()), ("28000", "\"trust\" authentication failed"));
}

#[test]
fn any_takes_everybody_as_the_forced_user() {
    let postgres = Postgres::start();
    let database = format!("host=127.0.0.1 port={} dbname=postgres user=bob", postgres.port());
    let pooler = Config::new(&postgres).set("auth_type", "any").database("forced", &database).start();
    let mut client = pooler.login("whoever", "forced").connect().unwrap();
    assert_eq!(client.value("SELECT current_user"), "bob");
}

#[test]
fn the_pooler_logs_in_to_servers_that_ask_for_a_password() {
    for (method, encryption) in
        [("scram-sha-256", "scram-sha-256"), ("md5", "md5"), ("password", "scram-sha-256")]
    {
        let options = postgres::Options::default().set("password_encryption", encryption).method(method);
        let postgres = Postgres::with(&options);
        postgres.sql("ALTER ROLE alice PASSWORD 'secret of alice'");
        let pooler = Config::new(&postgres).set("auth_type", "scram-sha-256").start();
        let login = pooler.login("alice", "postgres").password("secret of alice");
        assert_eq!(login.connect().unwrap().value("SELECT current_user"), "alice", "{method}");
    }
    let postgres =
        Postgres::with(&postgres::Options::default().set("password_encryption", "md5").method("md5"));
    postgres.sql("ALTER ROLE alice PASSWORD 'secret of alice'");
    let hashed = Config::new(&postgres).set("auth_type", "md5").user("alice", &verifier(&postgres, "alice"));
    let pooler = hashed.start();
    let login = pooler.login("alice", "postgres").password("secret of alice");
    assert_eq!(login.connect().unwrap().value("SELECT current_user"), "alice", "an md5 secret on both sides");
}

#[test]
fn a_scram_secret_passes_through_to_the_server() {
    let postgres = Postgres::with(&postgres::Options::default().method("scram-sha-256"));
    let secret = verifier(&postgres, "alice");
    let pooler = Config::new(&postgres).set("auth_type", "scram-sha-256").user("alice", &secret).start();
    let login = pooler.login("alice", "postgres").password("secret of alice");
    let mut clients: Vec<_> = (0..3).map(|_| login.connect().unwrap()).collect();
    for client in &mut clients {
        client.query("BEGIN").unwrap();
        assert_eq!(client.value("SELECT current_user"), "alice");
    }
    assert_eq!(login.clone().password("wrong").connect().unwrap_err().code(), "28P01");
}

/// A server that is full or starting up has not judged the key: it is there when the server takes logins again.
#[test]
fn a_refusal_of_another_kind_does_not_cost_the_key() {
    let postgres = Postgres::with(&postgres::Options::default().method("scram-sha-256"));
    let secret = verifier(&postgres, "alice");
    let pooler = Config::new(&postgres)
        .set("auth_type", "scram-sha-256")
        .set("server_login_retry", "0")
        .user("alice", &secret)
        .start();
    let login = pooler.login("alice", "postgres").password("secret of alice");
    let mut clients: Vec<_> = (0..2).map(|_| login.connect().unwrap()).collect();
    postgres.sql("ALTER ROLE alice CONNECTION LIMIT 0");
    pooler.console().query("RECONNECT").unwrap();
    let refusal = clients[0].query("SELECT 1").unwrap_err();
    assert_eq!(refusal.code(), "53300", "{refusal:?}");
    postgres.sql("ALTER ROLE alice CONNECTION LIMIT -1");
    assert_eq!(clients[1].value("SELECT current_user"), "alice");
}

#[test]
fn a_forced_user_with_a_password_is_used_towards_the_server() {
    let postgres = Postgres::with(&postgres::Options::default().method("scram-sha-256"));
    let start = format!("host=127.0.0.1 port={} dbname=postgres user=bob", postgres.port());
    let pooler = Config::new(&postgres)
        .set("auth_type", "scram-sha-256")
        .database("inline", &format!("{start} password='secret of bob'"))
        .database("listed", &start)
        .database("wrong", &format!("{start} password=wrong"))
        .start();
    for database in ["inline", "listed"] {
        let login = pooler.login("alice", database).password("secret of alice");
        assert_eq!(login.connect().unwrap().value("SELECT current_user"), "bob");
    }
    let failure = pooler.login("alice", "wrong").password("secret of alice").connect().unwrap_err();
    assert_eq!(failure.code(), "28P01", "the server's own refusal: {failure:?}");
    assert!(failure.text().contains("password authentication failed for user \"bob\""), "{}", failure.text());
}

#[test]
fn databases_that_do_not_exist_are_named() {
    let postgres = Postgres::start();
    let pooler = Config::new(&postgres).start();
    let failure = pooler.login("alice", "no such place").connect().unwrap_err();
    assert_eq!(failure.code(), "3D000", "{failure:?}");
    let connection = format!("host=127.0.0.1 port={}", postgres.port());
    let pooler = Config::empty().set("auth_type", "scram-sha-256").database("postgres", &connection).start();
    let login = pooler.login("alice", "elsewhere");
    let failure = login.clone().password("secret of alice").connect().unwrap_err();
    assert_eq!(failure.text(), "no such database: elsewhere");
    assert_eq!(login.password("wrong").connect().unwrap_err().text(), "SASL authentication failed");
}

#[test]
fn the_console_is_for_admin_and_stats_users() {
    let postgres = Postgres::start();
    let pooler = Config::new(&postgres).set("stats_users", "bob").start();
    assert!(!pooler.show("VERSION").rows.is_empty());
    let failure = pooler.login("alice", "pgbouncer").connect().unwrap_err();
    assert_eq!(failure.text(), "not allowed");
    let mut stats = pooler.login("bob", "pgbouncer").connect().unwrap();
    assert!(stats.query("SHOW POOLS").unwrap().errors().is_empty());
    for command in ["RELOAD", "PAUSE", "SHUTDOWN", "SET verbose = 0", "SHOW FDS", "KILL_CLIENT 1"] {
        let reply = stats.query(command).unwrap();
        assert_eq!(reply.errors()[0].message(), "admin access needed", "{command}");
    }
}

#[test]
fn a_secret_is_never_logged() {
    let postgres = Postgres::with(&postgres::Options::default().method("scram-sha-256"));
    let pooler = Config::new(&postgres).set("auth_type", "plain").set("verbose", "3").start();
    let login = pooler.login("alice", "postgres");
    login.clone().password("secret of alice").connect().unwrap().value("SELECT 1");
    login.password("another secret").connect().unwrap_err();
    let secrets = ["secret of alice", "another secret"];
    assert!(!pooler.log().lines().iter().any(|line| secrets.iter().any(|secret| line.contains(secret))));
}

#[test]
fn where_tls_is_demanded_nothing_goes_unencrypted() {
    let postgres = Postgres::start();
    let pooler = Config::new(&postgres).set("client_tls_sslmode", "require").start();
    let failure = pooler.login("alice", "postgres").connect().unwrap_err();
    assert_eq!((failure.code(), failure.text().as_str()), ("08P01", "SSL required"));
    let pooler = Config::new(&postgres).set("server_tls_sslmode", "verify-full").start();
    let failure = pooler.login("alice", "postgres").connect().unwrap_err();
    assert!(failure.text().contains("server_tls_sslmode"), "{}", failure.text());
}
