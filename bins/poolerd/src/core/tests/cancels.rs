//! Cancel requests in numbers, and servers that do not heed them.

use std::time::Duration;

use super::*;

/// Another client's query, under way on a server of its own.
fn busy(bench: &mut Bench) -> (ClientId, ServerId) {
    let client = bench.client("one");
    bench.query(client, "SELECT pg_sleep(600)");
    bench.serve_logins();
    bench.tags(client);
    let server = bench.core.clients.get(client.0).unwrap().link.expect("it has a server");
    (client, server)
}

/// A connection that has sent a cancel request for `target`.
fn cancel(bench: &mut Bench, target: ClientId) -> ClientId {
    let key = bench.core.clients.get(target.0).unwrap().cancel_key;
    let asker = bench.core.client_connected(Bench::tcp(1), Bench::tcp(2), bench.now);
    bench.send(
        asker,
        &written(|out| frontend::cancel_request(out, [key[0], key[1], key[2], key[3]], &key[4..])),
    );
    asker
}

fn counts(bench: &mut Bench) -> (String, String, String) {
    let boss = bench.console("boss");
    let row = bench.row(boss, "SHOW POOLS", "one");
    bench.core.client_gone(boss, bench.now);
    let [active, waiting, servers] =
        ["cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active_cancel"].map(|name| row[name].clone());
    (active, waiting, servers)
}

fn strings(active: u8, waiting: u8, servers: u8) -> (String, String, String) {
    (active.to_string(), waiting.to_string(), servers.to_string())
}

#[test]
fn a_storm_of_cancels_takes_no_more_connections_than_the_pool_has_servers() {
    let mut bench = Bench::new();
    let (first, server) = busy(&mut bench);
    let (second, other) = busy(&mut bench);
    let mut askers: Vec<ClientId> = (0..4).map(|_| cancel(&mut bench, first)).collect();
    askers.push(cancel(&mut bench, second));
    assert_eq!(bench.connecting.len(), 2, "the pool's size");
    assert_eq!(counts(&mut bench), strings(0, 5, 2));
    let one = bench.dial();
    assert_eq!(counts(&mut bench), strings(1, 4, 2));
    // PostgreSQL has carried it out: the next takes its place.
    bench.core.server_gone(one, bench.now);
    bench.settle(&[]);
    assert_eq!(bench.connecting.len(), 2);
    // The query is over, and with it all that was meant for it; the other's request has its turn.
    bench.reply(server, 'I');
    while !bench.connecting.is_empty() {
        let next = bench.dial();
        bench.core.server_gone(next, bench.now);
        bench.settle(&[]);
    }
    assert_eq!(counts(&mut bench), strings(0, 0, 0));
    assert!(askers.iter().all(|asker| bench.is_closed(*asker)));
    let canceled = bench.sent.values().filter(|sent| sent.len() == 16).count();
    assert!(canceled >= 2, "one for each query at least");
    bench.reply(other, 'I');
    assert_eq!((bench.tags(first).as_str(), bench.tags(second).as_str()), ("CZ", "CZ"));
}

#[test]
fn a_client_that_has_just_been_given_its_server_is_not_idle() {
    let mut bench = Bench::new();
    let (client, server) = pair(&mut bench);
    bench.core.link(client, server, bench.now);
    let asker = cancel(&mut bench, client);
    assert!(!bench.is_closed(asker));
    bench.query(client, "SELECT pg_sleep(600)");
    let connection = bench.dial();
    assert_eq!(bench.sent[&Peer::Server(connection)].len(), 16, "the request leaves");
}

#[test]
fn a_server_that_heeds_no_cancel_is_given_up() {
    for (seconds, expired) in [(10, true), (9, false)] {
        let mut bench = Bench::new();
        let (client, server) = busy(&mut bench);
        bench.core.client_gone(client, bench.now);
        bench.settle(&[]);
        bench.now += Duration::from_secs(seconds);
        bench.core.handle_timeout(bench.now);
        bench.settle(&[]);
        assert_eq!(bench.closed.contains(&Peer::Server(server)), expired, "{seconds} s");
    }
}

#[test]
fn a_last_statement_may_take_its_time_up_to_query_timeout() {
    for (settings, seconds, expired) in
        [("", 100_000, false), ("query_timeout = 30\n", 29, false), ("query_timeout = 30\n", 30, true)]
    {
        let mut bench = Bench::with(&format!("{CONFIG}{settings}"));
        let (client, server) = busy(&mut bench);
        bench.send(client, &written(frontend::terminate));
        bench.now += Duration::from_secs(seconds);
        bench.core.handle_timeout(bench.now);
        bench.settle(&[]);
        assert_eq!(bench.closed.contains(&Peer::Server(server)), expired, "{settings}{seconds} s");
    }
}
