//! Session parameters that follow a client from server connection to server connection.
//!
//! Only parameters that PostgreSQL reports by ParameterStatus can be tracked (manual, "Asynchronous Operations").
//! Values are shared strings: equal values of ten thousand clients are stored once, and the comparison before a
//! query is mostly one of pointers.

use std::collections::HashSet;
use std::rc::Rc;

/// Always tracked; the settings add more.
const BASE: [&str; 5] =
    ["client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings", "application_name"];

/// The first of [`BASE`] have values in which case means nothing; an application name is told apart by it.
const CASELESS: usize = 4;

/// Which parameters are tracked: fixed for the life of the process.
#[derive(Debug)]
pub(super) struct Tracked {
    names: Vec<Box<str>>,
}

impl Tracked {
    pub(super) fn new(extra: &[String]) -> Self {
        let mut names: Vec<Box<str>> = BASE.iter().map(|&n| n.into()).collect();
        for name in extra {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name.as_str().into());
            }
        }
        Tracked { names }
    }

    /// The position of a tracked parameter; names compare without case, as in PostgreSQL.
    pub(super) fn position(&self, name: &[u8]) -> Option<usize> {
        self.names.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }

    pub(super) fn name(&self, at: usize) -> &str {
        self.names.get(at).map_or("", |n| n)
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

/// One shared parameter value.
pub(super) type Value = Rc<[u8]>;

/// Values seen so far, each stored once.
#[derive(Debug, Default)]
pub(super) struct Interner {
    values: HashSet<Value>,
    sweep_at: usize,
}

impl Interner {
    pub(super) fn intern(&mut self, value: &[u8]) -> Value {
        if let Some(known) = self.values.get(value) {
            return Rc::clone(known);
        }
        // Amortised: a sweep costs as much as the insertions since the last one.
        if self.values.len() >= self.sweep_at.max(64) {
            self.values.retain(|v| Rc::strong_count(v) > 1);
            self.sweep_at = self.values.len() * 2;
        }
        let value: Value = value.into();
        self.values.insert(Rc::clone(&value));
        value
    }
}

/// The tracked values of one connection, by position in [`Tracked`].
#[derive(Clone, Debug)]
pub(super) struct Vars {
    values: Box<[Option<Value>]>,
}

impl Vars {
    pub(super) fn new(tracked: &Tracked) -> Self {
        Vars { values: vec![None; tracked.len()].into() }
    }

    #[inline]
    pub(super) fn at(&self, at: usize) -> Option<&Value> {
        self.values.get(at).and_then(Option::as_ref)
    }

    pub(super) fn set(&mut self, at: usize, value: Value) {
        if let Some(slot) = self.values.get_mut(at) {
            *slot = Some(value);
        }
    }

    /// Takes over what `other` knows and this one does not.
    pub(super) fn fill_from(&mut self, other: &Vars) {
        for (mine, theirs) in self.values.iter_mut().zip(&other.values) {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        }
    }

    /// Does a server with `server`'s values need a SET before it works for a client with these?
    #[inline]
    pub(super) fn differ_from(&self, server: &Vars) -> bool {
        let mut pairs = self.values.iter().zip(&server.values).enumerate();
        pairs.any(|(at, (want, have))| !same(at, want.as_ref(), have.as_ref()))
    }

    /// Appends `SET a='..';SET b='..';` for every value that differs.
    pub(super) fn write_sets(&self, server: &Vars, tracked: &Tracked, sql: &mut Vec<u8>) {
        for (at, (want, have)) in self.values.iter().zip(&server.values).enumerate() {
            if same(at, want.as_ref(), have.as_ref()) {
                continue;
            }
            let (Some(want), name) = (want, tracked.name(at)) else { continue };
            sql.extend_from_slice(b"SET ");
            sql.extend_from_slice(name.as_bytes());
            sql.push(b'=');
            write_value(name, want, sql);
            sql.push(b';');
        }
    }

    /// After the SETs ran: the server's spelling of a value becomes the client's, else every query would set it anew.
    /// Answers the position, old and new value of each change.
    pub(super) fn adopt_spelling(&mut self, server: &Vars) -> Vec<(usize, Value, Value)> {
        let mut changed = Vec::new();
        for (at, (mine, theirs)) in self.values.iter_mut().zip(&server.values).enumerate() {
            if let (Some(old), Some(new)) = (mine.as_ref(), theirs.as_ref())
                && !Rc::ptr_eq(old, new)
                && old != new
            {
                changed.push((at, Rc::clone(old), Rc::clone(new)));
            }
            if mine.is_some() && theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
        changed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Value)> {
        self.values.iter().enumerate().filter_map(|(at, v)| v.as_ref().map(|v| (at, v)))
    }
}

/// A value the client never gave needs no SET.
#[inline]
fn same(at: usize, want: Option<&Value>, have: Option<&Value>) -> bool {
    match (want, have) {
        (None, _) => true,
        (Some(want), Some(have)) if Rc::ptr_eq(want, have) => true,
        (Some(want), Some(have)) if at < CASELESS => want.eq_ignore_ascii_case(have),
        (Some(want), Some(have)) => want == have,
        (Some(_), None) => false,
    }
}

/// List parameters are reported by the server already quoted; quoting them once more would make one name of the
/// whole list. An empty list is reported as `""`, which SET takes as `''`.
fn write_value(name: &str, value: &[u8], sql: &mut Vec<u8>) {
    if name.eq_ignore_ascii_case("search_path") && is_plain_list(value) {
        if value == b"\"\"" {
            sql.extend_from_slice(b"''");
        } else {
            sql.extend_from_slice(value);
        }
        return;
    }
    // A backslash means itself only in E'' or with standard_conforming_strings on; E'' is right in both cases.
    let escaped = value.contains(&b'\\');
    if escaped {
        sql.push(b'E');
    }
    sql.push(b'\'');
    for &byte in value {
        if byte == b'\'' || byte == b'\\' {
            sql.push(byte);
        }
        sql.push(byte);
    }
    sql.push(b'\'');
}

/// Names, or double-quoted names, with commas between: nothing that could end the SET.
fn is_plain_list(value: &[u8]) -> bool {
    let mut quoted = false;
    let mut empty = true;
    for &byte in value {
        match byte {
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b',' | b' ' => {}
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'$' | b'A'..=b'Z' | 0x80.. => {}
            _ => return false,
        }
        empty = false;
    }
    !quoted && !empty
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(want: &str, have: &str, name: &str) -> Vec<u8> {
        let tracked = Tracked::new(&["search_path".into()]);
        let mut names = Interner::default();
        let at = tracked.position(name.as_bytes()).unwrap();
        let (mut client, mut server) = (Vars::new(&tracked), Vars::new(&tracked));
        client.set(at, names.intern(want.as_bytes()));
        server.set(at, names.intern(have.as_bytes()));
        let mut sql = Vec::new();
        client.write_sets(&server, &tracked, &mut sql);
        assert_eq!(client.differ_from(&server), !sql.is_empty());
        sql
    }

    #[test]
    fn equal_but_for_case_needs_no_set() {
        assert_eq!(pair("App", "app", "application_name"), b"SET application_name='App';");
        assert_eq!(pair("utf8", "UTF8", "client_encoding"), b"");
        assert_eq!(pair("Latin1", "UTF8", "client_encoding"), b"SET client_encoding='Latin1';");
    }

    #[test]
    fn quotes_and_backslashes_cannot_end_the_literal() {
        assert_eq!(pair("a'b", "x", "application_name"), b"SET application_name='a''b';");
        assert_eq!(pair(r"a\'b", "x", "application_name"), br"SET application_name=E'a\\''b';");
    }

    #[test]
    fn a_list_is_not_quoted_again() {
        assert_eq!(pair(r#""$user", public"#, "x", "search_path"), br#"SET search_path="$user", public;"#);
        assert_eq!(pair(r#""""#, "x", "search_path"), b"SET search_path='';");
        assert_eq!(pair("a; DROP TABLE t", "x", "search_path"), b"SET search_path='a; DROP TABLE t';");
        assert_eq!(pair(r#""open"#, "x", "search_path"), br#"SET search_path='"open';"#);
    }

    #[test]
    fn a_value_never_given_is_left_to_the_server() {
        let tracked = Tracked::new(&[]);
        let mut names = Interner::default();
        let (client, mut server) = (Vars::new(&tracked), Vars::new(&tracked));
        server.set(0, names.intern(b"UTF8"));
        assert!(!client.differ_from(&server));
    }

    #[test]
    fn the_servers_spelling_is_adopted() {
        let tracked = Tracked::new(&[]);
        let mut names = Interner::default();
        let (mut client, mut server) = (Vars::new(&tracked), Vars::new(&tracked));
        client.set(2, names.intern(b"utc"));
        server.set(2, names.intern(b"Etc/UTC"));
        assert_eq!(client.adopt_spelling(&server).len(), 1);
        assert!(!client.differ_from(&server));
        assert!(client.adopt_spelling(&server).is_empty());
    }

    #[test]
    fn unused_values_are_forgotten() {
        let mut names = Interner::default();
        for n in 0..10_000_u32 {
            names.intern(&n.to_be_bytes());
        }
        assert!(names.values.len() <= 128);
    }
}
