//! Messages: whole, in pieces, broken, pipelined.

use super::*;

fn query(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    frontend::query(&mut bytes, text.as_bytes());
    bytes
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    frontend::parse(&mut bytes, name.as_bytes(), &[text.as_bytes(), &[0, 0, 0]].concat());
    bytes
}

/// Parameter formats, parameters (NULLs), result formats.
fn bind(portal: &str, statement: &str, parameters: u16, formats: &[u16]) -> Vec<u8> {
    let mut tail = vec![0, 0];
    tail.extend_from_slice(&parameters.to_be_bytes());
    (0..parameters).for_each(|_| tail.extend_from_slice(&[0xFF; 4]));
    tail.extend_from_slice(&(formats.len() as u16).to_be_bytes());
    formats.iter().for_each(|format| tail.extend_from_slice(&format.to_be_bytes()));
    let mut bytes = Vec::new();
    frontend::bind_head(&mut bytes, portal.as_bytes(), statement.as_bytes(), tail.len());
    bytes.extend_from_slice(&tail);
    bytes
}

fn describe(kind: u8, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    frontend::describe(&mut bytes, kind, name.as_bytes());
    bytes
}

fn execute(portal: &str, max_rows: i32) -> Vec<u8> {
    let mut bytes = Vec::new();
    frontend::execute(&mut bytes, portal.as_bytes(), max_rows);
    bytes
}

fn close(kind: u8, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    frontend::close(&mut bytes, kind, name.as_bytes());
    bytes
}

fn sync() -> Vec<u8> {
    let mut bytes = Vec::new();
    frontend::sync(&mut bytes);
    bytes
}

/// What a session of a driver sends: prepare, describe, run twice, close.
fn driver_session() -> Vec<u8> {
    [
        parse("s", "SHOW STATE"),
        describe(b'S', "s"),
        sync(),
        bind("", "s", 0, &[1]),
        describe(b'P', ""),
        execute("", 0),
        sync(),
        bind("p", "s", 0, &[]),
        execute("p", 2),
        execute("p", 2),
        close(b'S', "s"),
        sync(),
        query("SHOW VERSION"),
        parse("", "RESUME"),
        bind("", "", 0, &[]),
        describe(b'P', ""),
        execute("", 0),
        parse("", "SHOW VERSION"),
        sync(),
    ]
    .concat()
}

const DRIVER_TAGS: &str = "1tTZ2TDDDCZ2DDsDC3ZTDCZ12nEZ";

#[test]
fn a_drivers_session() {
    let mut bench = Bench::new();
    let id = bench.console("boss");
    bench.send(id, &driver_session());
    assert_eq!(bench.tags(id), DRIVER_TAGS);
}

#[test]
fn cuts_make_no_difference() {
    let mut bench = Bench::new();
    let id = bench.console("boss");
    for byte in driver_session() {
        bench.send(id, &[byte]);
    }
    assert_eq!(bench.tags(id), DRIVER_TAGS);
}

#[test]
fn the_end_of_the_connection_at_every_boundary() {
    let mut bench = Bench::new();
    let session = [driver_session(), query("PAUSE"), query("SUSPEND")].concat();
    for prefix in sluice_check::prefixes(&session).step_by(7) {
        let id = bench.console("boss");
        bench.send(id, prefix);
        bench.core.client_gone(id, bench.now);
        bench.settle(&[]);
        assert!(bench.core.console.sessions.is_empty() && bench.core.console.waiting.is_empty());
        let boss = bench.console("boss");
        bench.run(boss, "RESUME");
        bench.core.client_gone(boss, bench.now);
        bench.settle(&[]);
    }
    assert_eq!(bench.core.clients.len(), 0);
}

#[test]
fn numbers_in_binary() {
    let mut bench = Bench::new();
    let id = bench.console("boss");
    let batch = [parse("", "SHOW LISTS"), bind("", "", 0, &[0, 1]), execute("", 1), sync()];
    bench.send(id, &batch.concat());
    let messages = bench.read(id);
    let row = messages.iter().find(|(tag, _)| *tag == 'D').unwrap();
    assert_eq!(row.1, [&[0, 2, 0, 0, 0, 9][..], b"databases", &[0, 0, 0, 4, 0, 0, 0, 3]].concat());
}

#[test]
fn after_an_error_everything_is_skipped_to_the_sync() {
    let mut bench = Bench::new();
    let id = bench.console("boss");
    for (batch, error) in [
        (vec![parse("", "nonsense")], "ERROR 08P01 invalid command 'nonsense', use SHOW HELP;"),
        (vec![bind("", "none", 0, &[])], "ERROR 26000 prepared statement \"none\" does not exist"),
        (vec![describe(b'S', "none")], "ERROR 26000 prepared statement \"none\" does not exist"),
        (vec![describe(b'P', "none")], "ERROR 34000 portal \"none\" does not exist"),
        (vec![execute("none", 0)], "ERROR 34000 portal \"none\" does not exist"),
        (
            vec![parse("x", "SHOW STATE"), parse("x", "SHOW STATE")],
            "ERROR 42P05 prepared statement \"x\" already exists",
        ),
        (
            vec![parse("", "SHOW STATE"), bind("", "", 1, &[])],
            "ERROR 08P01 bind message supplies 1 parameters, but console commands take none",
        ),
        (vec![parse("", "SHOW STATE"), bind("", "", 0, &[2])], "ERROR 22023 unsupported format code: 2"),
        (
            vec![parse("", "RESUME"), bind("", "", 0, &[]), execute("", 0)],
            "ERROR 08P01 pooler is not paused/suspended",
        ),
    ] {
        let skipped = [parse("later", "SHOW STATE"), query("SHOW STATE"), execute("", 0)].concat();
        bench.send(id, &[batch.concat(), skipped, sync()].concat());
        let messages = bench.read(id);
        let [.., (error_tag, body), (ready, _)] = &messages[..] else { panic!("{messages:?}") };
        assert_eq!((*error_tag, *ready), ('E', 'Z'));
        assert_eq!(error_of(body), error);
    }
    assert_eq!(bench.run(id, "SHOW STATE"), "SHOW");
}

