//! Logins that wait for keys, and those that do not.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use sluice_unix::outbox::Source;
use sluice_wire::pg::frame;
use sluice_wire::pg::login::{Credentials, Login, LoginError, StartupParams, Step};
use sluice_wire::pg::scram::{NONCE_LEN, Recipe, Secret};

use crate::config::{self, Overrides, Snapshot};
use crate::core::{Address, ClientId, Core, Derivation, Effect, Peer, Seeds, Then};

/// A login and what it has been told.
struct Guest {
    id: ClientId,
    login: Login,
    /// What it said and the core has not used up.
    up: Vec<u8>,
    blocked: bool,
    /// The error it was told, without "server login failed: FATAL ".
    refused: Option<String>,
}

struct Bench {
    core: Core,
    now: Instant,
    asked: Vec<(Derivation, Recipe)>,
}

fn scram(password: &[u8]) -> Secret {
    let recipe = Recipe { password: password.to_vec(), salt: b"salt".to_vec(), iterations: 2 };
    Secret::Scram(recipe.derive().to_secret())
}

/// `plain` and `late` have passwords, `stored` a SCRAM secret, all of them "right"; `nobody` does not exist.
fn snapshot(auth_type: &str, stored: bool, password: &[u8]) -> Arc<Snapshot> {
    let text = format!(
        "[databases]\none = host=127.0.0.1\n[pgbouncer]\nauth_type = {auth_type}\nscram_iterations = 3\n"
    );
    let mut snapshot = config::parse(Path::new("test.ini"), &text, &Overrides::default()).unwrap();
    snapshot.secrets.insert("plain", Secret::Plain(password.to_vec()));
    snapshot.secrets.insert("late", Secret::Plain(password.to_vec()));
    if stored {
        snapshot.secrets.insert("stored", scram(password));
    }
    Arc::new(snapshot)
}

impl Bench {
    fn new(auth_type: &str, stored: bool) -> Self {
        let now = Instant::now();
        let seeds = Seeds {
            epoch: (now, SystemTime::UNIX_EPOCH),
            random: [7; 32],
            uid: 1000,
            local_text: |_| String::new(),
        };
        let core = Core::new(snapshot(auth_type, stored, b"right"), seeds);
        let mut bench = Bench { core, now, asked: Vec::new() };
        bench.settle(&mut []);
        bench
    }

    /// Connects and says all it can.
    fn guest(&mut self, user: &str, password: &str) -> Guest {
        let address = Address::Tcp(([127, 0, 0, 1], 40_000).into());
        let id = self.core.client_connected(address, address, self.now);
        let credentials = Credentials {
            user: user.as_bytes().to_vec(),
            secret: Some(Secret::Plain(password.as_bytes().to_vec())),
            scram_keys: None,
        };
        let params = StartupParams { database: b"one".to_vec(), others: Vec::new() };
        let login = Login::new(params, credentials, [1; NONCE_LEN]);
        let mut guest = Guest { id, login, up: Vec::new(), blocked: false, refused: None };
        guest.login.start(&mut guest.up);
        self.settle(std::slice::from_mut(&mut guest));
        guest
    }

    /// Moves messages until nobody has anything to say; keeps the keys that are asked for.
    fn settle(&mut self, guests: &mut [Guest]) {
        loop {
            while let Some(effect) = self.core.poll() {
                match effect {
                    Effect::Derive { of, recipe } => self.asked.push((of, recipe)),
                    Effect::Pump(Peer::Client(id)) => {
                        guests.iter_mut().filter(|g| g.id == id).for_each(|g| g.blocked = false);
                    }
                    _ => {}
                }
            }
            let outbox = std::mem::take(&mut self.core.outbox);
            for op in &outbox.ops {
                assert_eq!(op.source, Source::Own);
                let guest = guests.iter_mut().find(|g| Peer::Client(g.id) == op.to);
                guest.unwrap().hear(&outbox.own[op.start..op.end]);
            }
            let Some(guest) = guests.iter_mut().find(|g| !g.blocked && !g.up.is_empty()) else { break };
            let taken = self.core.client_input(guest.id, &guest.up, self.now);
            guest.up.drain(..taken.consumed);
            match taken.then {
                Then::Blocked => guest.blocked = true,
                Then::Closed => guest.up.clear(),
                Then::Need(count) => assert!(guest.up.len() < count, "messages are sent whole"),
            }
            assert!(guest.blocked || guest.up.is_empty(), "the core goes on until it is blocked");
        }
    }

