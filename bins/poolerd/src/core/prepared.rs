//! Prepared statements that follow a client from server connection to server connection.
//!
//! A definition (query text and parameter types, as on the wire) is stored once, under a number; servers know it by
//! the name `PGBOUNCER_<number>`, clients by names of their own. What a message would change is *pending* until the
//! server's reply confirms it; a message that depends on a pending change of an earlier batch has to wait
//! ([`Lookup::Unsettled`]), because the server may skip that batch.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// Prefix of the names statements have on servers; PgBouncer's, so that logs and `pg_prepared_statements` read alike.
const SERVER_NAME: &str = "PGBOUNCER_";

/// Sent for a name the client never prepared, so that the server itself raises the error (26000).
pub(super) const UNKNOWN_NAME: &[u8] = b"PGBOUNCER_0";

/// A text of this size is forgotten as soon as nobody refers to it. Smaller ones wait for a sweep: at most twice as
/// many as are in use, or 256, which at this size is 16 MB.
const LARGE_BYTES: usize = 64 * 1024;

/// One definition.
#[derive(Debug)]
pub(super) struct Statement {
    /// 1 or more, never used again.
    id: u64,
    /// Query text, its NUL, parameter type count and types.
    definition: Box<[u8]>,
    server_name: Box<[u8]>,
}

impl Statement {
    pub(super) fn definition(&self) -> &[u8] {
        &self.definition
    }

    pub(super) fn server_name(&self) -> &[u8] {
        &self.server_name
    }
}

#[derive(Debug)]
struct ByDefinition(Rc<Statement>);

impl Hash for ByDefinition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.definition.hash(state);
    }
}

impl PartialEq for ByDefinition {
    fn eq(&self, other: &Self) -> bool {
        self.0.definition == other.0.definition
    }
}

impl Eq for ByDefinition {}

impl std::borrow::Borrow<[u8]> for ByDefinition {
    fn borrow(&self) -> &[u8] {
        &self.0.definition
    }
}

/// All definitions in use.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    by_text: HashSet<ByDefinition>,
    last_id: u64,
    sweep_at: usize,
    /// Those too large to lie about once nobody refers to them.
    large: Vec<Rc<Statement>>,
}

impl Definitions {
    /// The statement with this definition, stored now if it is new.
    pub(super) fn intern(&mut self, definition: &[u8]) -> Rc<Statement> {
        if let Some(known) = self.by_text.get(definition) {
            return Rc::clone(&known.0);
        }
        self.trim();
        if self.by_text.len() >= self.sweep_at.max(256) {
            self.by_text.retain(|s| Rc::strong_count(&s.0) > 1);
            self.sweep_at = self.by_text.len() * 2;
        }
        self.last_id += 1;
        let id = self.last_id;
        let server_name = format!("{SERVER_NAME}{id}").into_bytes().into();
        let statement = Rc::new(Statement { id, definition: definition.into(), server_name });
        self.by_text.insert(ByDefinition(Rc::clone(&statement)));
        if definition.len() >= LARGE_BYTES {
            self.large.push(Rc::clone(&statement));
        }
        statement
    }

    /// Forgets the large texts nobody refers to any more. Few are large, so this may be asked for often.
    pub(super) fn trim(&mut self) {
        let by_text = &mut self.by_text;
        self.large.retain(|statement| {
            // One reference is of this list, one of the set.
            let used = Rc::strong_count(statement) > 2;
            if !used {
                by_text.remove(statement.definition());
            }
            used
        });
    }
}

/// The answer of a cache while changes may be pending.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup<T> {
    /// It is there, or will be when the batch at hand runs at all.
    Found(T),
    /// It is not there.
    Missing,
    /// An earlier batch decides; ask again when the server has answered more.
    Unsettled,
}

/// A client's names.
#[derive(Debug, Default)]
pub(super) struct ClientStatements {
    names: HashMap<Rc<[u8]>, Rc<Statement>>,
    pending: VecDeque<PendingName>,
}

#[derive(Debug)]
struct PendingName {
    name: Rc<[u8]>,
    /// `None`: closed.
    statement: Option<Rc<Statement>>,
    batch: u64,
}

