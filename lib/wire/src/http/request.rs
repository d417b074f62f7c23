//! Reading the head of a request (RFC 9112 §3, RFC 9110 §7): every rule about it is checked here, once, and what the
//! gateway asks of it later are facts.
//!
//! ```text
//! bytes ─▶ Scan: end of head, limits, request line ─▶ Fields ─▶ framing, Host, Expect, Upgrade ─▶ RequestHead
//! ```

use std::ops::Range;

use super::connection::{Connection, Persistence};
use super::fault::Fault;
use super::fields::{Fields, is_token_byte};
use super::framing::{self, RequestFraming};
use super::limits::HeadLimits;
use super::method::Method;
use super::names::Name;
use super::scan::{Found, Kind, Progress, Scan};
use super::target::{Form, Target, is_authority};
use super::upgrade;

/// Bytes of the longest method.
pub const METHOD_LEN_MAX: usize = 32;

/// Bytes of an HTTP-version.
const VERSION_LEN: usize = 8;

/// The versions that are spoken here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// What a request expects before it sends its content (RFC 9110 §10.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Nothing.
    Nothing,
    /// 100 (Continue).
    Continue,
}

/// Reads the heads of the requests of one connection, one after the other.
#[derive(Clone, Default, Debug)]
pub struct RequestReader {
    scan: Scan,
}

impl RequestReader {
    /// Reads a head from the start of `bytes`: all that was received and not used up. Some comes with the number of
    /// bytes used up; None asks for a call with the same bytes and more. However the bytes are cut, the result is the
    /// same.
    ///
    /// # Errors
    /// The first [`Fault`]: answer with its status and close the connection.
    pub fn read(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<(usize, RequestHead)>, Fault> {
        let check = |line: &[u8], progress| RequestLine::check(line, progress, limits.target_max);
        match self.scan.find(Kind::Request, bytes, limits, check)? {
            Some(found) => Ok(Some((found.end, RequestHead::read(bytes, found, limits)?))),
            None => Ok(None),
        }
    }

    /// Whether a byte of the next request is there: if the connection ends now, a request is lost.
    pub fn has_begun(&self) -> bool {
        self.scan.has_begun()
    }
}

/// The head of a request that broke no rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestHead {
    method: Method,
    method_len: usize,
    version: Version,
    target: Target,
    /// Where the target stands in the head.
    target_at: usize,
    framing: RequestFraming,
    expect: Expect,
    connection: Connection,
    fields: Fields,
}

impl RequestHead {
    fn read(bytes: &[u8], found: Found, limits: &HeadLimits) -> Result<Self, Fault> {
        let section = bytes.get(found.begin..found.end).unwrap_or_default();
        let fields_at = found.fields - found.begin;
        let line =
            RequestLine::split(section.get(..fields_at - 2).unwrap_or_default()).ok_or(Fault::RequestLine)?;
        let version = line.version()?;
        let method = Method::of(line.method);
        let target = Target::read(line.target)?;
        if target.form == Form::Asterisk && method != Method::Options {
            return Err(Fault::Target);
        }
        let (method_len, target_at) = (line.method.len(), line.method.len() + 1);
        let fields = Fields::read(section, fields_at, limits.fields_max)?;
        check_host(version, &fields)?;
        let framing = framing::of_request(version, &fields)?;
        let connection = Connection::of(version, &fields);
        let expect = expectation(version, &fields)?;
        if method == Method::Options {
            max_forwards(&fields)?;
        }
        Ok(Self { method, method_len, version, target, target_at, framing, expect, connection, fields })
    }

    /// The method, if it is a known one.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method as it was spelled.
    pub fn method_text(&self) -> &[u8] {
        self.part(0..self.method_len)
    }

    /// The client's version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The target as it was sent.
    pub fn target_text(&self) -> &[u8] {
        self.target_part(&(0..self.target.query.end))
    }

    /// The form of the target.
    pub fn form(&self) -> Form {
        self.target.form
    }

    /// The path as it came: `/`, if an absolute form has none; `*` for the server as a whole.
    pub fn path(&self) -> &[u8] {
        match self.target_part(&self.target.path) {
            [] if self.method == Method::Options && self.target.query.is_empty() => b"*",
            [] => b"/",
            path => path,
        }
    }

    /// The query with its question mark; empty if there is none.
    pub fn query(&self) -> &[u8] {
        self.target_part(&self.target.query)
    }

    /// `host[:port]` of the target or else of Host; None only for HTTP/1.0 without either.
    pub fn authority(&self) -> Option<&[u8]> {
        match self.target.form {
            Form::Absolute => Some(self.target_part(&self.target.authority)),
            Form::Origin | Form::Asterisk => self.fields.first(Name::Host),
        }
    }

    /// How its content is delimited: the one decision.
    pub fn framing(&self) -> RequestFraming {
        self.framing
    }

    /// Whether the client waits for 100 (Continue) before it sends the content it announced.
    pub fn expect(&self) -> Expect {
        match self.framing {
            RequestFraming::None | RequestFraming::Length(0) => Expect::Nothing,
            RequestFraming::Length(_) | RequestFraming::Chunked => self.expect,
        }
    }

    /// Whether the client wants the connection to go on (RFC 9112 §9.3).
    pub fn persistence(&self) -> Persistence {
        self.connection.persistence()
    }

