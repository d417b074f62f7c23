//! The pooler against PostgreSQL itself: whatever a client sends, both answer alike.

use crate::pool;
use sluice_check::Rng;
use sluice_tests::message::{bind, close, describe, execute, flush, parse, query, sync};
use sluice_tests::{Client, Failure, Pooler, Postgres};

/// The requests sequences are made of, with a short name each.
fn alphabet() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("parse", parse("", "SELECT 'unnamed'")),
        ("parse a", parse("a", "SELECT 'named'")),
        ("parse error", parse("a", "SELEKT")),
        ("bind", bind("", "", &[])),
        ("bind a", bind("", "a", &[])),
        ("bind ghost", bind("", "ghost", &[])),
        ("execute", execute("", 0)),
        ("describe a", describe(b'S', "a")),
        ("close a", close(b'S', "a")),
        ("close", close(b'S', "")),
        ("sync", sync()),
        ("flush", flush()),
        ("query", query("SELECT 'simple'")),
        ("query error", query("SELECT 1/0")),
        ("begin", query("BEGIN")),
        ("rollback", query("ROLLBACK")),
        ("deallocate", query("DEALLOCATE ALL")),
    ]
}

/// What a sequence makes a server say, in a form to compare: a line a message, errors by code and message.
fn answers(client: &mut Client, sequence: &[u8]) -> Result<Vec<String>, Failure> {
    client.send(&[sequence, &sync(), &query("ROLLBACK"), &query("SELECT 'the end'")].concat())?;
    let mut lines: Vec<String> = Vec::new();
    let mut ended = false;
    loop {
        let message = client.receive()?;
        match message.tag {
            b'S' | b'N' => continue,
            b'E' => lines.push(format!("E {} {}", message.error().code(), message.error().message())),
            tag => lines.push(format!("{} {}", tag as char, String::from_utf8_lossy(&message.body))),
        }
        ended |= message.tag == b'D' && message.body.ends_with(b"the end");
        if ended && message.tag == b'Z' {
            client.query("DEALLOCATE ALL")?;
            return Ok(lines);
        }
    }
}

/// Both sides of the comparison.
struct Pair {
    direct: Client,
    pooled: Client,
}

impl Pair {
    fn new(postgres: &Postgres, pooler: &Pooler) -> Pair {
        Pair {
            direct: postgres.login("alice", "postgres").connect().unwrap(),
            pooled: pooler.client("alice"),
        }
    }

    fn compare(&mut self, sequence: &[&(&str, Vec<u8>)]) {
        let names: Vec<&str> = sequence.iter().map(|(name, _)| *name).collect();
        let bytes: Vec<u8> = sequence.iter().flat_map(|(_, bytes)| bytes).copied().collect();
        let expected = answers(&mut self.direct, &bytes).unwrap();
        let found =
            answers(&mut self.pooled, &bytes).unwrap_or_else(|failure| panic!("{names:?}: {failure:?}"));
        assert_eq!(found, expected, "{names:?}");
    }
}

#[test]
fn every_sequence_of_three_messages() {
    let (postgres, pooler) = pool(1);
    let mut pair = Pair::new(&postgres, &pooler);
    let alphabet = alphabet();
    for first in &alphabet {
        for second in &alphabet {
            for third in &alphabet {
                pair.compare(&[first, second, third]);
            }
        }
    }
}

#[test]
fn random_longer_sequences_with_others_on_the_same_servers() {
    let (postgres, pooler) = pool(2);
    let mut pair = Pair::new(&postgres, &pooler);
    let mut other = pooler.client("alice");
    let alphabet = alphabet();
    let seed = std::env::var("SLUICE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut random = Rng::new(seed);
    for _ in 0..2000 {
        let sequence: Vec<_> =
            (0..4 + random.below(9)).map(|_| &alphabet[random.below(alphabet.len())]).collect();
        pair.compare(&sequence);
        let foreign =
            [parse("", "SELECT 'foreign'"), parse("a", "SELECT 'foreign too'"), close(b'S', "a"), sync()];
        other.exchange(&foreign.concat()).unwrap();
    }
}