#[test]
fn portals_end_at_sync_and_statements_do_not() {
    let mut bench = Bench::new();
    let id = bench.console("boss");
    bench.send(id, &[parse("s", "SHOW STATE"), bind("p", "s", 0, &[]), execute("p", 1), sync()].concat());
    assert_eq!(bench.tags(id), "12DsZ");
    bench.send(id, &[execute("p", 0), sync()].concat());
    assert_eq!(bench.answer(id), "ERROR 34000 portal \"p\" does not exist");
    bench.send(id, &[bind("p", "s", 0, &[]), close(b'P', "p"), execute("p", 0), sync()].concat());
    assert_eq!(bench.tags(id), "23EZ");
}

#[test]
fn a_command_that_waits_in_a_batch() {
    let mut bench = Bench::new();
    let (_, server) = bench.busy("one");
    let id = bench.console("boss");
    let batch = [parse("", "PAUSE"), bind("", "", 0, &[]), execute("", 0), sync(), query("SHOW STATE")];
    bench.send(id, &batch.concat());
    assert_eq!(bench.tags(id), "12");
    let client = bench.core.servers.get(server.0).unwrap().link.unwrap();
    bench.query(client, "commit");
    bench.reply(server, 'I');
    assert_eq!(bench.tags(id), "CZTDDDCZ");
}

#[test]
fn names_at_and_beyond_their_limit() {
    let mut bench = Bench::new();
    let id = bench.console("boss");
    for number in 0..256 {
        bench.send(id, &parse(&format!("s{number}"), "SHOW STATE"));
    }
    assert_eq!(bench.tags(id), "1".repeat(256));
    bench.send(id, &[parse("one more", "SHOW STATE"), sync()].concat());
    let answer = bench.answer(id);
    assert_eq!(answer, "ERROR 53200 more than 256 statements or portals in a console session");
    bench.send(id, &[close(b'S', "s0"), parse("one more", "SHOW STATE"), sync()].concat());
    assert_eq!(bench.tags(id), "31Z");
}

#[test]
fn a_message_at_and_beyond_its_limit() {
    let len_max = 64 * 1024;
    let mut bench = Bench::new();
    let id = bench.console("boss");
    let padding = " ".repeat(len_max - HEADER_LEN - "SHOW STATE".len() - 1);
    assert_eq!(bench.run(id, &format!("SHOW STATE{padding}")), "SHOW");
    bench.send(id, &query(&format!("SHOW STATE {padding}"))[..HEADER_LEN]);
    assert_eq!(bench.answer(id), "FATAL 08P01 bad packet, closed");
}

#[test]
fn what_does_not_belong_here_ends_the_session() {
    for (bytes, answer) in [
        (&b"F\0\0\0\x04"[..], "FATAL 08P01 unsupported packet type for admin console: 70, closed"),
        (b"Q\0\0\0\x07abc", "FATAL 08P01 broken Query packet, closed"),
        (b"P\0\0\0\x05a", "FATAL 08P01 broken Parse packet, closed"),
        (b"B\0\0\0\x06a\0", "FATAL 08P01 broken Bind packet, closed"),
        (b"D\0\0\0\x06Xa", "FATAL 08P01 broken Describe packet, closed"),
        (b"E\0\0\0\x05\0", "FATAL 08P01 broken Execute packet, closed"),
        (b"C\0\0\0\x06Xa", "FATAL 08P01 broken Close packet, closed"),
        (b"Q\0\0\0\x03", "FATAL 08P01 bad packet, closed"),
        (b"X\0\0\0\x04", "closed"),
    ] {
        let mut bench = Bench::new();
        let id = bench.console("boss");
        bench.send(id, bytes);
        assert_eq!(bench.answer(id), answer, "{bytes:?}");
        assert_eq!(bench.core.clients.len(), 0);
    }
    let mut bench = Bench::new();
    let id = bench.console("boss");
    let batch = [parse("", "SHOW STATE"), b"B\0\0\0\x08\0\0\0\x05".to_vec(), sync()].concat();
    bench.send(id, &batch);
    assert_eq!(bench.answer(id), "ERROR 08P01 broken Bind packet");
}

#[test]
fn no_input_does_harm() {
    let mut rng = sluice_check::Rng::new(11);
    let session = [driver_session(), query("SET verbose = 1"), query("KILL_CLIENT 1")].concat();
    for _ in 0..300 {
        let mut bench = Bench::new();
        let id = bench.console("boss");
        let mut bytes = session.clone();
        for _ in 0..rng.between(1, 4) {
            sluice_check::mutate(&mut rng, &mut bytes);
        }
        bench.send(id, &bytes);
    }
}
