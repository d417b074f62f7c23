//! Fuzz bodies: for each parser, what must hold for *any* bytes.
//!
//! The tests of this module run them on seeded noise and on mutated valid input; the targets under `tests/fuzz` run the
//! same functions under a coverage-guided fuzzer. A body panics when a property is broken and returns when all hold:
//!
//! * nothing panics, and nothing grows beyond a small multiple of the input, whatever the input claims;
//! * what is read and built again is the same bytes;
//! * how the input was cut makes no difference.
//!
//! Programs never call these; they are public for the targets alone.

#![expect(clippy::panic, reason = "a body reports a broken property by panicking")]

pub mod http;
#[cfg(test)]
mod tests;

use crate::control::{Answer, Request};
use crate::line::{Lines, Next};
use crate::pg::backend::{self, Authentication};
use crate::pg::conninfo;
use crate::pg::error::{ErrorResponse, Fields, Severity, replace_in_fields};
use crate::pg::frame::{self, HEADER_LEN};
use crate::pg::frontend::{self, BindHead, Execute, Parse, SaslInitial, Target};
use crate::pg::login::{Credentials, Login, LoginError, StartupParams, Step, body_len_max};
use crate::pg::query::{Conversation, Failure, Limits, Outcome, ROW_BYTES};
use crate::pg::scram::{
    ClientExchange, ClientStep, Derived, ITERATIONS_DEFAULT, Keys, MESSAGE_LEN_MAX, NONCE_LEN, ScramError,
    ScramSecret, Secret, ServerExchange, ServerStep, derive,
};
use crate::pg::sqlstate::SqlState;
use crate::pg::startup::{self, First, Progress};
use crate::resp;

/// The nonce of both roles: fixed, so that an input is a complete bug report.
const NONCE: &[u8; NONCE_LEN] = b"0123456789abcdefgh";

/// Headers and whole messages.
pub fn frame(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some(header)) = frame::header(rest) {
        assert_eq!(header.total(), HEADER_LEN + header.body_len());
        assert_eq!(frame::header(&rest[..HEADER_LEN]), Ok(Some(header)), "later bytes change nothing");
        let Ok(message) = frame::message(rest) else {
            panic!("a message fails though its header is good");
        };
        let Some(message) = message else {
            assert!(rest.len() < header.total());
            return;
        };
        assert_eq!((message.tag, message.body.len()), (header.tag, header.body_len()));
        assert_eq!(message.body.len() + message.rest.len() + HEADER_LEN, rest.len());
        rest = message.rest;
    }
    if frame::header(rest).is_ok() {
        assert!(rest.len() < HEADER_LEN);
    }
}

/// The first message of a connection, and the `options` text.
pub fn startup(data: &[u8]) {
    options(data);
    match startup::read(data) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(Progress::Need(total)) => assert!((data.len() + 1..=startup::LEN_MAX).contains(&total)),
        Ok(Progress::Done { consumed, first }) => {
            let message = &data[..consumed];
            for len in [0, 1, 7, 8, consumed / 2, consumed - 1].into_iter().filter(|&len| len < consumed) {
                let need = startup::read(&message[..len]);
                assert!(matches!(need, Ok(Progress::Need(total)) if total <= consumed), "{len}: {need:?}");
            }
            let mut again = Vec::new();
            match first {
                First::Ssl => frontend::ssl_request(&mut again),
                First::Gss => again.extend_from_slice(message),
                First::Cancel { pid, secret } => frontend::cancel_request(&mut again, pid, secret),
                First::Startup(startup) => {
                    startup.param(b"options").into_iter().for_each(options);
                    let params: Vec<_> = startup.params().collect();
                    let version = startup::VERSION_3_0 | u32::from(startup.minor);
                    frontend::startup(&mut again, version, &params);
                }
            }
            assert_eq!(again, message);
        }
    }
}

fn options(text: &[u8]) {
    let Ok(settings) = startup::options(text) else { return };
    let total: usize = settings.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
    assert!(total <= text.len(), "settings are never longer than their text");
    let mut again = Vec::new();
    for (name, value) in &settings {
        again.extend_from_slice(b" --");
        for &byte in name.iter().chain(b"=").chain(value) {
            again.extend_from_slice(&[b'\\', byte]);
        }
    }
    assert_eq!(startup::options(&again), Ok(settings));
}

