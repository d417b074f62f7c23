//! Logins and queries in every piece, every place a server may hang up, and every limit.

use super::*;
use crate::pg::backend::{self, Column};
use crate::pg::error::{ErrorResponse, Severity};
use crate::pg::login::{Credentials, StartupParams};
use crate::pg::sqlstate::SqlState;

fn conversation(limits: Limits) -> Conversation {
    let params = StartupParams { database: b"shop".to_vec(), others: Vec::new() };
    let credentials = Credentials { user: b"anna".to_vec(), secret: None, scram_keys: None };
    Conversation::new(Login::new(params, credentials, *b"0123456789abcdefgh"), limits)
}

fn welcome(out: &mut Vec<u8>) {
    backend::authentication_ok(out);
    backend::parameter_status(out, b"TimeZone", b"GMT");
    backend::backend_key_data(out, [0, 0, 0, 7], b"abcd");
    backend::ready_for_query(out, TransactionStatus::Idle);
}

fn built(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    build(&mut out);
    out
}

/// A RowDescription of the columns a, b and so on.
fn columns(out: &mut Vec<u8>, count: usize) {
    let names = [&b"a"[..], b"b"].into_iter().take(count);
    let columns: Vec<_> = names.map(|name| Column { name, type_oid: 25, type_len: -1 }).collect();
    backend::row_description(out, &columns);
}

fn answer(out: &mut Vec<u8>) {
    columns(out, 2);
    backend::data_row(out, [Some(&b"1"[..]), None]);
    refusal().write_notice(out);
    backend::data_row(out, [Some(&b""[..]), Some(b"two")]);
    backend::command_complete(out, b"SELECT 2");
    backend::ready_for_query(out, TransactionStatus::Idle);
}

fn refusal() -> ErrorResponse {
    ErrorResponse::new(Severity::Error, SqlState::SYNTAX_ERROR, "no")
}

fn refused() -> ServerError {
    ServerError {
        severity: Some("ERROR".to_owned()),
        sqlstate: Some(SqlState::SYNTAX_ERROR),
        message: "no".to_owned(),
    }
}

/// A conversation that is logged in and has asked.
fn asked(limits: Limits) -> Conversation {
    let mut talk = conversation(limits);
    assert_eq!(talk.handle(&built(welcome), &mut Vec::new()), Ok(Some(Outcome::LoggedIn)));
    let mut out = Vec::new();
    talk.query(b"SELECT", &mut out).unwrap();
    assert_eq!(out, b"Q\0\0\0\x0bSELECT\0");
    talk
}

fn values(reply: &Reply) -> Vec<Vec<Option<Vec<u8>>>> {
    reply.rows().map(|row| row.map(|value| value.map(<[u8]>::to_vec)).collect()).collect()
}

#[test]
fn a_reply_is_the_same_in_every_piece() {
    let bytes = built(answer);
    sluice_check::pieces(&bytes, |parts| {
        let mut talk = asked(Limits::default());
        let mut outcomes: Vec<_> =
            parts.iter().map(|part| talk.handle(part, &mut Vec::new()).unwrap()).collect();
        let Some(Some(Outcome::Answered(Ok(reply)))) = outcomes.pop() else { panic!() };
        assert!(outcomes.iter().all(Option::is_none));
        assert!(reply.columns().eq([&b"a"[..], b"b"]));
        let expected = [vec![Some(b"1".to_vec()), None], vec![Some(vec![]), Some(b"two".to_vec())]];
        assert_eq!(values(&reply), expected);
        assert_eq!((reply.row_count(), reply.tag()), (2, &b"SELECT 2"[..]));
    });
}

#[test]
fn an_error_is_an_answer_and_the_next_query_goes_on() {
    let mut talk = asked(Limits::default());
    let error = built(|out| {
        columns(out, 1);
        refusal().write(out);
        backend::ready_for_query(out, TransactionStatus::Idle);
    });
    assert_eq!(talk.handle(&error, &mut Vec::new()), Ok(Some(Outcome::Answered(Err(refused())))));
    talk.query(b"", &mut Vec::new()).unwrap();
    let empty = built(|out| {
        backend::empty_query_response(out);
        backend::ready_for_query(out, TransactionStatus::Idle);
    });
    assert_eq!(talk.handle(&empty, &mut Vec::new()), Ok(Some(Outcome::Answered(Ok(Reply::default())))));
}

#[test]
fn wherever_the_server_hangs_up_there_is_no_answer() {
    let stream = built(answer);
    for prefix in sluice_check::prefixes(&stream) {
        let mut talk = asked(Limits::default());
        assert_eq!(talk.handle(prefix, &mut Vec::new()), Ok(None));
        assert_eq!(talk.closed(), Failure::Closed(None));
        assert!(talk.query(b"SELECT", &mut Vec::new()).is_err());
    }
    let mut talk = asked(Limits::default());
    talk.handle(&built(|out| refusal().write(out)), &mut Vec::new()).unwrap();
    assert_eq!(talk.closed(), Failure::Closed(Some(refused())));
    assert_eq!(Failure::Closed(Some(refused())).to_string(), "server closed the connection: ERROR no");
}

