//! Parse, Bind, Describe and Close: the messages that name prepared statements.
//!
//! In transaction and statement mode a client's names are its own: they stand for definitions, and the server at hand
//! is made to know the definition first. The unnamed statement is looked after in the same way, so that nobody ever
//! runs another client's. In session mode everything passes untouched.

use std::rc::Rc;
use std::time::Instant;

use sluice_wire::pg::backend::TransactionStatus;
use sluice_wire::pg::frame::HEADER_LEN;
use sluice_wire::pg::frontend::{self, BindHead, KIND_STATEMENT, Parse, Target};

use super::client::{Client, Rest};
use super::effect::Peer;
use super::outstanding::{Action, Changes, Kind, Request, UnnamedChange};
use super::prepared::{ClientStatements, Freshness, Lookup, Proposal, Statement, UNKNOWN_NAME, Unnamed};
use super::requests::{Message, Step};
use super::server::Server;
use super::{ClientId, Core, ServerId};
use crate::config::PoolMode;

/// Bytes of a Bind that are waited for before its names are looked for again.
const BIND_HEAD_BYTES: usize = 256;

/// How far statements of a connection are looked after.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tracking {
    /// Session mode: not at all.
    Off,
    /// `max_prepared_statements = 0`: the unnamed one only.
    Unnamed,
    /// All of them.
    Named,
}

/// A name resolved for the server at hand.
enum Resolved {
    /// Under this client name; the server has, or will have had, the statement.
    Known(Rc<[u8]>, Rc<Statement>),
    /// The client has no such statement.
    Unknown,
    /// An earlier batch decides.
    Unsettled,
}

impl Core {
    fn tracking(&self, server_id: ServerId) -> Tracking {
        match self.servers.get(server_id.0).map(|s| self.mode_of(s.pool)) {
            None | Some(PoolMode::Session) => Tracking::Off,
            _ if self.config.global.max_prepared_statements == 0 => Tracking::Unnamed,
            _ => Tracking::Named,
        }
    }

    fn pair(&mut self, id: ClientId, server_id: ServerId) -> Option<(&mut Client, &mut Server)> {
        Some((self.clients.get_mut(id.0)?, self.servers.get_mut(server_id.0)?))
    }

    pub(super) fn on_parse(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        message: Message<'_>,
        now: Instant,
    ) -> Step {
        let tracking = self.tracking(server_id);
        let untracked =
            |first: u8| tracking == Tracking::Off || (first != 0 && tracking == Tracking::Unnamed);
        let Some(&first) = message.body().first() else {
            return if message.is_whole() {
                self.refuse_message(id, "broken Parse packet", "it has no body".into(), now)
            } else {
                Step::Need(HEADER_LEN + 1)
            };
        };
        if untracked(first) {
            return self.push_and_relay(id, server_id, Kind::Parse, message);
        }
        let unnamed = first == 0;
        if unnamed && message.header.total() > self.config.global.unnamed_statement_bytes {
            let changes = Changes { unnamed: Some(UnnamedChange::ParseLong), ..Changes::default() };
            return self.parse_unnamed(id, server_id, changes, None, message);
        }
        if !message.is_whole() {
            return Step::Need(message.header.total());
        }
        match Parse::read(message.body()) {
            Err(_) => {
                let detail = "its name or query is not terminated, or its parameter types are cut off";
                self.refuse_message(id, "broken Parse packet", detail.into(), now)
            }
            Ok(parse) if unnamed => {
                let changes = Changes { unnamed: Some(UnnamedChange::Parse), ..Changes::default() };
                self.parse_unnamed(id, server_id, changes, Some(parse.definition), message)
            }
            Ok(parse) => self.parse_named(id, server_id, parse, message),
        }
    }

    /// A Parse of the client that goes to the server as well. As in PgBouncer, only named statements that are looked
    /// after are counted.
    fn count_parse(&mut self, server_id: ServerId) {
        self.count(server_id, |stats| {
            stats.client_parses += 1;
            stats.server_parses += 1;
        });
    }

    fn parse_unnamed(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        changes: Changes,
        definition: Option<&[u8]>,
        message: Message<'_>,
    ) -> Step {
        let Some((client, server)) = self.pair(id, server_id) else { return Step::Closed };
        client.unnamed_batch = server.outstanding.batch();
        let note = definition.map(Rc::from);
        server.outstanding.push(Request { changes, note, ..Request::forward(Kind::Parse, id) });
        self.relay(id, server_id, message)
    }

