//! What is shown: names, order and types of columns exactly, and the facts of a small scene.

use super::*;
use crate::core::Held;
use crate::core::console::{SHOWS, Show, Type};

/// Columns by SHOW command, with the letter of each type: text, int4, int8 (q), numeric, bytea.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("CLIENTS", "ssssssisissiiississii", CONNECTIONS),
    ("SERVERS", "ssssssisissiiississii", CONNECTIONS),
    ("POOLS", "ssiiiiiiiiiiiiiss", POOLS),
    ("PEER_POOLS", "iiiii", "peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login"),
    ("PEERS", "isii", "peer_id host port pool_size"),
    ("DATABASES", "ssissiiiissiiiiii", DATABASES),
    ("USERS", "ssssiiii", USERS),
    ("LISTS", "si", "list items"),
    ("CONFIG", "ssss", "key value default changeable"),
    ("MEM", "siiii", "name size used free memtotal"),
    ("STATE", "ss", "key value"),
    ("VERSION", "s", "version"),
    ("DNS_HOSTS", "sqs", "hostname ttl addrs"),
    ("DNS_ZONES", "sqi", "zonename serial count"),
    ("TOTALS", "sN", "name value"),
    ("STATS", "sNNNNNNNNNNNNNNNNNNNNNNNN", STATS),
    ("STATS_TOTALS", "sNNNNNNNNNNNN", TOTALS),
    ("STATS_AVERAGES", "sNNNNNNNNNNNN", AVERAGES),
];

const CONNECTIONS: &str = "type user database replication state addr port local_addr local_port connect_time \
    request_time wait wait_us close_needed ptr link remote_pid tls application_name prepared_statements id";
const POOLS: &str = "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active \
    sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode \
    load_balance_hosts";
const DATABASES: &str = "name host port database force_user pool_size min_pool_size reserve_pool_size \
    server_lifetime pool_mode load_balance_hosts max_connections current_connections max_client_connections \
    current_client_connections paused disabled";
const USERS: &str = "name pool_size reserve_pool_size pool_mode max_user_connections current_connections \
    max_user_client_connections current_client_connections";
const STATS: &str = "database total_server_assignment_count total_xact_count total_query_count total_received \
    total_sent total_xact_time total_query_time total_wait_time total_client_parse_count \
    total_server_parse_count total_bind_count total_client_login_count avg_server_assignment_count \
    avg_xact_count avg_query_count avg_recv avg_sent avg_xact_time avg_query_time avg_wait_time \
    avg_client_parse_count avg_server_parse_count avg_bind_count avg_client_login_count";
const TOTALS: &str = "database server_assignment_count xact_count query_count bytes_received bytes_sent \
    xact_time query_time wait_time client_parse_count server_parse_count bind_count client_login_count";
const AVERAGES: &str = "database server_assignment_count xact_count query_count bytes_received bytes_sent \
    xact_time query_time wait_time avg_client_parse_count avg_server_parse_count avg_bind_count \
    avg_client_login_count";

fn letter(kind: Type) -> char {
    match kind {
        Type::Text => 's',
        Type::Int4 => 'i',
        Type::Int8 => 'q',
        Type::Numeric => 'N',
        Type::Bytea => 'b',
    }
}

#[test]
fn columns_are_pgbouncers() {
    for &(name, types, names) in COLUMNS {
        let show = SHOWS.iter().find(|show| show.name == name).unwrap();
        let columns = show.columns().unwrap();
        let found: Vec<&str> = columns.iter().map(|column| column.name).collect();
        assert_eq!(found.join(" "), names, "{name}");
        assert_eq!(columns.iter().map(|c| letter(c.kind)).collect::<String>(), types, "{name}");
    }
    let clients = SHOWS.iter().find(|show| show.name == "CLIENTS").and_then(Show::columns).unwrap();
    for name in ["SOCKETS", "ACTIVE_SOCKETS"] {
        let columns = SHOWS.iter().find(|show| show.name == name).and_then(Show::columns).unwrap();
        assert_eq!(columns[..clients.len()], *clients);
        let more: Vec<&str> = columns[clients.len()..].iter().map(|column| column.name).collect();
        let expected =
            ["recv_pos", "pkt_pos", "pkt_remain", "send_pos", "send_remain", "pkt_avail", "send_avail"];
        assert_eq!(more, expected, "{name}");
    }
}

