use super::*;

const NUMBER: Kind = Kind::Int { min: -1, max: 100 };
const SIZE: Kind = Kind::Bytes { min: 0, max: 1 << 31 };

fn shown(kind: Kind, text: &str) -> Option<String> {
    kind.parse(text).ok().map(|value| value.to_string())
}

fn takes(kind: Kind, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(shown(kind, text).as_deref(), Some(*expected), "{kind:?} {text:?}");
        assert_eq!(shown(kind, expected).as_deref(), Some(*expected), "{kind:?} reads back what it shows");
    }
}

fn refuses(kind: Kind, cases: &[&str]) {
    for text in cases {
        assert_eq!(shown(kind, text), None, "{kind:?} {text:?}");
    }
}

#[test]
fn whole_numbers() {
    takes(NUMBER, &[("0", "0"), ("7", "7"), ("+7", "7"), ("-1", "-1"), ("100", "100")]);
    takes(NUMBER, &[("0x1f", "31"), ("0X1F", "31"), ("010", "8"), ("-0x1", "-1"), ("00", "0")]);
    refuses(
        NUMBER,
        &["", "-", "+", "101", "-2", "1.0", "08", "0x", "0xg", "1 2", "1a", "--1", "0x-1", "+-1", " 1"],
    );
    refuses(NUMBER, &["99999999999999999999", "99999999999999999999999999999999999999999999", "\u{661}"]);
}

#[test]
fn permissions() {
    takes(
        Kind::Mode,
        &[("0660", "0660"), ("660", "0660"), ("0", "0000"), ("7777", "7777"), ("00660", "0660")],
    );
    refuses(
        Kind::Mode,
        &["", "+660", "-1", "0o660", "0x1b0", "668", "10000", "rw", "6 6 0", "77777777777777"],
    );
    assert_eq!(Kind::Mode.parse("0660"), Ok(Value::Mode(0o660)));
}

#[test]
fn truth() {
    takes(Kind::Bool, &[("1", "1"), ("0", "0"), ("2", "1"), ("-1", "1"), ("0x0", "0")]);
    takes(Kind::Bool, &[("on", "1"), ("OFF", "0"), ("True", "1"), ("false", "0"), ("yes", "1"), ("no", "0")]);
    refuses(Kind::Bool, &["", "o", "maybe", "onn", "1.0"]);
}

#[test]
fn seconds() {
    takes(Kind::Seconds, &[("0", "0"), ("15", "15"), ("3600.0", "3600"), ("0.5", "0.5"), (".25", "0.25")]);
    takes(Kind::Seconds, &[("1e2", "100"), ("0.1", "0.1"), ("2147483647", "2147483647"), ("-0", "0")]);
    takes(
        Kind::Seconds,
        &[("250ms", "0.25"), ("1 us", "0.000001"), ("2min", "120"), ("1.5h", "5400"), ("1d", "86400")],
    );
    refuses(
        Kind::Seconds,
        &["", "-1", "2147483648", "inf", "nan", "s", "1 week", "1S", "1m", "1e", "infinity", "5 5"],
    );
}

#[test]
fn milliseconds() {
    takes(
        Kind::Milliseconds,
        &[("0", "0"), ("250", "250"), ("1s", "1000"), ("2147483647000", "2147483647000")],
    );
    refuses(Kind::Milliseconds, &["", "1.5", "-1", "2147483647001", "x"]);
}

#[test]
fn sizes() {
    takes(
        SIZE,
        &[("4096", "4096"), ("0x10", "16"), ("64kB", "65536"), ("1 MB", "1048576"), ("2GB", "2147483648")],
    );
    refuses(SIZE, &["", "kB", "-1", "1KB", "1mb", "3GB", "9223372036854775807GB", "1.5MB"]);
}

#[test]
fn words_of_an_enum() {
    let kind = Kind::Enum(&["session", "transaction"]);
    takes(kind, &[("session", "session"), ("TRANSACTION", "transaction")]);
    refuses(kind, &["", "trans", "session # x"]);
}

