//! What a run is like: everything that is drawn from the seed before it begins.

use std::path::Path;
use std::sync::Arc;

use poolerd::config::{Overrides, Secret, Snapshot, parse};
use sluice_check::Rng;

use crate::generate::Repertoire;
use crate::server::{Login, PASSWORD};
use crate::session::Values;

/// Faults, each by its chance in ten thousand turns; 0: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// A client vanishes.
    pub(crate) vanish: usize,
    /// A client leaves by Terminate.
    pub(crate) leave: usize,
    /// A CancelRequest.
    pub(crate) cancel: usize,
    /// A server dies.
    pub(crate) kill: usize,
    /// A server speaks unasked: NOTICE or notification.
    pub(crate) chatter: usize,
    /// A peer stops reading for a while.
    pub(crate) stuck: usize,
    /// The configuration is read anew, with other sizes.
    pub(crate) reload: usize,
    /// Time jumps to the next timer.
    pub(crate) jump: usize,
    /// A new connection attempt fails, in percent of attempts.
    pub(crate) connect: usize,
    /// A server refuses a login, in percent of logins.
    pub(crate) refuse: usize,
    /// A command of the console.
    pub(crate) admin: usize,
    /// A client says what no server understands.
    pub(crate) garbage: usize,
}

/// The limits in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) pool: usize,
    pub(crate) reserve: usize,
    pub(crate) database: usize,
    pub(crate) user: usize,
    pub(crate) clients: usize,
}

/// Settings that end sessions in time, and what clients are told then.
const TIMEOUTS: [(&str, &[&str]); 5] = [
    ("query_timeout", &["query_timeout", "query timeout"]),
    ("idle_transaction_timeout", &["idle transaction timeout"]),
    ("client_idle_timeout", &["client_idle_timeout"]),
    ("transaction_timeout", &["transaction timeout"]),
    ("query_wait_timeout", &["query_wait_timeout"]),
];

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: &'static str,
    pub(crate) clients: usize,
    /// Turns in which new things happen.
    pub(crate) turns: usize,
    pub(crate) repertoire: Repertoire,
    pub(crate) faults: Faults,
    /// From here on nothing goes wrong any more.
    pub(crate) peace: bool,
    pub(crate) limits: Limits,
    pub(crate) login: Login,
    /// Where the databases are now.
    pub(crate) databases: [&'static str; 2],
    auth: &'static str,
    statements: usize,
    settings: Vec<String>,
}

