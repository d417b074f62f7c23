//! Request targets and authorities, checked byte by byte and never changed.
//!
//! A target is forwarded as it came or not at all. What two servers might read differently (a backslash, a broken or
//! zero escape, a dot segment, a fragment, white space) is refused, so that the path that was matched against the
//! routes is the path the origin sees.

use std::net::Ipv6Addr;
use std::ops::Range;

use super::fault::Fault;

/// The forms of RFC 9112 §3.2 that are taken here. Authority-form belongs to CONNECT, which is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A path with an optional query.
    Origin,
    /// A whole http or https URI; its authority replaces Host.
    Absolute,
    /// `*`: the server as a whole, for OPTIONS.
    Asterisk,
}

/// Where the parts of a request target stand in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its form.
    pub form: Form,
    /// `host[:port]`; empty but for the absolute form.
    pub authority: Range<usize>,
    /// The path, without the query. Empty for an absolute form without a path.
    pub path: Range<usize>,
    /// The query with its question mark; empty if there is none.
    pub query: Range<usize>,
}

impl Target {
    /// Reads a target.
    ///
    /// # Errors
    /// [`Fault::Target`]; [`Fault::Host`] if the authority of an absolute form is malformed.
    pub fn read(text: &[u8]) -> Result<Self, Fault> {
        let whole = text.len();
        let (form, authority) = match text {
            b"*" => return Ok(Self { form: Form::Asterisk, authority: 0..0, path: 0..1, query: 1..1 }),
            [b'/', ..] => (Form::Origin, 0..0),
            _ => (Form::Absolute, authority_of(text)?),
        };
        if !text.iter().all(|&byte| TARGET[usize::from(byte)]) {
            return Err(Fault::Target);
        }
        if form == Form::Absolute && !is_authority(text.get(authority.clone()).unwrap_or_default()) {
            return Err(Fault::Host);
        }
        let start = authority.end;
        let query =
            memchr::memchr(b'?', text.get(start..).unwrap_or_default()).map_or(whole, |at| start + at);
        let target = Self { form, authority, path: start..query, query: query..whole };
        check_path(text.get(target.path.clone()).unwrap_or_default())?;
        Ok(target)
    }
}

/// Whether a byte may stand in a target: what is printable, but for `#`, `"`, `<` and `>`.
const TARGET: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = !matches!(byte as u8, b'#' | b'"' | b'<' | b'>');
        byte += 1;
    }
    table
};

/// The authority of an absolute form.
fn authority_of(text: &[u8]) -> Result<Range<usize>, Fault> {
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    let start = schemes
        .iter()
        .find(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .map(|scheme| scheme.len())
        .ok_or(Fault::Target)?;
    let rest = text.get(start..).unwrap_or_default();
    let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    Ok(start..start + end)
}

/// Refuses a backslash, an escape that is broken or means NUL, and dot segments.
fn check_path(path: &[u8]) -> Result<(), Fault> {
    // Nearly every path has neither: one look decides.
    if memchr::memchr3(b'%', b'\\', b'.', path).is_none() {
        return Ok(());
    }
    let mut dots = Segment::default();
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match byte {
            b'\\' => return Err(Fault::Target),
            b'%' => unescape(after)?,
            _ => (byte, after),
        };
        rest = after;
        dots.add(byte)?;
    }
    dots.end()
}

/// The byte of an escape, and what follows it.
fn unescape(after: &[u8]) -> Result<(u8, &[u8]), Fault> {
    let digit = |at: usize| after.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err(Fault::Target) };
    match (high * 16 + low) as u8 {
        0 => Err(Fault::Target),
        byte => Ok((byte, after.get(2..).unwrap_or_default())),
    }
}

/// The segment of a path that is being read, its escapes undone.
#[derive(Default)]
struct Segment {
    len: usize,
    dots: usize,
}

impl Segment {
    fn add(&mut self, byte: u8) -> Result<(), Fault> {
        // An escaped slash or backslash separates segments too: there are origins that undo escapes first.
        if matches!(byte, b'/' | b'\\') {
            self.end()?;
            *self = Self::default();
        } else {
            self.len += 1;
            self.dots += usize::from(byte == b'.');
        }
        Ok(())
    }

    fn end(&self) -> Result<(), Fault> {
        if self.len == self.dots && matches!(self.dots, 1 | 2) { Err(Fault::Target) } else { Ok(()) }
    }
}

/// Whether `text` is `host[:port]` (RFC 9110 §7.2, RFC 3986 §3.2): no user, no path, no list, not empty.
pub fn is_authority(text: &[u8]) -> bool {
    let Some((host, port)) = split_port(text) else { return false };
    is_host(host) && is_port(port)
}

/// The host and the digits of the port, which are empty if there are none.
fn split_port(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let host_len = match text.first()? {
        b'[' => memchr::memchr(b']', text)? + 1,
        _ => memchr::memchr(b':', text).unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(host_len);
    match port {
        [] => Some((host, port)),
        [b':', digits @ ..] => Some((host, digits)),
        _ => None,
    }
}

fn is_host(host: &[u8]) -> bool {
    if let [b'[', inner @ .., b']'] = host {
        return std::str::from_utf8(inner).is_ok_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
    }
    let mut rest = host;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'%' => match unescape(after) {
                Ok((_, after)) => after,
                Err(_) => return false,
            },
            // unreserved and sub-delims of RFC 3986, but no comma: that would be a list.
            _ if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte) => after,
            _ => return false,
        };
    }
    !host.is_empty()
}

fn is_port(digits: &[u8]) -> bool {
    let value = digits.iter().try_fold(0_u32, |value, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        Some(value * 10 + digit).filter(|value| *value <= 65_535)
    });
    value.is_some()
}
