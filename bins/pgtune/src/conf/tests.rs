//! The grammar by example, and trees of files.

use super::grammar::{Directive, SyntaxError, directives};
use super::*;
use std::fs;
use std::path::Path;

fn one(line: &str) -> Result<Directive, SyntaxError> {
    directives(line.as_bytes()).next().unwrap_or_else(|| panic!("{line:?} is blank")).1
}

fn set(name: &str, value: &str) -> Result<Directive, SyntaxError> {
    Ok(Directive::Set { name: name.to_owned(), value: value.as_bytes().to_vec() })
}

#[test]
fn settings_in_every_form() {
    for (line, name, value) in [
        ("work_mem = 4MB", "work_mem", "4MB"),
        ("work_mem=4MB", "work_mem", "4MB"),
        ("work_mem 4MB", "work_mem", "4MB"),
        ("work_mem'4MB'", "work_mem", "4MB"),
        ("  WORK_mem\t=\t4MB # why\r", "work_mem", "4MB"),
        ("work_mem = 4MB#why", "work_mem", "4MB"),
        ("work_mem = '4 MB # no comment'", "work_mem", "4 MB # no comment"),
        ("a.b_1 = on", "a.b_1", "on"),
        ("x = 'it''s'", "x", "it's"),
        (r"x = 'it\'s\\ \t\101\7778\q'", "x", "it's\\ \tA\u{fffd}8q"),
        ("x = ''", "x", ""),
        ("x = -1", "x", "-1"),
        ("x = +0x1Fkb", "x", "+0x1Fkb"),
        ("x = .5", "x", ".5"),
        ("x = 1.", "x", "1."),
        ("x = 1.5e-3", "x", "1.5e-3"),
        ("x = a-b/c:d.e", "x", "a-b/c:d.e"),
        ("x = a..b", "x", "a..b"),
        ("größe = 1", "größe", "1"),
        ("include_x = 1", "include_x", "1"),
    ] {
        let found = one(line).map(|directive| match directive {
            Directive::Set { name, value } => (name, String::from_utf8_lossy(&value).into_owned()),
            other => panic!("{line}: {other:?}"),
        });
        assert_eq!(found, Ok((name.to_owned(), value.to_owned())), "{line}");
    }
}

#[test]
fn what_is_no_setting() {
    for (line, error) in [
        ("= 1", SyntaxError::Name),
        ("1x = 1", SyntaxError::Name),
        ("'x' = 1", SyntaxError::Name),
        ("x-y = 1", SyntaxError::Name),
        ("x", SyntaxError::Value),
        ("x =", SyntaxError::Value),
        ("x = # 1", SyntaxError::Value),
        ("x == 1", SyntaxError::Value),
        ("x = a.b", SyntaxError::Value),
        ("x = 'open", SyntaxError::Value),
        (r"x = 'open\'", SyntaxError::Value),
        ("x = $1", SyntaxError::Value),
        ("x = 1.5GB", SyntaxError::Trailing),
        ("x = 1 2", SyntaxError::Trailing),
        ("x = 1, 2", SyntaxError::Trailing),
        ("x = 1e5", SyntaxError::Trailing),
        ("x = 'a' 'b'", SyntaxError::Trailing),
        ("x = 1;", SyntaxError::Trailing),
        ("include ''", SyntaxError::NoFile),
        ("x = 'a\0b'", SyntaxError::ZeroByte),
        (r"x = 'a\0b'", SyntaxError::ZeroByte),
    ] {
        assert_eq!(one(line), Err(error), "{line}");
    }
    for line in ["", "  \t\r", "# x = 1", "  #"] {
        assert_eq!(directives(line.as_bytes()).count(), 0, "{line:?}");
    }
}

