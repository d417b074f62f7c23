//! One client of the run: it asks in every way there is and knows the only right answer to each question.

use sluice_check::Rng;
use sluice_tests::message::{bind, close, execute, extended, flush, parse, query, sync, terminate};
use sluice_tests::{Client, Failure, Login};
use std::time::Instant;

/// Fails when it is executed, not before.
const DIVIDE_BY_ZERO: &str = "SELECT 1 / (pg_backend_pid() * 0)";

/// Why a client gave up: a wrong answer, or none.
#[derive(Debug)]
pub(crate) struct Stop {
    _client: u64,
    _doing: &'static str,
    _found: String,
}

/// What happened to the clients.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Right answers.
    pub(crate) answers: u64,
    /// Own queries that ended by their own cancel request.
    pub(crate) cancelled: u64,
    /// Connections lost because a server connection was killed.
    pub(crate) lost: u64,
    /// Connections given up in the middle of something.
    left: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.answers += other.answers;
        self.cancelled += other.cancelled;
        self.lost += other.lost;
        self.left += other.left;
    }
}

/// What may come of a step, beside success.
enum Trouble {
    /// The server connection died under the client; so it connects again.
    Lost,
    /// What must not happen.
    Wrong(String),
}

type Step = Result<(), Trouble>;

/// The client and what it must remember to know the right answers.
pub(crate) struct Asker {
    id: u64,
    login: Login,
    count: u64,
    prepared: [bool; 4],
    tally: Tally,
}

impl Asker {
    pub(crate) fn new(id: u64, login: Login) -> Asker {
        let login = login.parameter("application_name", &format!("asker {id}"));
        Asker { id, login, count: 0, prepared: [false; 4], tally: Tally::default() }
    }

    /// Asks until the deadline.
    pub(crate) fn run(mut self, random: &mut Rng, deadline: Instant) -> Result<Tally, Stop> {
        let mut client = None;
        while Instant::now() < deadline {
            let mut connected = match client.take() {
                Some(client) => client,
                None => self.connect()?,
            };
            let (doing, outcome) = self.step(&mut connected, random);
            match outcome {
                Ok(()) if random.chance(1, 40) => {
                    self.tally.left += 1;
                    self.leave(connected, random);
                }
                Ok(()) => client = Some(connected),
                Err(Trouble::Lost) => self.tally.lost += 1,
                Err(Trouble::Wrong(found)) => return Err(self.stop(doing, found)),
            }
        }
        if let Some(client) = client {
            client.terminate();
        }
        Ok(self.tally)
    }

    fn connect(&mut self) -> Result<Client, Stop> {
        self.prepared = [false; 4];
        // The very first logins wait for a server connection, which may be killed too.
        let mut outcome = self.login.connect();
        for _ in 0..3 {
            if !matches!(&outcome, Err(failure) if killed(failure)) {
                break;
            }
            outcome = self.login.connect();
        }
        outcome.map_err(|failure| self.stop("login", format!("{failure:?}")))
    }

    fn step(&mut self, client: &mut Client, random: &mut Rng) -> (&'static str, Step) {
        match random.below(12) {
            0 | 1 => ("simple query", self.simple(client)),
            2 => ("extended query", self.extended(client)),
            3 => ("unnamed statement, split", self.unnamed(client)),
            4 | 5 => ("named statement", self.named(client, random)),
            6 => ("pipeline", self.pipeline(client, random)),
            7 => ("error in a batch", self.error(client)),
            8 | 9 => ("transaction", self.transaction(client, random)),
            10 => ("cancel", self.cancel(client, random)),
            _ => ("copy", self.copy(client)),
        }
    }

    /// A text nobody else ever asks for.
    fn marker(&mut self) -> String {
        self.count += 1;
        format!("{}/{}", self.id, self.count)
    }

