//! Servers that say too much, or too little.

use super::*;
use crate::core::server_login::{GREETING_BYTES, PARAMETERS_MAX};

fn closed(bench: &Bench, server: ServerId) -> bool {
    bench.closed.contains(&Peer::Server(server))
}

#[test]
fn last_words_end_the_session_whatever_follows() {
    let words = error(Severity::Fatal, SqlState::ADMIN_SHUTDOWN, &"bye ".repeat(100));
    for end in 0..=words.len() {
        let mut bench = Bench::new();
        let (client, server) = pair(&mut bench);
        bench.query(client, "SELECT 1");
        bench.server_sends(server, &words[..end]);
        bench.server_sends(server, &[&words[end..], &complete(b"SELECT 1"), &ready()].concat());
        assert_eq!(bench.tags(client), "E", "split at {end}");
        assert!(bench.is_closed(client) && closed(&bench, server), "split at {end}");
    }
}

#[test]
fn long_last_words_end_the_session_with_their_last_byte() {
    let mut bench = Bench::new();
    let (client, server) = pair(&mut bench);
    bench.query(client, "SELECT 1");
    let words = error(Severity::Fatal, SqlState::ADMIN_SHUTDOWN, &"bye ".repeat(50_000));
    let (most, last) = words.split_at(words.len() - 1);
    bench.server_sends(server, most);
    assert!(!bench.is_closed(client));
    bench.server_sends(server, &[last, &ready()].concat());
    assert_eq!(bench.tags(client), "E");
    assert!(bench.is_closed(client) && closed(&bench, server));
}

#[test]
fn a_client_that_has_heard_half_a_notice_hears_the_rest() {
    let notice = message(b'A', b"\0\0\0\x07channel\0payload\0");
    for end in 0..=notice.len() {
        let mut bench = Bench::new();
        let (client, server) = pair(&mut bench);
        // The server is the client's, and nothing has been asked of it yet.
        bench.core.link(client, server, bench.now);
        bench.settle(&[]);
        bench.server_sends(server, &notice[..end]);
        bench.control(1, "RECONNECT");
        bench.server_sends(server, &notice[end..]);
        let heard = bench.tags(client);
        assert!(heard == "A" || end < 5 && heard.is_empty(), "split at {end}: {heard}");
        assert!(closed(&bench, server), "split at {end}: it is replaced then");
        assert!(!bench.is_closed(client), "split at {end}");
    }
}

#[test]
fn parameters_of_a_server_have_a_limit() {
    for count in [PARAMETERS_MAX, PARAMETERS_MAX + 1] {
        let mut bench = Bench::new();
        let parameters = many_parameters(count, 1);
        assert_eq!(is_let_in(&mut bench, &parameters), count == PARAMETERS_MAX, "{count} parameters");
    }
    let each = GREETING_BYTES / 64;
    for (count, fits) in [(64, true), (65, false)] {
        let mut bench = Bench::new();
        let parameters = many_parameters(count, each - NAME_LEN);
        assert_eq!(is_let_in(&mut bench, &parameters), fits, "{count} parameters of {each} bytes");
    }
}

#[test]
fn a_parameter_told_again_counts_once() {
    let mut bench = Bench::new();
    let parameters = many_parameters(2, 1).repeat(PARAMETERS_MAX);
    assert!(is_let_in(&mut bench, &parameters));
}

#[test]
fn parameters_told_later_have_the_same_limit() {
    let mut bench = Bench::new();
    let (_, server) = pair(&mut bench);
    bench.server_sends(server, &many_parameters(PARAMETERS_MAX - 1, 1));
    assert!(!closed(&bench, server));
    bench.server_sends(server, &many_parameters(PARAMETERS_MAX, 1));
    assert!(closed(&bench, server));
}

/// Bytes of a name of [`many_parameters`].
const NAME_LEN: usize = 4;

fn many_parameters(count: usize, value_len: usize) -> Vec<u8> {
    let value = vec![b'v'; value_len];
    written(|out| {
        for number in 0..count {
            backend::parameter_status(out, format!("p{number:03}").as_bytes(), &value);
        }
    })
}

/// Does a client get in whose server says this in its login?
fn is_let_in(bench: &mut Bench, parameters: &[u8]) -> bool {
    let client = bench.connect("one", "ann");
    let server = bench.dial();
    bench.server_sends(server, &written(backend::authentication_ok));
    bench.server_sends(server, parameters);
    bench.server_sends(server, &ready());
    bench.tags(client).ends_with('Z')
}

#[test]
fn what_a_session_left_behind_is_reset_although_the_mode_has_changed() {
    let mut bench = Bench::with(&CONFIG.replace("transaction", "session"));
    let (client, server) = pair(&mut bench);
    bench.query(client, "CREATE TEMP TABLE t ()");
    bench.reply(server, 'I');
    bench.reload(CONFIG);
    bench.query(client, "SELECT 1");
    bench.sent.clear();
    bench.reply(server, 'I');
    assert_eq!(bench.sent[&Peer::Server(server)], query(b"DISCARD ALL"));
    bench.reply(server, 'I');
    bench.query(client, "SELECT 2");
    bench.sent.clear();
    bench.reply(server, 'I');
    assert!(!bench.sent.contains_key(&Peer::Server(server)), "it is clean now");
}

#[test]
fn statement_mode_tells_nobody_that_a_transaction_has_begun() {
    for requests in [vec!["BEGIN"], vec!["BEGIN", "COMMIT"]] {
        let mut bench = Bench::with(&CONFIG.replace("transaction", "statement"));
        let (client, server) = pair(&mut bench);
        for request in requests {
            bench.query(client, request);
        }
        bench.reply(server, 'T');
        let refused = "FATAL 08P01 transaction blocks not allowed in statement pooling mode";
        assert_eq!(bench.answer(client), format!("BEGIN, {refused}, closed"));
        assert!(closed(&bench, server));
    }
}

#[test]
fn idle_timeout_leaves_min_pool_size_with_clients_or_without() {
    let mut bench = Bench::with(&format!("{CONFIG}server_idle_timeout = 10\nmin_pool_size = 1\n"));
    let clients = [bench.busy("one"), bench.busy("one")];
    for (client, server) in clients {
        bench.query(client, "commit");
        bench.reply(server, 'I');
        bench.core.client_gone(client, bench.now);
    }
    assert_eq!(bench.core.servers.len(), 2);
    for _ in 0..5 {
        bench.now += std::time::Duration::from_secs(10);
        bench.core.handle_timeout(bench.now);
    }
    assert_eq!(bench.core.servers.len(), 1, "neither more nor fewer");
    assert_eq!(bench.connecting, [], "nor one in exchange");
}
