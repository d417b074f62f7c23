//! Structured field values (RFC 9651), as far as Proxy-Status, Cache-Status and Priority need them.
//!
//! A value is read strictly and as a whole: one fault anywhere and it says nothing, as the RFC wants it. Members keep
//! their text, so that those of others are sent on unchanged.

use super::fields::Fields;
use super::names::Name;

/// A bare item, as its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// A token.
    Token(&'a [u8]),
    /// A string, its quotes left out and its escapes kept.
    String(&'a [u8]),
    /// An integer.
    Integer(i64),
    /// `?0` or `?1`; also a parameter without a value.
    Boolean(bool),
    /// Decimals, bytes, dates, display strings and inner lists: read, not understood.
    Other,
}

impl Item<'_> {
    /// Whether it is the token or the string `text`. Tokens are compared letter by letter.
    pub fn is_text(&self, text: &[u8]) -> bool {
        matches!(self, Self::Token(found) | Self::String(found) if *found == text)
    }
}

/// One member of a list or dictionary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member<'a> {
    /// Its key, in a dictionary; empty in a list.
    pub key: &'a [u8],
    /// Its value.
    pub item: Item<'a>,
    /// Its parameters, in order.
    pub params: Vec<(&'a [u8], Item<'a>)>,
    /// All of it, as it was written.
    pub text: &'a [u8],
}

impl<'a> Member<'a> {
    /// The last value of parameter `key`.
    pub fn param(&self, key: &[u8]) -> Option<Item<'a>> {
        self.params.iter().rev().find(|(found, _)| *found == key).map(|(_, item)| *item)
    }
}

/// Whether members have keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    List,
    Dictionary,
}

/// The members of a list; None if it is not one. Several lines of one field are one list: give each and join them.
pub fn list(value: &[u8]) -> Option<Vec<Member<'_>>> {
    members(value, Kind::List)
}

/// The members of a dictionary; None if it is not one. Of equal keys the last counts.
pub fn dictionary(value: &[u8]) -> Option<Vec<Member<'_>>> {
    members(value, Kind::Dictionary)
}

/// Appends the Proxy-Status lines of a response without the members that bear the name `pseudonym`, so that an origin
/// cannot speak as this gateway (RFC 9209 §2). A line that cannot be read says nothing and is dropped.
pub(super) fn write_members_of_others(out: &mut Vec<u8>, fields: &Fields, pseudonym: &str) {
    for value in fields.all(Name::ProxyStatus) {
        let mut separator: &[u8] = b"Proxy-Status: ";
        for member in list(value).unwrap_or_default() {
            if !member.item.is_text(pseudonym.as_bytes()) {
                out.extend_from_slice(separator);
                out.extend_from_slice(member.text);
                separator = b", ";
            }
        }
        if separator == b", " {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends `text` as a string: printable ASCII, anything else becomes a question mark.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => out.push(b'?'),
        }
    }
    out.push(b'"');
}

fn members(value: &[u8], kind: Kind) -> Option<Vec<Member<'_>>> {
    let mut cursor = Cursor { whole: value, at: 0 };
    let mut members = Vec::new();
    cursor.skip(b" ");
    if cursor.is_at_end() {
        return Some(members);
    }
    loop {
        members.push(cursor.member(kind)?);
        cursor.skip(b" \t");
        if cursor.is_at_end() {
            return Some(members);
        }
        cursor.eat(b',')?;
        cursor.skip(b" \t");
        if cursor.is_at_end() {
            return None;
        }
    }
}

struct Cursor<'a> {
    whole: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn member(&mut self, kind: Kind) -> Option<Member<'a>> {
        let start = self.at;
        let key = match kind {
            Kind::List => &[],
            Kind::Dictionary => self.key()?,
        };
        let item = if kind == Kind::List || self.eat(b'=').is_some() {
            self.item_or_inner_list()?
        } else {
            Item::Boolean(true)
        };
        let params = self.params()?;
        Some(Member { key, item, params, text: self.since(start) })
    }

    fn item_or_inner_list(&mut self) -> Option<Item<'a>> {
        if self.eat(b'(').is_none() {
            return self.item();
        }
        loop {
            self.skip(b" ");
            if self.eat(b')').is_some() {
                return Some(Item::Other);
            }
            self.item()?;
            self.params()?;
            if !matches!(self.peek(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn params(&mut self) -> Option<Vec<(&'a [u8], Item<'a>)>> {
        let mut params = Vec::new();
        while self.eat(b';').is_some() {
            self.skip(b" ");
            let key = self.key()?;
            let item = if self.eat(b'=').is_some() { self.item()? } else { Item::Boolean(true) };
            params.push((key, item));
        }
        Some(params)
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        if !matches!(self.peek(), Some(b'a'..=b'z' | b'*')) {
            return None;
        }
        self.take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte));
        Some(self.since(start))
    }

    fn item(&mut self) -> Option<Item<'a>> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string().map(Item::String),
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                let start = self.at;
                self.take_while(|byte| super::fields::is_token_byte(byte) || b":/".contains(&byte));
                Some(Item::Token(self.since(start)))
            }
            b':' => self.bytes(),
            b'?' => self.boolean(),
            b'@' => {
                self.at += 1;
                matches!(self.number()?, Item::Integer(_)).then_some(Item::Other)
            }
            b'%' => self.display_string(),
            _ => None,
        }
    }

    /// §4.2.4: at most 15 digits, or 12 before and 3 behind the point.
    fn number(&mut self) -> Option<Item<'a>> {
        let sign = if self.eat(b'-').is_some() { -1 } else { 1 };
        let start = self.at;
        self.take_while(|byte| byte.is_ascii_digit());
        let digits = self.since(start);
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        if self.eat(b'.').is_some() {
            let start = self.at;
            self.take_while(|byte| byte.is_ascii_digit());
            let fits = digits.len() <= 12 && (1..=3).contains(&self.since(start).len());
            return fits.then_some(Item::Other);
        }
        let value = digits.iter().fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
        Some(Item::Integer(sign * value))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        self.eat(b'"')?;
        let start = self.at;
        loop {
            match self.bump()? {
                b'"' => return self.whole.get(start..self.at - 1),
                b'\\' => {
                    if !matches!(self.bump()?, b'"' | b'\\') {
                        return None;
                    }
                }
                b' '..=b'~' => (),
                _ => return None,
            }
        }
    }

    fn bytes(&mut self) -> Option<Item<'a>> {
        self.eat(b':')?;
        self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        self.eat(b':')?;
        Some(Item::Other)
    }

    fn boolean(&mut self) -> Option<Item<'a>> {
        self.eat(b'?')?;
        match self.bump()? {
            b'0' => Some(Item::Boolean(false)),
            b'1' => Some(Item::Boolean(true)),
            _ => None,
        }
    }

    fn display_string(&mut self) -> Option<Item<'a>> {
        self.eat(b'%')?;
        self.eat(b'"')?;
        loop {
            match self.bump()? {
                b'"' => return Some(Item::Other),
                b'%' => {
                    for _ in 0..2 {
                        matches!(self.bump()?, b'0'..=b'9' | b'a'..=b'f').then_some(())?;
                    }
                }
                b' '..=b'~' => (),
                _ => return None,
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.whole.get(self.at).copied()
    }

    fn bump(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.take_while(|byte| bytes.contains(&byte));
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
    }

    fn since(&self, start: usize) -> &'a [u8] {
        self.whole.get(start..self.at).unwrap_or_default()
    }

    fn is_at_end(&self) -> bool {
        self.at == self.whole.len()
    }
}