    fn simple(&mut self, client: &mut Client) -> Step {
        let marker = self.marker();
        let name = format!("asker {}", self.id);
        client
            .send(&query(&format!("SELECT '{marker}', current_setting('application_name')")))
            .map_err(trouble)?;
        let reply = client.reply().map_err(trouble)?;
        self.check(reply.rows() == [[marker, name]] && reply.tags() == "TDCZ", &reply)
    }

    fn extended(&mut self, client: &mut Client) -> Step {
        let marker = self.marker();
        self.ask(client, &[extended("SELECT $1::text", &[&marker]), sync()].concat(), "12TDCZ", &marker)
    }

    fn unnamed(&mut self, client: &mut Client) -> Step {
        let marker = self.marker();
        let parsed = [parse("", &format!("SELECT '{marker}'")), sync()].concat();
        self.ask(client, &parsed, "1Z", "")?;
        for _ in 0..2 {
            self.ask(client, &[bind("", "", &[]), execute("", 0), sync()].concat(), "2DCZ", &marker)?;
        }
        Ok(())
    }

    fn named(&mut self, client: &mut Client, random: &mut Rng) -> Step {
        let number = random.below(self.prepared.len());
        let name = format!("s{number}");
        if !self.prepared[number] {
            let text = format!("SELECT '{}/{number}/' || $1", self.id);
            self.ask(client, &[parse(&name, &text), sync()].concat(), "1Z", "")?;
            self.prepared[number] = true;
        }
        let marker = self.marker();
        let run = [bind("", &name, &[&marker]), execute("", 0), sync()].concat();
        self.ask(client, &run, "2DCZ", &format!("{}/{number}/{marker}", self.id))?;
        if random.chance(1, 8) {
            self.prepared[number] = false;
            self.ask(client, &[close(b'S', &name), sync()].concat(), "3Z", "")?;
            let reply = client.exchange(&[bind("", &name, &[&marker]), sync()].concat()).map_err(trouble)?;
            self.check(reply.tags() == "EZ" && reply.code() == "26000", &reply)?;
        }
        Ok(())
    }

    fn pipeline(&mut self, client: &mut Client, random: &mut Rng) -> Step {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..2 + random.below(5) {
            let marker = self.marker();
            match random.below(3) {
                0 => bytes.extend([extended("SELECT $1::text", &[&marker]), sync()].concat()),
                1 => bytes.extend(query(&format!("SELECT '{marker}'"))),
                _ => {
                    bytes.extend([extended(DIVIDE_BY_ZERO, &[]), extended("SELECT 1", &[]), sync()].concat());
                    expected.push(None);
                    continue;
                }
            }
            expected.push(Some(marker));
        }
        let split = random.below(bytes.len());
        client.send(&bytes[..split]).map_err(trouble)?;
        client.send(&bytes[split..]).map_err(trouble)?;
        for expected in expected {
            let reply = client.reply().map_err(trouble)?;
            let right = match &expected {
                Some(marker) => reply.value() == *marker,
                None => reply.tags() == "12TEZ" && reply.code() == "22012",
            };
            self.check(right, &(expected, reply))?;
        }
        Ok(())
    }

    fn error(&mut self, client: &mut Client) -> Step {
        let marker = self.marker();
        let batch = [extended("SELECT $1::text", &[&marker]), extended("SELECT no_such_column", &[]), sync()]
            .concat();
        let reply = client.exchange(&batch).map_err(trouble)?;
        let right = reply.tags() == "12TDCEZ" && reply.code() == "42703" && reply.value() == marker;
        self.check(right, &(marker, reply))?;
        self.simple(client)
    }

