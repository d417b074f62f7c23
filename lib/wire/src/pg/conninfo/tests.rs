//! Forms of connection strings, their faults, precedence, and that nothing written is ever shown.

use super::*;

fn of(text: &str) -> String {
    let Pairs(pairs) = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    pairs.iter().map(|(keyword, value)| format!("{keyword}<{value}>")).collect()
}

fn resolved(text: &str) -> Result<Conninfo, ConninfoError> {
    resolve(&parse(text)?)
}

#[test]
fn keyword_strings() {
    assert_eq!(of(""), "");
    assert_eq!(of("host=a port=1"), "host<a>port<1>");
    assert_eq!(of("  host = a\tport= 1\n"), "host<a>port<1>");
    assert_eq!(of(r"password='it\'s \\ a b' user=x"), r"password<it's \ a b>user<x>");
    assert_eq!(of(r"password=a\ b\'c"), "password<a b'c>");
    assert_eq!(of("host=a host=b"), "host<b>");
    assert_eq!(of("host='' port=1"), "host<>port<1>");
    assert_eq!(of("dbname=a'b"), "dbname<a'b>");
}

#[test]
fn urls() {
    assert_eq!(of("postgresql://"), "");
    assert_eq!(of("postgres://h"), "host<h>");
    assert_eq!(of("postgresql://h:1/d"), "dbname<d>host<h>port<1>");
    assert_eq!(
        of("postgresql://u:p%40%3a@h/d?application_name=x%20y&options="),
        "application_name<x y>dbname<d>host<h>options<>password<p@:>user<u>"
    );
    assert_eq!(of("postgresql://u@/d?host=/tmp"), "dbname<d>host</tmp>user<u>");
    assert_eq!(of("postgresql://%2Ftmp:5/d"), "dbname<d>host</tmp>port<5>");
    assert_eq!(of("postgresql://[::1]:5/d"), "dbname<d>host<::1>port<5>");
    assert_eq!(of("postgresql://[::1]"), "host<::1>");
    assert_eq!(of("postgresql://u:a@b@h"), "host<h>password<a@b>user<u>");
    assert_eq!(of("postgresql://h?ssl=true"), "host<h>sslmode<require>");
}