#[test]
fn every_row_is_as_wide_as_its_columns() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    bench.busy("one");
    bench.client("two");
    for show in SHOWS {
        let Some(expected) = show.columns() else { continue };
        bench.query(boss, &format!("SHOW {}", show.name));
        let messages = bench.read(boss);
        let described = columns(&messages[0].1);
        assert!(described.iter().map(|(name, _)| name.as_str()).eq(expected.iter().map(|c| c.name)));
        assert!(described.iter().map(|(_, oid)| *oid).eq(expected.iter().map(|c| c.kind.oid())));
        for (_, body) in messages.iter().filter(|(tag, _)| *tag == 'D') {
            assert_eq!(values(body).len(), expected.len(), "{}", show.name);
        }
    }
}

#[test]
fn connections_of_a_small_scene() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    bench.now += Duration::from_secs(5);
    let (busy, server) = bench.busy("one");
    bench.now += Duration::from_micros(2_000_007);
    let clients = bench.rows(boss, "SHOW CLIENTS");
    let ids = [boss, busy].map(|id| bench.core.clients.get(id.0).unwrap().serial);
    let server_id = bench.core.servers.get(server.0).unwrap().serial;
    assert_eq!(clients.len(), 2);
    assert_eq!(clients[0][..5], ["C", "boss", "pgbouncer", "none", "idle"]);
    assert_eq!(
        clients[1][..9],
        ["C", "ann", "one", "none", "active", "127.0.0.1", "40000", "127.0.0.1", "6432"]
    );
    assert_eq!(clients[1][9..11], ["1000005s", "1000005s"], "by the clock of the wall");
    assert_eq!(clients[1][14], format!("{:#x}", ids[1]));
    assert_eq!(clients[1][15], format!("{server_id:#x}"));
    assert_eq!(clients[1][20], ids[1].to_string());
    let servers = bench.rows(boss, "SHOW SERVERS");
    assert_eq!(servers[0][..7], ["S", "ann", "one", "none", "active", "127.0.0.1", "5432"]);
    assert_eq!((servers[0][16].as_str(), &servers[0][15]), ("9", &clients[1][14]));
    let sockets = bench.rows(boss, "SHOW SOCKETS");
    let states: Vec<&str> = sockets.iter().map(|row| row[4].as_str()).collect();
    assert_eq!(states, ["cl_active", "cl_active", "sv_active"]);
    assert_eq!(bench.rows(boss, "SHOW ACTIVE_SOCKETS").len(), 1);
}

#[test]
fn pools_count_and_measure_who_waits() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let served = [bench.busy("one"), bench.busy("one")];
    let waiter = bench.client("one");
    bench.query(waiter, "select 1");
    bench.now += Duration::from_micros(2_000_007);
    let pool = bench.row(boss, "SHOW POOLS", "one");
    for (name, value) in [
        ("user", "ann"),
        ("cl_active", "2"),
        ("cl_waiting", "1"),
        ("sv_active", "2"),
        ("sv_idle", "0"),
        ("maxwait", "2"),
        ("maxwait_us", "7"),
        ("pool_mode", "transaction"),
        ("load_balance_hosts", "-"),
    ] {
        assert_eq!(pool[name], value, "{name}");
    }
    let clients = bench.rows(boss, "SHOW CLIENTS");
    assert_eq!(clients.last().unwrap()[11..13], ["2", "7"], "wait, wait_us");
    let overload = bench.row(boss, "SHOW OVERLOAD", "one");
    assert_eq!((overload["waiting"].as_str(), overload["state"].as_str()), ("1", "pressured"));
    let stats = bench.row(boss, "SHOW STATS_TOTALS", "one");
    assert_eq!((stats["query_count"].as_str(), stats["client_login_count"].as_str()), ("2", "3"));
    assert_eq!(stats["server_assignment_count"], "2");
    let databases = bench.row(boss, "SHOW DATABASES", "one");
    assert_eq!(
        (databases["current_connections"].as_str(), databases["current_client_connections"].as_str()),
        ("2", "3")
    );
    let user = bench.row(boss, "SHOW USERS", "ann");
    assert_eq!((user["current_connections"].as_str(), user["pool_size"].as_str()), ("2", ""));
    assert_eq!(bench.row(boss, "SHOW LISTS", "used_servers")["items"], served.len().to_string());
}

