//! The grammar of configuration files, line by line against the server's own scanner (`pg_file_settings`).

use pgtune::conf::grammar::{Directive, directives};
use sluice_check::{Rng, exhaustive};
use sluice_tests::Postgres;
use std::collections::BTreeMap;
use std::fs;

/// Lines at a time, each in a file of its own, included on its own: when asked, the server gives up on a file, and on a
/// directory, after its first error.
const LINES: usize = 1000;

#[test]
fn lines_mean_what_they_mean_to_the_server() {
    let postgres = Postgres::start();
    let directory = postgres.data_directory().join("lines");
    fs::create_dir(&directory).unwrap();
    let main = postgres.data_directory().join("postgresql.conf");
    let includes: String = (0..LINES).map(|n| format!("include_if_exists 'lines/{n}.conf'\n")).collect();
    fs::write(&main, fs::read_to_string(&main).unwrap() + &includes).unwrap();
    let mut client = postgres.superuser();

    // Every value of up to four of these, and longer ones at random; zero bytes and newlines are left to other tests.
    const PIECES: [&str; 20] = [
        "a", "x", "0", "1", ".", "'", "\\", "#", " ", "-", "+", "e", "E", ":", "/", "_", "=", "\t", "ä", "k",
    ];
    let mut rng = Rng::new(7);
    let mut long = Vec::new();
    for _ in 0..2000 {
        let len = rng.between(5, 12);
        long.push((0..len).map(|_| PIECES[rng.below(PIECES.len())]).collect::<String>().into_bytes());
    }
    let values: Vec<Vec<u8>> = exhaustive(b"a1.'\\# -e", 4).chain(long).collect();
    for values in values.chunks(LINES) {
        let mut ours = BTreeMap::new();
        for (number, value) in values.iter().enumerate() {
            // A name of its own for each line, or the server would report the last value only.
            let sign = ["=", " ", "\t= "][number % 3];
            let line = [format!("N{number}.x{sign}").as_bytes(), value].concat();
            fs::write(directory.join(format!("{number}.conf")), &line).unwrap();
            ours.insert(number, (meaning(&line), line));
        }
        let rows = client.rows(
            "SELECT substring(sourcefile from '([0-9]+).conf$'), error, encode(convert_to(setting, 'UTF8'), 'hex') \
             FROM pg_file_settings WHERE sourcefile LIKE '%/lines/%'",
        );
        for row in rows {
            let theirs = (row[1] != "syntax error").then(|| row[2].clone());
            let (ours, line) = ours.remove(&row[0].parse().unwrap()).unwrap();
            assert_eq!(ours, theirs, "{}", line.escape_ascii());
        }
        assert!(ours.is_empty(), "{ours:?}");
        (0..LINES).for_each(|n| drop(fs::remove_file(directory.join(format!("{n}.conf")))));
    }
}

/// The value of a line in hexadecimal digits, or None for a syntax error.
fn meaning(line: &[u8]) -> Option<String> {
    match directives(line).next().unwrap().1 {
        Ok(Directive::Set { value, .. }) => Some(value.iter().map(|byte| format!("{byte:02x}")).collect()),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    }
}