#[test]
fn includes_and_lines() {
    assert_eq!(one("INCLUDE 'x.conf'"), Ok(Directive::Include(b"x.conf".to_vec())));
    assert_eq!(one("include_if_exists = x.conf"), Err(SyntaxError::Value));
    assert_eq!(one("include_if_exists = 'x.conf'"), Ok(Directive::IncludeIfExists(b"x.conf".to_vec())));
    assert_eq!(one("include_dir conf_d"), Ok(Directive::IncludeDir(b"conf_d".to_vec())));
    let text = b"a = 1\n\nb = =\nc = 2";
    let found: Vec<_> = directives(text).collect();
    assert_eq!(found, [(1, set("a", "1")), (3, Err(SyntaxError::Value)), (4, set("c", "2"))]);
}

/// A directory with these files.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

fn settings(directory: &tempfile::TempDir) -> Result<FileSettings, ConfError> {
    read(&directory.path().join("postgresql.conf"))
}

/// The fault, with the directory's own name cut out.
fn fault(directory: &tempfile::TempDir) -> String {
    let text = settings(directory).unwrap_err().to_string();
    text.replace(&format!("{}/", directory.path().display()), "")
}

fn value(found: &FileSettings, name: &str) -> (String, String, u32) {
    let entry = found.effective(name).unwrap_or_else(|| panic!("no {name}"));
    let file = entry.place.file.file_name().unwrap().to_string_lossy().into_owned();
    (entry.value.clone(), file, entry.place.line)
}

#[test]
fn the_last_line_counts_wherever_it_stands() {
    let files = tree(&[
        (
            "postgresql.conf",
            "a = 1\nb = 1\nc = 1\nA = 2\ninclude 'sub/one.conf'\nc = 3\ninclude_dir = 'conf.d'\nd = 1\n",
        ),
        ("sub/one.conf", "b = 2\nc = 2\ninclude 'two.conf'\n"),
        ("sub/two.conf", "b = 3\n"),
        ("conf.d/10_x.conf", "d = 2\ne = 1\n"),
        ("conf.d/9_x.conf", "e = 2\n"),
        ("conf.d/B.conf", "f = 1\n"),
        ("conf.d/a.conf", "f = 2\nsort_mem = 1\n"),
        ("conf.d/.hidden.conf", "e = 3\n"),
        ("conf.d/x.conf.bak.1", "e = 4\n"),
        ("conf.d/dir.conf/x", "e = 5\n"),
        (AUTO_CONF, "d = 9\n"),
    ]);
    let found = settings(&files).unwrap();
    let of = |name| value(&found, name);
    assert_eq!(of("a"), ("2".to_owned(), "postgresql.conf".to_owned(), 4));
    assert_eq!(of("b"), ("3".to_owned(), "two.conf".to_owned(), 1));
    assert_eq!(of("c"), ("3".to_owned(), "postgresql.conf".to_owned(), 6));
    assert_eq!(of("d"), ("9".to_owned(), AUTO_CONF.to_owned(), 1));
    assert_eq!(of("e"), ("2".to_owned(), "9_x.conf".to_owned(), 1));
    assert_eq!(of("f"), ("2".to_owned(), "a.conf".to_owned(), 1));
    assert_eq!(of("work_mem"), ("1".to_owned(), "a.conf".to_owned(), 2));
    assert_eq!(found.effective("g"), None);
    let [directory] = &found.directories[..] else { panic!() };
    assert_eq!(directory.path, files.path().join("conf.d"));
    assert_eq!(found.entries[directory.end].name, "d");
}

#[test]
fn auto_conf_is_looked_for_in_the_data_directory() {
    let files = tree(&[("etc/postgresql.conf", ""), ("data/postgresql.auto.conf", "a = 2\n")]);
    let main = files.path().join("etc/postgresql.conf");
    assert_eq!(read(&main).unwrap().entries, []);
    assert_eq!(read(&main).unwrap().data_directory, files.path().join("etc"));
    fs::write(&main, format!("a = 1\ndata_directory = '{}'\n", files.path().join("data").display())).unwrap();
    assert_eq!(value(&read(&main).unwrap(), "a"), ("2".to_owned(), AUTO_CONF.to_owned(), 1));
}