#[test]
fn the_wait_to_expect_is_worked_out_from_how_long_servers_are_held() {
    let mut bench = Bench::with(&CONFIG.replace("max_client_conn = 4", "max_client_conn = 6"));
    let boss = bench.console("boss");
    let (holder, server) = bench.busy("one");
    bench.busy("one");
    let waiters: Vec<_> = (0..4).map(|_| bench.client("one")).collect();
    for &waiter in &waiters {
        bench.query(waiter, "select 1");
    }
    bench.now += Duration::from_secs(1);
    bench.query(holder, "commit");
    bench.reply(server, 'I');
    bench.now += Duration::from_secs(1);
    bench.reply(server, 'I');
    // Two transactions held a server for a second each, though one of them had waited for a second before. Two clients
    // are in line before two servers.
    let overload = bench.row(boss, "SHOW OVERLOAD", "one");
    assert_eq!((overload["waiting"].as_str(), overload["expected_wait_us"].as_str()), ("2", "1000000"));
}

fn overload(bench: &mut Bench, boss: ClientId) -> (String, String, String) {
    let row = bench.row(boss, "SHOW OVERLOAD", "one");
    (row["state"].clone(), row["min_wait_us"].clone(), row["expected_wait_us"].clone())
}

#[test]
fn pressure_is_of_now_though_nobody_watches() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let (holder, server) = bench.busy("one");
    bench.busy("one");
    let waiter = bench.client("one");
    bench.now += Duration::from_secs(2);
    bench.query(waiter, "select 1");
    bench.now += Duration::from_millis(300);
    bench.query(holder, "commit");
    bench.reply(server, 'I');
    bench.reply(server, 'I');
    assert_eq!(overload(&mut bench, boss), ("pressured".into(), "300000".into(), "0".into()));
    assert_eq!(overload(&mut bench, boss).0, "pressured", "asking changes nothing");
    bench.now += Duration::from_secs(2);
    assert_eq!(overload(&mut bench, boss), ("ok".into(), "0".into(), "0".into()));
}

#[test]
fn a_pool_without_a_free_server_for_an_interval_is_pressured_however_short_the_waits() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let (mut holder, server) = bench.busy("one");
    bench.busy("one");
    let mut waiter = bench.client("one");
    let mut turn = |bench: &mut Bench| {
        bench.query(waiter, "begin");
        bench.now += Duration::from_millis(20);
        bench.query(holder, "commit");
        bench.reply(server, 'I');
        bench.reply(server, 'T');
        std::mem::swap(&mut holder, &mut waiter);
    };
    for _ in 0..49 {
        turn(&mut bench);
        assert_eq!(overload(&mut bench, boss).0, "ok");
    }
    // The servers were free when they were new; from then on one was not for a whole interval.
    for _ in 0..51 {
        turn(&mut bench);
    }
    assert_eq!(overload(&mut bench, boss), ("pressured".into(), "20000".into(), "0".into()));
    // One that nobody takes at once is free.
    bench.query(holder, "commit");
    bench.reply(server, 'I');
    assert_eq!(overload(&mut bench, boss).0, "ok");
}

#[test]
fn the_console_is_a_database_and_a_pool_too() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let pool = bench.row(boss, "SHOW POOLS", "pgbouncer");
    assert_eq!((pool["user"].as_str(), pool["cl_active"].as_str()), ("pgbouncer", "1"));
    assert_eq!((pool["pool_mode"].as_str(), pool["maxwait"].as_str()), ("statement", "0"));
    let database = bench.row(boss, "SHOW DATABASES", "pgbouncer");
    assert_eq!((database["port"].as_str(), database["force_user"].as_str()), ("6432", "pgbouncer"));
    assert_eq!(bench.rows(boss, "SHOW STATS").len(), 1);
    assert_eq!(bench.rows(boss, "SHOW TOTALS").len(), 24);
    let stats = bench.row(boss, "SHOW STATS_TOTALS", "pgbouncer");
    assert_eq!((stats["client_login_count"].as_str(), stats["query_count"].as_str()), ("1", "5"));
    assert_eq!(bench.row(boss, "SHOW TOTALS", "total_xact_count")["value"], "6");
    assert_eq!(bench.row(boss, "SHOW USERS", "boss")["current_client_connections"], "1");
    bench.core.client_gone(boss, bench.now);
    let boss = bench.console("boss");
    assert_eq!(bench.row(boss, "SHOW USERS", "boss")["current_client_connections"], "1");
}