/// Messages of a frontend, each reader on the same bytes.
pub fn frontend(data: &[u8]) {
    if let Ok(Parse { name, definition }) = Parse::read(data) {
        assert_rebuilt(data, |out| frontend::parse(out, name, definition));
    }
    bind(data);
    if let Ok(Target { kind, name }) = Target::read(data) {
        assert_rebuilt(data, |out| frontend::describe(out, kind, name));
        assert_rebuilt(data, |out| frontend::close(out, kind, name));
    }
    if let Ok(Execute { portal, max_rows }) = Execute::read(data) {
        assert_rebuilt(data, |out| frontend::execute(out, portal, max_rows));
    }
    if let Ok(SaslInitial { mechanism, data: Some(response) }) = SaslInitial::read(data) {
        assert_rebuilt(data, |out| frontend::sasl_initial(out, mechanism, response));
    }
    if let Ok(sql) = frontend::read_query(data) {
        assert_rebuilt(data, |out| frontend::query(out, sql));
        assert_eq!(frontend::read_password(data), Ok(sql));
        assert_eq!(frontend::read_copy_fail(data), Ok(sql));
    }
    // Whatever text a builder is given, the message stays one message, and its text ends at the first zero.
    assert_one_message(|out| frontend::query(out, data));
    assert_one_message(|out| frontend::describe(out, frontend::KIND_STATEMENT, data));
    assert_one_message(|out| frontend::sasl_initial(out, data, data));
}

fn bind(data: &[u8]) {
    match BindHead::read(data) {
        Err(_) => assert!(data.len() > frontend::NAME_LEN_MAX),
        Ok(None) => assert!(data.len() < 2 * (frontend::NAME_LEN_MAX + 1)),
        Ok(Some(head)) => {
            let tail = &data[head.tail..];
            assert_eq!(BindHead::read(&data[..head.tail]), Ok(Some(head)));
            assert_eq!(BindHead::read(&data[..head.tail - 1]), Ok(None));
            assert_rebuilt(data, |out| {
                frontend::bind_head(out, head.portal, head.statement, tail.len());
                out.extend_from_slice(tail);
            });
        }
    }
}

/// Messages of a backend, each reader on the same bytes.
pub fn backend(data: &[u8]) {
    if let Ok(authentication) = Authentication::read(data) {
        assert_rebuilt(data, |out| match authentication {
            Authentication::Ok => backend::authentication_ok(out),
            Authentication::CleartextPassword => backend::authentication_cleartext(out),
            Authentication::Md5Password { salt } => backend::authentication_md5(out, salt),
            Authentication::Sasl { mechanisms } => {
                backend::authentication_sasl(out, &mechanisms.collect::<Vec<_>>());
            }
            Authentication::SaslContinue(data) => backend::sasl_continue(out, data),
            Authentication::SaslFinal(data) => backend::sasl_final(out, data),
            Authentication::Other(_) => whole(out, data),
        });
    }
    if let Ok(status) = backend::read_ready_for_query(data) {
        assert_rebuilt(data, |out| backend::ready_for_query(out, status));
    }
    if let Ok((name, value)) = backend::read_parameter_status(data) {
        assert_rebuilt(data, |out| backend::parameter_status(out, name, value));
    }
    if let Ok((pid, secret)) = backend::read_backend_key_data(data) {
        assert_rebuilt(data, |out| backend::backend_key_data(out, pid, secret));
    }
    if let Ok(tag) = backend::command_tag(data) {
        assert_rebuilt(data, |out| backend::command_complete(out, tag));
    }
    if let Ok((count, values)) = backend::read_data_row(data) {
        assert_eq!(values.clone().count(), usize::from(count));
        assert!(values.flatten().map(<[u8]>::len).sum::<usize>() <= data.len());
    }
    if let Ok(columns) = backend::read_row_description(data) {
        assert!(columns.len() * 19 <= data.len());
    }
    let values = || data.split(|&byte| byte == 0).map(|value| Some(value).filter(|value| !value.is_empty()));
    assert_one_message(|out| backend::data_row(out, values()));
    assert_one_message(|out| backend::parameter_status(out, data, data));
}