#[test]
fn messages_and_replies_at_and_beyond_their_limits() {
    let row = |len: usize| {
        built(|out| {
            columns(out, 1);
            backend::data_row(out, [Some(&vec![b'x'; len][..])]);
        })
    };
    // A DataRow of one value has 5 + 2 + 4 bytes before it.
    let limits = Limits { message_bytes: 111, reply_bytes: usize::MAX };
    assert_eq!(asked(limits).handle(&row(100), &mut Vec::new()), Ok(None));
    let beyond = row(101);
    assert_eq!(asked(limits).handle(&beyond, &mut Vec::new()), Err(Failure::TooLong { tag: DATA_ROW }));
    let header = beyond.len() - 112 + HEADER_LEN;
    let early = asked(limits).handle(&beyond[..header], &mut Vec::new());
    assert_eq!(early, Err(Failure::TooLong { tag: DATA_ROW }), "refused by the header");

    let exact = Limits { reply_bytes: 106 + ROW_BYTES, ..Limits::default() };
    assert_eq!(asked(exact).handle(&row(100), &mut Vec::new()), Ok(None));
    assert_eq!(asked(exact).handle(&row(101), &mut Vec::new()), Err(Failure::TooMany));
    let none = built(|out| {
        backend::row_description(out, &[]);
        (0..20).for_each(|_| backend::data_row(out, []));
    });
    let twenty = Limits { reply_bytes: 20 * (2 + ROW_BYTES), ..Limits::default() };
    assert_eq!(asked(twenty).handle(&none, &mut Vec::new()), Ok(None), "empty rows cost something too");
    let less = Limits { reply_bytes: twenty.reply_bytes - 1, ..twenty };
    assert_eq!(asked(less).handle(&none, &mut Vec::new()), Err(Failure::TooMany));
}

#[test]
fn what_has_no_place() {
    let after =
        |build: &dyn Fn(&mut Vec<u8>)| asked(Limits::default()).handle(&built(build), &mut Vec::new());
    for tag in [backend::COPY_IN_RESPONSE, backend::COPY_DATA, backend::AUTHENTICATION, b'?'] {
        let message = |out: &mut Vec<u8>| out.extend_from_slice(&[tag, 0, 0, 0, 4]);
        assert_eq!(after(&message), Err(Failure::Protocol { tag }));
    }
    let too_few = after(&|out| {
        columns(out, 2);
        backend::data_row(out, [None]);
    });
    assert_eq!(too_few, Err(Failure::Malformed { tag: DATA_ROW, reason: Malformed::Value }));
    let twice = after(&|out| {
        answer(out);
        backend::ready_for_query(out, TransactionStatus::Idle);
    });
    assert_eq!(twice, Err(Failure::Protocol { tag: READY_FOR_QUERY }));
    assert!(matches!(after(&|out| out.extend_from_slice(b"Z\0\0\0\0")), Err(Failure::Frame(_))));

    let mut over = asked(Limits::default());
    over.handle(b"?\0\0\0\x04", &mut Vec::new()).unwrap_err();
    assert_eq!(over.handle(&built(answer), &mut Vec::new()), Err(Failure::Protocol { tag: b'T' }));
}

#[test]
fn questions_out_of_turn() {
    let mut talk = conversation(Limits::default());
    assert_eq!(talk.query(b"SELECT", &mut Vec::new()), Err(Failure::Misuse));
    let mut talk = asked(Limits::default());
    assert_eq!(talk.query(b"SELECT", &mut Vec::new()), Err(Failure::Misuse));
    talk.handle(&built(answer), &mut Vec::new()).unwrap();
    assert_eq!(talk.query(b"SELECT\0 1", &mut Vec::new()), Err(Failure::Misuse));
    assert_eq!(talk.query(b"SELECT 1", &mut Vec::new()), Ok(()));
}

#[test]
fn a_refused_login_is_told() {
    let refusal = ErrorResponse::new(Severity::Fatal, SqlState::INVALID_PASSWORD, "no");
    let mut talk = conversation(Limits::default());
    let failure = talk.handle(&built(|out| refusal.write(out)), &mut Vec::new()).unwrap_err();
    assert_eq!(failure.to_string(), "server login failed: FATAL no");
    let long = [&b"R\0\0\xff\xff"[..]].concat();
    let failure = conversation(Limits::default()).handle(&long, &mut Vec::new());
    assert_eq!(failure, Err(Failure::TooLong { tag: b'R' }));
}
