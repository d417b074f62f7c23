//! The settings of section `[pgbouncer]`: the one list of keys, and [`Global`], which has a field for each.
//!
//! A row is as in [`settings_table`]. Counts are unlimited at 0 where PgBouncer's are.

use std::time::Duration;

use sluice_cli::field::{COUNT, SIZE};
use sluice_cli::settings::Kind;
use sluice_cli::settings_table;

use super::types::{AuthType, CheckQuery, Field, LogFormat, OnClientLoss, PoolMode};

/// Limits where PgBouncer takes a negative number for "none".
const LIMIT: Kind = Kind::Int { min: -1, max: i32::MAX as i64 };
const TLS_MODE: Kind = Kind::Enum(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]);
const FACILITY: Kind = Kind::Enum(&[
    "auth", "authpriv", "daemon", "user", "local0", "local1", "local2", "local3", "local4", "local5",
    "local6", "local7",
]);

/// Asks for a login role's secret, and hides an expired one.
const AUTH_QUERY: &str = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END \
                          FROM pg_authid WHERE rolname=$1 AND rolcanlogin";

settings_table! {
    // Where to listen.
    listen_addr: Vec<String>, Kind::Addresses, "", No, Yes, [],
        "Host names and addresses to listen on for TCP; * for all; empty for Unix sockets only.";
    listen_port: u16, (Kind::Int { min: 0, max: 65535 }), "6432", No, Yes, [],
        "TCP port; also part of the name of the Unix socket.";
    listen_backlog: u32, COUNT, "128", No, Yes, [],
        "Length of the kernel's queue of connections not yet accepted.";
    unix_socket_dir: String, Kind::Text, "/tmp", No, Yes, [],
        "Directory of the Unix socket, for clients and for servers without host; @name is abstract; empty for none.";
    unix_socket_mode: u32, (Kind::Int { min: 0, max: 0o7777 }), "0777", No, Yes, [],
        "Permissions of the Unix socket.";
    unix_socket_group: Option<String>, Kind::Text, "", No, Yes, [],
        "Group that owns the Unix socket.";
    so_reuseport: bool, Kind::Bool, "0", No, Yes, [],
        "Lets several processes listen on the same port.";
    peer_id: u32, (Kind::Int { min: 0, max: 16383 }), "0", Yes, NotYet, [],
        "Number of this process among its peers; 0 for no peering.";

    // The process.
    user: Option<String>, Kind::Text, -, No, Yes, [],
        "Unix user to become when started as root.";
    pidfile: Option<String>, Kind::Text, "", No, Yes, [],
        "File that holds the process id; needed with --daemon.";
    conffile: Option<String>, Kind::Text, -, Yes, Yes, [],
        "Configuration file that a reload reads.";
    job_name: String, Kind::Text, "pgbouncer", No, NotYet, [],
        "Name of the service on Windows, there for old files.";
    service_name: String, Kind::Text, "pgbouncer", No, NotYet, [],
        "Another name for job_name.";

    // Sockets.
    tcp_defer_accept: bool, Kind::Bool, "1", Yes, Yes, [],
        "Lets the kernel report a connection only when the client's first bytes are there.";
    tcp_keepalive: bool, Kind::Bool, "1", Yes, Yes, [],
        "Turns TCP keepalive on for every connection.";
    tcp_keepcnt: u32, COUNT, "0", Yes, Yes, [],
        "Keepalive probes that may go unanswered; 0 for the system's number.";
    tcp_keepidle: u32, COUNT, "0", Yes, Yes, [],
        "Seconds of silence before the first keepalive probe; 0 for the system's number.";
    tcp_keepintvl: u32, COUNT, "0", Yes, Yes, [],
        "Seconds between keepalive probes; 0 for the system's number.";
    tcp_user_timeout: Option<Duration>, Kind::Milliseconds, "0", Yes, Yes, [],
        "Milliseconds sent bytes may stay unacknowledged before the connection is dropped; 0 for the system's rule.";
    tcp_socket_buffer: u32, SIZE, "0", Yes, Yes, [],
        "Bytes of kernel buffer for each socket; 0 for the system's size.";
    pkt_buf: u32, (Kind::Bytes { min: 16, max: 16 << 20 }), "4096", No, Yes, [],
        "With sbuf_loopcnt, the bytes one connection may move before others get their turn.";
    sbuf_loopcnt: u32, COUNT, "5", Yes, Yes, [],
        "Times pkt_buf one connection may move in a turn; 0 for no bound.";
    max_packet_size: u32, (Kind::Bytes { min: 0, max: u32::MAX as i64 }), "2147483647", Yes, Yes, [],
        "Longest message let through, in bytes.";

    // Logs.
    logfile: Option<String>, Kind::Text, "", Yes, Yes, [],
        "File to log to; opened anew at each reload.";
    syslog: bool, Kind::Bool, "0", Yes, NotYet, [],
        "Logs to syslog too.";
    syslog_ident: String, Kind::Text, "pgbouncer", Yes, NotYet, [],
        "Name under which syslog files the lines.";
    syslog_facility: String, FACILITY, "daemon", Yes, NotYet, [],
        "Facility under which syslog files the lines.";
    log_connections: bool, Kind::Bool, "1", Yes, Yes, [],
        "Logs each login.";
    log_disconnections: bool, Kind::Bool, "1", Yes, Yes, [],
        "Logs each disconnection, with its reason.";
    log_pooler_errors: bool, Kind::Bool, "1", Yes, Yes, [],
        "Logs each error sent to a client.";
    log_stats: bool, Kind::Bool, "1", Yes, Yes, [],
        "Logs the totals of each statistics period.";
    stats_period: Duration, (Kind::Int { min: 1, max: i32::MAX as i64 }), "60", Yes, Yes, [],
        "Seconds over which averages are taken and after which totals are logged.";
    verbose: u32, (Kind::Int { min: 0, max: 3 }), -, Yes, Yes, [],
        "How much more to log, 0 to 3.";
    log_format: LogFormat, Kind::Enum(LogFormat::WORDS), "pgbouncer", Yes, Yes, [],
        "Form of the log: PgBouncer's lines, or one JSON object a line.";

    // Pools.
    pool_mode: PoolMode, Kind::Enum(PoolMode::WORDS), "session", Yes, Yes, ["databases" "users"],
        "When a server connection becomes free for others.";
    max_client_conn: u32, COUNT, "100", Yes, Yes, [],
        "Most client connections at a time.";
    default_pool_size: u32, COUNT, "20", Yes, Yes, [],
        "Most server connections for one user of one database; 0 for no limit.";
    min_pool_size: u32, COUNT, "0", Yes, Yes, ["databases"],
        "Server connections kept open in a pool that is in use.";
    reserve_pool_size: u32, COUNT, "0", Yes, Yes, ["databases" "users"],
        "Server connections a pool may open beyond its size when clients wait too long; 0 for none.";
    reserve_pool_timeout: Option<Duration>, Kind::Seconds, "5", Yes, Yes, [],
        "Seconds a client waits before the reserve is opened; 0 for no reserve.";
    max_db_connections: u32, LIMIT, "0", Yes, Yes, ["databases"],
        "Most server connections to one database, all users together; 0 for no limit.";
    max_user_connections: u32, LIMIT, "0", Yes, Yes, ["users"],
        "Most server connections of one user, all databases together; 0 for no limit.";
    max_db_client_connections: u32, LIMIT, "0", Yes, Yes, ["databases"],
        "Most client connections to one database; 0 for no limit.";
    max_user_client_connections: u32, LIMIT, "0", Yes, Yes, ["users"],
        "Most client connections of one user; 0 for no limit.";
    server_round_robin: bool, Kind::Bool, "0", Yes, Yes, [],
        "Uses server connections in turn instead of the one used last.";
    ignore_startup_parameters: Vec<String>, Kind::List, "", Yes, Yes, [],
        "Startup parameters of clients to ignore instead of refusing the login.";
    track_extra_parameters: Vec<String>, Kind::List, "IntervalStyle", No, Yes, [],
        "Parameters to carry from client to server besides the standard ones.";
    application_name_add_host: bool, Kind::Bool, "0", Yes, Yes, [],
        "Adds the client's address and port to its application_name.";
    disable_pqexec: bool, Kind::Bool, "0", No, Yes, [],
        "Refuses the simple query protocol.";
    max_prepared_statements: u32, COUNT, "200", Yes, Yes, [],
        "Prepared statements kept on each server connection; 0 leaves them untracked.";
    unnamed_statement_bytes: usize, SIZE, "65536", Yes, Yes, [],
        "Longest unnamed statement remembered for its client; a longer one holds its server connection instead.";
    on_client_loss: OnClientLoss, Kind::Enum(OnClientLoss::WORDS), "auto", Yes, Yes, [],
        "What becomes of a running query whose client went away.";
    login_notify_message: Option<String>, Kind::Text, "", Yes, Yes, [],
        "Notice sent to each client that has logged in.";

    // Servers.
    server_reset_query: String, Kind::Text, "DISCARD ALL", Yes, Yes, [],
        "Query that cleans a server connection when a session ends.";
    server_reset_query_always: bool, Kind::Bool, "0", Yes, Yes, [],
        "Runs server_reset_query in every pool mode.";
    server_check_query: CheckQuery, Kind::Text, "<empty>", Yes, Yes, [],
        "Query that tests a server connection; <empty> for one without text, nothing for no test.";
    server_check_delay: Duration, Kind::Seconds, "30", Yes, Yes, [],
        "Seconds a server connection may be idle before it is tested again.";
    server_fast_close: bool, Kind::Bool, "0", Yes, Yes, [],
        "In session mode, closes servers that are to go between transactions.";
    server_lifetime: Duration, Kind::Seconds, "3600", Yes, Yes, ["databases"],
        "Seconds after which a free server connection is closed; 0 to use each one once.";
    server_idle_timeout: Option<Duration>, Kind::Seconds, "600", Yes, Yes, [],
        "Seconds after which an unused server connection is closed; 0 for off.";
    server_connect_timeout: Option<Duration>, Kind::Seconds, "15", Yes, Yes, [],
        "Seconds a server may take to connect and log in; 0 for off.";
    server_login_retry: Duration, Kind::Seconds, "15", Yes, Yes, [],
        "Seconds to wait after a failed server login.";

    // Time limits of clients.
    client_login_timeout: Option<Duration>, Kind::Seconds, "60", Yes, Yes, [],
        "Seconds a client may take to log in; 0 for off.";
    client_idle_timeout: Option<Duration>, Kind::Seconds, "0", Yes, Yes, ["users"],
        "Seconds a client may do nothing; 0 for off.";
    query_timeout: Option<Duration>, Kind::Seconds, "0", Yes, Yes, ["users"],
        "Seconds a query may run; 0 for off.";
    query_wait_timeout: Option<Duration>, Kind::Seconds, "120", Yes, Yes, ["databases" "users"],
        "Seconds a query may wait for a server connection; 0 for off.";
    query_wait_notify: Option<Duration>, (Kind::Int { min: 0, max: i32::MAX as i64 }), "5", Yes, Yes, [],
        "Seconds of waiting after which the client gets a notice; 0 for off.";
    idle_transaction_timeout: Option<Duration>, Kind::Seconds, "0", Yes, Yes, ["users"],
        "Seconds a client may be idle in a transaction; 0 for off.";
    transaction_timeout: Option<Duration>, Kind::Seconds, "0", Yes, Yes, ["users"],
        "Seconds a transaction may last; 0 for off.";
    cancel_wait_timeout: Option<Duration>, Kind::Seconds, "10", Yes, Yes, [],
        "Seconds a cancel request may wait for a server connection; 0 for off.";
    suspend_timeout: Option<Duration>, Kind::Seconds, "10", Yes, Yes, [],
        "Seconds connections have to send what they hold at SUSPEND; 0 for off.";
    autodb_idle_timeout: Option<Duration>, Kind::Seconds, "3600", Yes, Yes, [],
        "Seconds after which a database made from the * entry is forgotten when unused; 0 for off.";
    pool_idle_timeout: Option<Duration>, Kind::Seconds, "0", Yes, Yes, [],
        "Seconds after which an unused pool is forgotten; 0 for off.";

    // Who may log in.
    auth_type: AuthType, Kind::Enum(AuthType::WORDS), "md5", Yes, Yes, [],
        "How clients prove who they are.";
    auth_file: Option<String>, Kind::Text, -, Yes, Yes, [],
        "File of users and their secrets.";
    auth_hba_file: Option<String>, Kind::Text, "", Yes, NotYet, [],
        "File of rules for auth_type hba.";
    auth_ident_file: Option<String>, Kind::Text, -, Yes, NotYet, [],
        "File of user name maps.";
    auth_user: Option<String>, Kind::Text, -, Yes, NotYet, ["databases"],
        "User that runs auth_query.";
    auth_dbname: Option<String>, Kind::Text, -, Yes, NotYet, ["databases"],
        "Database in which auth_query runs, instead of the client's.";
    auth_query: String, Kind::Text, AUTH_QUERY, Yes, NotYet, ["databases"],
        "Query that finds the secret of a user auth_file does not have.";
    auth_ldap_options: Option<String>, Kind::Text, -, Yes, NotYet, [],
        "Options for auth_type ldap.";
    scram_iterations: u32, (Kind::Int { min: 1, max: i32::MAX as i64 }), "4096", Yes, Yes, [],
        "Iterations of the SCRAM secrets made from plain passwords.";
    admin_users: Vec<String>, Kind::List, "", Yes, Yes, [],
        "Users who may run every console command.";
    stats_users: Vec<String>, Kind::List, "", Yes, Yes, [],
        "Users who may look at the console and change nothing.";

    // TLS.
    client_tls_sslmode: String, TLS_MODE, "disable", Yes, NotYet, [],
        "Whether clients may or must use TLS.";
    client_tls_key_file: Option<String>, Kind::Text, "", Yes, NotYet, [],
        "Private key shown to clients.";
    client_tls_cert_file: Option<String>, Kind::Text, "", Yes, NotYet, [],
        "Certificate shown to clients.";
    client_tls_ca_file: Option<String>, Kind::Text, "", Yes, NotYet, [],
        "Certificates that clients' certificates must lead to.";
    client_tls_protocols: String, Kind::Text, "secure", Yes, NotYet, [],
        "TLS versions for clients.";
    client_tls_ciphers: String, Kind::Text, "default", Yes, NotYet, [],
        "Ciphers for clients up to TLS 1.2.";
    client_tls13_ciphers: Option<String>, Kind::Text, -, Yes, NotYet, [],
        "Cipher suites for clients in TLS 1.3.";
    client_tls_ecdhcurve: String, Kind::Text, "auto", Yes, NotYet, [],
        "Curve for key exchange with clients.";
    client_tls_dheparams: String, Kind::Text, "auto", Yes, NotYet, [],
        "Parameters for DHE key exchange with clients.";
    server_tls_sslmode: String, TLS_MODE, "prefer", Yes, NotYet, [],
        "Whether servers may or must use TLS, and what is verified.";
    server_tls_key_file: Option<String>, Kind::Text, "", Yes, NotYet, [],
        "Private key shown to servers.";
    server_tls_cert_file: Option<String>, Kind::Text, "", Yes, NotYet, [],
        "Certificate shown to servers.";
    server_tls_ca_file: Option<String>, Kind::Text, "", Yes, NotYet, [],
        "Certificates that servers' certificates must lead to.";
    server_tls_protocols: String, Kind::Text, "secure", Yes, NotYet, [],
        "TLS versions for servers.";
    server_tls_ciphers: String, Kind::Text, "default", Yes, NotYet, [],
        "Ciphers for servers up to TLS 1.2.";
    server_tls13_ciphers: Option<String>, Kind::Text, -, Yes, NotYet, [],
        "Cipher suites for servers in TLS 1.3.";

    // Names.
    dns_max_ttl: Duration, Kind::Seconds, "15", Yes, Yes, [],
        "Seconds an address found for a host name is used before it is looked up again.";
    dns_nxdomain_ttl: Duration, Kind::Seconds, "15", Yes, Yes, [],
        "Seconds a failed look-up is remembered.";
    dns_zone_check_period: Option<Duration>, Kind::Seconds, "0", Yes, NotYet, [],
        "Seconds between looks at the serial of a DNS zone; 0 for off.";
    resolv_conf: Option<String>, Kind::Text, "", No, NotYet, [],
        "Resolver configuration to use instead of the system's.";

    // The control socket.
    control_socket: Option<String>, Kind::Text, "/run/sluice/poolerd.sock", No, Yes, [],
        "Unix socket that takes control requests; empty for none.";
    pressure_interval: Option<Duration>, Kind::Seconds, "0", Yes, Yes, [],
        "Seconds between pressure rows while a pool is not well; 0: every second while somebody watches.";
}
