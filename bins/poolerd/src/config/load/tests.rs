use std::time::Duration;

use sluice_check::{Rng, exhaustive, mutate};

use super::super::{AuthType, CheckQuery, PoolMode};
use super::*;

fn with(text: &str, overrides: &Overrides) -> Result<Snapshot, ConfigError> {
    parse(Path::new("/etc/p.ini"), text, overrides)
}

fn read(text: &str) -> Snapshot {
    with(text, &Overrides::default()).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn error(text: &str) -> (u32, String) {
    let error = with(text, &Overrides::default()).expect_err(text);
    assert_eq!(error.file, "/etc/p.ini");
    (error.line, error.message)
}

fn warnings(snapshot: &Snapshot) -> Vec<String> {
    snapshot.warnings.iter().map(Warning::to_string).collect()
}

fn environment(variables: &[(&str, &str)]) -> Overrides {
    let environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Overrides { environment, flags: Vec::new() }
}

#[test]
fn the_least_file_gives_defaults() {
    let snapshot = read("[pgbouncer]");
    let expected = Global { conffile: Some("/etc/p.ini".into()), ..Global::default() };
    assert_eq!(snapshot.global, expected);
    assert_eq!(warnings(&snapshot), Vec::<String>::new());
    assert!(snapshot.databases.is_empty() && snapshot.wildcard.is_none() && snapshot.users.is_empty());
}

#[test]
fn defaults_are_pgbouncers() {
    let global = Global::default();
    assert_eq!((global.listen_port, global.unix_socket_mode, global.max_client_conn), (6432, 0o777, 100));
    assert_eq!((global.default_pool_size, global.min_pool_size, global.reserve_pool_size), (20, 0, 0));
    assert_eq!(global.pool_mode, PoolMode::Session);
    assert_eq!(global.auth_type, AuthType::Md5);
    assert_eq!(global.server_check_query, CheckQuery::Empty);
    assert_eq!(global.server_reset_query, "DISCARD ALL");
    assert_eq!(global.query_wait_timeout, Some(Duration::from_secs(120)));
    assert_eq!(global.query_timeout, None);
    assert_eq!(global.server_lifetime, Duration::from_secs(3600));
    assert_eq!(global.track_extra_parameters, ["IntervalStyle"]);
    assert_eq!(global.max_packet_size, i32::MAX as u32);
    assert_eq!(global.stats_period, Duration::from_secs(60));
    assert_eq!(global.query_wait_notify, Some(Duration::from_secs(5)));
    assert_eq!(global.unnamed_statement_bytes, 64 << 10);
    assert_eq!(global.syslog_facility, "daemon");
}

/// The file of the document this project was asked for from: no section, comments behind values.
const SEED: &str = "\
# Connection Pooling Configuration
pool_mode = transaction                    # Most efficient for web apps
max_client_conn = 1000                    # Support 1000 concurrent clients
default_pool_size = 50                    # 50 connections per database
min_pool_size = 10                        # Always keep 10 connections
reserve_pool_size = 10                    # Reserve 10 connections
reserve_pool_timeout = 5                  # Quick reserve timeout

# Connection Management
server_connect_timeout = 15               # Fast connection timeout
server_login_retry = 15                   # Retry failed logins
query_timeout = 0                         # No query timeout
query_wait_timeout = 120                  # Wait for query execution
client_idle_timeout = 0                   # No client idle timeout
client_login_timeout = 60                 # Client login timeout
autodb_idle_timeout = 3600                # Auto-database idle timeout

# Performance Optimization
max_packet_size = 2147483647              # Large packet support
tcp_keepalive = 1                         # Enable TCP keepalive
tcp_keepcnt = 3                           # TCP keepalive count
tcp_keepidle = 600                        # TCP keepalive idle
tcp_keepintvl = 30                        # TCP keepalive interval
";

#[test]
fn the_seed_loads() {
    let seed = read(SEED);
    let expected = Global {
        pool_mode: PoolMode::Transaction,
        max_client_conn: 1000,
        default_pool_size: 50,
        min_pool_size: 10,
        reserve_pool_size: 10,
        tcp_keepcnt: 3,
        tcp_keepidle: 600,
        tcp_keepintvl: 30,
        conffile: Some("/etc/p.ini".into()),
        ..Global::default()
    };
    assert_eq!(seed.global, expected);
    let warnings = warnings(&seed);
    assert_eq!(warnings.len(), 1 + 18, "one for the section, one a comment");
    assert_eq!(warnings[0], "a key before any section is read as one of [pgbouncer] (/etc/p.ini:2)");
    assert!(warnings[1].starts_with("the value of pool_mode ends before a comment"), "{}", warnings[1]);

    let sectioned = read(&format!("{SEED}[databases]\n* = host=db # all of them\n[pgbouncer]\nverbose = 1"));
    assert_eq!(sectioned.global, Global { verbose: 1, ..expected }, "a first header resets nothing");
    assert_eq!(sectioned.wildcard.unwrap().host.len(), 1);
}

#[test]
fn comments_stay_where_the_value_is_good() {
    let snapshot =
        read("[pgbouncer]\nserver_reset_query = RESET ALL # ; x\nauth_user = a#b\nverbose=1 ; loud");
    assert_eq!(snapshot.global.server_reset_query, "RESET ALL # ; x");
    assert_eq!(snapshot.global.auth_user.as_deref(), Some("a#b"));
    assert_eq!(snapshot.global.verbose, 1);
    assert_eq!(error("[pgbouncer]\nverbose=x # 1").0, 2);
    assert!(error("[pgbouncer]\nverbose=1# 1").1.contains("invalid value \"1# 1\""));
    let snapshot = read("[pgbouncer]\n[databases]\na = connect_query='select 1 # x' # y\nb = # nothing");
    assert_eq!(snapshot.databases["a"].connect_query.as_deref(), Some("select 1 # x"));
}

#[test]
fn sections_and_names() {
    let snapshot = read(
        "[users]\nbob = pool_size=3\n'o''neil' =\n[databases]\n* = host=/tmp\na.b-c = dbname=x\n\"my \"\"db\" =\n'*'=\n\
         [peers]\n1 = host=a\n[pgbouncer]\n",
    );
    assert_eq!(snapshot.users["bob"].pool_size, Some(3));
    assert!(snapshot.users.contains_key("o'neil"));
    assert_eq!(snapshot.databases.keys().collect::<Vec<_>>(), ["a.b-c", "my \"db"]);
    let warnings = warnings(&snapshot);
    assert_eq!(warnings[0], "* has an entry already, and this one replaces it (/etc/p.ini:8)");
    assert_eq!(warnings[1], "section [peers] is set but has no effect yet");
    assert_eq!(snapshot.wildcard.unwrap().host, []);
}

#[test]
fn a_second_header_resets() {
    let snapshot =
        read("[pgbouncer]\nverbose = 2\nmax_client_conn = 7\nauth_user = x\n[users]\n[pgbouncer]\npeer_id=1");
    assert_eq!(snapshot.global.max_client_conn, 100);
    assert_eq!(snapshot.global.auth_user.as_deref(), Some("x"), "it has no default");
    assert!(warnings(&snapshot)[0].ends_with("(/etc/p.ini:6)"));
}

#[test]
fn errors_name_file_line_and_fault() {
    for (text, line, message) in [
        (
            "[pgbouncer]\n\npol_mode = session",
            3,
            "unknown parameter: pgbouncer/pol_mode (/etc/p.ini:3), the nearest is pool_mode",
        ),
        ("[pgbouncer]\nshared_buffers = 1", 2, "unknown parameter: pgbouncer/shared_buffers (/etc/p.ini:2)"),
        (
            "[pgbouncer]\nPool_mode = session",
            2,
            "unknown parameter: pgbouncer/Pool_mode (/etc/p.ini:2), the nearest is pool_mode",
        ),
        (
            "[pgbouncer]\npool_mode = fast",
            2,
            "invalid value \"fast\" for parameter pool_mode in configuration (/etc/p.ini:2): \
             expected one of session, transaction, statement",
        ),
        (
            "[pgbouncer]\nmax_client_conn =",
            2,
            "invalid value \"\" for parameter max_client_conn in configuration (/etc/p.ini:2): \
             expected a whole number from 0 to 2147483647",
        ),
        (
            "[pgbouncer]\nmax_client_conn",
            2,
            "syntax error in configuration (/etc/p.ini:2), stopping loading: no = after the key",
        ),
        ("[pgbouncers]", 1, "unknown section [pgbouncers] (/etc/p.ini:1), the nearest is [pgbouncer]"),
        ("\n[roles]\n", 2, "unknown section [roles] (/etc/p.ini:2)"),
        (
            "[pgbouncer",
            1,
            "syntax error in configuration (/etc/p.ini:1), stopping loading: no ] at the end of a section",
        ),
        ("[databases]\na =", 0, "no section [pgbouncer] in /etc/p.ini"),
        ("", 0, "no section [pgbouncer] in /etc/p.ini"),
        ("[databases]\na = hots=x", 2, "unrecognized connection parameter: hots (/etc/p.ini:2)"),
        ("[databases]\npgbouncer =", 2, "database name \"pgbouncer\" is reserved (/etc/p.ini:2)"),
        ("[users]\na = x", 2, "syntax error in user settings: no = after a key (/etc/p.ini:2)"),
        ("[peers]\na = host=x", 2, "a peer is named by a number from 1 to 65535, not \"a\" (/etc/p.ini:2)"),
    ] {
        let message = message.replace("hots (", "hots, the nearest is host (");
        assert_eq!(error(text), (line, message), "{text:?}");
    }
}

#[test]
fn long_values_are_quoted_in_part() {
    let (_, message) = error(&format!("[pgbouncer]\nverbose = {}", "é".repeat(101)));
    assert!(message.contains(&format!("\"{}...\"", "é".repeat(100))), "{message}");
    let (_, message) = error(&format!("[pgbouncer]\nverbose = {}", "9".repeat(100)));
    assert!(message.contains(&format!("\"{}\"", "9".repeat(100))), "{message}");
}

#[test]
fn authentication_that_is_not_there_yet() {
    for word in ["cert", "hba", "ldap", "PAM"] {
        let (line, message) = error(&format!("[pgbouncer]\nauth_type = {word}"));
        assert_eq!(line, 2);
        assert!(
            message.starts_with(&format!("auth_type {} is not supported yet", word.to_lowercase())),
            "{message}"
        );
    }
    for word in ["trust", "plain", "md5", "scram-sha-256", "any"] {
        assert_eq!(read(&format!("[pgbouncer]\nauth_type = {word}")).global.auth_type.word(), word);
    }
}

#[test]
fn what_has_no_effect_is_named_once() {
    let snapshot = read(
        "[pgbouncer]\nauth_query = q\nsyslog = 0\nverbose = 1\nclient_tls_sslmode = require\nserver_tls_sslmode = allow\nsyslog = 1\n\
         [databases]\na = auth_query=q\nb = auth_query=q auth_user=u",
    );
    let expected = [
        "auth_query is set but has no effect yet",
        "auth_query of a database is set but has no effect yet",
        "auth_user of a database is set but has no effect yet",
        "client_tls_sslmode is set but there is no TLS yet: TCP clients are refused",
        "server_tls_sslmode is set but has no effect yet: connections are not encrypted",
        "syslog is set but has no effect yet",
    ];
    assert_eq!(warnings(&snapshot), expected);
}

#[test]
fn environment_beats_file_and_flags_beat_both() {
    let text = "[pgbouncer]\nverbose = 1\nmax_client_conn = 1\npool_mode = statement";
    let mut overrides = environment(&[
        ("POOLERD_VERBOSE", "2"),
        ("POOLERD_MAX_CLIENT_CONN", "2"),
        ("PATH", "/bin"),
        ("POOLERD_POL_MODE", "session"),
        ("POOLERD_PORT_6432_TCP_ADDR", "10.0.0.1"),
    ]);
    overrides.flags.push(("verbose", "3".into()));
    let snapshot = with(text, &overrides).unwrap();
    assert_eq!((snapshot.global.verbose, snapshot.global.max_client_conn), (3, 2));
    assert_eq!(snapshot.global.pool_mode, PoolMode::Statement);
    let expected = [
        "environment variable POOLERD_POL_MODE names no setting, the nearest is pool_mode",
        "environment variable POOLERD_PORT_6432_TCP_ADDR names no setting",
    ];
    assert_eq!(warnings(&snapshot), expected);
    assert_eq!(snapshot.origin("verbose"), Origin::Flag);
    assert_eq!(snapshot.origin("max_client_conn"), Origin::Environment);
    assert_eq!(snapshot.origin("pool_mode"), Origin::File);
    assert_eq!(snapshot.origin("listen_port"), Origin::Default);
}

#[test]
fn a_bad_override_is_an_error() {
    let bad = with("[pgbouncer]", &environment(&[("POOLERD_VERBOSE", "loud")])).unwrap_err();
    assert_eq!((bad.file.as_str(), bad.line), ("POOLERD_VERBOSE", 0));
    assert!(
        bad.message.starts_with(
            "invalid value \"loud\" for parameter verbose in environment variable POOLERD_VERBOSE"
        )
    );
    let flags = Overrides { flags: vec![("verbose", "4".into())], ..Overrides::default() };
    assert!(with("[pgbouncer]", &flags).unwrap_err().message.contains("parameter verbose in a flag"));
}

/// A directory with a configuration and a userlist.
struct Files(tempfile::TempDir);

impl Files {
    fn new(users: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write("users", users);
        files
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn configure(&self, text: &str) {
        self.write("ini", &format!("[pgbouncer]\nauth_file = {}\n{text}", self.path("users").display()));
    }

    fn load(&self) -> Snapshot {
        load(&self.path("ini"), &Overrides::default()).unwrap()
    }
}

#[test]
fn auth_file_is_read() {
    let files = Files::new("\"a\" \"secret\"");
    files.configure("");
    let snapshot = files.load();
    assert!(snapshot.secrets.secret("a").is_some());
    assert!(snapshot.secrets.secret("b").is_none());
    assert_eq!(warnings(&snapshot), Vec::<String>::new());
    assert!(!format!("{snapshot:?}").contains("\"secret\""));
}

#[test]
fn a_broken_auth_file_is_told_and_counts_up_to_there() {
    let files = Files::new("\"a\" \"secret\"\nb secret");
    files.configure("");
    let snapshot = files.load();
    assert_eq!(snapshot.secrets.len(), 1);
    assert_eq!(snapshot.warnings.len(), 1);
    assert_eq!(snapshot.warnings[0].severity, Severity::Error);
    assert_eq!(snapshot.warnings[0].message, "broken auth file");
    assert_eq!(snapshot.warnings[0].place, Some((files.path("users").display().to_string(), 2)));

    std::fs::remove_file(files.path("users")).unwrap();
    let snapshot = files.load();
    assert!(snapshot.secrets.is_empty());
    assert!(snapshot.warnings[0].message.starts_with("could not open auth_file "));
}

#[test]
fn reload_takes_what_changed_and_keeps_what_is_fixed() {
    let files = Files::new("\"a\" \"secret\"");
    files.configure("listen_port = 1\nauth_user = x\nverbose = 1\nmax_client_conn = 7");
    let before = files.load().with_setting("max_client_conn", "8").unwrap();

    files.configure("listen_port = 2\nverbose = 2\n[databases]\nnew =");
    let after = before.reload(&Overrides::default()).unwrap();
    assert_eq!((after.global.listen_port, after.global.verbose), (1, 2));
    assert_eq!(after.global.auth_user, None, "gone from the file, so unset");
    assert_eq!(after.global.max_client_conn, 100, "neither the file's old value nor the one of SET");
    assert!(after.databases.contains_key("new"));
    assert_eq!(warnings(&after), ["listen_port has changed, which has no effect before a restart"]);
}

#[test]
fn a_refused_reload_changes_nothing() {
    let files = Files::new("");
    files.configure("verbose = 1");
    let before = files.load();
    for bad in
        ["verbose = 2\nverbose = loud", "[databases]\nx = hots=1", "oops", "auth_type = pam", "%include gone"]
    {
        files.configure(bad);
        assert!(before.reload(&Overrides::default()).is_err(), "{bad}");
    }
    assert_eq!(before.global.verbose, 1);
    std::fs::remove_file(files.path("ini")).unwrap();
    let error = before.reload(&Overrides::default()).unwrap_err();
    assert!(error.message.starts_with("could not open configuration file "), "{error}");
}

#[test]
fn a_broken_auth_file_refuses_a_reload() {
    let files = Files::new("\"a\" \"1\"\n\"b\" \"2\"");
    files.configure("verbose = 1");
    let before = files.load();
    files.write("users", "\"c\" \"3\"\noops");
    files.configure("verbose = 2");
    let error = before.reload(&Overrides::default()).unwrap_err();
    let users = files.path("users").display().to_string();
    assert_eq!(error.message, format!("broken auth file ({users}:2)"));
    assert_eq!((error.file, error.line), (users, 2));
    std::fs::remove_file(files.path("users")).unwrap();
    let error = before.reload(&Overrides::default()).unwrap_err();
    assert!(error.message.starts_with("could not open auth_file "), "{error}");

    files.write("users", "\"c\" \"3\"");
    let mended = before.reload(&Overrides::default()).unwrap();
    assert_eq!(mended.global.verbose, 2);
    assert_eq!(mended.secrets.users().collect::<Vec<_>>(), [b"c"]);
}

#[test]
fn names_of_other_sections_lead_to_the_key_that_is_meant() {
    for (key, meant) in [("pool_size", "default_pool_size"), ("reserve_pool", "reserve_pool_size")] {
        let text = format!("[pgbouncer]\n{key} = 5\n");
        let error = parse(Path::new("p.ini"), &text, &Overrides::default()).unwrap_err();
        let expected = format!("unknown parameter: pgbouncer/{key} (p.ini:2), the nearest is {meant}");
        assert_eq!(error.message, expected);
    }
}

#[test]
fn a_value_not_supported_yet_is_named_with_its_line() {
    let refused = |text: &str| parse(Path::new("p.ini"), text, &Overrides::default()).unwrap_err();
    let error = refused("[pgbouncer]\nauth_type = pam\nverbose = 1\n");
    assert!(error.message.ends_with(" (p.ini:2)"), "{error}");
    assert_eq!(error.line, 2);
}

#[test]
fn tls_that_is_not_asked_for_is_no_matter() {
    let snapshot = read("[pgbouncer]\nclient_tls_sslmode = disable\nserver_tls_sslmode = disable\n");
    assert_eq!(warnings(&snapshot), Vec::<String>::new());
}

#[test]
fn a_byte_order_mark_is_called_by_its_name() {
    let text = "\u{feff}[pgbouncer]\n";
    let error = parse(Path::new("p.ini"), text, &Overrides::default()).unwrap_err();
    assert!(error.message.contains("(p.ini:1)") && error.message.contains("BOM"), "{error}");
}

#[test]
fn include_is_followed_and_named_in_errors() {
    let files = Files::new("");
    files.write("more", "verbose = 3\n[databases]\nx =\nbad line\n");
    files.write("ini", "[pgbouncer]\n%include more\n");
    let error = load(&files.path("ini"), &Overrides::default()).unwrap_err();
    assert_eq!((error.file, error.line), (files.path("more").display().to_string(), 4));
    files.write("more", "verbose = 3\n[databases]\nx =\n");
    files.write("ini", "[pgbouncer]\n%include more\ny =\n");
    let snapshot = files.load();
    assert_eq!(snapshot.global.verbose, 3);
    assert_eq!(snapshot.databases.keys().collect::<Vec<_>>(), ["x", "y"]);
    files.write("ini", "[pgbouncer]\n%include gone\n");
    let error = load(&files.path("ini"), &Overrides::default()).unwrap_err();
    assert_eq!(error.line, 2);
    assert!(error.message.starts_with("could not read gone: "), "{error}");
}

#[test]
fn no_input_does_harm() {
    let path = Path::new("f");
    let read = |bytes: &[u8]| build(path, Ini::of_bytes(path, bytes.to_vec()), &Overrides::default());
    let alphabet = ["a", "=", " ", "'", "\"", "#", "\n", "[users]", "\u{e9}"];
    for parts in exhaustive(&alphabet, 4) {
        if let Err(error) = read(parts.concat().as_bytes()) {
            assert!(!error.message.is_empty());
        }
    }
    let good = format!(
        "{SEED}[databases]\na = host=h password='it''s' # c\n'b''c' = port=1\n[users]\nu = pool_size=1\n"
    );
    let mut rng = Rng::new(1);
    for _ in 0..1000 {
        let mut bytes = good.clone().into_bytes();
        mutate(&mut rng, &mut bytes);
        if let Ok(snapshot) = read(&bytes) {
            assert_eq!(snapshot.shown().len(), crate::config::SETTINGS.0.len());
        }
    }
}

#[test]
fn largest_values() {
    for (key, most) in
        [("max_packet_size", "4294967295"), ("listen_port", "65535"), ("server_lifetime", "2147483647")]
    {
        read(&format!("[pgbouncer]\n{key} = {most}"));
        let over = most.parse::<u64>().unwrap() + 1;
        assert_eq!(error(&format!("[pgbouncer]\n{key} = {over}")).0, 2, "{key}");
    }
    assert_eq!(read("[pgbouncer]\nmax_packet_size = 4294967295").global.max_packet_size, u32::MAX);
}
