//! Our bytes against another implementation of the protocol, in both directions.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure is the test's")]

use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend as theirs;
use sluice_wire::pg::backend::{self, Column, TransactionStatus};
use sluice_wire::pg::error::{ErrorResponse, Severity};
use sluice_wire::pg::frame;
use sluice_wire::pg::frontend::{self, BindHead, Execute, Parse, SaslInitial, Target};
use sluice_wire::pg::scram::{NONCE_LEN, ScramSecret, ServerExchange, ServerStep, derive};
use sluice_wire::pg::sqlstate::SqlState;
use sluice_wire::pg::startup::{self, First, Progress, VERSION_3_0};

fn ours(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    build(&mut out);
    out
}

fn their<E: std::fmt::Debug>(build: impl FnOnce(&mut BytesMut) -> Result<(), E>) -> Vec<u8> {
    let mut out = BytesMut::new();
    build(&mut out).unwrap();
    out.to_vec()
}

fn done(build: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    build(&mut out);
    out.to_vec()
}

fn body(message: &[u8]) -> &[u8] {
    frame::message(message).unwrap().unwrap().body
}

#[test]
fn frontend_messages_are_the_same_bytes() {
    assert_eq!(ours(|out| frontend::query(out, b"SELECT 1")), their(|out| theirs::query("SELECT 1", out)));
    assert_eq!(ours(frontend::sync), done(theirs::sync));
    assert_eq!(ours(frontend::flush), done(theirs::flush));
    assert_eq!(ours(frontend::terminate), done(theirs::terminate));
    assert_eq!(ours(frontend::ssl_request), done(theirs::ssl_request));
    assert_eq!(
        ours(|out| frontend::describe(out, b'S', b"s")),
        their(|out| theirs::describe(b'S', "s", out))
    );
    assert_eq!(ours(|out| frontend::close(out, b'P', b"p")), their(|out| theirs::close(b'P', "p", out)));
    assert_eq!(ours(|out| frontend::execute(out, b"p", 9)), their(|out| theirs::execute("p", 9, out)));
    assert_eq!(ours(|out| frontend::copy_fail(out, b"why")), their(|out| theirs::copy_fail("why", out)));
    assert_eq!(ours(|out| frontend::password(out, b"pw")), their(|out| theirs::password_message(b"pw", out)));
    assert_eq!(
        ours(|out| frontend::sasl_response(out, b"c=")),
        their(|out| theirs::sasl_response(b"c=", out))
    );
    assert_eq!(
        ours(|out| frontend::sasl_initial(out, b"SCRAM-SHA-256", b"n,,")),
        their(|out| theirs::sasl_initial_response("SCRAM-SHA-256", b"n,,", out))
    );
    assert_eq!(
        ours(|out| frontend::cancel_request(out, 7_i32.to_be_bytes(), &9_i32.to_be_bytes())),
        done(|out| theirs::cancel_request(7, 9, out))
    );
}

#[test]
fn their_extended_messages_are_understood_and_rewritten() {
    let parse = their(|out| theirs::parse("s", "SELECT $1", [23], out));
    let read = Parse::read(body(&parse)).unwrap();
    assert_eq!((read.name, read.query()), (&b"s"[..], &b"SELECT $1"[..]));
    assert_eq!(ours(|out| frontend::parse(out, read.name, read.definition)), parse);

    let bind = |statement| {
        let value = |value: &[u8], out: &mut BytesMut| {
            out.extend_from_slice(value);
            Ok(IsNull::No)
        };
        let mut out = BytesMut::new();
        assert!(theirs::bind("p", statement, [1], [&b"value"[..]], value, [0], &mut out).is_ok());
        out.to_vec()
    };
    let sent = bind("s");
    let head = BindHead::read(body(&sent)).unwrap().unwrap();
    assert_eq!((head.portal, head.statement), (&b"p"[..], &b"s"[..]));
    let tail = &body(&sent)[head.tail..];
    let mut renamed = ours(|out| frontend::bind_head(out, head.portal, b"PGBOUNCER_12", tail.len()));
    renamed.extend_from_slice(tail);
    assert_eq!(renamed, bind("PGBOUNCER_12"));

    let describe = their(|out| theirs::describe(b'P', "p", out));
    assert_eq!(Target::read(body(&describe)), Ok(Target { kind: b'P', name: b"p" }));
    let execute = their(|out| theirs::execute("p", -1, out));
    assert_eq!(Execute::read(body(&execute)), Ok(Execute { portal: b"p", max_rows: -1 }));
    let query = their(|out| theirs::query("SELECT 1", out));
    assert_eq!(frontend::read_query(body(&query)), Ok(&b"SELECT 1"[..]));
}

#[test]
fn their_startup_is_understood() {
    let bytes = their(|out| theirs::startup_message([("user", "anna"), ("database", "shop")], out));
    let Ok(Progress::Done { consumed, first: First::Startup(startup) }) = startup::read(&bytes) else {
        panic!("not a startup message");
    };
    assert_eq!(consumed, bytes.len());
    assert_eq!(
        (startup.param(b"user"), startup.param(b"database")),
        (Some(&b"anna"[..]), Some(&b"shop"[..]))
    );
    let params: Vec<_> = startup.params().collect();
    assert_eq!(ours(|out| frontend::startup(out, VERSION_3_0 | u32::from(startup.minor), &params)), bytes);
}