#[test]
fn faults_show_nothing_of_the_text() {
    for (text, error) in [
        ("secret", ConninfoError::Syntax("no = behind a keyword")),
        ("host=a secret", ConninfoError::Syntax("no = behind a keyword")),
        ("host=a password='secret", ConninfoError::Syntax("no closing quote")),
        ("password=my secret=x", ConninfoError::UnknownKeyword(2)),
        ("=secret", ConninfoError::UnknownKeyword(1)),
        ("Host=secret", ConninfoError::UnknownKeyword(1)),
        ("postgresql//u:secret@h", ConninfoError::Syntax("no = behind a keyword")),
        ("postgresql://u:secret%4@h", ConninfoError::Syntax("% without two hexadecimal digits")),
        ("postgresql://u:secret%ff@h", ConninfoError::Syntax("a URL that is not UTF-8")),
        ("postgresql://u:secret%00@h", ConninfoError::Syntax("%00 in a URL")),
        ("postgresql://[secret", ConninfoError::Syntax("no ] behind an address")),
        ("postgresql://[::1]secret", ConninfoError::Syntax("only a port may follow an address in brackets")),
        ("postgresql://h?secret", ConninfoError::Syntax("no = behind a parameter of the URL")),
        ("postgresql://h?port=1&secret=1", ConninfoError::UnknownKeyword(2)),
        ("port=secret", ConninfoError::Value("port")),
        ("port=0", ConninfoError::Value("port")),
        ("port=65536", ConninfoError::Value("port")),
        ("port=1,2", ConninfoError::Value("port")),
        ("hostaddr=secret", ConninfoError::Value("hostaddr")),
        ("sslmode=secret", ConninfoError::Value("sslmode")),
        ("connect_timeout=secret", ConninfoError::Value("connect_timeout")),
        ("host=secret,b", ConninfoError::Unsupported("host")),
        ("channel_binding=require", ConninfoError::Unsupported("channel_binding")),
        ("require_auth=scram-sha-256", ConninfoError::Unsupported("require_auth")),
        ("requirepeer=postgres", ConninfoError::Unsupported("requirepeer")),
        ("target_session_attrs=primary", ConninfoError::Unsupported("target_session_attrs")),
        ("host=h sslrootcert=system sslmode=verify-ca", ConninfoError::Value("sslmode")),
        ("host=h sslcrl=secret", ConninfoError::Unsupported("sslcrl")),
        ("host=h ssl_min_protocol_version=TLSv1.3", ConninfoError::Unsupported("ssl_min_protocol_version")),
    ] {
        let found = resolved(text).unwrap_err();
        assert_eq!(found, error, "{text}");
        assert!(!found.to_string().contains("secret"));
    }
    let shown = format!("{:?}", parse("password=secret user=u").unwrap());
    assert_eq!(shown, r#"{"password", "user"}"#);
    assert!(!format!("{:?}", resolved("password=secret").unwrap()).contains("secret"));
}

#[test]
fn what_is_resolved() {
    let nothing = resolved("").unwrap();
    assert_eq!((nothing.host, nothing.port, nothing.user), (None, 5432, None));
    let host = |text| resolved(text).unwrap().host.unwrap();
    assert_eq!(host("host=/tmp sslmode=verify-full"), Host::Unix("/tmp".to_owned()));
    assert_eq!(host("host=@x"), Host::Unix("@x".to_owned()));
    assert_eq!(host("host=db.example sslmode=prefer"), Host::Name("db.example".to_owned()));
    assert_eq!(host("host=::1"), Host::Address("::1".parse().unwrap()));
    assert_eq!(host("host=db.example hostaddr=10.0.0.1"), Host::Address("10.0.0.1".parse().unwrap()));
    assert_eq!(
        resolved("host=db.example hostaddr=10.0.0.1").unwrap().host_name.as_deref(),
        Some("db.example")
    );
    let sslmode = |text| resolved(text).unwrap().sslmode;
    assert_eq!(sslmode("host=h"), SslMode::Prefer);
    assert_eq!(sslmode("host=h sslmode=disable"), SslMode::Disable);
    assert_eq!(sslmode("hostaddr=::1 sslmode=require"), SslMode::Require);
    assert_eq!(sslmode("host=h sslmode=verify-ca"), SslMode::VerifyCa);
    assert_eq!(sslmode("host=h sslrootcert=system"), SslMode::VerifyFull);
    assert_eq!((sslmode(""), sslmode("host=/tmp sslmode=verify-full")), (SslMode::Disable, SslMode::Disable));
    let timeout = |text| resolved(text).unwrap().connect_timeout_s;
    assert_eq!(timeout("connect_timeout=5"), Some(5));
    assert_eq!((timeout("connect_timeout=0"), timeout("connect_timeout=-1")), (None, None));
    assert_eq!(resolved("password=md5x").unwrap().password, Some(Secret::Plain(b"md5x".to_vec())));
}

#[test]
fn string_then_service_then_environment() {
    let file = "# services\n[other]\nhost=o\n\n[mine]\nhost=s\nport=2\n# user=no\nuser=su\n[next]\nport=9\n";
    let environment = |name: &str| match name {
        "PGHOST" => Some("e".to_owned()),
        "PGUSER" => Some("eu".to_owned()),
        "PGDATABASE" => Some("ed".to_owned()),
        _ => None,
    };
    let mine = service(file, "mine").unwrap().unwrap();
    let pairs = parse("host=c dbname=''").unwrap().or(mine).or(Pairs::from_environment(environment));
    let resolved = resolve(&pairs).unwrap();
    assert_eq!(resolved.host, Some(Host::Name("c".to_owned())));
    assert_eq!((resolved.port, resolved.user.as_deref()), (2, Some("su")));
    assert_eq!(resolved.dbname, None, "an empty value hides the environment's");
    assert_eq!(service(file, "none"), Ok(None));
    assert!(service("[a]\nnonsense\n", "a").is_err());
    assert!(service("[a]\nservice=b\n", "a").is_err());
    assert_eq!(service("[a]\nhost=x\nbad=1\n", "a"), Err(ConninfoError::UnknownKeyword(2)));
}

#[test]
fn password_files() {
    let file =
        b"# comment:1:d:u:no\nh:1:d:u\nh:1:d:u:first\n*:*:*:u:any\\:one\\\\\r\nh\\:x:1:*:v:colon\n*:*:*:e:\n";
    let find = |host, port, database, user| {
        passfile_password(file, host, port, database, user).map(|found| String::from_utf8(found).unwrap())
    };
    assert_eq!(find("h", 1, "d", "u").as_deref(), Some("first"));
    assert_eq!(find("h", 2, "d", "u").as_deref(), Some(r"any:one\"));
    assert_eq!(find("h:x", 1, "d", "v").as_deref(), Some("colon"));
    assert_eq!(find("h", 1, "d", "v"), None);
    assert_eq!(find("h", 1, "d", "e"), None, "an empty password is none");
    assert_eq!(passfile_password(b"", "h", 1, "d", "u"), None);
}

#[test]
fn any_short_text_is_read_or_refused() {
    for text in sluice_check::exhaustive(b"a='\\ ", 7) {
        let _ = parse(std::str::from_utf8(&text).unwrap());
    }
    for text in sluice_check::exhaustive(b"a%2:@/?=[&", 5) {
        let _ = parse(&format!("postgresql://{}", std::str::from_utf8(&text).unwrap()));
    }
    for text in sluice_check::exhaustive(b"*:\\h\n", 6) {
        let _ = passfile_password(&text, "h", 1, "h", "h");
    }
    assert!(
        KEYWORDS
            .iter()
            .all(|(keyword, ..)| KEYWORDS.iter().filter(|(other, ..)| keyword == other).count() == 1)
    );
}
