//! A shell for tests: the core, driven with bytes as clients and servers send them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sluice_wire::pg::error::Fields;
use sluice_wire::pg::frame::{self, HEADER_LEN};
use sluice_wire::pg::scram::Secret;
use sluice_wire::pg::{backend, frontend, startup};

use crate::config::{self, Overrides, Snapshot};
use crate::core::{
    Address, ClientId, ControlId, Core, Effect, Outcome, Peer, Seeds, ServerId, Survey, Taken, Then,
};

pub(in crate::core) const CONFIG: &str = "
[databases]
one = host=127.0.0.1
two = host=127.0.0.1
[pgbouncer]
auth_type = trust
pool_mode = transaction
default_pool_size = 2
max_client_conn = 4
admin_users = boss
stats_users = clerk
server_check_query =
";

pub(in crate::core) const OWN_UID: u32 = 1000;

/// A message: its tag and body.
pub(in crate::core) type Message = (char, Vec<u8>);

/// A core, and the other ends of its connections.
pub(in crate::core) struct Bench {
    pub(in crate::core) core: Core,
    pub(in crate::core) now: Instant,
    /// What each connection was sent and has not read.
    pub(in crate::core) sent: HashMap<Peer, Vec<u8>>,
    /// What the core could not use yet.
    pub(in crate::core) kept: HashMap<Peer, Vec<u8>>,
    pub(in crate::core) closed: Vec<Peer>,
    pub(in crate::core) connecting: Vec<ServerId>,
    pub(in crate::core) log: Vec<String>,
    /// Effects a shell acts on, by name.
    pub(in crate::core) asked: Vec<String>,
    /// What a shell's buffers would hold.
    pub(in crate::core) held: Survey,
}

pub(in crate::core) fn snapshot(text: &str) -> Snapshot {
    let mut snapshot = config::parse(Path::new("test.ini"), text, &Overrides::default()).unwrap();
    for name in ["boss", "clerk", "ann", "pgbouncer"] {
        snapshot.secrets.insert(name, Secret::Plain(b"secret".to_vec()));
    }
    snapshot
}

