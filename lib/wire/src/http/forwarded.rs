//! Who the client is, when gateways stand before this one: X-Forwarded-For and Forwarded (RFC 7239).
//!
//! Each gateway adds the peer it saw on the right. So the list is walked from the right, as long as what stands there
//! was written by somebody trusted; the first address that is not trusted is the client's. Nothing left of an entry that
//! cannot be read is believed.

use std::net::{IpAddr, SocketAddr};

use super::fields::{Fields, is_token, split};
use super::names::Name;

/// Whether a peer is believed when it speaks of others.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Trust {
    /// What it says of others is dropped.
    #[default]
    No,
    /// What it says of others is believed and sent on.
    Yes,
}

/// Which fields tell an origin about the client.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Style {
    /// None: what a trusted peer sent is sent on as it is.
    Off,
    /// X-Forwarded-For, -Host and -Proto.
    #[default]
    Xff,
    /// Forwarded.
    Rfc7239,
    /// All of them.
    Both,
}

impl Style {
    /// Whether the X-Forwarded fields are written.
    pub fn has_xff(self) -> bool {
        matches!(self, Self::Xff | Self::Both)
    }

    /// Whether Forwarded is written.
    pub fn has_rfc7239(self) -> bool {
        matches!(self, Self::Rfc7239 | Self::Both)
    }
}

/// How the client reached this gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// In plain text.
    Http,
    /// By TLS.
    Https,
}

impl Scheme {
    /// Its name in a URI.
    pub fn text(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The client's address. `peer` is the connection's own, None for a Unix socket, and believed if `trust` says so; only
/// then is the list looked at, the one that `style` names (X-Forwarded-For, if both). None if nothing is known.
pub fn client_address(
    fields: &Fields,
    style: Style,
    peer: Option<IpAddr>,
    trust: Trust,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut client = peer.map(|peer| peer.to_canonical());
    if trust == Trust::No || style == Style::Off {
        return client;
    }
    let mut walk = |entry: Option<IpAddr>| {
        // An entry that cannot be read ends the walk: whoever wrote it is the last one known.
        let Some(entry) = entry else { return false };
        client = Some(entry);
        is_trusted(entry)
    };
    let name = if style.has_xff() && (style != Style::Both || fields.has(Name::XForwardedFor)) {
        Name::XForwardedFor
    } else {
        Name::Forwarded
    };
    let entries: Vec<&[u8]> = match name {
        Name::XForwardedFor => fields.all(name).flat_map(|value| value.split(|&byte| byte == b',')).collect(),
        _ => fields.elements(name).collect(),
    };
    for entry in entries.iter().rev() {
        let address = if name == Name::XForwardedFor { node(entry) } else { forwarded_for(entry) };
        if !walk(address) {
            break;
        }
    }
    client
}

/// The address of one entry of X-Forwarded-For, with or without a port.
fn node(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address =
        bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

/// The address of the `for` parameter of one element of Forwarded.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    for pair in split(element, b';') {
        let at = memchr::memchr(b'=', pair)?;
        let (name, value) = (pair.get(..at)?, pair.get(at + 1..)?);
        let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        if !is_token(name) || quoted.is_none() && !is_token(value) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") {
            if found.is_some() {
                return None;
            }
            found = Some(quoted.unwrap_or(value));
        }
    }
    // Addresses need no escapes, so an escaped one is not read.
    node(found?)
}

/// Appends one element of Forwarded.
pub(super) fn write_element(out: &mut Vec<u8>, address: Option<IpAddr>, host: &[u8], scheme: Scheme) {
    out.extend_from_slice(b"for=");
    match address {
        None => out.extend_from_slice(b"unknown"),
        Some(IpAddr::V4(address)) => out.extend_from_slice(address.to_string().as_bytes()),
        Some(IpAddr::V6(address)) => out.extend_from_slice(format!("\"[{address}]\"").as_bytes()),
    }
    if is_token(host) {
        out.extend_from_slice(b";host=");
        out.extend_from_slice(host);
    } else if !host.is_empty() {
        // An authority that was checked holds neither quotes nor backslashes.
        out.extend_from_slice(b";host=\"");
        out.extend_from_slice(host);
        out.push(b'"');
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(scheme.text().as_bytes());
}