    fn parse_named(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        parse: Parse<'_>,
        message: Message<'_>,
    ) -> Step {
        let duplicate = match self.resolve(id, server_id, parse.name) {
            Resolved::Unsettled => return self.hold(id, server_id),
            Resolved::Known(name, statement) => Some((name, statement)),
            Resolved::Unknown => None,
        };
        if let Some((name, statement)) = duplicate {
            // The server itself has to raise 42P05, so that the state of the transaction stays true.
            if self.ensure(id, server_id, &statement, &name) == Ensured::Unsettled {
                return self.hold(id, server_id);
            }
            let statement_sent = Some(Rc::clone(&statement));
            let request = Request::forward(Kind::Parse, id);
            self.push(server_id, Request { note: Some(name), statement: statement_sent, ..request });
            self.count_parse(server_id);
            self.outbox.write(Peer::Server(server_id), |out| {
                frontend::parse(out, statement.server_name(), parse.definition);
            });
            return Step::Used(message.there());
        }
        let statement = self.definitions.intern(parse.definition);
        let name = Core::shared_name(parse.name);
        let Some((_, server)) = self.pair(id, server_id) else { return Step::Closed };
        let batch = server.outstanding.batch();
        // Whether a Parse succeeds depends on the transaction it meets, which earlier batches decide; in one that has
        // failed the server itself has to answer, and for that the statement is closed there first. So it is behind
        // an Execute of the same batch, which may be the DEALLOCATE ALL after which the server has it no more.
        let unsettled = server.outstanding.syncs() > 0;
        let doubtful = server.status == TransactionStatus::Failed || server.outstanding.has(Kind::Execute);
        let known = match server.statements.find(&statement, batch) {
            Lookup::Unsettled => return self.hold(id, server_id),
            Lookup::Found(Freshness::Usable) if unsettled => return self.hold(id, server_id),
            Lookup::Found(Freshness::Usable) if doubtful => {
                self.close_on_server(id, server_id, &statement);
                false
            }
            Lookup::Found(Freshness::Usable) => true,
            Lookup::Found(Freshness::Stale) | Lookup::Missing => false,
        };
        let Some((client, _)) = self.pair(id, server_id) else { return Step::Closed };
        let names: &mut ClientStatements = client.statements.get_or_insert_default();
        names.propose(Rc::clone(&name), Some(Rc::clone(&statement)), batch);
        let changes = Changes { name: true, ..Changes::default() };
        if known {
            let faked = Request {
                action: Action::Fake,
                changes,
                note: Some(name),
                ..Request::forward(Kind::Parse, id)
            };
            self.push(server_id, faked);
            self.count(server_id, |stats| stats.client_parses += 1);
            return Step::Used(message.there());
        }
        self.make_room(id, server_id, &statement);
        let Some((_, server)) = self.pair(id, server_id) else { return Step::Closed };
        server.statements.propose(Rc::clone(&statement), Proposal::Parse, batch);
        let changes = Changes { server: true, ..changes };
        let statement_sent = Some(Rc::clone(&statement));
        let request = Request::forward(Kind::Parse, id);
        self.push(server_id, Request { changes, note: Some(name), statement: statement_sent, ..request });
        self.outbox.write(Peer::Server(server_id), |out| {
            frontend::parse(out, statement.server_name(), statement.definition());
        });
        self.count_parse(server_id);
        Step::Used(message.there())
    }

    pub(super) fn on_bind(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        message: Message<'_>,
        now: Instant,
    ) -> Step {
        let tracking = self.tracking(server_id);
        let head = match BindHead::read(message.body()) {
            _ if tracking == Tracking::Off => None,
            Ok(Some(head)) => Some(head),
            Ok(None) if !message.is_whole() => {
                return Step::Need(message.header.total().min(message.there() + BIND_HEAD_BYTES));
            }
            Ok(None) | Err(_) => {
                let detail = "its portal or statement name is not terminated";
                return self.refuse_message(id, "broken Bind packet", detail.into(), now);
            }
        };
        let Some(head) = head else {
            return self.push_and_relay(id, server_id, Kind::Bind, message);
        };
        if head.statement.is_empty() {
            if self.ensure_unnamed(id, server_id) == Ensured::Unsettled {
                return self.hold(id, server_id);
            }
            return self.push_and_relay(id, server_id, Kind::Bind, message);
        }
        if tracking == Tracking::Unnamed {
            return self.push_and_relay(id, server_id, Kind::Bind, message);
        }
        self.bind_named(id, server_id, head, message)
    }

    fn bind_named(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        head: BindHead<'_>,
        message: Message<'_>,
    ) -> Step {
        let statement = match self.push_named(id, server_id, Kind::Bind, head.statement) {
            Ok(statement) => statement,
            Err(step) => return step,
        };
        let server_name = server_name(statement.as_ref());
        self.count(server_id, |stats| stats.binds += 1);
        let peer = Peer::Server(server_id);
        let tail_len = message.header.body_len() - head.tail;
        self.outbox.write(peer, |out| frontend::bind_head(out, head.portal, server_name, tail_len));
        let there = message.there();
        self.outbox.relay(peer, message.at + HEADER_LEN + head.tail, message.at + there);
        self.leave_rest(id, Rest::Relay, message.header.total() - there);
        Step::Used(there)
    }

