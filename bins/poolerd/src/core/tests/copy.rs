//! Copies that end in an unusual way.

use super::*;

fn copy_batch() -> Vec<u8> {
    written(|out| {
        frontend::parse(out, b"", b"COPY t FROM STDIN\0\0\0");
        frontend::bind_head(out, b"", b"", 6);
        out.extend_from_slice(&[0; 6]);
        frontend::execute(out, b"", 0);
        frontend::sync(out);
    })
}

/// ParseComplete, BindComplete, CopyInResponse.
fn begun() -> Vec<u8> {
    [written(backend::parse_complete), written(backend::bind_complete), message(b'G', &[0; 3])].concat()
}

#[test]
fn a_copy_sent_whole_by_a_client_that_is_gone_ends_with_a_sync_of_ours() {
    let mut bench = Bench::new();
    let (client, server) = pair(&mut bench);
    bench.send(client, &[copy_batch(), message(b'd', b"1\n"), message(b'c', b"")].concat());
    bench.core.client_gone(client, bench.now);
    bench.settle(&[]);
    bench.sent.clear();
    bench.server_sends(server, &begun());
    bench.server_sends(server, &complete(b"COPY 1"));
    let ours = bench.sent.remove(&Peer::Server(server)).unwrap_or_default();
    assert!(ours.ends_with(&written(frontend::sync)), "PostgreSQL has passed over the client's: {ours:?}");
}

#[test]
fn nothing_is_asked_in_the_middle_of_a_message() {
    let data = message(b'd', &[b'x'; 1000]);
    let failed = error(Severity::Error, SqlState::QUERY_CANCELED, "canceling statement due to user request");
    for end in 0..=data.len() {
        let mut bench = Bench::new();
        let (client, server) = pair(&mut bench);
        bench.send(client, &copy_batch());
        bench.server_sends(server, &begun());
        bench.send(client, &data[..end]);
        bench.sent.remove(&Peer::Server(server));
        bench.server_sends(server, &failed);
        bench.send(client, &data[end..]);
        let heard = bench.sent.remove(&Peer::Server(server)).unwrap_or_default();
        // The header is waited for whole before anything of a message leaves.
        let rest = if end < 5 { &[][..] } else { &data[end..] };
        let question = [written(frontend::sync), query(b"")].concat();
        assert_eq!(heard, [rest, &question].concat(), "split at {end}");
        let answers = [ready(), written(backend::empty_query_response), ready()].concat();
        bench.server_sends(server, &answers);
        assert_eq!(bench.tags(client), "12GE", "split at {end}");
        bench.send(client, &written(frontend::sync));
        bench.server_sends(server, &ready());
        assert_eq!(bench.tags(client), "Z", "split at {end}");
    }
}
