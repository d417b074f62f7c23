//! Every way to log in, every way to be refused, and every order a server may not use.

use super::*;
use crate::pg::error::{ErrorResponse, Severity};
use crate::pg::scram::{ScramSecret, ServerExchange, ServerStep, derive};
use crate::pg::{backend, frame};

const NONCE: [u8; NONCE_LEN] = *b"0123456789abcdefgh";

fn login(secret: Option<Secret>) -> Login {
    let params = StartupParams { database: b"shop".to_vec(), others: vec![(b"a".to_vec(), b"b".to_vec())] };
    Login::new(params, Credentials { user: b"anna".to_vec(), secret, scram_keys: None }, NONCE)
}

fn plain() -> Option<Secret> {
    Some(Secret::Plain(b"pencil".to_vec()))
}

fn stored(password: &[u8]) -> ScramSecret {
    ScramSecret::new(&derive(password, b"salt", 1), b"salt".to_vec(), 1)
}

/// Hands the login every message `build` makes; what it sends, and what the last one meant, as text.
fn hand(login: &mut Login, build: impl FnOnce(&mut Vec<u8>)) -> Result<(Vec<u8>, String), LoginError> {
    let (mut bytes, mut out, mut meant) = (Vec::new(), Vec::new(), String::new());
    build(&mut bytes);
    let mut rest = &bytes[..];
    while let Some(message) = frame::message(rest).unwrap() {
        let step = login.handle(message.tag, message.body, &mut out)?;
        meant = format!("{step:?}");
        rest = message.rest;
        if let Step::Derive(recipe) = step {
            assert!(out.is_empty(), "an answer without keys");
            login.derived(recipe.derive(), &mut out)?;
        }
    }
    assert!(rest.is_empty());
    Ok((out, meant))
}

fn welcome(out: &mut Vec<u8>) {
    backend::authentication_ok(out);
    backend::parameter_status(out, b"TimeZone", b"GMT");
    backend::backend_key_data(out, [0, 0, 0, 7], b"abcd");
    backend::ready_for_query(out, TransactionStatus::Idle);
}

/// The body of the only message in `bytes`, a password message.
fn answer(bytes: &[u8]) -> &[u8] {
    let message = frame::message(bytes).unwrap().unwrap();
    assert_eq!((message.tag, message.rest.len()), (frontend::PASSWORD, 0));
    message.body
}

/// Logs in by SCRAM to a server that stores `secret`.
fn scram(login: &mut Login, secret: ScramSecret) -> Result<String, LoginError> {
    let mut server = ServerExchange::new(secret, &NONCE);
    let (first, _) =
        hand(login, |out| backend::authentication_sasl(out, &[b"SCRAM-SHA-256-PLUS", MECHANISM]))?;
    let initial = frontend::SaslInitial::read(answer(&first)).unwrap();
    assert_eq!(initial.mechanism, MECHANISM);
    let Ok(ServerStep::Continue(data)) = server.step(initial.data.unwrap()) else { panic!() };
    let (last, _) = hand(login, |out| backend::sasl_continue(out, &data))?;
    match server.step(answer(&last)) {
        Ok(ServerStep::Done { server_final, .. }) => {
            hand(login, |out| backend::sasl_final(out, &server_final))?
        }
        Ok(ServerStep::Continue(_)) => panic!(),
        Err(_) => hand(login, |out| {
            ErrorResponse::new(Severity::Fatal, SqlState::INVALID_PASSWORD, "no").write(out);
        })?,
    };
    hand(login, welcome).map(|(_, meant)| meant)
}

#[test]
fn it_begins_with_user_and_database() {
    let mut out = Vec::new();
    login(None).start(&mut out);
    assert_eq!(out, b"\0\0\0\x25\0\x03\0\0user\0anna\0database\0shop\0a\0b\0\0");
}

#[test]
fn trust_and_the_welcome() {
    let mut login = login(None);
    assert_eq!(hand(&mut login, backend::authentication_ok), Ok((vec![], "Continue".to_owned())));
    let status = |out: &mut Vec<u8>| backend::parameter_status(out, b"a", b"b");
    assert_eq!(hand(&mut login, status).unwrap().1, "Parameter([97], [98])");
    let key = |out: &mut Vec<u8>| backend::backend_key_data(out, [0, 0, 0, 7], b"abcd");
    assert_eq!(hand(&mut login, key).unwrap().1, "Key([0, 0, 0, 7], [97, 98, 99, 100])");
    let notice = ErrorResponse::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, "hello");
    assert!(hand(&mut login, |out| notice.write_notice(out)).unwrap().1.starts_with("Notice"));
    let ready = |out: &mut Vec<u8>| backend::ready_for_query(out, TransactionStatus::Idle);
    assert_eq!(hand(&mut login, ready).unwrap().1, "Ready");
    assert_eq!(hand(&mut login, ready), Err(LoginError::Protocol { tag: READY_FOR_QUERY }));
}