    pub(super) fn on_describe(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        message: Message<'_>,
        now: Instant,
    ) -> Step {
        let target = match self.target(id, server_id, "broken Describe packet", message, now) {
            Ok(target) => target,
            Err(step) => return step,
        };
        match target {
            Some(Target { kind: KIND_STATEMENT, name: b"" }) => {
                if self.ensure_unnamed(id, server_id) == Ensured::Unsettled {
                    return self.hold(id, server_id);
                }
                self.push_and_relay(id, server_id, Kind::Describe, message)
            }
            Some(Target { kind: KIND_STATEMENT, name }) if self.tracking(server_id) == Tracking::Named => {
                let statement = match self.push_named(id, server_id, Kind::Describe, name) {
                    Ok(statement) => statement,
                    Err(step) => return step,
                };
                self.outbox.write(Peer::Server(server_id), |out| {
                    frontend::describe(out, KIND_STATEMENT, server_name(statement.as_ref()));
                });
                Step::Used(message.there())
            }
            _ => self.push_and_relay(id, server_id, Kind::Describe, message),
        }
    }

    pub(super) fn on_close(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        message: Message<'_>,
        now: Instant,
    ) -> Step {
        let target = match self.target(id, server_id, "broken Close packet", message, now) {
            Ok(target) => target,
            Err(step) => return step,
        };
        let tracking = self.tracking(server_id);
        match target {
            Some(Target { kind: KIND_STATEMENT, name: b"" }) if tracking != Tracking::Off => {
                let Some((client, server)) = self.pair(id, server_id) else { return Step::Closed };
                client.unnamed_batch = server.outstanding.batch();
                let changes = Changes { unnamed: Some(UnnamedChange::Close), ..Changes::default() };
                self.push(server_id, Request { changes, ..Request::forward(Kind::Close, id) });
                self.relay(id, server_id, message)
            }
            // Other clients may use the definition: the server keeps it, only the name goes.
            Some(Target { kind: KIND_STATEMENT, name }) if tracking == Tracking::Named => {
                if matches!(self.resolve(id, server_id, name), Resolved::Unsettled) {
                    return self.hold(id, server_id);
                }
                let name = Core::shared_name(name);
                let Some((client, server)) = self.pair(id, server_id) else { return Step::Closed };
                let batch = server.outstanding.batch();
                client.statements.get_or_insert_default().propose(Rc::clone(&name), None, batch);
                server.outstanding.push(Request {
                    action: Action::Fake,
                    changes: Changes { name: true, ..Changes::default() },
                    note: Some(name),
                    ..Request::forward(Kind::Close, id)
                });
                Step::Used(message.there())
            }
            _ => self.push_and_relay(id, server_id, Kind::Close, message),
        }
    }