impl ClientStatements {
    pub(super) fn find(&self, name: &[u8], batch: u64) -> Lookup<(Rc<[u8]>, Rc<Statement>)> {
        if let Some(pending) = self.pending.iter().rev().find(|p| &*p.name == name) {
            return match &pending.statement {
                _ if pending.batch != batch => Lookup::Unsettled,
                Some(statement) => Lookup::Found((Rc::clone(&pending.name), Rc::clone(statement))),
                None => Lookup::Missing,
            };
        }
        match self.names.get_key_value(name) {
            Some((name, statement)) => Lookup::Found((Rc::clone(name), Rc::clone(statement))),
            None => Lookup::Missing,
        }
    }

    /// Announces that `name` will mean `statement` (or nothing) once the server has answered.
    pub(super) fn propose(&mut self, name: Rc<[u8]>, statement: Option<Rc<Statement>>, batch: u64) {
        self.pending.push_back(PendingName { name, statement, batch });
    }

    /// The oldest announced change has come true, or will never.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        let Some(change) = self.pending.pop_front() else { return };
        match (outcome, change.statement) {
            (Outcome::Dropped, _) => {}
            (Outcome::Done, Some(statement)) => {
                self.names.insert(change.name, statement);
            }
            (Outcome::Done, None) => {
                self.names.remove(&change.name);
            }
        }
    }

    /// DEALLOCATE ALL or DISCARD ALL ran.
    pub(super) fn clear(&mut self) {
        self.names.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

/// Whether the server carried a request out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered with success.
    Done,
    /// It failed, or was skipped after a failure.
    Dropped,
}

/// What one server connection holds.
#[derive(Debug, Default)]
pub(super) struct ServerStatements {
    known: HashMap<u64, Known>,
    pending: VecDeque<PendingStatement>,
    clock: u64,
}

#[derive(Debug)]
struct Known {
    statement: Rc<Statement>,
    used: u64,
    /// Its plan can no longer be used (0A000): close it before the next use.
    stale: bool,
}

#[derive(Debug)]
struct PendingStatement {
    statement: Rc<Statement>,
    added: bool,
    batch: u64,
}

impl ServerStatements {
    /// Is the statement there for a message of this batch? Marks it as used. `Found(false)` means it is stale.
    pub(super) fn find(&mut self, statement: &Statement, batch: u64) -> Lookup<Freshness> {
        if let Some(pending) = self.pending.iter().rev().find(|p| p.statement.id == statement.id) {
            return match pending.added {
                _ if pending.batch != batch => Lookup::Unsettled,
                true => Lookup::Found(Freshness::Usable),
                false => Lookup::Missing,
            };
        }
        self.clock += 1;
        match self.known.get_mut(&statement.id) {
            Some(known) if known.stale => Lookup::Found(Freshness::Stale),
            Some(known) => {
                known.used = self.clock;
                Lookup::Found(Freshness::Usable)
            }
            None => Lookup::Missing,
        }
    }

    /// Announces a Parse (`added`) or Close that is on its way.
    pub(super) fn propose(&mut self, statement: Rc<Statement>, change: Proposal, batch: u64) {
        self.pending.push_back(PendingStatement { statement, added: change == Proposal::Parse, batch });
    }

    /// The oldest announced change has come true, or will never.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        let Some(change) = self.pending.pop_front() else { return };
        if outcome == Outcome::Dropped {
            return;
        }
        let id = change.statement.id;
        if change.added {
            self.clock += 1;
            let known = Known { statement: change.statement, used: self.clock, stale: false };
            self.known.insert(id, known);
        } else {
            self.known.remove(&id);
        }
    }

    /// The statement to close before one more is added, if `limit` is reached: the one used longest ago that has no
    /// change pending.
    pub(super) fn victim(&self, limit: usize) -> Option<Rc<Statement>> {
        let added = self.pending.iter().filter(|p| p.added).count();
        let removed = self.pending.len() - added;
        if self.known.len() + added < limit + removed {
            return None;
        }
        self.known
            .values()
            .filter(|k| self.pending.iter().all(|p| p.statement.id != k.statement.id))
            .min_by_key(|k| k.used)
            .map(|k| Rc::clone(&k.statement))
    }

    /// PostgreSQL refuses to run the statement's plan for good (0A000).
    pub(super) fn mark_stale(&mut self, statement: &Statement) {
        if let Some(known) = self.known.get_mut(&statement.id) {
            known.stale = true;
        }
    }

    /// DEALLOCATE ALL or DISCARD ALL ran.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

/// Can a known statement be used as it is?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    Usable,
    Stale,
}

/// See [`ServerStatements::propose`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proposal {
    Parse,
    Close,
}