    /// Derives what was asked for first.
    fn derive(&mut self, guests: &mut [Guest]) -> Derivation {
        let (of, recipe) = self.asked.remove(0);
        self.core.derived(of, Some(recipe.derive()), self.now);
        self.settle(guests);
        of
    }

    /// Makes all keys that are to be made ahead.
    fn make_all(&mut self) {
        while !self.asked.is_empty() {
            self.derive(&mut []);
        }
    }
}

impl Guest {
    fn hear(&mut self, mut bytes: &[u8]) {
        while let Some(message) = frame::message(bytes).unwrap() {
            bytes = message.rest;
            match self.login.handle(message.tag, message.body, &mut self.up) {
                Ok(Step::Derive(recipe)) => self.login.derived(recipe.derive(), &mut self.up).unwrap(),
                Ok(_) => {}
                Err(LoginError::Server(error)) => self.refused = Some(error.message),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Has it proven who it is? (No server is there to welcome it.)
    fn is_in(&self, bench: &Bench) -> bool {
        self.refused.is_none()
            && bench
                .core
                .clients
                .get(self.id.0)
                .is_some_and(|c| c.state == crate::core::ClientState::WaitLogin)
    }
}

#[test]
fn keys_are_made_ahead_one_user_after_the_other_and_kept() {
    let mut bench = Bench::new("scram-sha-256", true);
    assert_eq!(bench.asked.len(), 1, "one at a time");
    let first = bench.derive(&mut []);
    let second = bench.derive(&mut []);
    assert_ne!(first, second);
    assert!(bench.asked.is_empty(), "two users have a password");
    for user in ["plain", "late", "stored"] {
        assert!(bench.guest(user, "right").is_in(&bench), "{user}");
        let wrong = bench.guest(user, "wrong");
        assert_eq!(wrong.refused.as_deref(), Some("SASL authentication failed"), "{user}");
    }
    let nobody = bench.guest("nobody", "right");
    assert_eq!(nobody.refused.as_deref(), Some("SASL authentication failed"));
    assert!(bench.asked.is_empty(), "nobody waits once all keys are made");
}

#[test]
fn while_keys_are_missing_every_scram_login_waits_for_one_derivation() {
    for (user, welcome) in [("plain", true), ("late", true), ("stored", true), ("nobody", false)] {
        let mut bench = Bench::new("scram-sha-256", true);
        let ahead = bench.asked.remove(0);
        // The one that is made ahead at this moment is awaited, everybody else has one made.
        let guest = &mut [bench.guest(user, "right")];
        assert!(guest[0].blocked && guest[0].refused.is_none(), "{user}");
        bench.asked.push(ahead);
        let own = bench.asked.iter().position(|(of, _)| *of == Derivation::Client(guest[0].id));
        let own = own.or_else(|| {
            let id = *bench.core.user_names.get(user)?;
            bench.asked.iter().position(|(of, _)| *of == Derivation::User(id))
        });
        bench.asked.swap(0, own.unwrap());
        bench.derive(guest);
        assert_eq!(guest[0].is_in(&bench), welcome, "{user}");
        assert_eq!(guest[0].refused.is_some(), !welcome, "{user}");
    }
}

#[test]
fn clients_of_one_user_share_a_derivation() {
    let mut bench = Bench::new("scram-sha-256", false);
    let mut guests: Vec<Guest> = (0..5).map(|_| bench.guest("plain", "right")).collect();
    guests.extend((0..5).map(|_| bench.guest("late", "right")));
    assert_eq!(bench.asked.len(), 2);
    let gone = guests.remove(0).id;
    bench.core.client_gone(gone, bench.now);
    while !bench.asked.is_empty() {
        bench.derive(&mut guests);
    }
    assert!(guests.iter().all(|guest| guest.is_in(&bench)));
}

#[test]
fn keys_of_a_secret_that_has_changed_are_not_kept() {
    let mut bench = Bench::new("scram-sha-256", false);
    let guests = &mut [bench.guest("plain", "new"), bench.guest("plain", "right")];
    bench.core.reload(snapshot("scram-sha-256", false, b"new"), bench.now);
    bench.settle(guests);
    while !bench.asked.is_empty() {
        bench.derive(guests);
    }
    assert!(guests[0].is_in(&bench), "the new password counts");
    assert!(guests[1].refused.is_some(), "and the old one does not");
    // What has not changed is not made again.
    bench.core.reload(snapshot("scram-sha-256", false, b"new"), bench.now);
    bench.settle(&mut []);
    assert!(bench.asked.is_empty());
}

#[test]
fn a_password_is_checked_against_a_scram_secret_off_the_loop() {
    for (user, password, welcome) in [
        ("stored", "right", true),
        ("stored", "wrong", false),
        ("plain", "right", true),
        ("plain", "wrong", false),
        ("nobody", "right", false),
    ] {
        let mut bench = Bench::new("plain", true);
        assert!(bench.asked.is_empty(), "passwords need no keys made ahead");
        let guest = &mut [bench.guest(user, password)];
        assert!(guest[0].blocked && bench.asked.len() == 1, "{user}");
        bench.derive(guest);
        assert_eq!(guest[0].is_in(&bench), welcome, "{user} {password}");
        let refused = (!welcome).then_some("password authentication failed");
        assert_eq!(guest[0].refused.as_deref(), refused, "{user} {password}");
        assert!(bench.asked.is_empty());
    }
    // Without SCRAM secrets there is nothing that could take its time.
    let mut bench = Bench::new("plain", false);
    assert!(bench.guest("plain", "right").is_in(&bench));
    assert!(bench.guest("plain", "wrong").refused.is_some());
    assert!(bench.guest("nobody", "right").refused.is_some());
    assert!(bench.asked.is_empty());
}

#[test]
fn who_cannot_have_keys_is_told_and_the_next_one_gets_them() {
    for auth_type in ["scram-sha-256", "plain"] {
        let mut bench = Bench::new(auth_type, true);
        let guest = &mut [bench.guest("stored", "right")];
        let (of, _) = bench.asked.pop().unwrap();
        bench.core.derived(of, None, bench.now);
        bench.settle(guest);
        assert_eq!(guest[0].refused.as_deref(), Some(super::EXHAUSTED));
        bench.make_all();
        let guest = &mut [bench.guest("stored", "right")];
        if let Some(of) = bench.asked.first().map(|(of, _)| *of) {
            assert_eq!(of, Derivation::Client(guest[0].id));
            bench.derive(guest);
        }
        assert!(guest[0].is_in(&bench), "{auth_type}");
    }
    // Keys that could not be made ahead are made when somebody needs them.
    let mut bench = Bench::new("scram-sha-256", false);
    while let Some((of, _)) = bench.asked.pop() {
        bench.core.derived(of, None, bench.now);
        bench.settle(&mut []);
    }
    let guest = &mut [bench.guest("plain", "right")];
    assert!(guest[0].blocked);
    bench.derive(guest);
    assert!(guest[0].is_in(&bench));
}

#[test]
fn what_is_derived_for_somebody_gone_finds_nobody() {
    let mut bench = Bench::new("plain", true);
    let guest = bench.guest("stored", "right");
    bench.core.client_gone(guest.id, bench.now);
    let other = bench.guest("stored", "wrong");
    assert_eq!(bench.derive(&mut []), Derivation::Client(guest.id));
    assert!(other.blocked && bench.core.clients.get(other.id.0).is_some());
}
