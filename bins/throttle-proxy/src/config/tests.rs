//! Files, environment and flags; what is refused and how it is said; sections and what they inherit.

use std::path::Path;
use std::time::Duration;

use sluice_cli::settings::{Kind, Origin, Values};
use sluice_gateway::gate::RouteId;

use super::load::SECTIONS_MAX;
use super::{
    ALIASES, Global, LIMIT_KEYS, MAX_CONCURRENT, Overrides, ROUTE_KEYS, SETTINGS, Snapshot, changed_route,
    load, parse,
};
use crate::limiter::policy::{Policy, RoutePolicy, SharedMode};

fn read(text: &str) -> Snapshot {
    parse(Path::new("t.ini"), text, &Overrides::default()).unwrap()
}

fn error(text: &str) -> String {
    parse(Path::new("t.ini"), text, &Overrides::default()).unwrap_err().to_string()
}

#[test]
fn every_row_is_sound_and_stands_once() {
    let rows = || SETTINGS.0.iter().chain(ROUTE_KEYS.0).chain(LIMIT_KEYS.0);
    for row in rows() {
        assert!(row.kind.parse(row.default.unwrap()).is_ok(), "{}: default {:?}", row.name, row.default);
        assert!(row.doc.ends_with('.') && row.doc.len() <= 120, "{}: {:?}", row.name, row.doc);
        assert!(row.also_in.iter().all(|section| ["route", "limit"].contains(section)));
        assert_eq!(rows().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
    }
    for (alias, key) in ALIASES {
        assert!(SETTINGS.row(key).is_some() && SETTINGS.row(alias).is_none(), "{alias}");
    }
}

/// A field whose type did not fit its row's kind would stay at zero for every value.
#[test]
fn every_key_reaches_its_field() {
    let default = Global::default();
    for row in SETTINGS.0 {
        let mut values = Values::new(SETTINGS);
        let text = if row.name == "fair_key" { "route".to_owned() } else { row.another_value() };
        values.set(row.name, &text, Origin::File).unwrap();
        assert_ne!(Global::from_values(&values), default, "{} = {text}", row.name);
    }
}

#[test]
fn the_defaults_are_those_of_the_limiter() {
    let built_in = RoutePolicy::default();
    let snapshot = read("");
    assert_eq!(format!("{:?}", snapshot.policy.routes[0]), format!("{built_in:?}"));
    let default = Policy::default();
    assert_eq!(format!("{:?}", snapshot.policy), format!("{default:?}"));
}

#[test]
fn the_configuration_is_shown_with_who_gave_it() {
    let text = "class = 4\n[route r]\nmatch_path = /r\nclass = 2\n[limit l]\nkey = route+address\nmax_requests = 3\n";
    let overrides = Overrides {
        environment: vec![("THROTTLE_PROXY_KEYS_MAX".into(), "5".into())],
        flags: vec![("burst", "7".into())],
    };
    let shown = parse(Path::new("t.ini"), text, &overrides).unwrap().shown();
    let row = |key: &str| {
        let row = shown.iter().find(|row| row.key == key).unwrap();
        (row.value.clone(), row.from.clone())
    };
    let pair = |value: &str, from: &str| (value.to_owned(), from.to_owned());
    assert_eq!(row("class"), pair("4", "t.ini:1"));
    assert_eq!(row("keys_max"), pair("5", "environment"));
    assert_eq!(row("burst"), pair("7", "flag"));
    assert_eq!(row("unix_socket_mode"), pair("0660", "default"));
    assert_eq!(row("[route r] class"), pair("2", "file"));
    assert_eq!(row("[limit l] key"), pair("route+address", "file"));
    assert_eq!(row("[limit l] max_requests"), pair("3", "file"));
    assert_eq!(shown.len(), SETTINGS.0.len() + 4);
}

#[test]
fn a_list_may_stand_on_several_lines_and_the_last_of_anything_else_counts() {
    let text = "origin = http://a:1\norigin = http://b:2\nmax_requests = 1\nmax_requests = 2\n[route r]\n\
                match_path = /r\nmatch_methods = GET\nmatch_methods = PUT\nclass = 1\nclass = 2\n";
    let snapshot = read(text);
    assert_eq!(snapshot.global.origin, ["http://a:1", "http://b:2"]);
    assert_eq!((snapshot.policy.routes[0].rate.events, snapshot.policy.routes[1].class), (2, 2));
    assert_eq!(snapshot.routes[0].methods, ["GET", "PUT"]);
    assert_eq!(
        snapshot.warnings,
        [
            "max_requests is set in t.ini:3 already; what counts is t.ini:4",
            "class is set in t.ini:9 already; what counts is t.ini:10",
        ]
    );
    let flags = vec![("origin", "http://c:3".to_owned()), ("origin", "http://d:4".to_owned())];
    let overrides = Overrides { flags, ..Overrides::default() };
    let snapshot = parse(Path::new("t.ini"), text, &overrides).unwrap();
    assert_eq!(snapshot.global.origin, ["http://c:3", "http://d:4"]);
}

#[test]
fn routes_inherit_from_the_top_and_limits_have_numbers_of_their_own() {
    let snapshot = read(
        "max_requests = 7\nqueueSize = 9\n\
         [route search]\nmatch_path = /api/search\nmaxRequests = 30\nretryDelay = 300\n\
         [route default]\nclass = 5\n\
         [limit client]\nkey = address+header:X-Key\nroutes = search\nwindow_ms = 1s\n",
    );
    let [default, search] = &snapshot.policy.routes[..] else { panic!("two routes") };
    assert_eq!((default.name.as_str(), default.rate.events, default.class), ("default", 7, 5));
    assert_eq!((search.name.as_str(), search.rate.events, search.class), ("search", 30, 3));
    assert_eq!((search.queue_size, search.retry_delay), (9, Duration::from_millis(300)));
    assert_eq!(snapshot.routes[0].path, "/api/search");
    let [limit] = &snapshot.policy.limits[..] else { panic!("one limit") };
    assert_eq!((limit.rate.events, limit.rate.window), (7, Duration::from_secs(1)));
    assert_eq!((limit.routes.as_slice(), limit.key.parts().len()), (&[RouteId(1)][..], 2));
    assert_eq!(snapshot.policy.queue_size, 9, "the top bounds the sum");
}

#[test]
fn environment_beats_the_file_and_flags_beat_both() {
    let overrides = Overrides {
        environment: [
            ("THROTTLE_PROXY_MAX_REQUESTS", "2"),
            ("THROTTLE_PROXY_CLASS", "1"),
            ("MAX_CONCURRENT_DB_REQUESTS", "40"),
            ("THROTTLE_PROXY_PORT", "tcp://10.0.0.1"),
            ("HOME", "/"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
        flags: vec![("max_requests", "3".to_owned())],
    };
    let snapshot = parse(Path::new("t.ini"), "max_requests = 1\nclass = 6\n", &overrides).unwrap();
    assert_eq!(
        (snapshot.global.max_requests, snapshot.global.class, snapshot.global.max_in_flight),
        (3, 1, 40)
    );
    assert_eq!(snapshot.origin("max_requests"), Origin::Flag);
    assert_eq!(snapshot.warnings, ["environment variable THROTTLE_PROXY_PORT names no setting"]);
    let own = ("THROTTLE_PROXY_MAX_IN_FLIGHT".to_owned(), "30".to_owned());
    let both = Overrides { environment: [vec![own], overrides.environment].concat(), flags: Vec::new() };
    assert_eq!(parse(Path::new(""), "", &both).unwrap().global.max_in_flight, 30, "ours goes first");
    let nothing =
        Overrides { environment: vec![(MAX_CONCURRENT.into(), String::new())], ..Overrides::default() };
    assert_eq!(parse(Path::new("t.ini"), "", &nothing).unwrap().global.max_in_flight, 50);
    let wrong = Overrides { environment: vec![("THROTTLE_PROXY_CLASS".into(), "9".into())], ..both };
    let error = parse(Path::new(""), "", &wrong).unwrap_err().to_string();
    assert!(error.ends_with("(environment variable THROTTLE_PROXY_CLASS)"), "{error}");
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_the_nearest_key() {
    for (text, expected) in [
        ("max_request = 1", "unknown key max_request, the nearest is max_requests (t.ini:1)"),
        ("\nwindow_ms = 0", "invalid value \"0\" for window_ms: expected a time in milliseconds, 1 or more"),
        ("max_requests = 99999999999999999999", "invalid value"),
        ("max_requests = -1", "invalid value"),
        ("head_max = 0", "invalid value \"0\" for head_max: expected a "),
        (
            "client_conns_max = 0",
            "invalid value \"0\" for client_conns_max: expected a whole number from 1 to",
        ),
        ("match_path = /a", "match_path belongs into a section [route NAME] (t.ini:1)"),
        ("[rout a]", "unknown section [rout a], the nearest is [route NAME] (t.ini:1)"),
        ("[route]", "[route] needs a name of letters, digits, - _ and . (t.ini:1)"),
        ("[route a b]", "[route a b] needs a name"),
        ("[route a]\n[limit a]\n[route a]", "[route a] stands in t.ini:1 already (t.ini:3)"),
        ("[route a]\nlisten = x", "listen belongs to the top of the file, not into [route NAME] (t.ini:2)"),
        ("[route a]\nmatch_pat = x", "unknown key match_pat, the nearest is match_path (t.ini:2)"),
        ("[route a]\nmatch_path = x", "match_path does not begin with / (t.ini:1)"),
        ("[route a]\nfair_key = x", "invalid value \"x\" for fair_key: expected route, address"),
        ("[route default]\nmatch_path = /", "[route default] takes what no other route does"),
        ("[limit a]\nqueue_size = 1", "queue_size belongs to the top of the file, not into [limit NAME]"),
        ("[limit a]\nkey = adress", "invalid value \"adress\" for key: expected route, address"),
        (
            "[route search]\n[limit a]\nroutes = serch",
            "no such route: serch, the nearest is search (t.ini:2)",
        ),
        ("fair_key = path:0", "invalid value \"path:0\" for fair_key"),
        ("redis = s3cret", "invalid value for redis: expected redis://"),
        (
            "\norigin = 127.0.0.1:80",
            "invalid value \"127.0.0.1:80\" for origin: expected http://host[:port], https://host[:port] or unix:/path (t.ini:2)",
        ),
        ("origin =", "origin names no server"),
        ("listen =", "listen names no address"),
        ("tls_cert_file = a", "tls_cert_file and tls_key_file need the same number of files"),
        ("max_requests", "syntax error: "),
    ] {
        let said = error(text);
        assert!(said.starts_with(expected), "{text:?}: {said}");
        assert!(!said.contains("s3cret"));
    }
}

#[test]
fn sections_at_and_beyond_the_limit() {
    let sections = |count: usize| (0..count).map(|n| format!("[route r{n}]\n")).collect::<String>();
    assert_eq!(read(&sections(SECTIONS_MAX)).policy.routes.len(), SECTIONS_MAX + 1);
    assert!(error(&sections(SECTIONS_MAX + 1)).starts_with("more than 256 sections [route NAME]"));
}

#[test]
fn what_works_but_may_not_be_meant_is_warned_of() {
    assert_eq!(read("stage = on").warnings, ["stage is on but stage_delay_ms is 0: nothing is staged"]);
    let warnings = read("[route a]\nqueue_max_wait_ms = 9s\n").warnings;
    assert!(
        warnings[0].starts_with("[route a]: queue_max_wait_ms is not less than patience_ms"),
        "{warnings:?}"
    );
    let warnings = read("max_requests = 5 # a few\n").warnings;
    assert!(warnings[0].contains("ends before a comment") && warnings[0].ends_with("(t.ini:1)"));
}

#[test]
fn a_reload_takes_what_it_may_and_warns_of_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.ini");
    std::fs::write(&path, "max_requests = 1\nlisten = 127.0.0.1:1\n").unwrap();
    let none = Overrides::default();
    let running = load(Some(&path), &none).unwrap();
    std::fs::write(&path, "max_requests = 2\nlisten = 127.0.0.1:2\n").unwrap();
    let next = running.reload(&none).unwrap();
    assert_eq!((next.global.max_requests, next.policy.routes[0].rate.events), (2, 2));
    assert_eq!(next.global.listen, ["127.0.0.1:1"]);
    assert_eq!(next.warnings, ["listen has changed, which has no effect before a restart"]);
    std::fs::write(&path, "max_requests = x\n").unwrap();
    assert!(running.reload(&none).is_err());
    assert!(
        load(Some(Path::new("/nonexistent.ini")), &none)
            .unwrap_err()
            .to_string()
            .contains("/nonexistent.ini")
    );
}

#[test]
fn redis_turns_sharing_on_and_its_password_is_not_shown() {
    assert_eq!(read("").policy.shared.mode, SharedMode::Off);
    let snapshot = read("redis = redis://:s3cret@h\nshared_fail = closed");
    assert_eq!(snapshot.policy.shared.mode, SharedMode::FailClosed);
    let shown = snapshot.shown();
    assert!(shown.iter().any(|row| row.key == "redis" && row.value == "redis://***@h"));
}

#[test]
fn what_a_running_route_may_change() {
    let route = RoutePolicy::default();
    let changeable = SETTINGS.0.iter().filter(|row| row.also_in.contains(&"route"));
    for row in changeable {
        let value = if row.name == "fair_key" { "route".to_owned() } else { row.another_value() };
        let changed = changed_route(&route, row.name, &value);
        assert_eq!(changed.is_ok(), row.reload == sluice_cli::settings::Reload::Yes, "{}", row.name);
    }
    assert!(matches!(SETTINGS.row("queue_size").unwrap().kind, Kind::Int { .. }));
}