    /// Whether it accepts trailers of chunked responses (`TE: trailers`).
    pub fn takes_trailers(&self) -> bool {
        self.version == Version::Http11 && self.fields.lists(Name::Te, b"trailers")
    }

    /// The protocols it offers to switch to; none if it may not switch: HTTP/1.0, with content, or without
    /// `Connection: upgrade` (RFC 9110 §7.8). Offers of other versions of HTTP are left out: behind a tunnel they would
    /// pass every rule of this gateway.
    pub fn offers(&self) -> impl Iterator<Item = &[u8]> {
        let may_switch = self.connection.has_upgrade()
            && self.version == Version::Http11
            && matches!(self.framing, RequestFraming::None | RequestFraming::Length(0));
        self.fields.elements(Name::Upgrade).filter(move |offer| may_switch && upgrade::is_tunnelled(offer))
    }

    /// Hops an OPTIONS request may still take; None without the field and for other methods (RFC 9110 §7.6.2).
    pub fn max_forwards(&self) -> Option<u64> {
        match self.method {
            Method::Options => max_forwards(&self.fields).ok().flatten(),
            _ => None,
        }
    }

    /// The field lines.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    fn target_part(&self, range: &Range<usize>) -> &[u8] {
        self.part(self.target_at + range.start..self.target_at + range.end)
    }

    fn part(&self, range: Range<usize>) -> &[u8] {
        self.fields.bytes().get(range).unwrap_or_default()
    }
}

/// The three parts of a request line.
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: &'a [u8],
}

impl<'a> RequestLine<'a> {
    /// The parts between the single spaces; None if there are not three.
    fn split(line: &'a [u8]) -> Option<Self> {
        let method_len = memchr::memchr(b' ', line)?;
        let rest = line.get(method_len + 1..)?;
        let target_len = memchr::memchr(b' ', rest)?;
        let (target, version) = (rest.get(..target_len)?, rest.get(target_len + 1..)?);
        Some(Self { method: line.get(..method_len)?, target, version })
    }

    /// Refuses a line, or a beginning of one, in the order of its bytes.
    fn check(line: &'a [u8], progress: Progress, target_max: usize) -> Result<(), Fault> {
        let method_len =
            line.iter().take(METHOD_LEN_MAX + 1).take_while(|&&byte| is_token_byte(byte)).count();
        if method_len > METHOD_LEN_MAX {
            return Err(Fault::MethodLong);
        }
        let Some((&space, rest)) = line.get(method_len..).and_then(<[u8]>::split_first) else {
            return unfinished(progress);
        };
        if space != b' ' || method_len == 0 {
            return Err(Fault::Method);
        }
        let target_len = memchr::memchr(b' ', rest.get(..=target_max).unwrap_or(rest));
        let Some(target_len) = target_len else {
            return if rest.len() > target_max { Err(Fault::TargetLong) } else { unfinished(progress) };
        };
        let version = rest.get(target_len + 1..).unwrap_or_default();
        if version.len() > VERSION_LEN {
            return Err(Fault::RequestLine);
        }
        match progress {
            Progress::Partial => Ok(()),
            Progress::Whole => Self {
                method: line.get(..method_len).unwrap_or_default(),
                target: rest.get(..target_len).unwrap_or_default(),
                version,
            }
            .judge(),
        }
    }

    /// Refuses a whole line for what it says.
    fn judge(&self) -> Result<(), Fault> {
        self.version()?;
        if Method::of(self.method).is_refused() {
            return Err(Fault::MethodRefused);
        }
        Target::read(self.target)?;
        Ok(())
    }

    fn version(&self) -> Result<Version, Fault> {
        match self.version {
            b"HTTP/1.1" => Ok(Version::Http11),
            b"HTTP/1.0" => Ok(Version::Http10),
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                Err(Fault::Version)
            }
            _ => Err(Fault::RequestLine),
        }
    }
}

fn unfinished(progress: Progress) -> Result<(), Fault> {
    match progress {
        Progress::Partial => Ok(()),
        Progress::Whole => Err(Fault::RequestLine),
    }
}

/// RFC 9112 §3.2: exactly one valid Host, but HTTP/1.0 may have none.
fn check_host(version: Version, fields: &Fields) -> Result<(), Fault> {
    let mut hosts = fields.all(Name::Host);
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::Http10 => Ok(()),
        (Some(host), None) if is_authority(host) => Ok(()),
        _ => Err(Fault::Host),
    }
}

/// RFC 9110 §10.1.1: 100-continue is the only expectation; HTTP/1.0 has none.
fn expectation(version: Version, fields: &Fields) -> Result<Expect, Fault> {
    if version == Version::Http10 {
        return Ok(Expect::Nothing);
    }
    fields.elements(Name::Expect).try_fold(Expect::Nothing, |_, element| {
        if element.eq_ignore_ascii_case(b"100-continue") {
            Ok(Expect::Continue)
        } else {
            Err(Fault::Expectation)
        }
    })
}

fn max_forwards(fields: &Fields) -> Result<Option<u64>, Fault> {
    let mut values = fields.all(Name::MaxForwards);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => framing::number(value).map(Some).ok_or(Fault::MaxForwards),
        _ => Err(Fault::MaxForwards),
    }
}