/// The messages another implementation finds in `bytes`, which it must consume to the end.
fn understood(bytes: &[u8]) -> Vec<Message> {
    let mut buffer = BytesMut::from(bytes);
    let mut messages = Vec::new();
    while let Some(message) = Message::parse(&mut buffer).unwrap() {
        messages.push(message);
    }
    assert!(buffer.is_empty());
    messages
}

#[test]
fn backend_messages_are_understood() {
    let messages = understood(&ours(|out| {
        backend::authentication_md5(out, [1, 2, 3, 4]);
        backend::authentication_cleartext(out);
        backend::authentication_ok(out);
        backend::parameter_status(out, b"TimeZone", b"GMT");
        backend::backend_key_data(out, 7_i32.to_be_bytes(), &9_i32.to_be_bytes());
        backend::ready_for_query(out, TransactionStatus::Failed);
        backend::command_complete(out, b"SHOW");
        backend::parse_complete(out);
        backend::bind_complete(out);
        backend::close_complete(out);
        backend::no_data(out);
        backend::empty_query_response(out);
    }));
    use Message as M;
    let [
        M::AuthenticationMd5Password(md5),
        M::AuthenticationCleartextPassword,
        M::AuthenticationOk,
        M::ParameterStatus(status),
        M::BackendKeyData(key),
        M::ReadyForQuery(ready),
        M::CommandComplete(complete),
        M::ParseComplete,
        M::BindComplete,
        M::CloseComplete,
        M::NoData,
        M::EmptyQueryResponse,
    ] = &messages[..]
    else {
        panic!("other messages");
    };
    assert_eq!(md5.salt(), [1, 2, 3, 4]);
    assert_eq!((status.name().unwrap(), status.value().unwrap()), ("TimeZone", "GMT"));
    assert_eq!((key.process_id(), key.secret_key()), (7, 9));
    assert_eq!((ready.status(), complete.tag().unwrap()), (b'E', "SHOW"));
}

#[test]
fn rows_and_errors_are_understood() {
    use fallible_iterator::FallibleIterator as _;
    use postgres_protocol::message::backend::{ErrorField, ErrorFields, Field};

    let columns = [
        Column { name: b"name", type_oid: 25, type_len: -1 },
        Column { name: b"n", type_oid: 20, type_len: 8 },
    ];
    let messages = understood(&ours(|out| {
        backend::row_description(out, &columns);
        backend::data_row(out, [Some(&b"shop"[..]), None]);
        backend::parameter_description(out, &[23, 25]);
        ErrorResponse::new(Severity::Fatal, SqlState::INVALID_PASSWORD, "no").with_detail("why").write(out);
        ErrorResponse::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, "hi").write_notice(out);
    }));
    use Message as M;
    let [
        M::RowDescription(description),
        M::DataRow(row),
        M::ParameterDescription(parameters),
        M::ErrorResponse(error),
        M::NoticeResponse(notice),
    ] = &messages[..]
    else {
        panic!("other messages");
    };
    let field = |field: Field<'_>| Ok((field.name().to_owned(), field.type_oid(), field.type_size()));
    let fields: Vec<_> = description.fields().map(field).collect().unwrap();
    assert_eq!(fields, [("name".to_owned(), 25, -1), ("n".to_owned(), 20, 8)]);
    let values: Vec<_> =
        row.ranges().map(|range| Ok(range.map(|at| row.buffer()[at].to_vec()))).collect().unwrap();
    assert_eq!(values, [Some(b"shop".to_vec()), None]);
    assert_eq!(parameters.parameters().collect::<Vec<_>>().unwrap(), [23, 25]);
    let text = |fields: ErrorFields<'_>| {
        let field = |field: ErrorField<'_>| {
            Ok(format!("{}={}", char::from(field.type_()), String::from_utf8_lossy(field.value_bytes())))
        };
        fields.map(field).collect::<Vec<_>>().unwrap().join(" ")
    };
    assert_eq!(text(error.fields()), "S=FATAL V=FATAL C=28P01 M=no D=why");
    assert_eq!(text(notice.fields()), "S=NOTICE V=NOTICE C=00000 M=hi");
}

#[test]
fn their_scram_client_logs_in_to_our_server() {
    for (password, known) in [("pencil", true), ("\u{2168} pencils", true), ("wrong", false)] {
        let stored = if known { password } else { "pencil" };
        let salt = b"some salt".to_vec();
        let secret = ScramSecret::new(&derive(stored.as_bytes(), &salt, 64), salt, 64);
        let mut server = ServerExchange::new(secret, &[7; NONCE_LEN]);
        let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());

        let initial = their(|out| theirs::sasl_initial_response("SCRAM-SHA-256", client.message(), out));
        let initial = SaslInitial::read(body(&initial)).unwrap();
        let Ok(ServerStep::Continue(server_first)) = server.step(initial.data.unwrap()) else {
            panic!("refused at once");
        };
        client.update(&server_first).unwrap();
        match server.step(client.message()) {
            Ok(ServerStep::Done { server_final, .. }) if known => client.finish(&server_final).unwrap(),
            Err(_) if !known => (),
            other => panic!("{password}: {other:?}"),
        }
    }
}