pub(in crate::core) fn local_text(at: SystemTime) -> String {
    format!("{}s", at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
}

impl Bench {
    pub(in crate::core) fn new() -> Self {
        Self::with(CONFIG)
    }

    pub(in crate::core) fn with(text: &str) -> Self {
        let now = Instant::now();
        let seeds = Seeds {
            epoch: (now, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)),
            random: [7; 32],
            uid: OWN_UID,
            local_text,
        };
        Bench {
            core: Core::new(Arc::new(snapshot(text)), seeds),
            now,
            sent: HashMap::new(),
            kept: HashMap::new(),
            closed: Vec::new(),
            connecting: Vec::new(),
            log: Vec::new(),
            asked: Vec::new(),
            held: Survey::new(),
        }
    }

    pub(in crate::core) fn tcp(port: u16) -> Address {
        Address::Tcp(([127, 0, 0, 1], port).into())
    }

    /// A connection that has sent its startup message.
    pub(in crate::core) fn connect_from(&mut self, from: Address, database: &str, user: &str) -> ClientId {
        let id = self.core.client_connected(from, Self::tcp(6432), self.now);
        let params: [(&[u8], &[u8]); 2] = [(b"user", user.as_bytes()), (b"database", database.as_bytes())];
        let mut bytes = Vec::new();
        frontend::startup(&mut bytes, startup::VERSION_3_0, &params);
        self.send(id, &bytes);
        id
    }

    pub(in crate::core) fn connect(&mut self, database: &str, user: &str) -> ClientId {
        self.connect_from(Self::tcp(40_000), database, user)
    }

    /// A console session, its greeting read.
    pub(in crate::core) fn console(&mut self, user: &str) -> ClientId {
        let id = self.connect("pgbouncer", user);
        assert!(self.tags(id).ends_with('Z'), "{user} is let in");
        id
    }

    /// A client that has logged in, with a server that is idle again.
    pub(in crate::core) fn client(&mut self, database: &str) -> ClientId {
        let id = self.connect(database, "ann");
        self.serve_logins();
        assert!(self.tags(id).ends_with('Z'), "ann is let in");
        id
    }

    /// A client in the middle of a transaction, and its server.
    pub(in crate::core) fn busy(&mut self, database: &str) -> (ClientId, ServerId) {
        let id = self.client(database);
        self.query(id, "begin");
        self.serve_logins();
        let server = self.core.clients.get(id.0).unwrap().link.unwrap();
        self.reply(server, 'T');
        assert_eq!(self.tags(id), "CZ");
        (id, server)
    }

    /// Connects to the server that is wanted; its login is up to the caller.
    pub(in crate::core) fn dial(&mut self) -> ServerId {
        let id = self.connecting.pop().expect("a server is wanted");
        self.core.server_connected(id, Self::tcp(5432), Self::tcp(50_000), self.now);
        self.settle(&[]);
        id
    }

    /// Lets every server that is being opened log in.
    pub(in crate::core) fn serve_logins(&mut self) {
        while !self.connecting.is_empty() {
            let id = self.dial();
            let mut bytes = Vec::new();
            backend::authentication_ok(&mut bytes);
            backend::parameter_status(&mut bytes, b"server_version", b"15");
            backend::backend_key_data(&mut bytes, [0, 0, 0, 9], b"key!");
            backend::ready_for_query(&mut bytes, backend::TransactionStatus::Idle);
            self.server_sends(id, &bytes);
        }
    }

    /// The server ends a query with this transaction status.
    pub(in crate::core) fn reply(&mut self, id: ServerId, status: char) {
        let mut bytes = Vec::new();
        backend::command_complete(&mut bytes, b"BEGIN");
        let status = backend::TransactionStatus::from_byte(status as u8).unwrap();
        backend::ready_for_query(&mut bytes, status);
        self.server_sends(id, &bytes);
    }

    pub(in crate::core) fn server_sends(&mut self, id: ServerId, bytes: &[u8]) {
        self.kept.entry(Peer::Server(id)).or_default().extend_from_slice(bytes);
        self.pump(Peer::Server(id));
    }

    pub(in crate::core) fn send(&mut self, id: ClientId, bytes: &[u8]) {
        self.kept.entry(Peer::Client(id)).or_default().extend_from_slice(bytes);
        self.pump(Peer::Client(id));
    }

    /// Feeds a connection what it kept.
    pub(in crate::core) fn pump(&mut self, peer: Peer) {
        let bytes = self.kept.remove(&peer).unwrap_or_default();
        if bytes.is_empty() {
            return;
        }
        let Taken { consumed, then } = match peer {
            Peer::Client(id) => self.core.client_input(id, &bytes, self.now),
            Peer::Server(id) => self.core.server_input(id, &bytes, self.now),
        };
        if then != Then::Closed {
            self.kept.insert(peer, bytes[consumed..].to_vec());
        }
        self.settle(&bytes);
    }

    /// What a shell does after every entry.
    pub(in crate::core) fn settle(&mut self, chunk: &[u8]) {
        self.deliver(chunk);
        while let Some(effect) = self.core.poll() {
            match effect {
                Effect::Pump(peer) => self.pump(peer),
                Effect::Close(peer) => self.closed.push(peer),
                Effect::Connect { server, .. } => self.connecting.push(server),
                Effect::Log(line) => self.log.push(line.text),
                Effect::Reload => self.asked.push("reload".into()),
                Effect::Configured => self.asked.push("configured".into()),
                Effect::Suspend => self.asked.push("suspend".into()),
                Effect::StopListening(scope) => self.asked.push(format!("stop listening: {scope:?}")),
                Effect::Answer { control, outcome } => {
                    let outcome = outcome.map_err(|error| error.message);
                    self.asked.push(format!("answer {}: {outcome:?}", control.0.index));
                }
                Effect::Survey(client) => {
                    self.core.surveyed(self.held.clone());
                    self.pump(Peer::Client(client));
                }
                Effect::Derive { of, recipe } => self.core.derived(of, Some(recipe.derive()), self.now),
                Effect::Publish(_) => {}
            }
            self.deliver(&[]);
        }
    }

    pub(in crate::core) fn deliver(&mut self, chunk: &[u8]) {
        let outbox = std::mem::take(&mut self.core.outbox);
        for op in &outbox.ops {
            let bytes = outbox.bytes(op, chunk);
            self.sent.entry(op.to).or_default().extend_from_slice(bytes);
        }
    }

    /// Reads all messages a client was sent.
    pub(in crate::core) fn read(&mut self, id: ClientId) -> Vec<Message> {
        let bytes = self.sent.remove(&Peer::Client(id)).unwrap_or_default();
        let mut rest = &bytes[..];
        let mut messages = Vec::new();
        while let Some(header) = frame::header(rest).unwrap() {
            let (message, after) = rest.split_at(header.total());
            messages.push((char::from(header.tag), message[HEADER_LEN..].to_vec()));
            rest = after;
        }
        assert!(rest.is_empty(), "only whole messages are sent");
        messages
    }

    pub(in crate::core) fn tags(&mut self, id: ClientId) -> String {
        self.read(id).iter().map(|(tag, _)| *tag).collect()
    }

    pub(in crate::core) fn query(&mut self, id: ClientId, text: &str) {
        let mut bytes = Vec::new();
        frontend::query(&mut bytes, text.as_bytes());
        self.send(id, &bytes);
    }

    /// A command's answer in short: its tag, `NOTICE text`, `ERROR code text`, `waits`, `closed`.
    pub(in crate::core) fn run(&mut self, id: ClientId, text: &str) -> String {
        self.query(id, text);
        self.answer(id)
    }

    pub(in crate::core) fn answer(&mut self, id: ClientId) -> String {
        let mut answer = Vec::new();
        for (tag, body) in self.read(id) {
            match tag {
                'C' => answer.push(String::from_utf8_lossy(&body[..body.len() - 1]).into_owned()),
                'N' => answer.push(format!("NOTICE {}", text_of(&body))),
                'E' => answer.push(error_of(&body)),
                'Z' if answer.is_empty() => answer.push("only ready".into()),
                _ => {}
            }
        }
        if self.is_closed(id) {
            answer.push("closed".into());
        }
        if answer.is_empty() { "waits".into() } else { answer.join(", ") }
    }

    pub(in crate::core) fn is_closed(&self, id: ClientId) -> bool {
        self.closed.contains(&Peer::Client(id))
    }

    /// The rows of an answer, as text; NULL is `-`.
    pub(in crate::core) fn rows(&mut self, id: ClientId, text: &str) -> Vec<Vec<String>> {
        self.query(id, text);
        let messages = self.read(id);
        assert_eq!(messages.last().map(|m| m.0), Some('Z'), "{text}: {messages:?}");
        messages.iter().filter(|(tag, _)| *tag == 'D').map(|(_, body)| values(body)).collect()
    }

    /// The row whose first value is `name`, by column.
    pub(in crate::core) fn row(&mut self, id: ClientId, text: &str, name: &str) -> HashMap<String, String> {
        self.query(id, text);
        let messages = self.read(id);
        let columns = columns(&messages[0].1);
        let row = messages.iter().filter(|(tag, _)| *tag == 'D').map(|(_, body)| values(body));
        let row = row.into_iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{text}: no {name}"));
        columns.into_iter().map(|(name, _)| name).zip(row).collect()
    }

    /// A command of the control socket, in short as [`Bench::run`] has it.
    pub(in crate::core) fn control(&mut self, number: u32, text: &str) -> String {
        let key = sluice_unix::slab::Key { index: number, generation: 1 };
        let outcome = self.core.command(ControlId(key), text, self.now);
        self.settle(&[]);
        match outcome {
            Outcome::Rows(table) => format!("{} rows", table.rows.len()),
            Outcome::Done(done) => done.tag,
            Outcome::Wait => "waits".into(),
            Outcome::Error(error) => format!("ERROR {} {}", error.sqlstate, error.message),
        }
    }

    /// Takes another configuration over.
    pub(in crate::core) fn reload(&mut self, text: &str) {
        self.core.reload(Arc::new(snapshot(text)), self.now);
        self.settle(&[]);
    }

    pub(in crate::core) fn logged(&self, text: &str) -> bool {
        self.log.iter().any(|line| line == text)
    }
}