/// ErrorResponse and NoticeResponse.
pub fn error(data: &[u8]) {
    let fields = Fields::new(data);
    let total: usize = fields.iter().map(|(_, value)| value.len() + 2).sum();
    assert!(total <= data.len());
    assert!(fields.iter().all(|(code, value)| code != 0 && !value.contains(&0)));

    // A copy without a replacement has the same fields; with one, the same codes, and growth is bounded.
    let mut copy = Vec::new();
    replace_in_fields(data, b"", b"x", &mut copy);
    assert!(fields.iter().eq(Fields::new(&copy).iter()));
    assert_eq!(copy.len(), total + 1);
    let mut renamed = Vec::new();
    replace_in_fields(data, b"P_1", b"mine", &mut renamed);
    let codes = |body| Fields::new(body).iter().map(|(code, _)| code).collect::<Vec<_>>();
    assert_eq!(codes(data), codes(&renamed));
    assert!(renamed.len() <= 2 * data.len() + 1);

    let text = String::from_utf8_lossy(data).into_owned();
    let until_zero = text.split('\0').next().unwrap_or_default().to_owned();
    let response = ErrorResponse::new(Severity::Error, SqlState::INTERNAL_ERROR, text);
    let body = assert_one_message(|out| response.write(out));
    assert_eq!(Fields::new(&body).message(), Some(until_zero.as_bytes()));
    assert_eq!(Fields::new(&body).sqlstate(), Some(SqlState::INTERNAL_ERROR));
}

/// Stored secrets, both roles of SCRAM fed with the bytes, and an exchange between the two with one message replaced.
pub fn scram(data: &[u8]) {
    match Secret::parse(data) {
        Secret::Scram(secret) => assert_eq!(ScramSecret::parse(secret.to_text().as_bytes()), Some(secret)),
        Secret::Md5(hex) => assert_eq!([&b"md5"[..], &hex].concat(), data),
        Secret::Plain(plain) => assert_eq!(plain, data),
    }

    let mut server = ServerExchange::new(stored(), NONCE);
    match server.step(data) {
        Ok(ServerStep::Continue(message)) => assert!(message.len() <= data.len() + 128),
        Ok(ServerStep::Done { .. }) => panic!("logged in by one message"),
        Err(_) => assert_eq!(server.step(data), Err(ScramError::OutOfOrder)),
    }
    let Some((&which, replacement)) = data.split_first() else { return };
    exchange(which % 3, replacement);
    let mut client = ClientExchange::with_keys(derived(), NONCE);
    if let Ok(step) = client.server_first(data) {
        let message = answer(step);
        assert!(message.len() <= MESSAGE_LEN_MAX + 128);
        assert!(client.server_final(replacement).is_err(), "nobody guesses a signature");
    }
    assert!(!client.is_verified());
}

/// An exchange between both roles in which someone replaces message `which`: it must fail unless nothing was changed.
fn exchange(which: u8, replacement: &[u8]) {
    let mut changed = false;
    let mut pass = |number: u8, message: Vec<u8>| {
        if number != which {
            return message;
        }
        changed = message != replacement;
        replacement.to_vec()
    };
    let mut server = ServerExchange::new(stored(), NONCE);
    let mut client = ClientExchange::with_keys(derived(), NONCE);
    let first = pass(0, client.client_first());
    let Ok(ServerStep::Continue(challenge)) = server.step(&first) else { return assert!(changed) };
    let challenge = pass(1, challenge);
    let Ok(step) = client.server_first(&challenge) else { return assert!(changed) };
    let last = pass(2, answer(step));
    match server.step(&last) {
        Ok(ServerStep::Done { client_key, .. }) => {
            assert!(!changed, "a changed exchange has succeeded");
            assert_eq!(client_key, derived().keys.client_key);
        }
        Ok(ServerStep::Continue(_)) => panic!("two challenges"),
        Err(_) => assert!(changed, "an unchanged exchange has failed"),
    }
}

/// With keys there is nothing to derive.
fn answer(step: ClientStep) -> Vec<u8> {
    match step {
        ClientStep::Answer(message) => message,
        ClientStep::Derive(_) => panic!("keys derived without a password"),
    }
}

fn keys() -> Keys {
    derive(b"pencil", b"salt", 1)
}

fn stored() -> ScramSecret {
    ScramSecret::new(&keys(), b"salt".to_vec(), 1)
}

fn derived() -> Derived {
    Derived { salt: b"salt".to_vec(), iterations: 1, keys: keys() }
}

