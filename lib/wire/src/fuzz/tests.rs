//! The bodies on seeded input: noise, valid input, and valid input that was damaged a little.

mod http;

use sluice_check::{Rng, mutate};

use super::*;
use crate::control::Reply;
use crate::pg::backend::{Column, TransactionStatus};
use crate::pg::scram::MECHANISM;

const NOISE: usize = 5_000;
const MUTANTS: usize = 20_000;

type Body = fn(&[u8]);

/// Runs `body` on every valid input, on noise, and on mutants of the valid inputs.
fn run(seed: u64, body: Body, valid: &[Vec<u8>]) {
    let mut rng = Rng::new(seed);
    body(b"");
    valid.iter().for_each(|input| body(input));
    for _ in 0..NOISE {
        let len = rng.between(0, 64);
        body(&rng.bytes(len));
    }
    for _ in 0..MUTANTS {
        let mut input = valid[rng.below(valid.len())].clone();
        mutate(&mut rng, &mut input);
        body(&input);
    }
}

fn built(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    build(&mut out);
    out
}

/// The body of the message that `build` appends.
fn body(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    assert_one_message(build)
}

#[test]
fn frames() {
    let stream = built(|out| {
        frontend::parse(out, b"s", b"SELECT $1\0\0\x01\0\0\0\x17");
        frontend::describe(out, b'S', b"s");
        frontend::execute(out, b"", 0);
        frontend::sync(out);
    });
    run(1, frame, &[stream, built(|out| frontend::query(out, b"SELECT 1"))]);
}

#[test]
fn startups() {
    let options = br"-c geqo=off --search-path=a\ b -cwork_mem=4MB";
    let params: [(&[u8], &[u8]); 3] = [(b"user", b"anna"), (b"database", b"shop"), (b"options", options)];
    let valid = [
        built(|out| frontend::startup(out, startup::VERSION_3_0, &params)),
        built(|out| frontend::startup(out, startup::VERSION_3_0 | 2, &[(b"_pq_.x", b"")])),
        built(|out| frontend::cancel_request(out, [0, 0, 1, 2], &[7; 32])),
        built(frontend::ssl_request),
        b"\0\0\0\x08\x04\xd2\x16\x30".to_vec(),
        options.to_vec(),
    ];
    run(2, startup, &valid);
}

#[test]
fn frontends() {
    let valid = [
        body(|out| frontend::parse(out, b"s", b"SELECT $1\0\0\x01\0\0\0\x17")),
        body(|out| {
            frontend::bind_head(out, b"portal", b"statement", 8);
            out.extend_from_slice(&[0; 8]);
        }),
        body(|out| frontend::describe(out, b'P', b"portal")),
        body(|out| frontend::execute(out, b"portal", 100)),
        body(|out| frontend::sasl_initial(out, MECHANISM, b"n,,n=,r=abc")),
        body(|out| frontend::query(out, b"SELECT 1")),
        [vec![b'x'; frontend::NAME_LEN_MAX], b"\0name\0".to_vec()].concat(),
    ];
    run(3, frontend, &valid);
}

#[test]
fn backends() {
    let column = Column { name: b"id", type_oid: 23, type_len: 4 };
    let valid = [
        body(backend::authentication_ok),
        body(|out| backend::authentication_md5(out, *b"salt")),
        body(|out| backend::authentication_sasl(out, &[b"SCRAM-SHA-256-PLUS", MECHANISM])),
        body(|out| backend::sasl_continue(out, b"r=abc,s=c2FsdA==,i=1")),
        body(|out| backend::ready_for_query(out, TransactionStatus::InTransaction)),
        body(|out| backend::parameter_status(out, b"TimeZone", b"GMT")),
        body(|out| backend::backend_key_data(out, [0, 0, 1, 2], &[7; 32])),
        body(|out| backend::command_complete(out, b"INSERT 0 1")),
        body(|out| backend::row_description(out, &[column])),
    ];
    run(4, backend, &valid);
}

#[test]
fn errors() {
    let response = ErrorResponse::new(Severity::Error, SqlState::INVALID_SQL_STATEMENT_NAME, "no \"P_1\"")
        .with_detail("P_1 and P_12")
        .with_hint("PREPARE P_1");
    run(5, error, &[body(|out| response.write(out)), b"MP_1 P_1 P_1\0\0".to_vec()]);
}