#[test]
fn config_is_in_byte_order_with_its_defaults() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let rows = bench.rows(boss, "SHOW CONFIG");
    assert!(rows.is_sorted_by_key(|row| row[0].clone()));
    let row = bench.row(boss, "SHOW CONFIG", "default_pool_size");
    assert_eq!(
        (row["value"].as_str(), row["default"].as_str(), row["changeable"].as_str()),
        ("2", "20", "yes")
    );
    assert_eq!(bench.row(boss, "SHOW CONFIG", "listen_port")["changeable"], "no");
}

#[test]
fn sizes_of_users_are_nine_wide() {
    let mut bench = Bench::with(&format!("{CONFIG}[users]\nann = pool_size=7 pool_mode=session\n"));
    let boss = bench.console("boss");
    let user = bench.row(boss, "SHOW USERS", "ann");
    assert_eq!((user["pool_size"].as_str(), user["pool_mode"].as_str()), ("        7", "session"));
    assert_eq!(bench.row(boss, "SHOW USERS", "boss")["pool_mode"], "-");
}

#[test]
fn names_of_servers_are_shown_until_they_are_configured_no_more() {
    let text = CONFIG.replace("two = host=127.0.0.1", "two = host=db.example,gone.example");
    let mut bench = Bench::with(&text);
    let boss = bench.console("boss");
    let count = |bench: &mut Bench, list: &str| {
        let lists = bench.rows(boss, "SHOW LISTS");
        lists.into_iter().find(|row| row[0] == list).map(|row| row[1].clone()).unwrap()
    };
    bench.core.lookup_begun();
    bench.core.lookup_begun();
    assert_eq!((count(&mut bench, "dns_names"), count(&mut bench, "dns_queries")), ("0".into(), "2".into()));
    let until = bench.now + Duration::from_millis(15_900);
    let addresses = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
    bench.core.lookup_ended("db.example", &addresses, until);
    bench.core.lookup_ended("gone.example", &[], bench.now);
    let rows = [["db.example", "15", "10.0.0.1,10.0.0.2"], ["gone.example", "0", ""]];
    assert_eq!(bench.rows(boss, "SHOW DNS_HOSTS"), rows);
    assert_eq!((count(&mut bench, "dns_names"), count(&mut bench, "dns_queries")), ("2".into(), "0".into()));
    bench.core.reload(Arc::new(snapshot(CONFIG)), bench.now);
    assert!(bench.rows(boss, "SHOW DNS_HOSTS").is_empty());
}

#[test]
fn sockets_show_what_the_buffers_hold() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let (ann, server) = bench.busy("one");
    let idle = bench.client("one");
    let columns = |rows: Vec<Vec<String>>| -> Vec<(String, String)> {
        rows.into_iter().map(|row| (row[1].clone(), row[21..].join(" "))).collect()
    };
    let nothing = |user: &str| (user.to_owned(), "0 0 0 0 0 0 0".to_owned());
    let rows = columns(bench.rows(boss, "SHOW SOCKETS"));
    assert_eq!(rows, ["boss", "ann", "ann", "ann"].map(nothing));

    bench.held.insert(Peer::Client(ann), Held { input: 0, output: 300 });
    bench.held.insert(Peer::Server(server), Held { input: 70, output: 8 });
    let held = |text: &str| ("ann".to_owned(), text.to_owned());
    let rows = columns(bench.rows(boss, "SHOW SOCKETS"));
    let ours = [held("0 0 0 0 0 0 300"), nothing("ann"), held("70 0 0 0 0 70 8")];
    assert_eq!(rows[1..], ours);
    // An idle connection becomes active by a byte in a buffer.
    assert_eq!(bench.rows(boss, "SHOW ACTIVE_SOCKETS").len(), 2, "the transaction's two ends");
    bench.held.insert(Peer::Client(idle), Held { input: 1, output: 0 });
    assert_eq!(bench.rows(boss, "SHOW ACTIVE_SOCKETS").len(), 3);
    bench.held.clear();
    assert_eq!(bench.rows(boss, "SHOW ACTIVE_SOCKETS").len(), 1, "and each survey is used once");
}
