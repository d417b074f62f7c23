//! All short sequences of messages, each held against the reference, with somebody else's statements on the same
//! server; and the same bytes in one piece and one by one.

use std::collections::BTreeMap;

use sluice_check::{Rng, exhaustive};
use sluice_wire::pg::frontend::KIND_STATEMENT;

use crate::generate::{Generator, Repertoire, Request};
use crate::plan::Plan;
use crate::trace::Trace;
use crate::world::{Action, Portions, World};

const EVERYTHING: Repertoire = Repertoire {
    transactions: true,
    copies: true,
    parameters: true,
    discards: true,
    names: true,
    bulk: true,
    impostors: false,
};

/// One message of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Letter {
    Parse(&'static str),
    Bind(&'static str),
    Describe(&'static str),
    Close(&'static str),
    Execute,
    Sync,
    Query,
    Flush,
}

use Letter::{Bind, Close, Describe, Execute, Flush, Parse, Query, Sync};

const LETTERS: [Letter; 12] = [
    Parse(""),
    Parse("a"),
    Bind(""),
    Bind("a"),
    Describe(""),
    Describe("a"),
    Close(""),
    Close("a"),
    Execute,
    Sync,
    Query,
    Flush,
];

impl Letter {
    fn write(self, request: &mut Request, number: usize) {
        match self {
            // Two texts, so that a name means now this, now that; one of them is the other client's as well.
            Parse(name) => request.parse(name, ["select shared", "select mine"][number % 2]),
            Bind(name) => request.bind("", name, &[]),
            Describe(name) => request.describe(KIND_STATEMENT, name),
            Close(name) => request.close(KIND_STATEMENT, name),
            Execute => request.execute("", 0),
            Sync => request.sync(),
            Query => request.query(&format!("select c1.{number}")),
            Flush => request.flush(),
        }
    }
}

/// A transaction-mode pool of one server and two clients that share it.
fn pair() -> World {
    let mut world = World::with_plan(Plan::small(EVERYTHING), Rng::new(1), Trace::default());
    world.portions = Portions::Whole;
    world.add_client();
    world.add_client();
    world.run_dry();
    world
}

fn say(world: &mut World, at: usize, request: &Request) {
    let accepted = world.clients.get_mut(&at).expect("the client is here");
    accepted.client.as_mut().expect("with a session").say(request);
    accepted.up.extend_from_slice(&request.bytes);
}

/// How much of a sequence is sent before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    AllAtOnce,
    OneByOne,
}

fn try_all(before: &str, pace: Pace) {
    let mut world = pair();
    let length = 4;
    for (number, letters) in exhaustive(&LETTERS, length).enumerate() {
        // The other client leaves statements of its own behind.
        let mut other = Request::default();
        other.parse("", "select theirs");
        other.parse("a", "select shared");
        other.bind("", "a", &[]);
        other.close(KIND_STATEMENT, "a");
        other.sync();
        say(&mut world, 2, &other);
        world.run_fast();
        let mut request = Request::default();
        if !before.is_empty() {
            request.query(before);
        }
        for (at, letter) in letters.iter().enumerate() {
            letter.write(&mut request, number + at);
            if pace == Pace::OneByOne {
                say(&mut world, 1, &std::mem::take(&mut request));
                world.run_fast();
            }
        }
        request.sync();
        request.query("rollback");
        request.close(KIND_STATEMENT, "a");
        if number % 3 > 0 {
            request.close(KIND_STATEMENT, "");
        }
        request.sync();
        say(&mut world, 1, &request);
        world.run_fast();
        for accepted in world.clients.values_mut() {
            let client = accepted.client.as_mut().expect("with a session");
            assert!(client.is_settled(), "{letters:?} after {before:?}, {pace:?}: not answered in full");
        }
    }
}

#[test]
fn all_short_sequences_are_answered_as_by_a_server_of_ones_own() {
    try_all("", Pace::AllAtOnce);
}

#[test]
fn so_they_are_message_by_message() {
    try_all("", Pace::OneByOne);
}

#[test]
fn so_they_are_in_a_failed_transaction() {
    try_all("begin;fail c1.0", Pace::AllAtOnce);
}

/// Everything that was sent to each connection while one client made its requests, one after the other.
fn sent(seed: u64, portions: Portions) -> BTreeMap<String, Vec<u8>> {
    let mut world = World::with_plan(Plan::small(EVERYTHING), Rng::new(seed), Trace::default());
    world.portions = portions;
    world.record = Some(BTreeMap::new());
    world.add_client();
    world.run_dry();
    let mut rng = Rng::new(seed);
    let mut generator = Generator::new(1, EVERYTHING);
    for _ in 0..20 {
        let accepted = world.clients.get(&1).filter(|c| !c.port.closing);
        if accepted.and_then(|c| c.client.as_ref()).is_none_or(|client| !client.is_here()) {
            break;
        }
        let request = generator.request(&mut rng);
        say(&mut world, 1, &request);
        world.run_dry();
    }
    world.record.take().unwrap_or_default()
}

fn compare(seed: u64, one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>, whose: &str) {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>(), "seed {seed}");
    for (to, bytes) in one.iter().filter(|(to, _)| to.starts_with(whose)) {
        let other = &other[to];
        let same = bytes.iter().zip(other).take_while(|(a, b)| a == b).count();
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[same.saturating_sub(100)..]).replace('\0', ".");
        assert!(bytes == other, "seed {seed}: {to} was sent\n{}\nor\n{}", text(bytes), text(other));
    }
}

#[test]
fn pieces_make_no_difference() {
    for seed in 0..40 {
        let whole = sent(seed, Portions::Whole);
        compare(seed, &whole, &sent(seed, Portions::SingleOfClients), "");
        // A client's next message may be looked at between two messages of a server, so servers may see another order.
        compare(seed, &whole, &sent(seed, Portions::SingleOfServers), "Client");
    }
}

impl World {
    /// Goes on until nothing moves.
    fn run_fast(&mut self) {
        loop {
            let mut moved = false;
            for action in self.actions(false) {
                moved |= self.act(action);
            }
            if !moved {
                return;
            }
        }
    }

    /// Goes on, always in the same order, until nothing moves.
    fn run_dry(&mut self) {
        for _ in 0..1_000_000 {
            let mut moved = false;
            // A request arrives whole before it is answered, so that pieces are the only difference.
            let mut actions = self.actions(false);
            actions.sort_by_key(|action| match action {
                Action::ReadClient(_) => 0,
                Action::SendServer(_) | Action::Connect(_) => 1,
                Action::StepServer(_) => 2,
                Action::ReadServer(_) => 3,
                Action::SendClient(_) | Action::Speak(_) | Action::Derive(_) => 4,
            });
            for action in actions {
                if self.act(action) {
                    moved = true;
                    break;
                }
            }
            if !moved {
                return;
            }
        }
        panic!("no end");
    }
}