#[test]
fn faults_name_file_and_line() {
    let files = |main: &str, other: &str| tree(&[("postgresql.conf", main), ("x.conf", other)]);
    assert_eq!(fault(&files("\na b c\n", "")), "postgresql.conf:2: syntax error behind the value");
    assert_eq!(
        fault(&files("include 'x.conf'\n", "\n\n'")),
        "x.conf:3: syntax error: a line begins with a name"
    );
    let missing = fault(&files("a = 1\ninclude 'y.conf'\n", ""));
    assert!(missing.starts_with("postgresql.conf:2: could not read y.conf: No such file"), "{missing}");
    let missing = fault(&files("include_dir 'y'\n", ""));
    assert!(missing.starts_with("postgresql.conf:1: could not read y: No such file"), "{missing}");
    assert!(settings(&files("include_if_exists 'y.conf'\n", "")).is_ok());
    assert_eq!(
        fault(&files("include 'x.conf'", "include 'postgresql.conf'")),
        "x.conf:1: postgresql.conf includes itself"
    );
    assert_eq!(fault(&files("include '.'", "")), "postgresql.conf:1: . is not a file");
    assert!(
        read(Path::new("/nowhere/postgresql.conf"))
            .unwrap_err()
            .to_string()
            .starts_with("could not read /nowhere/postgresql.conf: ")
    );
}

#[test]
fn a_pipe_is_not_waited_for() {
    let files = tree(&[("postgresql.conf", "include 'pipe.conf'\n")]);
    let made = std::process::Command::new("mkfifo").arg(files.path().join("pipe.conf")).status();
    assert!(made.unwrap().success());
    assert_eq!(fault(&files), "postgresql.conf:1: pipe.conf is not a file");
    fs::write(files.path().join("postgresql.conf"), "").unwrap();
    fs::rename(files.path().join("pipe.conf"), files.path().join(AUTO_CONF)).unwrap();
    assert_eq!(fault(&files), "postgresql.conf: postgresql.auto.conf is not a file");
}

#[test]
fn depth_and_number_at_and_beyond_their_limits() {
    let chain = |depth: usize| {
        let names: Vec<String> = (1..=depth).map(|n| format!("{n}.conf")).collect();
        let next = |n: usize| names.get(n).map_or_else(String::new, |name| format!("include '{name}'\n"));
        let files = tree(&[("postgresql.conf", &next(0))]);
        for (n, name) in names.iter().enumerate() {
            fs::write(files.path().join(name), next(n + 1)).unwrap();
        }
        files
    };
    assert!(settings(&chain(DEPTH_MAX)).is_ok());
    assert_eq!(fault(&chain(DEPTH_MAX + 1)), "10.conf:1: more than 10 files include each other");

    // Every file includes the next one ten times: ten billion without a limit.
    let files = chain(DEPTH_MAX);
    for n in 0..DEPTH_MAX {
        let name = if n == 0 { "postgresql.conf".to_owned() } else { format!("{n}.conf") };
        fs::write(files.path().join(name), format!("include '{}.conf'\n", n + 1).repeat(10)).unwrap();
    }
    assert!(fault(&files).ends_with("more than 1000 files, 100000 settings or 16777216 bytes in all"));
    let many = |count: usize| {
        tree(&[("postgresql.conf", &"include 'x.conf'\n".repeat(count)), ("x.conf", "a = 1\n")])
    };
    assert!(settings(&many(FILES_MAX - 1)).is_ok());
    assert!(settings(&many(FILES_MAX)).is_err());

    let lines = |count: usize| tree(&[("postgresql.conf", &"a=1\n".repeat(count))]);
    assert!(settings(&lines(ENTRIES_MAX)).is_ok());
    assert!(fault(&lines(ENTRIES_MAX + 1)).starts_with("postgresql.conf:100001: more than"));

    let long = |len: usize| tree(&[("postgresql.conf", "include 'x.conf'\n"), ("x.conf", &"#".repeat(len))]);
    let own = "include 'x.conf'\n".len();
    assert!(settings(&long(BYTES_MAX - own)).is_ok());
    assert!(settings(&long(BYTES_MAX - own + 1)).is_err());
}