/// What a connection holds as its unnamed statement.
#[derive(Clone, Debug, Default)]
pub(super) enum Unnamed {
    /// Nothing.
    #[default]
    None,
    /// This definition; equal means the same allocation, which is what one client's Parse leaves on both sides.
    Text(Rc<[u8]>),
    /// A text too long to keep: client and server stay together.
    Long,
}

impl Unnamed {
    #[inline]
    pub(super) fn same_as(&self, other: &Unnamed) -> bool {
        match (self, other) {
            (Unnamed::None, Unnamed::None) | (Unnamed::Long, Unnamed::Long) => true,
            (Unnamed::Text(a), Unnamed::Text(b)) => Rc::ptr_eq(a, b),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Rc<[u8]> {
        text.as_bytes().into()
    }

    #[test]
    fn equal_definitions_are_one_statement() {
        let mut all = Definitions::default();
        let a = all.intern(b"SELECT 1\0\0\0");
        let b = all.intern(b"SELECT 1\0\0\0");
        let c = all.intern(b"SELECT 2\0\0\0");
        assert!(Rc::ptr_eq(&a, &b));
        assert_eq!((a.server_name(), c.server_name()), (&b"PGBOUNCER_1"[..], &b"PGBOUNCER_2"[..]));
    }

    #[test]
    fn a_pending_name_counts_in_its_own_batch_only() {
        let mut all = Definitions::default();
        let mut names = ClientStatements::default();
        let one = all.intern(b"one");
        names.propose(name("a"), Some(Rc::clone(&one)), 7);
        assert!(matches!(names.find(b"a", 7), Lookup::Found(_)));
        assert!(matches!(names.find(b"a", 8), Lookup::Unsettled));
        assert!(matches!(names.find(b"b", 8), Lookup::Missing));
        names.settle(Outcome::Dropped);
        assert!(matches!(names.find(b"a", 8), Lookup::Missing));
        names.propose(name("a"), Some(one), 8);
        names.settle(Outcome::Done);
        assert!(matches!(names.find(b"a", 9), Lookup::Found(_)));
        names.propose(name("a"), None, 9);
        assert!(matches!(names.find(b"a", 9), Lookup::Missing));
        names.settle(Outcome::Dropped);
        assert!(matches!(names.find(b"a", 9), Lookup::Found(_)));
    }

    #[test]
    fn the_least_recently_used_statement_goes_first_and_never_a_pending_one() {
        let mut all = Definitions::default();
        let mut server = ServerStatements::default();
        let texts: Vec<_> = (0..3_u8).map(|n| all.intern(&[n])).collect();
        for s in &texts {
            server.propose(Rc::clone(s), Proposal::Parse, 1);
            server.settle(Outcome::Done);
        }
        assert!(server.victim(4).is_none());
        assert_eq!(server.find(&texts[0], 2), Lookup::Found(Freshness::Usable));
        let victim = server.victim(3).unwrap();
        assert!(Rc::ptr_eq(&victim, &texts[1]));
        server.propose(victim, Proposal::Close, 2);
        assert!(server.victim(3).is_none());
        assert!(Rc::ptr_eq(&server.victim(2).unwrap(), &texts[2]));
        assert_eq!(server.find(&texts[1], 2), Lookup::Missing);
        assert_eq!(server.find(&texts[1], 3), Lookup::Unsettled);
        server.settle(Outcome::Dropped);
        assert_eq!(server.find(&texts[1], 3), Lookup::Found(Freshness::Usable));
    }

    #[test]
    fn definitions_nobody_uses_are_forgotten() {
        let mut all = Definitions::default();
        for n in 0..10_000_u32 {
            all.intern(&n.to_be_bytes());
        }
        assert!(all.by_text.len() <= 512);
    }

    #[test]
    fn large_definitions_nobody_uses_are_forgotten_at_once() {
        let mut all = Definitions::default();
        let used = all.intern(&vec![b'u'; LARGE_BYTES]);
        drop(all.intern(&vec![b'x'; LARGE_BYTES]));
        drop(all.intern(&vec![b's'; LARGE_BYTES - 1]));
        all.trim();
        assert_eq!((all.by_text.len(), all.large.len()), (2, 1));
        assert!(Rc::ptr_eq(&used, &all.intern(&vec![b'u'; LARGE_BYTES])));
        drop(used);
        all.trim();
        assert_eq!((all.by_text.len(), all.large.len()), (1, 0));
    }
}
