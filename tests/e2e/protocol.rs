//! Bad input and odd beginnings: each gets a clear error with the right SQLSTATE, and costs nobody else anything.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of a test report by panicking, as tests do"
)]

use sluice_check::Rng;
use sluice_tests::client::Message;
use sluice_tests::message::{self, message, untagged};
use sluice_tests::{Client, Config, Failure, Login, Pooler, Postgres};
use std::time::Duration;

/// A pooler with a well-behaved client whose session must survive everything the others do.
struct Scene {
    _postgres: Postgres,
    pooler: Pooler,
    bystander: Client,
}

impl Scene {
    fn new(more: impl FnOnce(Config) -> Config) -> Scene {
        let postgres = Postgres::start();
        let pooler = more(Config::new(&postgres)).start();
        let bystander = pooler.client("bob");
        Scene { _postgres: postgres, pooler, bystander }
    }

    fn raw(&self) -> Client {
        Client::raw(&self.pooler.target()).unwrap()
    }

    /// The bystander is served, and so is a newcomer.
    fn unharmed(&mut self, after: &str) {
        assert_eq!(self.bystander.value("SELECT 'bystander'"), "bystander", "after {after}");
        assert_eq!(self.pooler.client("alice").value("SELECT 'newcomer'"), "newcomer", "after {after}");
    }

    /// Sends first bytes; the last error before the pooler closed.
    fn first(&mut self, name: &str, bytes: &[u8]) -> (String, String) {
        let mut client = self.raw();
        client.send(bytes).unwrap();
        let error = client.closed().unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
        self.unharmed(name);
        error.map_or_else(Default::default, |error| (error.code().to_owned(), error.message().to_owned()))
    }

    /// Sends bytes after a login; the last error before the pooler closed.
    fn behind_login(&mut self, name: &str, bytes: &[u8]) -> (String, String) {
        let mut client = self.pooler.client("alice");
        // The pooler may close before it has read everything.
        let _ = client.send(bytes);
        let error = client.closed().unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
        self.unharmed(name);
        error.map_or_else(Default::default, |error| (error.code().to_owned(), error.message().to_owned()))
    }
}

#[test]
fn bad_first_messages_are_refused_with_a_reason() {
    let mut scene = Scene::new(|config| config);
    let version3 = [0, 3, 0, 0];
    let startup = message::startup(3 << 16, &[("user", "alice"), ("database", "postgres")]);
    let unterminated = [&[0, 0, 0, 20], &version3[..], b"user\0alice\0x"].concat();
    for (name, bytes, text) in [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "bad packet header: '"),
        ("a claimed gigabyte", [&[0x40, 0, 0, 0], &version3[..], b"user\0"].concat(), "bad packet header: '"),
        ("a negative length", [&[0xff, 0xff, 0xff, 0xf0], &version3[..]].concat(), "bad packet header: '"),
        ("length 0", [&[0, 0, 0, 0], &version3[..]].concat(), "bad packet header: '"),
        ("length 7", [&[0, 0, 0, 7], &version3[..]].concat(), "bad packet header: '"),
        ("protocol 2", untagged(&[0, 2, 0, 0, 0, 0, 0, 0]), "old V2 protocol not supported"),
        ("protocol 4", untagged(&[0, 4, 0, 0, 0]), "bad packet header: '"),
        ("no user", message::startup(3 << 16, &[("database", "postgres")]), "no username supplied"),
        ("no parameters", message::startup(3 << 16, &[]), "no username supplied"),
        ("no terminator", unterminated, "invalid startup packet layout"),
        (
            "bytes behind SSLRequest",
            [message::ssl_request(), startup.clone()].concat(),
            "received unencrypted data after SSL request",
        ),
        (
            "bytes behind GSSENCRequest",
            [message::gss_request(), startup].concat(),
            "received unencrypted data after GSSAPI encryption request",
        ),
    ] {
        let (code, found) = scene.first(name, &bytes);
        assert_eq!(code, "08P01", "{name}: {found}");
        assert!(found.starts_with(text), "{name}: {found}");
        assert!(
            scene.pooler.log().wait(found.split(['\'', '\n']).next().unwrap()).is_some(),
            "{name} is logged"
        );
    }
}

#[test]
fn random_first_bytes_never_hurt_anybody() {
    let mut scene = Scene::new(|config| config.set("client_login_timeout", "1"));
    let mut random = Rng::new(7);
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..1 + random.below(100)).map(|_| random.byte()).collect();
        let mut client = scene.raw();
        client.send(&bytes).unwrap();
        client.half_close();
        client.closed().unwrap();
    }
    scene.unharmed("random bytes");
}