    fn transaction(&mut self, client: &mut Client, random: &mut Rng) -> Step {
        let marker = self.marker();
        let begin = client.query("BEGIN").map_err(trouble)?;
        self.check(begin.tags() == "CZ" && begin.status() == 'T', &begin)?;
        let before = client.query("SELECT current_setting('sluice.owner', true)").map_err(trouble)?;
        self.check(["", "NULL"].contains(&before.value().as_str()), &before)?;
        let set =
            client.query(&format!("SELECT set_config('sluice.owner', '{marker}', true)")).map_err(trouble)?;
        self.check(set.value() == marker, &(&marker, set))?;
        for _ in 0..random.below(4) {
            let asked = [extended("SELECT current_setting('sluice.owner')", &[]), sync()].concat();
            let reply = client.exchange(&asked).map_err(trouble)?;
            self.check(reply.value() == marker && reply.status() == 'T', &(&marker, reply))?;
        }
        if random.chance(1, 4) {
            let failed = client.query(DIVIDE_BY_ZERO).map_err(trouble)?;
            self.check(failed.code() == "22012" && failed.status() == 'E', &failed)?;
        }
        let ended = client.query("COMMIT").map_err(trouble)?;
        self.check(ended.status() == 'I', &ended)
    }

    fn cancel(&mut self, client: &mut Client, random: &mut Rng) -> Step {
        let marker = self.marker();
        let seconds = random.below(20) as f64 / 1000.0;
        client.send(&query(&format!("SELECT '{marker}' FROM pg_sleep({seconds})"))).map_err(trouble)?;
        client.cancel().map_err(|failure| Trouble::Wrong(format!("cancel request: {failure:?}")))?;
        let reply = client.reply().map_err(trouble)?;
        if reply.code() == "57014" {
            self.tally.cancelled += 1;
            return Ok(());
        }
        self.check(reply.value() == marker, &(marker, reply))
    }

    fn copy(&mut self, client: &mut Client) -> Step {
        let marker = self.marker();
        let reply = client.query(&format!("COPY (SELECT '{marker}') TO STDOUT")).map_err(trouble)?;
        let right = reply.tags() == "HdcCZ" && reply.messages[1].body == format!("{marker}\n").into_bytes();
        self.check(right, &(marker, reply))
    }

    /// Leaves in the middle of something, in one of the ways a client can.
    fn leave(&mut self, mut client: Client, random: &mut Rng) {
        let messages = [
            query("BEGIN"),
            parse("", "SELECT 'left behind'"),
            bind("", "", &[]),
            execute("", 0),
            flush(),
            sync(),
            query("SELECT 'left behind' FROM pg_sleep(0.01)"),
        ];
        for message in messages.iter().skip(random.below(messages.len())).take(random.below(messages.len())) {
            // The server connection may have been killed; whoever leaves does not care.
            let _ = client.send(message);
        }
        match random.below(4) {
            0 => drop(client),
            1 => client.reset(),
            2 => client.terminate(),
            _ => {
                let _ = client.send(&terminate()[..2]);
            }
        }
    }

    fn ask(&mut self, client: &mut Client, request: &[u8], tags: &str, value: &str) -> Step {
        let reply = client.exchange(request).map_err(trouble)?;
        self.check(reply.tags() == tags && reply.value() == value, &(tags, value, reply))
    }

    fn check(&mut self, right: bool, found: &dyn std::fmt::Debug) -> Step {
        if right {
            self.tally.answers += 1;
            return Ok(());
        }
        Err(Trouble::Wrong(format!("{found:?}")))
    }

    fn stop(&self, doing: &'static str, found: String) -> Stop {
        Stop { _client: self.id, _doing: doing, _found: found }
    }
}

/// Whether the failure is what a client sees when the server connection it uses is killed.
fn killed(failure: &Failure) -> bool {
    match failure {
        Failure::Server(error) => {
            error.code() == "57P01"
                || ["server conn crashed?", "invalid server parameter"]
                    .iter()
                    .any(|text| error.message().contains(text))
        }
        Failure::Closed => true,
        Failure::Io(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        Failure::Timeout | Failure::Protocol(_) => false,
    }
}

fn trouble(failure: Failure) -> Trouble {
    if killed(&failure) { Trouble::Lost } else { Trouble::Wrong(format!("{failure:?}")) }
}
