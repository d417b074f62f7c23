//! Keys: whose limit and whose share it is, as one number made with a secret of the process.
//!
//! A key is never kept or logged as it came: addresses and header values are hashed at once. The secret keeps a client
//! from choosing values that fall together with somebody else's.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};

use sluice_gateway::gate::{Head, Peer};

/// One part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// The route.
    Route,
    /// The client's address; of an IPv6 address the /64, which is what one subscriber has.
    Address,
    /// The value of a field.
    Header(String),
    /// The first so many segments of the path.
    Path(usize),
}

/// What makes a key: `route`, `address`, `header:NAME`, `path:N`, joined by `+`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec(Vec<KeyPart>);

/// Segments a `path:N` may have.
pub const PATH_SEGMENTS_MAX: usize = 16;

/// Whose limit and whose share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::fmt::Display for KeySpec {
    /// As [`KeySpec::parse`] reads it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            f.write_str(if at > 0 { "+" } else { "" })?;
            match part {
                KeyPart::Route => f.write_str("route")?,
                KeyPart::Address => f.write_str("address")?,
                KeyPart::Header(name) => write!(f, "header:{name}")?,
                KeyPart::Path(segments) => write!(f, "path:{segments}")?,
            }
        }
        Ok(())
    }
}

impl KeySpec {
    /// Each address has its own.
    #[must_use]
    pub fn address() -> Self {
        Self(vec![KeyPart::Address])
    }

    /// Each route has its own.
    #[must_use]
    pub fn route() -> Self {
        Self(vec![KeyPart::Route])
    }

    /// Reads the text of a configuration; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Option<Vec<KeyPart>> = text.split('+').map(|part| KeyPart::parse(part.trim())).collect();
        parts.map(Self)
    }

    /// The parts.
    #[must_use]
    pub fn parts(&self) -> &[KeyPart] {
        &self.0
    }

    /// This one with a further part.
    #[must_use]
    pub fn and(mut self, part: KeyPart) -> Self {
        self.0.push(part);
        self
    }

    /// The key of a request.
    #[must_use]
    pub fn of(&self, head: &Head<'_>, peer: &Peer, secret: &RandomState) -> Key {
        let mut hasher = secret.build_hasher();
        for part in &self.0 {
            part.hash_into(head, peer, &mut hasher);
        }
        Key(hasher.finish())
    }
}

impl KeyPart {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "route" => Some(Self::Route),
            None if text == "address" => Some(Self::Address),
            Some(("header", name)) => {
                let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
                (!name.is_empty() && name.bytes().all(token)).then(|| Self::Header(name.to_owned()))
            }
            Some(("path", count)) => {
                let count = count.parse().ok().filter(|count| (1..=PATH_SEGMENTS_MAX).contains(count));
                count.map(Self::Path)
            }
            _ => None,
        }
    }

    fn hash_into(&self, head: &Head<'_>, peer: &Peer, hasher: &mut impl Hasher) {
        match self {
            Self::Route => head.route.hash(hasher),
            Self::Address => peer.client.map(subscriber).hash(hasher),
            Self::Header(name) => {
                for value in head.request.fields().named(name.as_bytes()) {
                    value.hash(hasher);
                }
                hasher.write_u8(0);
            }
            Self::Path(segments) => prefix(head.request.path(), *segments).hash(hasher),
        }
    }
}

/// What one subscriber has: an IPv4 address, mapped or not, or an IPv6 /64.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// The first `segments` segments of a path, slashes included.
fn prefix(path: &[u8], segments: usize) -> &[u8] {
    let mut slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.nth(segments).map_or(path, |end| &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_gateway::gate::{Purpose, RouteId, Trust};

    fn key(spec: &str, target: &[u8], address: &str, fields: &[(&str, &[u8])], secret: &RandomState) -> Key {
        let request = crate::limiter::tests::request("GET", target, fields);
        let head = Head { route: RouteId(0), purpose: Purpose::Ordinary, request: &request };
        let peer = Peer { client: address.parse().ok(), trust: Trust::No };
        KeySpec::parse(spec).unwrap().of(&head, &peer, secret)
    }

    #[test]
    fn specifications() {
        for text in ["route", "address", "header:X-Api-Key", "path:1", "route+address", "path:2 + header:A"] {
            assert_eq!(KeySpec::parse(text).unwrap().to_string(), text.replace(' ', ""));
        }
        for text in
            ["", "+", "adress", "header", "header:", "header:a b", "path:", "path:0", "path:17", "path:x"]
        {
            assert_eq!(KeySpec::parse(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_of_one_subscriber_are_one_key() {
        let secret = RandomState::new();
        let of = |address| key("address", b"/", address, &[], &secret);
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of(""), of("unix"));
    }

    #[test]
    fn paths_and_headers_make_keys() {
        let secret = RandomState::new();
        let path = |spec, target: &[u8]| key(spec, target, "", &[], &secret);
        assert_eq!(path("path:1", b"/api/a?x=/1"), path("path:1", b"/api/b"));
        assert_ne!(path("path:2", b"/api/a"), path("path:2", b"/api/b"));
        assert_ne!(path("path:1", b"/api"), path("path:1", b"/apis"));
        let header = |fields: &[(&str, &[u8])]| key("header:x-key", b"/", "", fields, &secret);
        assert_eq!(header(&[("X-Key", b"1")]), header(&[("A", b""), ("x-key", b"1")]));
        assert_ne!(header(&[("X-Key", b"1")]), header(&[]));
        assert_ne!(header(&[("X-Key", b"12")]), header(&[("X-Key", b"1"), ("X-Key", b"2")]));
    }
}