    /// What a Describe or Close names; `None` where nobody needs to know.
    fn target<'a>(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        broken: &'static str,
        message: Message<'a>,
        now: Instant,
    ) -> Result<Option<Target<'a>>, Step> {
        if self.tracking(server_id) == Tracking::Off {
            return Ok(None);
        }
        if !message.is_whole() {
            return Err(Step::Need(message.header.total()));
        }
        match Target::read(message.body()) {
            Ok(target) => Ok(Some(target)),
            Err(_) => {
                let detail = "it names neither a statement nor a portal".to_owned();
                Err(self.refuse_message(id, broken, detail, now))
            }
        }
    }

    /// Queues a request about a named statement, once the server knows it; one the client never prepared stays
    /// `None`, for the server to refuse.
    fn push_named(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        kind: Kind,
        name: &[u8],
    ) -> Result<Option<Rc<Statement>>, Step> {
        let (note, statement) = match self.resolve(id, server_id, name) {
            Resolved::Unsettled => return Err(self.hold(id, server_id)),
            Resolved::Unknown => (Core::shared_name(name), None),
            Resolved::Known(name, statement) => {
                if self.ensure(id, server_id, &statement, &name) == Ensured::Unsettled {
                    return Err(self.hold(id, server_id));
                }
                (name, Some(statement))
            }
        };
        let request = Request::forward(kind, id);
        self.push(server_id, Request { note: Some(note), statement: statement.clone(), ..request });
        Ok(statement)
    }

    fn resolve(&mut self, id: ClientId, server_id: ServerId, name: &[u8]) -> Resolved {
        let Some((client, server)) = self.pair(id, server_id) else { return Resolved::Unknown };
        let Some(names) = &client.statements else { return Resolved::Unknown };
        match names.find(name, server.outstanding.batch()) {
            Lookup::Found((name, statement)) => Resolved::Known(name, statement),
            Lookup::Missing => Resolved::Unknown,
            Lookup::Unsettled => Resolved::Unsettled,
        }
    }

    /// Makes sure that the server knows the statement when the next message reaches it.
    fn ensure(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        statement: &Rc<Statement>,
        name: &Rc<[u8]>,
    ) -> Ensured {
        let Some((_, server)) = self.pair(id, server_id) else { return Ensured::Ready };
        let batch = server.outstanding.batch();
        match server.statements.find(statement, batch) {
            Lookup::Unsettled => return Ensured::Unsettled,
            Lookup::Found(Freshness::Usable) => return Ensured::Ready,
            Lookup::Found(Freshness::Stale) => self.close_on_server(id, server_id, statement),
            Lookup::Missing => self.make_room(id, server_id, statement),
        }
        let Some((_, server)) = self.pair(id, server_id) else { return Ensured::Ready };
        server.statements.propose(Rc::clone(statement), Proposal::Parse, batch);
        self.push(
            server_id,
            Request {
                action: Action::Skip,
                changes: Changes { server: true, ..Changes::default() },
                note: Some(Rc::clone(name)),
                statement: Some(Rc::clone(statement)),
                ..Request::forward(Kind::Parse, id)
            },
        );
        self.outbox.write(Peer::Server(server_id), |out| {
            frontend::parse(out, statement.server_name(), statement.definition());
        });
        self.count(server_id, |stats| stats.server_parses += 1);
        Ensured::Ready
    }

    /// Closes the least recently used statements if the server would hold too many, and `statement` if it is stale.
    fn make_room(&mut self, id: ClientId, server_id: ServerId, statement: &Rc<Statement>) {
        let limit = self.config.global.max_prepared_statements as usize;
        let Some((_, server)) = self.pair(id, server_id) else { return };
        let batch = server.outstanding.batch();
        if server.statements.find(statement, batch) == Lookup::Found(Freshness::Stale) {
            return self.close_on_server(id, server_id, statement);
        }
        // More than one where the limit has been lowered.
        while let Some(victim) = self.servers.get(server_id.0).and_then(|s| s.statements.victim(limit)) {
            self.close_on_server(id, server_id, &victim);
        }
    }

    fn close_on_server(&mut self, id: ClientId, server_id: ServerId, statement: &Rc<Statement>) {
        let Some((_, server)) = self.pair(id, server_id) else { return };
        let batch = server.outstanding.batch();
        server.statements.propose(Rc::clone(statement), Proposal::Close, batch);
        server.outstanding.push(Request {
            action: Action::Skip,
            changes: Changes { server: true, ..Changes::default() },
            ..Request::forward(Kind::Close, id)
        });
        self.outbox.write(Peer::Server(server_id), |out| {
            frontend::close(out, KIND_STATEMENT, statement.server_name());
        });
    }

    /// Gives the server the client's unnamed statement, or takes another client's away from it.
    fn ensure_unnamed(&mut self, id: ClientId, server_id: ServerId) -> Ensured {
        let Some((client, server)) = self.pair(id, server_id) else { return Ensured::Ready };
        let batch = server.outstanding.batch();
        if client.unnamed_batch == batch {
            return Ensured::Ready;
        }
        if server.outstanding.syncs() > 0 {
            return Ensured::Unsettled;
        }
        if client.unnamed.same_as(&server.unnamed) {
            return Ensured::Ready;
        }
        client.unnamed_batch = batch;
        let (kind, change, note) = match &client.unnamed {
            Unnamed::Text(text) => (Kind::Parse, UnnamedChange::Inject, Some(Rc::clone(text))),
            Unnamed::None | Unnamed::Long => (Kind::Close, UnnamedChange::Remove, None),
        };
        server.outstanding.push(Request {
            action: Action::Skip,
            changes: Changes { unnamed: Some(change), ..Changes::default() },
            note: note.clone(),
            ..Request::forward(kind, id)
        });
        self.outbox.write(Peer::Server(server_id), |out| match &note {
            Some(definition) => frontend::parse(out, b"", definition),
            None => frontend::close(out, KIND_STATEMENT, b""),
        });
        Ensured::Ready
    }

    /// The client waits for replies of this server before its next message can be judged.
    fn hold(&mut self, id: ClientId, server_id: ServerId) -> Step {
        self.emit_faked(server_id);
        if let Some(client) = self.clients.get_mut(id.0) {
            client.held = true;
        }
        Step::Blocked
    }

    pub(super) fn push(&mut self, server_id: ServerId, request: Request) {
        if let Some(server) = self.servers.get_mut(server_id.0) {
            server.outstanding.push(request);
        }
    }
}

fn server_name(statement: Option<&Rc<Statement>>) -> &[u8] {
    statement.map_or(UNKNOWN_NAME, |s| s.server_name())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ensured {
    /// The message at hand may follow.
    Ready,
    /// An earlier batch decides.
    Unsettled,
}
