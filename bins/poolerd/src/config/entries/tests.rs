use super::*;

fn db(text: &str) -> Database {
    database("db", text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn db_error(text: &str) -> String {
    database("db", text).unwrap_err().to_string()
}

fn us(text: &str) -> UserOptions {
    user("us", text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[test]
fn an_empty_entry_inherits_everything() {
    assert_eq!(db(""), Database::new("db"));
    assert_eq!(us(""), UserOptions::default());
    assert_eq!(database("*", "").unwrap().dbname, "");
}

#[test]
fn every_key_of_a_database() {
    let database = db("dbname=real host=h port=1 user=u password='p w' pool_size=2 min_pool_size=1 \
         reserve_pool_size=3 max_db_connections=4 max_db_client_connections=5 pool_mode=Statement server_lifetime=1.5 \
         query_wait_timeout=6 load_balance_hosts=disable connect_query='select ''1''' client_encoding=UTF8 \
         datestyle=ISO timezone=GMT application_name=app auth_user=a auth_query=q auth_dbname=d");
    let expected = Database {
        name: "db".into(),
        dbname: "real".into(),
        host: vec![Host::Name("h".into())],
        port: 1,
        user: Some("u".into()),
        password: Some(Password::new("p w")),
        pool_size: Some(2),
        min_pool_size: Some(1),
        reserve_pool_size: Some(3),
        max_db_connections: Some(4),
        max_db_client_connections: Some(5),
        pool_mode: Some(PoolMode::Statement),
        server_lifetime: Some(Duration::from_millis(1500)),
        query_wait_timeout: Some(Duration::from_secs(6)),
        connect_query: Some("select '1'".into()),
        startup_parameters: vec![
            ("client_encoding", "UTF8".into()),
            ("DateStyle", "ISO".into()),
            ("TimeZone", "GMT".into()),
            ("application_name", "app".into()),
        ],
        load_balance_hosts: LoadBalance::Disable,
        auth_user: Some("a".into()),
        auth_query: Some("q".into()),
        auth_dbname: Some("d".into()),
    };
    assert_eq!(database, expected);
}

#[test]
fn every_key_of_a_user() {
    let user = us("pool_mode=transaction pool_size=1 reserve_pool_size=2 max_user_connections=3 \
         max_user_client_connections=4 query_timeout=5 query_wait_timeout=0 idle_transaction_timeout=500ms \
         transaction_timeout=7 client_idle_timeout=8");
    let expected = UserOptions {
        pool_mode: Some(PoolMode::Transaction),
        pool_size: Some(1),
        reserve_pool_size: Some(2),
        max_user_connections: Some(3),
        max_user_client_connections: Some(4),
        query_timeout: Some(Duration::from_secs(5)),
        query_wait_timeout: Some(Duration::ZERO),
        idle_transaction_timeout: Some(Duration::from_millis(500)),
        transaction_timeout: Some(Duration::from_secs(7)),
        client_idle_timeout: Some(Duration::from_secs(8)),
    };
    assert_eq!(user, expected);
}

/// The lists that suggestions are made from are the keys the entries take.
#[test]
fn listed_keys_are_known() {
    for section in [Section::Databases, Section::Users, Section::Peers] {
        for key in section.keys() {
            let text = format!("host=h {key}=1");
            let error = match section {
                Section::Databases => database("db", &text).err(),
                Section::Users => user("us", &format!("{key}=1")).err(),
                Section::Peers => peer("1", &text).err(),
            };
            assert!(!matches!(error, Some(EntryError::Unknown(..))), "{key}: {error:?}");
        }
    }
}

#[test]
fn what_inherits() {
    for text in
        ["pool_size=-1", "min_pool_size=-5", "reserve_pool=-1", "max_db_connections=0", "server_lifetime=0"]
    {
        assert_eq!(db(text), Database::new("db"), "{text}");
    }
    for text in ["query_wait_timeout=-1", "server_lifetime=-1", "max_db_client_connections=-1"] {
        assert_eq!(db(text), Database::new("db"), "{text}");
    }
    for text in [
        "pool_size=0",
        "reserve_pool_size=-1",
        "query_timeout=0",
        "query_timeout=-1",
        "query_wait_timeout=-1",
    ] {
        assert_eq!(us(text), UserOptions::default(), "{text}");
    }
    assert_eq!(db("pool_size=0").pool_size, Some(0), "no limit");
    assert_eq!(db("min_pool_size=0").min_pool_size, Some(0));
    assert_eq!(db("reserve_pool=0").reserve_pool_size, Some(0));
    assert_eq!(db("query_wait_timeout=0").query_wait_timeout, Some(Duration::ZERO), "for ever");
}

#[test]
fn hosts_of_every_kind() {
    let of = |text: &str| db(&format!("host='{text}'")).host;
    assert_eq!(of("/run/pg"), [Host::Unix("/run/pg".into())]);
    assert_eq!(of("@pg"), [Host::Unix("@pg".into())]);
    assert_eq!(of("::1"), [Host::Ip("::1".parse().unwrap())]);
    let list = [Host::Ip("10.0.0.1".parse().unwrap()), Host::Name("db2".into()), Host::Unix("/a".into())];
    assert_eq!(of("10.0.0.1,db2, /a"), list);
    assert_eq!(
        of("10.0.0.1,db2, /a").iter().map(Host::to_string).collect::<Vec<_>>(),
        ["10.0.0.1", "db2", "/a"]
    );
    for text in ["host=a,,b", "host=,", "host=a,"] {
        assert_eq!(db_error(text), "an empty place in the list of hosts", "{text}");
    }
}

#[test]
fn a_later_pair_wins() {
    let database = db("datestyle=SQL port=1 datestyle=ISO port=2");
    assert_eq!(database.startup_parameters, [("DateStyle", "ISO".into())]);
    assert_eq!(database.port, 2);
}

#[test]
fn errors_name_key_and_fault() {
    assert_eq!(db_error("hots=x"), "unrecognized connection parameter: hots, the nearest is host");
    assert_eq!(db_error("sslmode=x"), "unrecognized connection parameter: sslmode");
    assert_eq!(db_error("host"), "syntax error in connection string: no = after a key");
    assert_eq!(db_error("port="), "syntax error in connection string: an empty value");
    for (text, begins) in [
        ("port=0", "invalid value \"0\" for parameter port: expected a whole number from 1 to 65535"),
        ("port=65536", "invalid value \"65536\" for parameter port"),
        ("port=5432x", "invalid value"),
        ("pool_size=many", "invalid value \"many\" for parameter pool_size"),
        (
            "pool_mode=fast",
            "invalid value \"fast\" for parameter pool_mode: expected one of session, transaction",
        ),
        ("server_lifetime=-2", "invalid value"),
        ("query_wait_timeout=soon", "invalid value"),
        ("load_balance_hosts=random", "invalid value"),
    ] {
        assert!(db_error(text).starts_with(begins), "{text}: {}", db_error(text));
    }
    let user_error = |text| user("us", text).unwrap_err().to_string();
    assert_eq!(user_error("pool_sise=1"), "unrecognized user parameter: pool_sise, the nearest is pool_size");
    assert_eq!(user_error("x"), "syntax error in user settings: no = after a key");
}

#[test]
fn names_and_passwords_have_limits() {
    let n = |len| "n".repeat(len);
    assert!(database(&n(63), "").is_ok());
    assert_eq!(database(&n(64), "").unwrap_err().to_string(), "a database name is longer than 63 bytes");
    assert!(database("db", &format!("dbname={}", n(64))).is_err());
    assert!(user(&n(127), "").is_ok());
    assert!(user(&n(128), "").is_err());
    assert!(database("db", &format!("user={}", n(127))).is_ok());
    assert!(database("db", &format!("user={}", n(128))).is_err());
    assert!(database("db", &format!("password={}", n(65_530))).is_ok());
    assert!(database("db", &format!("password={}", n(65_531))).is_err());
    assert_eq!(database("pgbouncer", "").unwrap_err().to_string(), "database name \"pgbouncer\" is reserved");
}

#[test]
fn peers_are_checked() {
    assert_eq!(peer("1", "host=a port=1 pool_size=2"), Ok(()));
    assert_eq!(peer("65535", "host=/tmp"), Ok(()));
    assert_eq!(peer("1", ""), Err(EntryError::PeerWithoutHost));
    for name in ["0", "65536", "one", ""] {
        assert_eq!(peer(name, "host=a"), Err(EntryError::PeerId(name.into())));
    }
    assert!(peer("1", "host=a hots=b").unwrap_err().to_string().ends_with("the nearest is host"));
}

#[test]
fn passwords_are_never_shown() {
    let database = db("password=hunter2 user=u");
    assert!(!format!("{database:?}").contains("hunter2"));
    for text in
        ["password=hunter2 port=x", "password=hunter2 hots=x", "password='hunter2", "port=1 'hunter2'"]
    {
        assert!(!db_error(text).contains("hunter2"), "{text}");
    }
}

#[test]
fn servers_that_must_go_after_a_change() {
    let before = db("user=u");
    for text in
        ["dbname=x", "host=x", "port=1", "password=x", "connect_query=x", "timezone=x", "auth_query=x"]
    {
        assert!(db(&format!("user=u {text}")).needs_new_servers(&before), "{text}");
    }
    for text in ["", "auth_dbname=x", "load_balance_hosts=disable"] {
        assert!(db(text).needs_new_servers(&before), "{text}: and the forced user is gone");
    }
    for text in ["pool_size=1", "pool_mode=session", "server_lifetime=1", "max_db_connections=1"] {
        assert!(!db(&format!("user=u {text}")).needs_new_servers(&before), "{text}");
    }
}