/// A login to a server that sends these bytes: the first chooses our secret, the rest is the server's stream.
pub fn login(data: &[u8]) {
    let Some((&which, mut rest)) = data.split_first() else { return };
    let (secret, scram_keys) = match which % 4 {
        0 => (None, None),
        1 => (Some(Secret::Md5([b'0'; 32])), Some(derived())),
        2 => (Some(Secret::Plain(b"pencil".to_vec())), Some(derived())),
        _ => (Some(Secret::Scram(stored())), None),
    };
    let params = StartupParams { database: b"shop".to_vec(), others: Vec::new() };
    let mut login = Login::new(params, Credentials { user: b"anna".to_vec(), secret, scram_keys }, *NONCE);
    let mut accepted = false;
    while let Ok(Some(message)) = frame::message(rest) {
        rest = message.rest;
        let mut out = Vec::new();
        let step = login.handle(message.tag, message.body, &mut out);
        assert!(out.len() <= MESSAGE_LEN_MAX + 256);
        frame(&out);
        accepted |= (message.tag, message.body) == (backend::AUTHENTICATION, &[0; 4]);
        match step {
            Ok(Step::Ready) => {
                assert!(accepted, "ready without AuthenticationOk");
                return assert!(login.handle(message.tag, message.body, &mut out).is_err());
            }
            Ok(Step::Parameter(..) | Step::Key(..)) => assert!(accepted),
            Ok(Step::Continue | Step::Notice(_)) => (),
            // As many as a server may ask for are correct too, but a second of computing.
            Ok(Step::Derive(recipe)) if recipe.iterations > ITERATIONS_DEFAULT => return,
            Ok(Step::Derive(recipe)) => {
                assert!(out.is_empty(), "an answer without keys");
                assert!(login.derived(recipe.derive(), &mut out).is_ok(), "refuses the keys it asked for");
                frame(&out);
            }
            Err(error) => {
                assert_eq!(
                    matches!(error, LoginError::TooLong { .. }),
                    message.body.len() > body_len_max(message.tag)
                );
                assert!(!error.to_string().contains("pencil"));
                let after = login.handle(backend::AUTHENTICATION, &[0; 4], &mut out);
                return assert!(
                    matches!(after, Err(LoginError::Protocol { .. })),
                    "failed logins stay failed"
                );
            }
        }
    }
}

/// The reply to a query, behind a good login, of a server that sends these bytes: whole and in two pieces.
pub fn query(data: &[u8]) {
    let whole = conversation(&[data]);
    let cut = data.first().map_or(0, |&byte| usize::from(byte)).min(data.len());
    let (head, tail) = data.split_at(cut);
    let (outcome, failure) = conversation(&[head, tail]);
    // A failure hides the answer before it only if both came in one piece.
    assert_eq!(failure, whole.1);
    assert!(outcome == whole.0 || failure.is_some());
    if let Some(Outcome::Answered(Ok(reply))) = whole.0 {
        assert_eq!(reply.rows().count(), reply.row_count());
        assert!(reply.rows().all(|row| row.count() == reply.columns().len()));
        let held: usize = reply.rows().flatten().flatten().map(<[u8]>::len).sum();
        assert!(held + reply.row_count() * ROW_BYTES <= REPLY_BYTES);
    }
}

/// Little enough for a short input to go beyond.
const REPLY_BYTES: usize = 64;

fn conversation(pieces: &[&[u8]]) -> (Option<Outcome>, Option<Failure>) {
    let limits = Limits { message_bytes: 48, reply_bytes: REPLY_BYTES };
    let credentials = Credentials { user: b"anna".to_vec(), secret: None, scram_keys: None };
    let mut talk = Conversation::new(Login::new(StartupParams::default(), credentials, *NONCE), limits);
    let mut welcome = Vec::new();
    backend::authentication_ok(&mut welcome);
    backend::ready_for_query(&mut welcome, backend::TransactionStatus::Idle);
    assert_eq!(talk.handle(&welcome, &mut Vec::new()), Ok(Some(Outcome::LoggedIn)));
    assert_eq!(talk.query(b"SELECT", &mut Vec::new()), Ok(()));
    let mut outcome = None;
    for piece in pieces {
        let mut out = Vec::new();
        match talk.handle(piece, &mut out) {
            Ok(found) => outcome = found.or(outcome),
            Err(failure) => return (outcome, Some(failure)),
        }
        assert!(out.is_empty(), "behind the login there is nothing to answer");
    }
    (outcome, None)
}