/// Parameters that fake servers report.
pub(crate) fn defaults() -> Values {
    let pairs = [
        ("application_name", ""),
        ("client_encoding", "UTF8"),
        ("datestyle", "ISO"),
        ("timezone", "GMT"),
        ("standard_conforming_strings", "on"),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Keeps a server of each pool for good.
const MINIMUM: &str = "min_pool_size = 1";

/// Settings that may or may not be there.
fn some_settings(rng: &mut Rng) -> Vec<String> {
    let mut settings = Vec::new();
    let lines = [
        "server_check_delay = 0",
        "server_lifetime = 1",
        "server_lifetime = 0",
        "server_idle_timeout = 1",
        "server_round_robin = 1",
        "server_reset_query_always = 1",
        "unnamed_statement_bytes = 40",
        MINIMUM,
        "on_client_loss = close",
        "on_client_loss = drain",
        "on_client_loss = cancel",
        "server_check_query = select 1",
    ];
    for line in lines {
        if rng.chance(1, 6) {
            settings.push(line.to_owned());
        }
    }
    for (key, _) in TIMEOUTS {
        if rng.chance(1, 12) {
            settings.push(format!("{key} = 0.{}", rng.between(1, 9)));
        }
    }
    settings
}

impl Plan {
    /// Is one server of each pool kept when nobody needs it?
    pub(crate) fn keeps_minimum(&self) -> bool {
        self.settings.iter().any(|line| line == MINIMUM)
    }

    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mode = ["transaction", "transaction", "transaction", "transaction", "session", "statement"]
            [rng.below(6)];
        let pool = rng.between(1, 3);
        let limits = Limits {
            pool,
            reserve: if rng.chance(1, 4) { rng.between(1, 2) } else { 0 },
            database: if rng.chance(1, 5) { rng.between(1, 4) } else { 0 },
            user: if rng.chance(1, 5) { rng.between(1, 4) } else { 0 },
            clients: if rng.chance(1, 8) { rng.between(3, 10) } else { 100 },
        };
        let statements = [0, 1, 2, 3, 100][rng.below(5)];
        let auth = ["trust", "trust", "trust", "plain", "md5", "scram-sha-256"][rng.below(6)];
        let repertoire = Repertoire {
            transactions: mode != "statement",
            copies: rng.chance(1, 2),
            parameters: rng.chance(1, 2),
            discards: rng.chance(1, 3),
            // Without tracking their names belong to whoever comes.
            names: statements > 0 || mode == "session",
            bulk: rng.chance(1, 4),
            impostors: auth != "trust" && rng.chance(1, 2),
        };
        let mut often =
            |chance: usize, most: usize| if rng.chance(1, chance) { rng.between(1, most) } else { 0 };
        let faults = Faults {
            vanish: often(2, 40),
            leave: often(2, 40),
            cancel: often(2, 150),
            kill: often(3, 20),
            chatter: often(2, 100),
            stuck: often(2, 100),
            reload: often(4, 20),
            jump: often(3, 20),
            connect: often(6, 30),
            refuse: often(8, 30),
            admin: often(4, 40),
            garbage: often(6, 20),
        };
        let settings = some_settings(rng);
        Plan {
            mode,
            clients: rng.between(2, 12),
            turns: rng.between(500, 4000),
            repertoire,
            faults,
            peace: false,
            limits,
            login: [Login::Trust, Login::Trust, Login::Trust, Login::Md5, Login::Scram][rng.below(5)],
            databases: [
                ["host=127.0.0.1", "host=127.0.0.1,127.0.0.2", "host=127.0.0.1 connect_query='select 1'"]
                    [rng.below(3)],
                "host=127.0.0.1",
            ],
            auth,
            statements,
            settings,
        }
    }

    /// One server for everybody, nothing goes wrong, statements are evicted.
    pub(crate) fn small(repertoire: Repertoire) -> Self {
        let limits = Limits { pool: 1, reserve: 0, database: 1, user: 0, clients: 100 };
        Plan {
            mode: "transaction",
            clients: 2,
            turns: 0,
            repertoire,
            faults: Faults::default(),
            peace: true,
            limits,
            login: Login::Trust,
            databases: ["host=127.0.0.1"; 2],
            auth: "trust",
            statements: 1,
            settings: Vec::new(),
        }
    }

    /// The configuration file.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        let Limits { pool, reserve, database, user, clients } = self.limits;
        let text = format!(
            "[databases]\none = {}\n{}{}\n[pgbouncer]\nauth_type = {}\nscram_iterations = 10\n\
             pool_mode = {}\nmax_client_conn = {clients}\ndefault_pool_size = {pool}\n\
             reserve_pool_size = {reserve}\nreserve_pool_timeout = 1\nmax_db_connections = {database}\n\
             max_user_connections = {user}\nmax_prepared_statements = {}\nserver_login_retry = 1\nstats_period = 1000000\n{}\n",
            self.databases[0],
            if self.databases[1].is_empty() { "" } else { "two = " },
            self.databases[1],
            self.auth,
            self.mode,
            self.statements,
            self.settings.join("\n")
        );
        let mut snapshot = parse(Path::new("sim.ini"), &text, &Overrides::default()).expect("a valid file");
        for user in ["alice", "bob"] {
            snapshot.secrets.insert(user, Secret::Plain(PASSWORD.to_vec()));
        }
        Arc::new(snapshot)
    }

    /// Does nothing but what clients do end a session or a server?
    pub(crate) fn is_gentle(&self) -> bool {
        let faults = &self.faults;
        faults.kill + faults.admin + faults.connect + faults.refuse + faults.garbage + faults.reload == 0
            && self.limits.clients == 100
            && !self.has("on_client_loss = close")
            && TIMEOUTS.iter().all(|(key, _)| !self.has(key))
            && self.mode != "statement"
    }

    fn has(&self, setting: &str) -> bool {
        self.settings.iter().any(|line| line.starts_with(setting))
    }

    /// May a session be cut in the middle of an answer?
    pub(crate) fn may_cut(&self) -> bool {
        let faults = &self.faults;
        faults.kill + faults.admin + faults.garbage + faults.reload > 0
            || TIMEOUTS.iter().any(|(key, _)| self.has(key))
    }

    /// May a client be told this, given what goes wrong in this run?
    pub(crate) fn excuses(&self, code: &str, text: &str) -> bool {
        let faults = &self.faults;
        if TIMEOUTS.iter().any(|(key, texts)| self.has(key) && texts.contains(&text)) {
            return true;
        }
        // Whoever comes soon after a failed login is told why that failed.
        let cached = text.strip_prefix("server login has been failing, cached error: ");
        if let Some(cause) = cached.and_then(|rest| rest.strip_suffix(" (server_login_retry)")) {
            return self.excuses(code, cause);
        }
        match text {
            "connect failed" | "bouncer resources exhaustion" => faults.connect > 0,
            // A jump of the clock makes any server a slow one.
            "connect timeout" => faults.jump > 0,
            "copy failed behind a Sync" => self.repertoire.copies,
            "unknown pkt" | "bad packet" => faults.garbage > 0,
            "no more connections allowed (max_client_conn)" => self.limits.clients < 100,
            "database configuration changed" | "no such database: two" => faults.reload > 0,
            "database removed" | "admin forced disconnect" => faults.admin > 0,
            "server conn crashed?" => faults.kill > 0,
            "terminating connection due to plan" => faults.kill > 0,
            "query_wait_timeout" | "client_login_timeout (server down)" => true,
            "transaction blocks not allowed in statement pooling mode" => self.mode == "statement",
            // The client itself broke the copy protocol.
            "terminating connection because protocol synchronization was lost" => self.repertoire.copies,
            "login refused by plan" => faults.refuse > 0 && code != "08P01",
            _ => false,
        }
    }
}
