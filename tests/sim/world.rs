//! The shell around the core, the network and the clock, all fake: one random thing happens per turn.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use poolerd::core::{
    Address, ClientId, ControlId, Core, Derivation, Outcome, Peer, Seeds, ServerId, Unreachable,
};
use sluice_check::Rng;
use sluice_wire::pg::scram::Recipe;

use crate::client::{Client, Stage};
use crate::plan::{Plan, defaults};
use crate::port::Port;
use crate::server::{Login, News, Server};
use crate::session::Step;
use crate::trace::{Trace, owner_of, shown};

/// The most a shell reads at a time, in bytes.
pub(crate) const SCRATCH: usize = 16 * 1024;

/// A connection that was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) id: ClientId,
    pub(crate) port: Port,
    /// On its way to the pooler.
    pub(crate) up: Vec<u8>,
    /// Nothing follows `up`.
    pub(crate) ended: bool,
    /// The connection broke: the pooler may notice before it has read all.
    pub(crate) broken: bool,
    /// The session on it; a connection that carries a CancelRequest has none.
    pub(crate) client: Option<Client>,
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: ServerId,
    pub(crate) port: Port,
    /// `None` until the connection is made.
    pub(crate) server: Option<Server>,
    /// Database and user, once told.
    pub(crate) pool: Option<(String, String)>,
    /// The pooler has hung up; the server reads what is there and ends.
    pub(crate) hung_up: bool,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) core: Core,
    pub(crate) now: Instant,
    pub(crate) clients: BTreeMap<usize, Accepted>,
    pub(crate) servers: BTreeMap<usize, Opened>,
    pub(crate) trace: Trace,
    /// Servers that died or were killed.
    pub(crate) kills: usize,
    /// Clients told that their server is gone.
    pub(crate) orphans: usize,
    /// Commands of the console that wait for their answer.
    pub(crate) waiting: usize,
    /// Keys that are being derived.
    pub(crate) derivations: Vec<(Derivation, Recipe)>,
    /// Inserts that servers committed, by whose they are.
    pub(crate) committed: BTreeMap<usize, Vec<String>>,
    /// Clients of whose statements a cancel struck one.
    pub(crate) struck: BTreeSet<usize>,
    /// Clients that left without a word.
    pub(crate) vanished: BTreeSet<usize>,
    /// Clients that are gone.
    pub(crate) past: Vec<Client>,
    pub(crate) portions: Portions,
    /// All that was sent to each connection, where somebody wants to know.
    pub(crate) record: Option<BTreeMap<String, Vec<u8>>>,
    next_port: u16,
    pub(crate) serial: usize,
}

/// How many bytes move at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Portions {
    Any,
    Whole,
    /// The pooler reads clients byte by byte.
    SingleOfClients,
    /// The pooler reads servers byte by byte.
    SingleOfServers,
}

/// Something that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Speak(usize),
    ReadClient(usize),
    SendClient(usize),
    Connect(usize),
    StepServer(usize),
    ReadServer(usize),
    SendServer(usize),
    Derive(usize),
}