/// The messages of an exchange that succeeds, and the server's last.
fn transcript() -> [Vec<u8>; 4] {
    let mut server = ServerExchange::new(stored(), NONCE);
    let mut client = ClientExchange::with_keys(derived(), NONCE);
    let first = client.client_first();
    let Ok(ServerStep::Continue(challenge)) = server.step(&first) else { panic!() };
    let last = answer(client.server_first(&challenge).unwrap());
    let Ok(ServerStep::Done { server_final, .. }) = server.step(&last) else { panic!() };
    [first, challenge, last, server_final]
}

#[test]
fn scrams() {
    let messages = transcript();
    let chosen = |(which, message): (usize, &Vec<u8>)| [vec![which as u8], message.clone()].concat();
    let mut valid: Vec<_> = messages.iter().take(3).enumerate().map(chosen).collect();
    valid.extend(messages);
    valid.push(stored().to_text().into_bytes());
    valid.push(b"md54d45974e13472b5a0be3533de4666414".to_vec());
    run(6, scram, &valid);
}

#[test]
fn logins() {
    let [_, challenge, _, server_final] = transcript();
    let welcome = |out: &mut Vec<u8>| {
        backend::authentication_ok(out);
        backend::parameter_status(out, b"TimeZone", b"GMT");
        backend::backend_key_data(out, [0, 0, 1, 2], b"abcd");
        backend::ready_for_query(out, TransactionStatus::Idle);
    };
    let refusal = ErrorResponse::new(Severity::Fatal, SqlState::INVALID_PASSWORD, "no");
    let streams = [
        built(welcome),
        built(|out| {
            backend::authentication_cleartext(out);
            welcome(out);
        }),
        built(|out| {
            backend::authentication_md5(out, *b"salt");
            refusal.write(out);
        }),
        built(|out| {
            backend::authentication_sasl(out, &[MECHANISM]);
            backend::sasl_continue(out, &challenge);
            backend::sasl_final(out, &server_final);
            refusal.write_notice(out);
            welcome(out);
        }),
    ];
    let with = |which: u8| streams.iter().map(move |stream| [vec![which], stream.clone()].concat());
    run(7, login, &(0..4).flat_map(with).collect::<Vec<_>>());
}

#[test]
fn queries() {
    let column = Column { name: b"id", type_oid: 23, type_len: 4 };
    let valid = [
        built(|out| {
            backend::row_description(out, &[column]);
            backend::data_row(out, [Some(&b"1"[..])]);
            backend::data_row(out, [None]);
            backend::command_complete(out, b"SELECT 2");
            backend::ready_for_query(out, TransactionStatus::Idle);
        }),
        built(|out| {
            ErrorResponse::new(Severity::Error, SqlState::SYNTAX_ERROR, "no").write(out);
            backend::ready_for_query(out, TransactionStatus::Idle);
        }),
        built(|out| backend::row_description(out, &[])),
    ];
    run(9, query, &valid);
}

#[test]
fn conninfos() {
    let valid = [
        br"host=h port=1 password='a \' b' user = u".to_vec(),
        b"postgresql://u:p%20@[::1]:5432/d?sslmode=prefer&options=-c%20geqo=off".to_vec(),
        b"[s]\nhost=h\nport=2\n".to_vec(),
        b"# c\nh:1:d:u:pass\\:word\n*:*:*:*:x\n".to_vec(),
    ];
    run(10, conninfo, &valid);
}

#[test]
fn controls() {
    let valid = [
        br#"{"cmd":"show pools","limit":3,"nested":{"a":[1,2.5,null,"\u00e9"]}}"#.to_vec(),
        built(|out| Reply::error("no such command").write(out)),
        built(|out| Reply::Ok.write(out)),
        b"{\"a\":1}\r\n{\"b\":2}\n\n{}".to_vec(),
    ];
    run(8, control, &valid);
}

#[test]
fn resps() {
    let valid = [
        b"*3\r\n:1\r\n*1\r\n$-1\r\n$1\r\nx\r\n+OK\r\n".to_vec(),
        b"-NOSCRIPT No matching script\r\n$4\r\na\r\nb\r\n".to_vec(),
        built(|out| resp::write_command(out, &[b"EVALSHA", b"abc", b"1", b"key"])),
    ];
    run(9, resp, &valid);
}

#[test]
fn every_body_on_every_short_input() {
    let bodies: [Body; 11] =
        [frame, startup, frontend, backend, error, scram, login, query, conninfo, control, resp];
    for input in sluice_check::exhaustive(b"\0\x01SZ\"", 4) {
        bodies.iter().for_each(|body| body(&input));
    }
}