#[test]
fn direct_tls_without_tls_is_closed() {
    let mut scene = Scene::new(|config| config);
    let hello = [&[0x16, 3, 1, 0, 0xf4, 1, 0, 0, 0xf0, 3, 3][..], &[7; 238]].concat();
    scene.first("a TLS ClientHello", &hello);
}

#[test]
fn ssl_and_gss_requests_are_declined_in_any_order_and_followed_by_a_login() {
    let scene = Scene::new(|config| config);
    let (ssl, gss) = (message::ssl_request(), message::gss_request());
    for requests in [vec![&ssl], vec![&gss], vec![&ssl, &gss], vec![&gss, &ssl]] {
        let login = scene.pooler.login("alice", "postgres");
        let mut client = scene.raw();
        for request in requests {
            client.send(request).unwrap();
            assert_eq!(client.receive_bytes(1).unwrap(), b"N");
        }
        client.send(&login.startup()).unwrap();
        login.finish(&mut client).unwrap();
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn a_startup_message_may_come_byte_by_byte_and_with_the_first_query_behind_it() {
    let scene = Scene::new(|config| config);
    for target in [scene.pooler.target(), scene.pooler.unix_target()] {
        let login = Login::new(target.clone(), "alice", "postgres").parameter("application_name", "slow");
        let mut client = Client::raw(&target).unwrap();
        for byte in login.startup() {
            client.send(&[byte]).unwrap();
        }
        login.finish(&mut client).unwrap();
        assert_eq!(client.value("SHOW application_name"), "slow");

        let mut client = Client::raw(&target).unwrap();
        client.send(&[login.startup(), message::query("SELECT 'eager'")].concat()).unwrap();
        login.finish(&mut client).unwrap();
        assert_eq!(client.reply().unwrap().value(), "eager");
    }
}

#[test]
fn a_startup_message_larger_than_a_buffer_is_read() {
    let scene = Scene::new(|config| config.set("ignore_startup_parameters", "large"));
    let login = scene.pooler.login("alice", "postgres").parameter("large", &"x".repeat(60_000));
    assert_eq!(login.connect().unwrap().value("SELECT 1"), "1");
    let login = scene.pooler.login("alice", "postgres").parameter("large", &"x".repeat(70_000));
    assert_eq!(login.connect().unwrap_err().code(), "08P01");
}

#[test]
fn newer_minor_versions_are_negotiated_down() {
    let scene = Scene::new(|config| config);
    for (minor, option) in
        [(0, Some("_pq_.unheard_of")), (1, None), (2, None), (9999, None), (9999, Some("_pq_.x"))]
    {
        let mut login = scene.pooler.login("alice", "postgres").minor(minor);
        if let Some(option) = option {
            login = login.parameter(option, "1");
        }
        let mut client = scene.raw();
        client.send(&login.startup()).unwrap();
        let first = client.receive().unwrap();
        let spoken = match first.tag {
            b'v' => {
                let version = u32::from_be_bytes(first.body[..4].try_into().unwrap());
                let names = u32::from_be_bytes(first.body[4..8].try_into().unwrap());
                assert_eq!(names, u32::from(option.is_some()), "3.{minor}");
                assert!(option.is_none() || first.body[8..] == [option.unwrap().as_bytes(), b"\0"].concat());
                version & 0xffff
            }
            b'R' => u32::from(minor),
            tag => panic!("3.{minor}: {}", tag as char),
        };
        assert!(spoken <= 2 && spoken <= u32::from(minor), "3.{minor} came to 3.{spoken}");
        let rest = until_ready(&mut client);
        assert!(rest.iter().all(|message| message.tag != b'v'), "negotiated once");
        let key = rest.iter().find(|message| message.tag == b'K').unwrap();
        assert_eq!(key.body.len(), if spoken == 2 { 32 } else { 8 }, "3.{minor}");
        assert_eq!(client.value("SELECT 'fine'"), "fine");
    }
}

#[test]
fn broken_messages_behind_the_login_end_that_session_alone() {
    let mut scene = Scene::new(|config| config);
    let header = |tag: u8, len: u32| [&[tag][..], &len.to_be_bytes()].concat();
    for (name, bytes) in [
        ("length 0", header(b'Q', 0)),
        ("length 3", header(b'Q', 3)),
        ("a negative length", header(b'Q', 0xffff_fff0)),
        ("an unknown tag", message(b'!', b"what?")),
        ("tag 0", message(0, b"")),
        ("a second password", message(b'p', b"secret\0")),
        ("Parse without an end", message(b'P', b"name without an end")),
        ("Parse with one text", message(b'P', b"name\0query without an end")),
        ("Bind without names", message(b'B', b"portal")),
        ("Bind with one name", message(b'B', b"portal\0statement")),
        ("Describe of nothing", message(b'D', b"")),
        ("Describe of something else", message(b'D', b"Xname\0")),
        ("Close without an end", message(b'C', b"Sname")),
    ] {
        let (code, text) = scene.behind_login(name, &bytes);
        assert_eq!(code, "08P01", "{name}: {text}");
    }
}

#[test]
fn a_claimed_gigabyte_costs_no_memory() {
    let mut scene = Scene::new(|config| config);
    let before = scene.pooler.process().resident_bytes();
    let mut clients = Vec::new();
    for tag in *b"QPBDCEFp" {
        let mut client = scene.pooler.client("alice");
        client.send(&[&[tag], &0x3fff_ffff_u32.to_be_bytes()[..], b"and then little"].concat()).unwrap();
        clients.push(client);
    }
    scene.unharmed("claims");
    let grown = scene.pooler.process().resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more");
    drop(clients);
    scene.unharmed("claims withdrawn");
}

#[test]
fn a_message_above_max_packet_size_is_refused() {
    let mut scene = Scene::new(|config| config.set("max_packet_size", "100000"));
    let mut client = scene.pooler.client("alice");
    let sql = |len: usize| format!("SELECT length('{}')", "x".repeat(len));
    assert_eq!(client.value(&sql(90_000)), "90000");
    let (code, text) = scene.behind_login("too large", &message::query(&sql(110_000)));
    assert_eq!(code, "08P01", "{text}");
}

#[test]
fn random_messages_behind_the_login_never_hurt_anybody() {
    let mut scene = Scene::new(|config| config.set("default_pool_size", "2"));
    let mut random = Rng::new(11);
    for round in 0..200 {
        let mut client = scene.pooler.client("alice");
        client.set_timeout(Duration::from_millis(20));
        for _ in 0..1 + random.below(6) {
            let tag = *random.pick(b"QPBDCESHFXdcfp!").unwrap();
            let body: Vec<u8> = (0..random.below(24)).map(|_| random.byte() % 128).collect();
            if client.send(&message(tag, &body)).is_err() {
                break;
            }
        }
        // Whatever it answers, or does not.
        let _ = client.reply();
        drop(client);
        if round % 20 == 0 {
            scene.unharmed("random messages");
        }
    }
    scene.unharmed("random messages");
}

#[test]
fn thousands_of_half_open_logins_do_not_keep_others_out() {
    let mut scene =
        Scene::new(|config| config.set("client_login_timeout", "3").set("max_client_conn", "3000"));
    let startup = scene.pooler.login("alice", "postgres").startup();
    let beginnings =
        [Vec::new(), vec![0], startup[..4].to_vec(), startup[..20].to_vec(), message::ssl_request()];
    let mut half_open = Vec::new();
    for number in 0..2000 {
        let mut client = scene.raw();
        let beginning = &beginnings[number % beginnings.len()];
        client.send(beginning).unwrap();
        if *beginning == message::ssl_request() {
            assert_eq!(client.receive_bytes(1).unwrap(), b"N");
        }
        half_open.push(client);
    }
    scene.unharmed("2000 half-open logins");
    for mut client in half_open {
        client.closed().unwrap();
    }
    scene.unharmed("their end");
}

#[test]
fn a_slow_drip_ends_with_client_login_timeout() {
    let mut scene = Scene::new(|config| config.set("client_login_timeout", "1"));
    let startup = scene.pooler.login("alice", "postgres").startup();
    let mut client = scene.raw();
    client.set_timeout(Duration::from_millis(100));
    // Never the last byte: it would be a login.
    let mut bytes = startup[..startup.len() - 1].iter();
    let told = loop {
        if let Some(byte) = bytes.next() {
            client.send(&[*byte]).unwrap();
        }
        match client.closed() {
            Ok(error) => break error.unwrap(),
            Err(Failure::Timeout) => {}
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!((told.code(), told.message()), ("08P01", "client_login_timeout"));
    scene.unharmed("a drip");
}

#[test]
fn a_login_that_leaves_at_any_byte_is_forgotten() {
    let mut scene = Scene::new(|config| config);
    let startup = scene.pooler.login("alice", "postgres").startup();
    for end in 0..startup.len() {
        let mut client = scene.raw();
        client.send(&startup[..end]).unwrap();
        if end % 2 == 0 {
            client.reset();
        }
    }
    scene.unharmed("early leavers");
    scene.pooler.until("CLIENTS", |clients| clients.filter("user", "alice").rows.is_empty());
}

fn until_ready(client: &mut Client) -> Vec<Message> {
    let mut messages = Vec::new();
    loop {
        let message = client.receive().unwrap();
        let ready = message.tag == b'Z';
        messages.push(message);
        if ready {
            return messages;
        }
    }
}