impl World {
    pub(crate) fn new(seed: u64, trace: Trace) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng);
        Self::with_plan(plan, rng, trace)
    }

    pub(crate) fn with_plan(plan: Plan, rng: Rng, mut trace: Trace) -> Self {
        let now = Instant::now();
        trace.line(|| format!("{plan:?}"));
        let core = Core::new(
            plan.snapshot(),
            Seeds {
                epoch: (now, SystemTime::UNIX_EPOCH),
                random: [7; 32],
                uid: 0,
                local_text: |moment| format!("{moment:?}"),
            },
        );
        World {
            rng,
            plan,
            core,
            now,
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            trace,
            kills: 0,
            orphans: 0,
            waiting: 0,
            derivations: Vec::new(),
            committed: BTreeMap::new(),
            struck: BTreeSet::new(),
            vanished: BTreeSet::new(),
            past: Vec::new(),
            portions: Portions::Any,
            record: None,
            next_port: 1024,
            serial: 0,
        }
    }

    fn address(&mut self) -> Address {
        self.next_port += 1;
        Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, self.next_port)))
    }

    /// A connection comes in and says `bytes`.
    pub(crate) fn accept(&mut self, client: Option<Client>, bytes: Vec<u8>) -> usize {
        let (peer, local) = (self.address(), self.address());
        let id = self.core.client_connected(peer, local, self.now);
        self.serial += 1;
        let accepted = Accepted { id, port: Port::default(), up: bytes, ended: false, broken: false, client };
        self.clients.insert(self.serial, accepted);
        self.apply(&[]);
        self.serial
    }

    /// A client that will log in.
    pub(crate) fn add_client(&mut self) {
        let number = self.serial + 1;
        let values = defaults();
        let spread = if self.plan.turns > 0 { 3 } else { 1 };
        let database = ["one", "one", "two"][self.rng.below(spread)];
        let user = ["alice", "alice", "bob"][self.rng.below(spread)];
        let repertoire = self.plan.repertoire;
        let client = Client::new(number, (database, user), &values, repertoire, &mut self.rng);
        let bytes = client.first_words();
        self.trace.line(|| format!("client {number} logs in to {database}/{user}"));
        self.accept(Some(client), bytes);
    }

    /// All that can happen now, apart from faults and time.
    pub(crate) fn actions(&mut self, speak: bool) -> Vec<Action> {
        let mut actions: Vec<Action> = (0..self.derivations.len()).map(Action::Derive).collect();
        for (&at, accepted) in &mut self.clients {
            if speak
                && !accepted.ended
                && accepted.up.len() < 2000
                && accepted.client.as_mut().is_some_and(Client::may_send)
            {
                actions.push(Action::Speak(at));
            }
            let port = &accepted.port;
            if !port.pending.is_empty() && !port.stuck || port.closing && port.pending.is_empty() {
                actions.push(Action::SendClient(at));
            }
        }
        for (&at, accepted) in &self.clients {
            let port = &accepted.port;
            let news = !accepted.up.is_empty() || accepted.ended;
            if !port.closing
                && (accepted.broken || port.is_hungry() || news && !port.blocked)
                && !self.is_congested(Peer::Client(accepted.id))
            {
                actions.push(Action::ReadClient(at));
            }
        }
        for (&at, opened) in &self.servers {
            let port = &opened.port;
            let Some(server) = &opened.server else {
                if !port.closing {
                    actions.push(Action::Connect(at));
                } else {
                    actions.push(Action::SendServer(at));
                }
                continue;
            };
            if !port.pending.is_empty() && !port.stuck || port.closing && !opened.hung_up {
                actions.push(Action::SendServer(at));
            }
            if !server.is_over() || opened.hung_up {
                actions.push(Action::StepServer(at));
            }
            if !port.closing
                && (port.is_hungry() || !server.session.out.is_empty() || server.is_over())
                && !self.is_congested(Peer::Server(opened.id))
            {
                actions.push(Action::ReadServer(at));
            }
        }
        actions
    }

    /// Does the destination of what `from` says not read at the moment?
    fn is_congested(&self, from: Peer) -> bool {
        match self.core.destination(from) {
            Some(Peer::Client(id)) => {
                self.clients.values().any(|c| c.id == id && c.port.stuck && !c.port.pending.is_empty())
            }
            Some(Peer::Server(id)) => {
                self.servers.values().any(|s| s.id == id && s.port.stuck && !s.port.pending.is_empty())
            }
            None => false,
        }
    }

    /// Does it. Answers whether anything moved.
    pub(crate) fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Speak(at) => self.speak(at),
            Action::ReadClient(at) => self.read_client(at),
            Action::SendClient(at) => self.send_client(at),
            Action::Connect(at) => self.connect(at),
            Action::StepServer(at) => return self.step_server(at),
            Action::ReadServer(at) => self.read_server(at),
            Action::SendServer(at) => self.send_server(at),
            Action::Derive(at) => self.derive(at),
        }
        true
    }

    fn speak(&mut self, at: usize) {
        let Some(accepted) = self.clients.get_mut(&at) else { return };
        let Some(client) = &mut accepted.client else { return };
        let request = client.request(&mut self.rng);
        self.trace.line(|| format!("client {at} says {}", request.shown));
        accepted.up.extend_from_slice(&request.bytes);
    }

    /// Some bytes or many; often one only.
    fn portion(&mut self, of: Portions) -> usize {
        match self.portions {
            one if one == of && of != Portions::Any => 1,
            Portions::Whole | Portions::SingleOfClients | Portions::SingleOfServers => usize::MAX,
            Portions::Any => match self.rng.below(4) {
                0 => 1,
                1 => self.rng.between(1, 20),
                _ => SCRATCH,
            },
        }
    }

    fn read_client(&mut self, at: usize) {
        let most = self.portion(Portions::SingleOfClients);
        let notices = self.rng.chance(1, 4);
        let Some(accepted) = self.clients.get_mut(&at) else { return };
        let port = &mut accepted.port;
        if accepted.broken && (notices || port.blocked) {
            let id = accepted.id;
            self.trace.line(|| format!("client {at} is lost"));
            self.core.client_gone(id, self.now);
            return self.apply(&[]);
        }
        if !port.blocked {
            let count = most.min(accepted.up.len());
            port.kept.extend(accepted.up.drain(..count));
        }
        let over = accepted.up.is_empty() && accepted.ended;
        if port.is_hungry() {
            let (id, chunk) = (accepted.id, port.kept.clone());
            let taken = self.core.client_input(id, &chunk, self.now);
            self.trace.line(|| format!("pooler reads {} of client {at}: {taken:?}", chunk.len()));
            if let Some(accepted) = self.clients.get_mut(&at) {
                accepted.port.taken(taken);
            }
            self.apply(&chunk);
        } else if over && !port.blocked {
            let id = accepted.id;
            self.trace.line(|| format!("client {at} ends"));
            self.core.client_gone(id, self.now);
            self.apply(&[]);
        }
    }

    fn send_client(&mut self, at: usize) {
        let most = self.portion(Portions::Any);
        let Some(accepted) = self.clients.get_mut(&at) else { return };
        let bytes = accepted.port.send(most);
        if let Some(client) = &mut accepted.client
            && !bytes.is_empty()
        {
            match client.receive(&bytes) {
                Ok(heard) => self.trace.line(|| format!("client {at} hears {heard}")),
                Err(why) => panic!("{why}"),
            }
            accepted.up.append(&mut client.answers);
        }
        if accepted.port.closing && accepted.port.pending.is_empty() {
            let gone = self.clients.remove(&at);
            self.trace.line(|| format!("client {at} is closed"));
            self.bury(gone.and_then(|gone| gone.client));
        }
    }

    /// Judges the end of a session.
    fn bury(&mut self, client: Option<Client>) {
        let Some(client) = client else { return };
        match (client.stage, &client.last_words) {
            (Stage::Left, _) => {}
            (_, Some((code, text))) => {
                let server_lost =
                    text == "server conn crashed?" || text == "terminating connection due to plan";
                if server_lost {
                    self.orphans += 1;
                }
                let refused = code == "28P01" && text.contains("authentication failed");
                let excused = self.plan.excuses(code, text) || refused && client.impostor;
                assert!(excused, "client {} was told {code} {text}", client.number);
            }
            (_, None) => {
                self.orphans += 1;
                assert!(
                    self.plan.may_cut() && client.is_mid_message(),
                    "client {} was closed without a word",
                    client.number
                );
            }
        }
        let expected = self.plan.faults.kill > 0 && !self.plan.may_cut();
        assert!(!expected || self.orphans <= self.kills, "more clients lost a server than servers were lost");
        self.past.push(client);
    }

    fn connect(&mut self, at: usize) {
        let faults = self.plan.faults;
        let fails = self.rng.chance(faults.connect, 100) && !self.plan.peace;
        let refuses = self.rng.chance(faults.refuse, 100) && !self.plan.peace;
        let login = match refuses {
            true => Login::Refuse([b"57P03", b"53300", b"28P01"][self.rng.below(3)]),
            false => self.plan.login,
        };
        let (peer, local) = (self.address(), self.address());
        let Some(opened) = self.servers.get_mut(&at) else { return };
        let id = opened.id;
        if fails {
            self.trace.line(|| format!("server {at} cannot be reached"));
            self.forget(at);
            self.core.server_failed(id, &Unreachable::Connect("refused".to_owned()), self.now);
        } else {
            self.trace.line(|| format!("server {at} is connected"));
            opened.server = Some(Server::new(at as u32, login, defaults()));
            self.core.server_connected(id, peer, local, self.now);
        }
        self.apply(&[]);
    }

    fn step_server(&mut self, at: usize) -> bool {
        let Some(opened) = self.servers.get_mut(&at) else { return false };
        let Some(server) = &mut opened.server else { return false };
        let (step, news) = server.step();
        match news {
            Some(News::Cancel(pid, secret)) => self.deliver_cancel(pid, &secret),
            Some(News::Startup(database, user)) => {
                opened.pool = Some((database, user));
                self.check_limits();
            }
            None => {}
        }
        match step {
            Step::Idle | Step::Over => {
                let Some(opened) = self.servers.get_mut(&at) else { return false };
                if opened.hung_up {
                    self.forget(at);
                    return true;
                }
                false
            }
            Step::About(id) => {
                self.trace.line(|| format!("server {at} begins {id}"));
                true
            }
            Step::Moved => true,
        }
    }

    fn deliver_cancel(&mut self, pid: [u8; 4], secret: &[u8]) {
        let mut all = self.servers.iter_mut();
        let found = all.find_map(|(&at, s)| {
            s.server.as_mut().filter(|s| s.pid == pid && s.secret == secret).map(|s| (at, s))
        });
        let Some((at, server)) = found else { return };
        if !server.is_logged_in() {
            return;
        }
        let Some(id) = server.session.cancel() else {
            return self.trace.line(|| format!("server {at} ignores a cancel"));
        };
        self.trace.line(|| format!("server {at} cancels {id}"));
        let owner = owner_of(&id);
        self.struck.insert(owner);
        let here = self.clients.values_mut().filter(|c| !c.port.closing).filter_map(|c| c.client.as_mut());
        let mut owners = here.filter(|c| c.number == owner && c.is_here());
        if let Some(client) = owners.next() {
            client.cancels_struck += 1;
            assert!(
                client.cancels_struck <= client.cancels_asked,
                "client {owner} did not ask for the cancel of {id}"
            );
        }
    }

    fn read_server(&mut self, at: usize) {
        let most = self.portion(Portions::SingleOfServers);
        let Some(opened) = self.servers.get_mut(&at) else { return };
        let Some(server) = &mut opened.server else { return };
        let count = most.min(server.session.out.len());
        opened.port.kept.extend(server.session.out.drain(..count));
        let over = server.is_over() && server.session.out.is_empty();
        let id = opened.id;
        if opened.port.is_hungry() {
            let chunk = opened.port.kept.clone();
            let taken = self.core.server_input(id, &chunk, self.now);
            self.trace.line(|| format!("pooler reads {} of server {at}: {taken:?}", chunk.len()));
            if let Some(opened) = self.servers.get_mut(&at) {
                opened.port.taken(taken);
            }
            self.apply(&chunk);
        } else if over {
            self.trace.line(|| format!("server {at} is lost"));
            self.forget(at);
            self.core.server_gone(id, self.now);
            self.apply(&[]);
        }
    }

    fn send_server(&mut self, at: usize) {
        let most = self.portion(Portions::Any);
        let Some(opened) = self.servers.get_mut(&at) else { return };
        let bytes = opened.port.send(most);
        let Some(server) = &mut opened.server else { return self.forget(at) };
        if !bytes.is_empty() {
            self.trace.line(|| format!("server {at} gets {}", shown(&bytes)));
            server.feed(&bytes);
        }
        if opened.port.closing && opened.port.pending.is_empty() {
            opened.hung_up = true;
        }
    }

    /// A command at the console.
    pub(crate) fn command(&mut self, text: &str) {
        let outcome = self.core.command(ControlId(Default::default()), text, self.now);
        self.trace.line(|| format!("console: {text}: {outcome:?}"));
        if matches!(outcome, Outcome::Wait) {
            self.waiting += 1;
        }
        self.apply(&[]);
    }

    /// Rows of a SHOW command, as text.
    pub(crate) fn show(&mut self, what: &str) -> Vec<Vec<String>> {
        match self.core.command(ControlId(Default::default()), &format!("SHOW {what}"), self.now) {
            Outcome::Rows(table) => {
                table.rows.iter().map(|row| row.iter().map(|cell| format!("{cell:?}")).collect()).collect()
            }
            other => panic!("SHOW {what}: {other:?}"),
        }
    }

    pub(crate) fn is_anybody_waiting_at_the_console(&self) -> bool {
        self.waiting > 0
    }

    /// A server connection is no more; what was committed on it stays.
    fn forget(&mut self, at: usize) {
        let Some(server) = self.servers.remove(&at).and_then(|opened| opened.server) else { return };
        for id in server.session.committed {
            self.committed.entry(owner_of(&id)).or_default().push(id);
        }
    }

    /// Servers that know whom they serve are within all limits.
    fn check_limits(&self) {
        let limits = self.plan.limits;
        let mut pools: BTreeMap<&(String, String), usize> = BTreeMap::new();
        let (mut databases, mut users) = (BTreeMap::new(), BTreeMap::new());
        for opened in self.servers.values().filter(|s| !s.port.closing) {
            let Some(pool) = &opened.pool else { continue };
            *pools.entry(pool).or_default() += 1;
            *databases.entry(&pool.0).or_insert(0) += 1;
            *users.entry(&pool.1).or_insert(0) += 1;
        }
        let within = |count: usize, limit: usize| limit == 0 || count <= limit;
        if self.plan.faults.reload == 0 {
            assert!(pools.values().all(|&n| within(n, limits.pool + limits.reserve)), "pool_size {pools:?}");
            assert!(databases.values().all(|&n| within(n, limits.database)), "max_db {databases:?}");
            assert!(users.values().all(|&n| within(n, limits.user)), "max_user {users:?}");
        }
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.core.handle_timeout(self.now);
        self.apply(&[]);
    }
}
