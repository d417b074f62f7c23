//! Reading the head of a response (RFC 9112 §4), as strictly as a request's: an origin is trusted no further.

use super::connection::{Connection, Persistence};
use super::fault::Fault;
use super::fields::Fields;
use super::framing::{self, ResponseFraming};
use super::limits::HeadLimits;
use super::method::Method;
use super::names::Name;
use super::request::Version;
use super::scan::{Found, Kind, Progress, Scan};

/// Bytes of `HTTP/1.1 200`, the part of a status line whose form is fixed.
const STATUS_LEN: usize = 12;

/// Reads the heads of the responses of one connection, one after the other.
#[derive(Clone, Default, Debug)]
pub struct ResponseReader {
    scan: Scan,
}

impl ResponseReader {
    /// Reads a head from the start of `bytes`, as [`super::request::RequestReader::read`] does. `method` is the one of
    /// the request it answers: whether there is content depends on it.
    ///
    /// # Errors
    /// The first [`Fault`]: the response is useless and its connection too.
    pub fn read(
        &mut self,
        bytes: &[u8],
        method: Method,
        limits: &HeadLimits,
    ) -> Result<Option<(usize, ResponseHead)>, Fault> {
        match self.scan.find(Kind::Response, bytes, limits, check_line)? {
            Some(found) => Ok(Some((found.end, ResponseHead::read(bytes, found, method, limits)?))),
            None => Ok(None),
        }
    }

    /// Whether a byte of the next response is there.
    pub fn has_begun(&self) -> bool {
        self.scan.has_begun()
    }
}

/// The head of a response that broke no rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResponseHead {
    version: Version,
    status: u16,
    reason_len: usize,
    content_length: Option<u64>,
    framing: ResponseFraming,
    connection: Connection,
    fields: Fields,
}

impl ResponseHead {
    fn read(bytes: &[u8], found: Found, method: Method, limits: &HeadLimits) -> Result<Self, Fault> {
        let section = bytes.get(found.begin..found.end).unwrap_or_default();
        let fields_at = found.fields - found.begin;
        let line = section.get(..fields_at - 2).unwrap_or_default();
        let (version, status) = status_line(line)?;
        let fields = Fields::read(section, fields_at, limits.fields_max)?;
        let content_length = framing::response_length(&fields)?;
        let framing = framing::of_response(method, status, &fields, content_length)?;
        let connection = Connection::of(version, &fields);
        let reason_len = line.len().saturating_sub(STATUS_LEN + 1);
        Ok(Self { version, status, reason_len, content_length, framing, connection, fields })
    }

    /// The status, 100 to 599.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The origin's version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The reason phrase; often empty.
    pub fn reason(&self) -> &[u8] {
        self.fields.bytes().get(STATUS_LEN + 1..STATUS_LEN + 1 + self.reason_len).unwrap_or_default()
    }

    /// Whether another response follows for the same request: 1xx but for 101.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// How its content is delimited: the one decision.
    pub fn framing(&self) -> ResponseFraming {
        self.framing
    }

    /// What Content-Length says, also where there is no content.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether the origin's connection may be used again, as far as its head tells: not after HTTP/1.0 with a transfer
    /// coding (RFC 9112 §6.1), nor where the end of the connection is the end of the content.
    pub fn persistence(&self) -> Persistence {
        let old_and_encoded = self.version == Version::Http10 && self.fields.has(Name::TransferEncoding);
        if self.framing == ResponseFraming::UntilClose || old_and_encoded {
            return Persistence::Close;
        }
        self.connection.persistence()
    }

    /// The protocol a 101 switches to, if it is one of `offers`: exactly one, as it was offered.
    pub fn switches_to<'a>(&self, mut offers: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
        let mut chosen = self.fields.elements(Name::Upgrade);
        let (Some(protocol), None) = (chosen.next(), chosen.next()) else { return None };
        let is_switch = self.status == 101 && self.connection.has_upgrade();
        offers.find(|offer| is_switch && offer.eq_ignore_ascii_case(protocol))
    }

    /// The field lines.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }
}

/// Refuses a status line, or a beginning of one, in the order of its bytes.
fn check_line(line: &[u8], progress: Progress) -> Result<(), Fault> {
    const FORM: &[u8; STATUS_LEN] = b"HTTP/1.v sdd";
    let fits = |(&byte, &form): (&u8, &u8)| match form {
        b'v' => matches!(byte, b'0' | b'1'),
        b's' => matches!(byte, b'1'..=b'5'),
        b'd' => byte.is_ascii_digit(),
        _ => byte == form,
    };
    let is_long_enough = progress == Progress::Partial || line.len() >= STATUS_LEN;
    let is_text = |&byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    let tail = line.get(STATUS_LEN..).unwrap_or_default();
    let is_reason = tail.first().is_none_or(|&byte| byte == b' ') && tail.iter().all(is_text);
    if is_long_enough && line.iter().zip(FORM).all(fits) && is_reason {
        Ok(())
    } else {
        Err(Fault::StatusLine)
    }
}

fn status_line(line: &[u8]) -> Result<(Version, u16), Fault> {
    let version = match line.get(7) {
        Some(b'0') => Version::Http10,
        Some(b'1') => Version::Http11,
        _ => return Err(Fault::StatusLine),
    };
    let digits = line.get(STATUS_LEN - 3..STATUS_LEN).unwrap_or_default();
    let status = framing::number(digits).and_then(|number| u16::try_from(number).ok());
    Ok((version, status.ok_or(Fault::StatusLine)?))
}