pub(in crate::core) fn text_of(body: &[u8]) -> String {
    String::from_utf8_lossy(Fields::new(body).message().unwrap()).into_owned()
}

pub(in crate::core) fn error_of(body: &[u8]) -> String {
    let fields = Fields::new(body);
    let severity = String::from_utf8_lossy(fields.severity().unwrap()).into_owned();
    format!("{severity} {} {}", fields.sqlstate().unwrap(), text_of(body))
}

/// Names and type oids of a RowDescription.
pub(in crate::core) fn columns(body: &[u8]) -> Vec<(String, u32)> {
    let mut rest = &body[2..];
    let mut columns = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|&byte| byte == 0).unwrap();
        let name = String::from_utf8(rest[..end].to_vec()).unwrap();
        let oid = u32::from_be_bytes(rest[end + 7..end + 11].try_into().unwrap());
        columns.push((name, oid));
        rest = &rest[end + 19..];
    }
    columns
}

/// Values of a DataRow.
pub(in crate::core) fn values(body: &[u8]) -> Vec<String> {
    let mut rest = &body[2..];
    let mut values = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let len = i32::from_be_bytes(*len);
        if len < 0 {
            values.push("-".into());
            rest = after;
        } else {
            let (value, after) = after.split_at(len as usize);
            values.push(String::from_utf8_lossy(value).into_owned());
            rest = after;
        }
    }
    values
}
