use super::*;

fn items(text: &str) -> Result<Vec<(u32, Item)>, (u32, &'static str)> {
    Ini::of_bytes(Path::new("f"), text.as_bytes().to_vec())
        .map(|line| match line {
            Ok(Line { place, item }) => Ok((place.line, item)),
            Err(IniError { place, fault: Fault::Syntax(what) }) => Err((place.line, what)),
            Err(other) => panic!("{other:?}"),
        })
        .collect()
}

fn entry(key: &str, value: &str) -> Item {
    Item::Entry { key: key.into(), value: value.into() }
}

fn one(text: &str) -> Item {
    let mut items = items(text).unwrap();
    assert_eq!(items.len(), 1, "{text:?}");
    items.remove(0).1
}

#[test]
fn every_form_of_line() {
    let text = "\n  \t\r\n# c\n  ; c\n[pgbouncer]\r\n a=1\nb  =  two words  \r\nc=\nd = x # y\n*.a-b_1 = 'q'";
    let expected = [
        (5, Item::Section("pgbouncer".into())),
        (6, entry("a", "1")),
        (7, entry("b", "two words")),
        (8, entry("c", "")),
        (9, entry("d", "x # y")),
        (10, entry("*.a-b_1", "'q'")),
    ];
    assert_eq!(items(text).unwrap(), expected);
}

#[test]
fn quoted_keys() {
    assert_eq!(one("'a b' = 1"), entry("a b", "1"));
    assert_eq!(one("\"a 'b\"=1"), entry("a 'b", "1"));
    assert_eq!(one("'it''s' = 1"), entry("it's", "1"));
    assert_eq!(one("\"a\"\"b\" = 1"), entry("a\"b", "1"));
    assert_eq!(one("'' = 1"), entry("", "1"));
    assert_eq!(one("'''' = 1"), entry("'", "1"));
}

#[test]
fn bad_lines_are_named() {
    for (text, line) in [
        ("key", 1),
        ("key value", 1),
        ("= 1", 1),
        ("\n\n$a = 1", 3),
        ("k\u{e9}y = 1", 1),
        ("'a = 1", 1),
        ("'a'' = 1", 1),
        ("\"a' = 1", 1),
        ("[a", 1),
        ("[a] b", 1),
        ("%includefile", 1),
        ("%include", 1),
        ("%include  ", 1),
        ("%other x", 1),
        ("a = \0", 1),
        ("\u{feff}a = 1", 1),
    ] {
        assert_eq!(items(text).map_err(|(line, _)| line), Err(line), "{text:?}");
    }
}

#[test]
fn nothing_follows_an_error() {
    let mut ini = Ini::of_bytes(Path::new("f"), b"a = 1\nbad\nb = 2".to_vec());
    assert!(ini.next().unwrap().is_ok());
    assert!(ini.next().unwrap().is_err());
    assert!(ini.next().is_none());
}

#[test]
fn only_comments_may_be_in_any_encoding() {
    let of = |bytes: &[u8]| Ini::of_bytes(Path::new("f"), bytes.to_vec()).collect::<Result<Vec<_>, _>>();
    assert_eq!(of(b"# caf\xe9\na = 1").unwrap().len(), 1);
    assert!(of(b"a = caf\xe9").is_err());
}

#[test]
fn comments_behind_values() {
    fn of(value: &str) -> Vec<&str> {
        without_comment(value).collect()
    }
    assert_eq!(of("a # b"), ["a"]);
    assert_eq!(of("a \t; b # c"), ["a", "a \t; b"]);
    assert_eq!(of("a b #"), ["a b"]);
    assert_eq!(of("# a"), [""]);
    for whole in ["", "a", "a#b", "a;b"] {
        assert!(of(whole).is_empty(), "{whole:?}");
    }
    assert_eq!(of(&" #".repeat(COMMENTS)).len(), COMMENTS);
    assert_eq!(of(&" #".repeat(COMMENTS + 1)).len(), COMMENTS);
}

/// A directory of files `0`, `1`, … of which each includes the next.
fn chain(files: usize) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for n in 0..files {
        let include = if n + 1 < files { format!("%include {}\n", n + 1) } else { String::new() };
        std::fs::write(directory.path().join(n.to_string()), format!("a = {n}\n{include}z = {n}\n")).unwrap();
    }
    directory
}

#[test]
fn includes_nest_where_they_stand() {
    let directory = chain(2);
    let lines: Vec<_> = Ini::open(&directory.path().join("0")).unwrap().map(Result::unwrap).collect();
    let values: Vec<_> = lines.iter().map(|line| (line.place.line, line.item.clone())).collect();
    assert_eq!(
        values,
        [(1, entry("a", "0")), (1, entry("a", "1")), (2, entry("z", "1")), (3, entry("z", "0"))]
    );
    assert!(lines[1].place.file.ends_with("1"), "a place names the file it is in");
}

#[test]
fn include_depth_has_a_limit() {
    let read = |files| {
        let directory = chain(files);
        Ini::open(&directory.path().join("0")).unwrap().collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(read(1 + INCLUDE_DEPTH).unwrap().len(), 2 * (1 + INCLUDE_DEPTH));
    let error = read(2 + INCLUDE_DEPTH).unwrap_err();
    assert!(matches!(error.fault, Fault::TooDeep));
    assert!(error.place.to_string().ends_with("/10:2"), "{}", error.place);
}

#[test]
fn a_file_including_itself_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("self");
    std::fs::write(&path, "%include self\n").unwrap();
    let read: Result<Vec<_>, _> = Ini::open(&path).unwrap().collect();
    assert!(matches!(read.unwrap_err().fault, Fault::TooDeep));
}

#[test]
fn what_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    assert!(matches!(Ini::open(&missing).unwrap_err().fault, Fault::Unreadable(path, _) if path == missing));
    assert!(matches!(Ini::open(directory.path()).unwrap_err().fault, Fault::Unreadable(..)));

    let path = directory.path().join("f");
    std::fs::write(&path, "a = 1\n%include missing\n").unwrap();
    let error = Ini::open(&path).unwrap().collect::<Result<Vec<_>, _>>().unwrap_err();
    assert_eq!(error.place.line, 2);
    assert!(error.fault.to_string().contains("could not read missing: "), "{}", error.fault);
}

#[test]
fn file_size_has_a_limit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f");
    let file = File::create(&path).unwrap();
    file.set_len(FILE_BYTES).unwrap();
    assert!(read(&path).is_ok());
    file.set_len(FILE_BYTES + 1).unwrap();
    assert!(matches!(read(&path), Err(Fault::TooLong(_))));
}