#[test]
fn cleartext_needs_the_password_itself() {
    let mut login_plain = login(plain());
    let (out, _) = hand(&mut login_plain, backend::authentication_cleartext).unwrap();
    assert_eq!(answer(&out), b"pencil\0");
    assert_eq!(hand(&mut login_plain, welcome).unwrap().1, "Ready");
    let others = [None, Some(Secret::Md5([b'0'; 32])), Some(Secret::Scram(stored(b"pencil")))];
    for secret in others {
        let refused = hand(&mut login(secret), backend::authentication_cleartext).unwrap_err();
        assert_eq!(refused.to_string(), "server login failed: wrong password type");
    }
}

#[test]
fn md5_needs_the_password_or_its_hash() {
    let hash = Secret::Md5(crate::pg::scram::md5_secret(b"anna", b"pencil"));
    let expected = postgres_protocol::authentication::md5_hash(b"anna", b"pencil", [1, 2, 3, 4]);
    for secret in [plain(), Some(hash)] {
        let mut login = login(secret);
        let (out, _) = hand(&mut login, |out| backend::authentication_md5(out, [1, 2, 3, 4])).unwrap();
        assert_eq!(answer(&out), format!("{expected}\0").as_bytes());
        assert_eq!(hand(&mut login, welcome).unwrap().1, "Ready");
    }
    for secret in [None, Some(Secret::Scram(stored(b"pencil")))] {
        let refused = hand(&mut login(secret), |out| backend::authentication_md5(out, [0; 4])).unwrap_err();
        assert_eq!(refused.log_text(), Some("cannot do MD5 authentication: wrong password type"));
    }
}

#[test]
fn scram_with_a_password_keeps_its_keys() {
    let mut first = login(plain());
    assert_eq!(scram(&mut first, stored(b"pencil")), Ok("Ready".to_owned()));
    let keys = first.into_scram_keys();
    assert_eq!(keys.as_ref().map(|keys| keys.keys), Some(derive(b"pencil", b"salt", 1)));
    // Those keys alone log in again, and only where they fit.
    let with_keys = || {
        let credentials = Credentials { user: b"anna".to_vec(), secret: None, scram_keys: keys.clone() };
        Login::new(StartupParams::default(), credentials, NONCE)
    };
    assert_eq!(scram(&mut with_keys(), stored(b"pencil")), Ok("Ready".to_owned()));
    let elsewhere = ScramSecret { salt: b"another".to_vec(), ..stored(b"pencil") };
    assert_eq!(scram(&mut with_keys(), elsewhere), Err(LoginError::WrongPasswordType(Method::Scram)));
}

#[test]
fn keys_are_taken_once_and_only_where_they_were_asked_for() {
    let begin = |login: &mut Login| {
        let (first, _) = hand(login, |out| backend::authentication_sasl(out, &[MECHANISM])).unwrap();
        let initial = frontend::SaslInitial::read(answer(&first)).unwrap();
        let mut server = ServerExchange::new(stored(b"pencil"), &NONCE);
        let Ok(ServerStep::Continue(data)) = server.step(initial.data.unwrap()) else { panic!() };
        let mut message = Vec::new();
        backend::sasl_continue(&mut message, &data);
        message
    };
    let ask = |login: &mut Login, message: &[u8]| {
        let message = frame::message(message).unwrap().unwrap();
        match login.handle(message.tag, message.body, &mut vec![]) {
            Ok(Step::Derive(recipe)) => recipe,
            other => panic!("{other:?}"),
        }
    };
    let mut asked = login(plain());
    let message = begin(&mut asked);
    let recipe = ask(&mut asked, &message);
    assert!(!format!("{recipe:?}").contains("112, 101"), "the password is not shown");
    // A server that goes on before it was answered breaks the exchange.
    assert!(hand(&mut asked, |out| backend::sasl_final(out, b"v=")).is_err());
    assert!(asked.derived(recipe.clone().derive(), &mut vec![]).is_err());

    let mut other = login(plain());
    let message = begin(&mut other);
    let salt = b"other".to_vec();
    let elsewhere = Recipe { salt, ..ask(&mut other, &message) };
    let refused = other.derived(elsewhere.derive(), &mut vec![]).unwrap_err();
    assert_eq!(refused, LoginError::WrongPasswordType(Method::Scram));
    assert!(login(plain()).derived(recipe.derive(), &mut vec![]).is_err());
}

#[test]
fn scram_that_cannot_be() {
    let refused = scram(&mut login(plain()), stored(b"pen")).unwrap_err();
    assert!(
        matches!(&refused, LoginError::Server(error) if error.sqlstate == Some(SqlState::INVALID_PASSWORD))
    );
    assert_eq!(refused.to_string(), "server login failed: FATAL no");
    for secret in [None, Some(Secret::Md5([b'0'; 32])), Some(Secret::Scram(stored(b"pencil")))] {
        let refused =
            hand(&mut login(secret), |out| backend::authentication_sasl(out, &[MECHANISM])).unwrap_err();
        assert_eq!(refused.to_string(), "server login failed: wrong password type");
        assert_eq!(refused.log_text(), Some("cannot do SCRAM authentication: wrong password type"));
    }
    let none = hand(&mut login(plain()), |out| backend::authentication_sasl(out, &[b"SCRAM-SHA-256-PLUS"]));
    let text = "server login failed: none of the server's SASL authentication mechanisms are supported";
    assert_eq!(none.unwrap_err().to_string(), text);
}

