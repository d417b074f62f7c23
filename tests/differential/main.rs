//! Our reading of HTTP against another's: llhttp, the parser of Node.js, on valid and mutated streams.
//!
//! Two properties. What both take means the same to both: method, target, fields, content, and how many messages there
//! are. And what we send on, llhttp takes, and reads as we meant it: there is no message that passes us and is then
//! understood otherwise. Where one refuses what the other takes, the reason must be in a table (`disagreements`).

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of a test report by panicking, as tests do"
)]

mod corpus;
mod disagreements;
mod llhttp;
mod ours;

use std::collections::BTreeMap;
use std::fmt;

use sluice_check::{Rng, mutate_words};

use disagreements::{WE_REFUSE, they_refuse};
use llhttp::{Manner, Stream, Theirs};
use ours::{End, Ours};

const MUTANTS: usize = 20_000;

/// A message, as both sides tell it.
#[derive(Clone, PartialEq, Eq)]
struct Message {
    /// Version, then method and target, or status and reason.
    start: [Vec<u8>; 3],
    fields: Vec<Vec<u8>>,
    trailers: Vec<Vec<u8>>,
    content: Vec<u8>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.start[..], &self.fields, &self.trailers, std::slice::from_ref(&self.content)];
        parts.iter().try_for_each(|part| {
            f.write_str("[")?;
            part.iter().try_for_each(|text| write!(f, "{} | ", text.escape_ascii()))?;
            f.write_str("]")
        })
    }
}

/// Valid streams, and mutants of them.
fn streams(seed: u64, valid: &[Stream]) -> Vec<Stream> {
    let mut rng = Rng::new(seed);
    let mut streams = valid.to_vec();
    for _ in 0..MUTANTS {
        let mut stream = rng.pick(valid).unwrap().clone();
        mutate_words(&mut rng, &mut stream.bytes, &corpus::WORDS);
        streams.push(stream);
    }
    streams
}

/// Compares both readings of every stream; what is listed is counted, what is not fails.
fn compare(streams: &[Stream]) {
    let mut unlisted = Vec::new();
    let mut counts = BTreeMap::new();
    let (manner, readings) = llhttp::read(streams);
    for (stream, theirs) in streams.iter().zip(readings) {
        match judge(manner, &ours::read(stream), &theirs) {
            Ok(verdict) => *counts.entry(verdict).or_insert(0) += 1,
            Err(text) => unlisted.push(format!("{text}\n    {}", stream.bytes.escape_ascii())),
        }
    }
    println!("{counts:#?}");
    let shown = unlisted.iter().take(20).cloned().collect::<Vec<_>>();
    assert!(unlisted.is_empty(), "{} unlisted disagreements, such as\n{}", unlisted.len(), shown.join("\n"));
    assert!(
        counts.get("agree").is_some_and(|count| *count > streams.len() / 10),
        "the mutants teach nothing"
    );
}

/// Agreement or a listed disagreement; the text of one that is not.
fn judge(manner: Manner, ours: &Ours, theirs: &Theirs) -> Result<String, String> {
    for (number, (mine, other)) in ours.messages.iter().zip(&theirs.messages).enumerate() {
        if mine != other {
            return Err(format!("message {number} means\n    {mine:?} to us and\n    {other:?} to them"));
        }
    }
    if ours.messages.len() > theirs.messages.len() {
        // Behind an offer to switch llhttp reads no further.
        if ours.switched.is_some_and(|at| at < theirs.messages.len()) {
            return Ok("they stop at an upgrade".to_owned());
        }
        let code = theirs.error.as_deref().unwrap_or("nothing");
        // Before version 9 the length of a 304 without content is remembered, and the end of the stream comes too soon.
        if manner == Manner::Lenient && code == "HPE_INVALID_EOF_STATE" {
            return Ok("they wait for content that a 304 has not".to_owned());
        }
        let missed = &ours.messages[theirs.messages.len()];
        return they_refuse(code, missed)
            .map(|_| format!("they refuse: {code}"))
            .ok_or_else(|| format!("we take what they refuse with {code}: {missed:?}"));
    }
    if ours.messages.len() < theirs.messages.len() {
        return match ours.end {
            End::Fault(fault) if WE_REFUSE.iter().any(|(listed, _)| *listed == fault) => {
                Ok(format!("we refuse: {fault:?}"))
            }
            End::Fault(_) | End::Incomplete if manner == Manner::Lenient => Ok("they are lenient".to_owned()),
            End::Last => Ok("we stop at the last message".to_owned()),
            end => Err(format!(
                "they take what ends for us with {end:?}: {:?}",
                theirs.messages[ours.messages.len()]
            )),
        };
    }
    Ok("agree".to_owned())
}

/// What we send on for each stream: they must take it whole and read the same.
fn compare_forwarded(streams: &[Stream]) {
    let sent: Vec<Stream> = streams.iter().flat_map(ours::send_on).collect();
    assert!(sent.len() > streams.len() / 10);
    let (_, readings) = llhttp::read(&sent);
    for (stream, theirs) in sent.iter().zip(readings) {
        let ours = ours::read(stream);
        assert_eq!(ours.messages.len(), 1, "{}", stream.bytes.escape_ascii());
        if theirs.messages != ours.messages {
            let code = theirs.error.as_deref().unwrap_or("nothing");
            assert!(
                theirs.messages.is_empty() && they_refuse(code, &ours.messages[0]).is_some(),
                "{code}: {:?} is for them {:?}",
                ours.messages,
                theirs.messages
            );
        }
    }
}

#[test]
fn requests() {
    compare(&streams(1, &corpus::requests()));
}

#[test]
fn responses() {
    compare(&streams(2, &corpus::responses()));
}

#[test]
fn requests_that_are_sent_on() {
    compare_forwarded(&streams(3, &corpus::requests()));
}

#[test]
fn responses_that_are_sent_on() {
    compare_forwarded(&streams(4, &corpus::responses()));
}