#[test]
fn lists() {
    let value = Kind::List.parse("a, b,,c d").unwrap();
    assert_eq!(value.words().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!(value.to_string(), "a, b,,c d");
    assert_eq!(Kind::List.parse("").unwrap().words().count(), 0);
    takes(
        Kind::Addresses,
        &[("*", "*"), ("127.0.0.1,::1", "127.0.0.1,::1"), ("fe80::1%eth0", "fe80::1%eth0"), ("", "")],
    );
    refuses(Kind::Addresses, &["* # all", "host;", "/tmp"]);
}

#[test]
fn errors_say_what_was_expected() {
    let of = |kind: Kind, text| kind.parse(text).unwrap_err().to_string();
    assert_eq!(of(NUMBER, "x"), "expected a whole number from -1 to 100");
    assert_eq!(of(Kind::Enum(&["a", "b"]), "xx"), "expected one of a, b");
}

const ROWS: Table = Table(&[
    Setting {
        name: "size",
        kind: NUMBER,
        default: Some("20"),
        reload: Reload::Yes,
        acted: Acted::Yes,
        also_in: &[],
        doc: "",
    },
    Setting {
        name: "file",
        kind: Kind::Text,
        default: None,
        reload: Reload::No,
        acted: Acted::NotYet,
        also_in: &[],
        doc: "",
    },
]);

#[test]
fn values_start_at_defaults_and_remember_who_set_them() {
    let mut values = Values::new(ROWS);
    assert_eq!(values.value("size"), &Value::Int(20));
    assert_eq!(values.value("file"), &Value::Unset);
    assert_eq!(values.origin("size"), Origin::Default);

    values.set("size", "30", Origin::File).unwrap();
    values.set("file", "f", Origin::Flag).unwrap();
    assert_eq!((values.value("size"), values.origin("size")), (&Value::Int(30), Origin::File));

    assert_eq!(values.set("siz", "1", Origin::File), Err(SetError::Unknown(Some("size"))));
    assert_eq!(values.set("Size", "1", Origin::File), Err(SetError::Unknown(Some("size"))));
    assert_eq!(values.set("colour", "1", Origin::File), Err(SetError::Unknown(None)));
    assert!(matches!(values.set("size", "x", Origin::File), Err(SetError::Invalid(_))));
    assert_eq!(values.value("size"), &Value::Int(30), "an error changes nothing");

    let other = Values::new(ROWS);
    values.reset();
    assert_eq!(values.value("size"), &Value::Int(20));
    assert_eq!(values.value("file"), &Value::Text("f".into()), "no default, so kept");
    values.copy("file", &other);
    assert_eq!(values.value("file"), &Value::Unset);
    assert_eq!(values.iter().map(|(row, ..)| row.name).collect::<Vec<_>>(), ["size", "file"]);
}

const MEMORY: Kind = Kind::Size { min: 4 << 10, max: 64 << 40 };
const CPUS: Kind = Kind::Decimal { min: 1, max: 4_096_000 };
const BUILD: Kind = Kind::Words(&["lz4", "zstd", "io_uring"]);

#[test]
fn sizes_with_units() {
    takes(MEMORY, &[("4096", "4096"), ("4kB", "4096"), ("4KB", "4096"), ("4k", "4096"), ("8192 B", "8192")]);
    takes(
        MEMORY,
        &[("1.5gb", "1610612736"), ("2 G", "2147483648"), ("64TB", "70368744177664"), ("1m", "1048576")],
    );
    takes(MEMORY, &[("4.0004kB", "4096"), ("0.0625g", "67108864"), ("64T", "70368744177664")]);
    refuses(
        MEMORY,
        &["", "0", "4095", "-4kB", "2XB", "kB", "1.5.5MB", "1e3MB", ".5GB", "5.GB", "4kBB", "64.001TB"],
    );
    refuses(MEMORY, &["99999999999999999999", "9223372036854775807TB", "1 G B", "\u{661}kB"]);
    let message = MEMORY.parse("2XB").unwrap_err().to_string();
    assert_eq!(message, "expected a size from 4kB to 64TB, with a unit: B kB MB GB TB (powers of 1024)");
}

#[test]
fn decimals() {
    takes(
        CPUS,
        &[
            ("1", "1"),
            ("1.5", "1.5"),
            ("0.001", "0.001"),
            ("4096", "4096"),
            ("1.3339", "1.333"),
            ("02.50", "2.5"),
        ],
    );
    refuses(
        CPUS,
        &["", "0", "0.0001", "-1", "+1", "4096.001", "1e2", "1,5", ".5", "nan", "99999999999999999999"],
    );
    let message = CPUS.parse("0").unwrap_err().to_string();
    assert_eq!(message, "expected a number from 0.001 to 4096");
}

#[test]
fn several_words() {
    takes(BUILD, &[("lz4", "lz4"), ("ZSTD, lz4", "zstd,lz4"), (" io_uring ,", "io_uring")]);
    refuses(BUILD, &["", ",", "lz4 lz5"]);
}

#[test]
fn the_nearest_word_is_named() {
    let near = |kind: Kind, text| kind.parse(text).unwrap_err().to_string();
    let shells = Kind::Enum(&["bash", "zsh", "fish"]);
    assert_eq!(near(shells, "fihs"), "expected one of bash, zsh, fish; the nearest is fish");
    assert_eq!(near(shells, "tclsh"), "expected one of bash, zsh, fish");
    assert_eq!(
        near(BUILD, "lz4,zst"),
        "expected some of lz4, zstd, io_uring, separated by commas; the nearest is zstd"
    );
}