#[test]
fn a_server_that_skips_its_proof_is_not_believed() {
    let begin = |out: &mut Vec<u8>| backend::authentication_sasl(out, &[MECHANISM]);
    let mut early = login(plain());
    hand(&mut early, begin).unwrap();
    assert_eq!(hand(&mut early, backend::authentication_ok), Err(LoginError::BadSignature));

    let mut wrong = login(plain());
    let (first, _) = hand(&mut wrong, begin).unwrap();
    let mut server = ServerExchange::new(stored(b"pencil"), &NONCE);
    let initial = frontend::SaslInitial::read(answer(&first)).unwrap();
    let Ok(ServerStep::Continue(data)) = server.step(initial.data.unwrap()) else { panic!() };
    hand(&mut wrong, |out| backend::sasl_continue(out, &data)).unwrap();
    let proof = b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let refused = hand(&mut wrong, |out| backend::sasl_final(out, proof)).unwrap_err();
    assert_eq!(refused.to_string(), "server login failed: invalid server signature");
    assert!(hand(&mut wrong, backend::authentication_ok).is_err());
}

#[test]
fn every_authentication_message_is_accepted_once() {
    let cleartext = backend::authentication_cleartext;
    let md5 = |out: &mut Vec<u8>| backend::authentication_md5(out, [0; 4]);
    let sasl = |out: &mut Vec<u8>| backend::authentication_sasl(out, &[MECHANISM]);
    type Request<'a> = &'a dyn Fn(&mut Vec<u8>);
    let requests: [Request<'_>; 3] = [&cleartext, &md5, &sasl];
    for first in requests {
        for second in requests {
            let mut login = login(plain());
            hand(&mut login, first).unwrap();
            assert_eq!(hand(&mut login, second), Err(LoginError::Protocol { tag: AUTHENTICATION }));
            assert!(hand(&mut login, backend::authentication_ok).is_err());
        }
        let mut login = login(plain());
        hand(&mut login, backend::authentication_ok).unwrap();
        assert_eq!(hand(&mut login, first), Err(LoginError::Protocol { tag: AUTHENTICATION }));
    }
    let early = hand(&mut login(plain()), |out| backend::sasl_continue(out, b"r=x"));
    assert_eq!(early, Err(LoginError::Protocol { tag: AUTHENTICATION }));
}

#[test]
fn what_has_no_place_before_the_welcome() {
    for tag in [PARAMETER_STATUS, BACKEND_KEY_DATA, READY_FOR_QUERY, backend::DATA_ROW, backend::COPY_DATA, 0]
    {
        assert_eq!(login(plain()).handle(tag, b"I", &mut vec![]).unwrap_err(), LoginError::Protocol { tag });
    }
    let mut unknown = login(plain());
    let refused = unknown.handle(AUTHENTICATION, b"\0\0\0\x07", &mut vec![]).unwrap_err();
    assert_eq!(refused, LoginError::UnknownMethod(7));
    let mut open = login(None);
    hand(&mut open, backend::authentication_ok).unwrap();
    let in_transaction = open.handle(READY_FOR_QUERY, b"T", &mut vec![]);
    assert_eq!(in_transaction.unwrap_err(), LoginError::Protocol { tag: READY_FOR_QUERY });
    let mut bad = login(None);
    let refused = bad.handle(AUTHENTICATION, b"\0\0", &mut vec![]).unwrap_err();
    assert_eq!(refused, LoginError::Malformed { tag: AUTHENTICATION, reason: Malformed::Short });
}

#[test]
fn bodies_at_and_beyond_the_limit() {
    let body = |len: usize| [b"MX".to_vec(), vec![b'x'; len - 4], vec![0, 0]].concat();
    let mut noticed = login(None);
    assert!(noticed.handle(NOTICE_RESPONSE, &body(REPORT_LEN_MAX), &mut vec![]).is_ok());
    let refused = noticed.handle(NOTICE_RESPONSE, &body(REPORT_LEN_MAX + 1), &mut vec![]).unwrap_err();
    assert_eq!(refused, LoginError::TooLong { tag: NOTICE_RESPONSE });
    let challenge = vec![0; body_len_max(AUTHENTICATION) + 1];
    let refused = login(None).handle(AUTHENTICATION, &challenge, &mut vec![]).unwrap_err();
    assert_eq!(refused, LoginError::TooLong { tag: AUTHENTICATION });
}

#[test]
fn an_error_without_fields_is_still_an_error() {
    let refused = login(None).handle(ERROR_RESPONSE, b"\0", &mut vec![]).unwrap_err();
    assert_eq!(
        refused,
        LoginError::Server(ServerError { severity: None, sqlstate: None, message: String::new() })
    );
    let shown = format!("{:?}", login(plain()));
    assert!(!shown.contains("pencil") && !shown.contains("112, 101"), "{shown}");
}