/// Connection strings, service files and password files.
pub fn conninfo(data: &[u8]) {
    if let Some(password) = conninfo::passfile_password(data, "h", 1, "d", "u") {
        assert!(!password.is_empty() && password.len() < data.len());
    }
    let text = String::from_utf8_lossy(data);
    if let Ok(pairs) = conninfo::parse(&text)
        && let Ok(resolved) = conninfo::resolve(&pairs)
    {
        assert!(resolved.port != 0);
    }
    let _ = conninfo::service(&text, "s");
}

/// Replies of a Redis: in pieces, and bounded.
pub fn resp(data: &[u8]) {
    let whole = replies(&[data]);
    let cut = data.first().map_or(0, |&byte| usize::from(byte)).min(data.len());
    let (head, tail) = data.split_at(cut);
    assert_eq!(replies(&[head, tail]), whole);
    assert_eq!(replies(&data.chunks(1).collect::<Vec<_>>()), whole);
    let words: Vec<&[u8]> = data.split(|&byte| byte == b' ').collect();
    let mut command = Vec::new();
    resp::write_command(&mut command, &words);
    let read = words.iter().map(|word| resp::Value::Bulk(word.to_vec())).collect();
    assert_eq!(replies(&[&command]), (vec![resp::Value::Array(read)], false));
}

/// Every reply the pieces make, and whether the stream was given up.
fn replies(pieces: &[&[u8]]) -> (Vec<resp::Value>, bool) {
    let mut replies = resp::Replies::default();
    let mut found = Vec::new();
    for piece in pieces {
        replies.feed(piece);
        loop {
            match replies.next() {
                resp::Next::Value(value) => found.push(value),
                resp::Next::Need => break,
                resp::Next::Broken => return (found, true),
            }
        }
    }
    (found, false)
}

/// Control lines: framing in pieces, requests, answers.
pub fn control(data: &[u8]) {
    let whole = lines(&[data]);
    let cut = data.first().map_or(0, |&byte| usize::from(byte)).min(data.len());
    let (head, tail) = data.split_at(cut);
    assert_eq!(lines(&[head, tail]), whole);
    assert_eq!(lines(&data.chunks(1).collect::<Vec<_>>()), whole);

    if let Ok(request) = Request::parse(data) {
        let mut line = Vec::new();
        request.write(&mut line);
        let again = Request::parse(line.trim_ascii());
        assert!(
            again.is_ok_and(|again| again.cmd == request.cmd && again.args.keys().eq(request.args.keys()))
        );
    }
    if let Some(Answer::Reply(reply)) = Answer::parse(data) {
        let mut line = Vec::new();
        reply.write(&mut line);
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        assert_eq!(Answer::parse(&line), Some(Answer::Reply(reply)));
    }
}

/// Every line of at most 16 bytes that the pieces make, up to the first longer one.
fn lines(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    const LEN_MAX: usize = 16;
    let mut lines = Lines::new(LEN_MAX);
    let mut found = Vec::new();
    for piece in pieces {
        lines.feed(piece);
        loop {
            match lines.next() {
                Next::Line(line) => found.push(line.to_vec()),
                Next::Need => break,
                Next::TooLong => return (found, true),
            }
        }
        assert!(lines.pending_len() <= LEN_MAX + 1, "an unfinished line is never held beyond the limit");
    }
    (found, false)
}

/// Asserts that `build` makes one message with the body `data`.
fn assert_rebuilt(data: &[u8], build: impl FnOnce(&mut Vec<u8>)) {
    assert_eq!(assert_one_message(build), data);
}

/// Asserts that `build` appends exactly one well-formed message; gives its body.
fn assert_one_message(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    build(&mut out);
    let Ok(Some(message)) = frame::message(&out) else {
        panic!("not a whole message: {}", out.escape_ascii());
    };
    assert!(message.rest.is_empty());
    message.body.to_vec()
}

/// Appends a message with any tag and the body `data`: what no builder of ours makes.
fn whole(out: &mut Vec<u8>, data: &[u8]) {
    out.push(backend::AUTHENTICATION);
    out.extend_from_slice(&(4 + data.len() as u32).to_be_bytes());
    out.extend_from_slice(data);
}
