use super::*;
use crate::config::Url;
use serde_json::Value;

#[test]
fn values_are_bare_only_where_the_grammar_has_a_bare_form() {
    for bare in ["on", "512MB", "30s", "0.9", "200", "pg_catalog", "io_uring", "lz4"] {
        assert_eq!(conf::quoted(bare), bare);
    }
    for (value, quoted) in [
        ("1.5GB", "'1.5GB'"),
        ("a.b", "'a.b'"),
        ("", "''"),
        ("it's", "'it''s'"),
        ("-1", "'-1'"),
        (".5", "'.5'"),
        ("5.", "'5.'"),
        ("1 GB", "'1 GB'"),
        ("#", "'#'"),
    ] {
        assert_eq!(conf::quoted(value), quoted);
    }
}

#[test]
fn urls_have_no_password_and_nothing_a_shell_sees() {
    let url = |host: &str, user: &str, database: &str| {
        fragments::database_url(&Url { host: host.into(), database: database.into(), user: user.into() })
    };
    assert_eq!(url("pool:6432", "app", "shop"), "postgresql://app@pool:6432/shop");
    assert_eq!(url("[::1]:6432", "app", "shop"), "postgresql://app@[::1]:6432/shop");
    assert_eq!(
        url("h:1", "a:b@c/$(x)", "d'\"`\\ \n;é"),
        "postgresql://a%3Ab%40c%2F%24%28x%29@h:1/d%27%22%60%5C%20%0A%3B%C3%A9"
    );
}

fn plan(arguments: &[&str]) -> (Plan, Output) {
    let arguments: Vec<std::ffi::OsString> = arguments.iter().map(Into::into).collect();
    let Ok(crate::config::command::Command::Run(request)) = crate::config::command::command(arguments, &[])
    else {
        panic!("not taken")
    };
    let facts = crate::facts::detect(&request, None).unwrap();
    (crate::tune::plan(&request.wishes, &facts), request.output)
}

fn text(arguments: &[&str]) -> String {
    let (plan, output) = plan(&[arguments, &["--sysroot", "/nowhere"]].concat());
    render(&plan, &output)
}

/// The keys of an object, in the order they are written.
fn keys(object: &str) -> Vec<String> {
    let (mut keys, mut depth, mut rest) = (Vec::new(), 0, object);
    while let Some(at) = rest.find(['{', '}', '[', ']', '"']) {
        match rest.as_bytes()[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {
                let mut end = at + 1;
                while rest.as_bytes()[end] != b'"' {
                    end += if rest.as_bytes()[end] == b'\\' { 2 } else { 1 };
                }
                if depth == 1 && rest[end + 1..].starts_with(':') {
                    keys.push(rest[at + 1..end].to_owned());
                }
                rest = &rest[end + 1..];
                continue;
            }
        }
        rest = &rest[at + 1..];
    }
    keys
}

#[test]
fn json_keeps_its_order_and_its_types() {
    let text = text(&["--memory", "128MB", "--cpus", "1.5", "--format", "json"]);
    assert_eq!(
        keys(&text),
        [
            "v", "tool", "profile", "compat", "pg_major", "facts", "settings", "pool", "app", "host",
            "budget", "warnings"
        ]
    );
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["v"], &json["pg_major"], &json["compat"]), (&1.into(), &18.into(), &false.into()));
    assert_eq!((&json["facts"]["cpus"], &json["facts"]["cpus_exact"]), (&1.into(), &1.5.into()));
    let work_mem =
        json["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == "work_mem").unwrap();
    assert_eq!((&work_mem["value"], &work_mem["number"]), (&"2176kB".into(), &2176.into()));
    assert_eq!((&work_mem["unit"], &work_mem["changed_by"]), (&"kB".into(), &"budget".into()));
    assert_eq!((&work_mem["apply"], &work_mem["default"]), (&"session".into(), &"4MB".into()));
    assert_eq!(json["pool"]["pool_mode"], "transaction");
    assert_eq!(json["app"]["DB_USE_PGBOUNCER"], true);
    assert_eq!(json["app"]["breaker"]["permit_deadline_ms"], 10000);
    assert_eq!(
        (&json["budget"]["worst_pct_before"], &json["budget"]["worst_pct"]),
        (&964.9.into(), &89.7.into())
    );
    assert_eq!(json["budget"]["steps"][0]["name"], "max_connections");
    assert_eq!(
        (&json["warnings"][0]["code"], &json["warnings"][0]["level"]),
        (&"budget".into(), &"warn".into())
    );
}

#[test]
fn everything_that_is_printed_has_a_text() {
    for profile in ["web", "seed"] {
        let (plan, _) = plan(&["--memory", "64GB", "--cpus", "32", "--profile", profile]);
        let pooling = &plan.pooling;
        let lines = [&pooling.pooler, &pooling.app, &pooling.throttle, &pooling.breaker];
        let names = lines.into_iter().flatten().map(|line| line.name);
        for name in names.chain(plan.settings.iter().map(|setting| setting.name)) {
            assert!(explain::of(name).is_some(), "no text about {name}");
        }
    }
    for name in ["DATABASE_URL", "DB_URL", "vm.nr_hugepages", "vm.overcommit_memory", "vm.overcommit_ratio"] {
        assert!(explain::of(name).is_some(), "no text about {name}");
    }
}

#[test]
fn explanations_change_nothing_but_comments() {
    let is_value = |line: &&str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && !line.starts_with("--")
    };
    let formats = Format::WORDS.iter().filter(|format| **format != "json");
    for format in formats {
        let arguments = ["--memory", "2GB", "--cpus", "4", "--format", format];
        let (plain, explained) = (text(&arguments), text(&[&arguments[..], &["--explain"]].concat()));
        let values = |text: &str| text.lines().filter(is_value).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(values(&plain), values(&explained), "{format}");
        assert!(explained.contains("why: ") && explained.contains("change: "), "{format}");
        assert!(explained.is_ascii() && explained.ends_with('\n'), "{format}");
    }
}

#[test]
fn the_worst_case_is_always_told() {
    let text = text(&["--memory", "2GB", "--cpus", "2"]);
    let line = text.lines().nth(2).unwrap();
    assert_eq!(
        line,
        "# worst case: 97.5 % of memory by the formulas, 89.9 % as printed, limit 90 %, with 1.5 work_mem a connection"
    );
}

#[test]
fn a_group_that_limits_memory_leaves_overcommit_alone() {
    let (mut plan, mut output) = plan(&["--memory", "2GB", "--format", "sysctl"]);
    output.format = Format::Sysctl;
    plan.facts.confinement = crate::facts::Confinement::Group;
    let text = render(&plan, &output);
    assert!(!text.lines().any(|line| line.starts_with("vm.overcommit_memory")), "{text}");
    plan.facts.confinement = crate::facts::Confinement::None;
    assert!(render(&plan, &output).contains("\nvm.overcommit_memory = 2\n"));
}
