//! Names, order and types of every SHOW command's columns: monitoring reads them by position.

use super::scene;
use sluice_tests::Client;

/// The columns of one command; the letters are their types in order, a number repeats the letter behind it.
struct Shape {
    command: &'static str,
    types: &'static str,
    columns: &'static str,
}

const CLIENT_COLUMNS: &str = "type user database replication state addr port local_addr local_port connect_time \
    request_time wait wait_us close_needed ptr link remote_pid tls application_name prepared_statements id";

const COUNTERS: [&str; 12] = [
    "server_assignment_count",
    "xact_count",
    "query_count",
    "received",
    "sent",
    "xact_time",
    "query_time",
    "wait_time",
    "client_parse_count",
    "server_parse_count",
    "bind_count",
    "client_login_count",
];

const SHAPES: [Shape; 17] = [
    Shape { command: "CLIENTS", types: "ssssssisissiiississii", columns: CLIENT_COLUMNS },
    Shape { command: "SERVERS", types: "ssssssisissiiississii", columns: CLIENT_COLUMNS },
    Shape {
        command: "POOLS",
        types: "2s13i2s",
        columns: "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active \
            sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode \
            load_balance_hosts",
    },
    Shape {
        command: "PEER_POOLS",
        types: "5i",
        columns: "peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login",
    },
    Shape { command: "PEERS", types: "isii", columns: "peer_id host port pool_size" },
    Shape {
        command: "DATABASES",
        types: "ssissiiiissiiiiii",
        columns: "name host port database force_user pool_size min_pool_size reserve_pool_size server_lifetime \
            pool_mode load_balance_hosts max_connections current_connections max_client_connections \
            current_client_connections paused disabled",
    },
    Shape {
        command: "USERS",
        types: "ssssiiii",
        columns: "name pool_size reserve_pool_size pool_mode max_user_connections current_connections \
            max_user_client_connections current_client_connections",
    },
    Shape { command: "LISTS", types: "si", columns: "list items" },
    Shape { command: "CONFIG", types: "4s", columns: "key value default changeable" },
    Shape { command: "MEM", types: "siiii", columns: "name size used free memtotal" },
    Shape { command: "STATE", types: "2s", columns: "key value" },
    Shape { command: "VERSION", types: "s", columns: "version" },
    Shape { command: "DNS_HOSTS", types: "sqs", columns: "hostname ttl addrs" },
    Shape { command: "DNS_ZONES", types: "sqi", columns: "zonename serial count" },
    Shape { command: "TOTALS", types: "sN", columns: "name value" },
    Shape { command: "SOCKETS", types: "", columns: "" },
    Shape { command: "ACTIVE_SOCKETS", types: "", columns: "" },
];

#[test]
fn every_show_command_has_pgbouncers_columns() {
    let (_postgres, pooler) = scene(|config| config);
    let mut client = pooler.client("alice");
    client.value("SELECT 1");
    let mut console = pooler.console();
    let socket_columns =
        format!("{CLIENT_COLUMNS} recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail");
    for shape in SHAPES {
        match shape.command {
            "SOCKETS" | "ACTIVE_SOCKETS" => {
                check(&mut console, shape.command, "ssssssisissiiississii7i", &socket_columns);
            }
            command => check(&mut console, command, shape.types, shape.columns),
        }
    }
}

#[test]
fn statistics_have_their_counters_in_order() {
    let (_postgres, pooler) = scene(|config| config);
    pooler.client("alice").value("SELECT 1");
    let mut console = pooler.console();
    let prefixed = |prefix: &str, names: &[&str]| -> Vec<String> {
        names.iter().map(|name| format!("{prefix}{name}")).collect()
    };
    let mut averages = COUNTERS;
    averages[3] = "recv";
    let stats =
        [vec!["database".to_owned()], prefixed("total_", &COUNTERS), prefixed("avg_", &averages)].concat();
    check(&mut console, "STATS", "s24N", &stats.join(" "));

    let mut bytes = COUNTERS;
    (bytes[3], bytes[4]) = ("bytes_received", "bytes_sent");
    let totals = [vec!["database".to_owned()], prefixed("", &bytes)].concat();
    check(&mut console, "STATS_TOTALS", "s12N", &totals.join(" "));
    let averages =
        [vec!["database".to_owned()], prefixed("", &bytes[..8]), prefixed("avg_", &bytes[8..])].concat();
    check(&mut console, "STATS_AVERAGES", "s12N", &averages.join(" "));
}

fn check(console: &mut Client, command: &str, types: &str, columns: &str) {
    let reply = console.query(&format!("SHOW {command}")).unwrap();
    assert!(reply.errors().is_empty(), "SHOW {command}: {:?}", reply.errors());
    let expected: Vec<&str> = columns.split_whitespace().collect();
    assert_eq!(reply.columns(), expected, "SHOW {command}");
    assert_eq!(reply.types(), oids(types), "SHOW {command}");
    assert!(reply.rows().iter().all(|row| row.len() == expected.len()), "SHOW {command}");
}

/// Type oids of a shorthand such as `2s13i`.
fn oids(types: &str) -> Vec<u32> {
    let mut oids = Vec::new();
    let mut repeat = 0;
    for letter in types.chars() {
        if let Some(digit) = letter.to_digit(10) {
            repeat = repeat * 10 + digit;
            continue;
        }
        let oid = match letter {
            's' => 25,
            'i' => 23,
            'q' => 20,
            'N' => 1700,
            other => panic!("type {other}"),
        };
        oids.extend((0..repeat.max(1)).map(|_| oid));
        repeat = 0;
    }
    oids
}
