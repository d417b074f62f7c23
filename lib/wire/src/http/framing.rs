//! Where content ends: one decision a message (RFC 9112 §6.3), made from the bytes of the fields and from nothing else.

use super::fault::Fault;
use super::fields::Fields;
use super::method::Method;
use super::names::Name;
use super::request::Version;

/// How the content of a request is delimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestFraming {
    /// There is none, and nothing announces it.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// How the content of a response is delimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResponseFraming {
    /// There is none: interim, 204, 304, or an answer to HEAD.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Everything until the connection ends.
    UntilClose,
}

impl ResponseFraming {
    /// How the same content is delimited towards a client of `version`: chunks are not for HTTP/1.0, and where the
    /// origin's connection ends, HTTP/1.1 gets chunks, so that a cut can be told from the end.
    pub fn towards(self, version: Version) -> Self {
        match (self, version) {
            (Self::Chunked | Self::UntilClose, Version::Http10) => Self::UntilClose,
            (Self::Chunked | Self::UntilClose, Version::Http11) => Self::Chunked,
            (Self::None | Self::Length(_), _) => self,
        }
    }
}

/// The framing of a request.
///
/// # Errors
/// [`Fault::ContentLength`], [`Fault::LengthAndEncoding`], [`Fault::TransferEncoding`], [`Fault::CodingUnknown`],
/// [`Fault::EncodingInOld`].
pub(super) fn of_request(version: Version, fields: &Fields) -> Result<RequestFraming, Fault> {
    let encoded = fields.has(Name::TransferEncoding);
    if encoded && version == Version::Http10 {
        return Err(Fault::EncodingInOld);
    }
    if encoded && fields.has(Name::ContentLength) {
        return Err(Fault::LengthAndEncoding);
    }
    if encoded {
        check_codings(fields)?;
        return Ok(RequestFraming::Chunked);
    }
    let mut lengths = fields.all(Name::ContentLength);
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(RequestFraming::None),
        (Some(value), None) => number(value).map(RequestFraming::Length).ok_or(Fault::ContentLength),
        _ => Err(Fault::ContentLength),
    }
}

/// The framing of a response of `status` to a request of `method`, whose Content-Length is `length`. Fields that frame are checked even where there is no
/// content: a response with a broken one is not to be trusted.
///
/// # Errors
/// As for requests; there, too, Content-Length and Transfer-Encoding exclude each other.
pub(super) fn of_response(
    method: Method,
    status: u16,
    fields: &Fields,
    length: Option<u64>,
) -> Result<ResponseFraming, Fault> {
    let encoded = fields.has(Name::TransferEncoding);
    if encoded && length.is_some() {
        return Err(Fault::LengthAndEncoding);
    }
    if encoded {
        check_codings(fields)?;
    }
    Ok(match length {
        _ if method == Method::Head || matches!(status, 100..=199 | 204 | 304) => ResponseFraming::None,
        _ if encoded => ResponseFraming::Chunked,
        Some(length) => ResponseFraming::Length(length),
        None => ResponseFraming::UntilClose,
    })
}

/// Content-Length of a response: lines and list elements may repeat one value (RFC 9110 §8.6).
///
/// # Errors
/// [`Fault::ContentLength`].
pub(super) fn response_length(fields: &Fields) -> Result<Option<u64>, Fault> {
    let mut agreed = None;
    let values = fields.all(Name::ContentLength).flat_map(|value| value.split(|&byte| byte == b','));
    for value in values {
        let length = number(value.trim_ascii()).ok_or(Fault::ContentLength)?;
        if agreed.is_some_and(|agreed| agreed != length) {
            return Err(Fault::ContentLength);
        }
        agreed = Some(length);
    }
    Ok(agreed)
}

/// Transfer-Encoding must be `chunked` and nothing else, on one line. Another coding before it exists but is not
/// implemented here; whatever else there is, is an attempt to be read in two ways.
fn check_codings(fields: &Fields) -> Result<(), Fault> {
    let mut lines = fields.all(Name::TransferEncoding);
    let (Some(value), None) = (lines.next(), lines.next()) else { return Err(Fault::TransferEncoding) };
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let last = codings.next_back();
    let known: [&[u8]; 5] = [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"];
    let is_known = |coding: &[u8]| known.iter().any(|known| known.eq_ignore_ascii_case(coding));
    if last.is_some_and(|last| last.eq_ignore_ascii_case(b"chunked")) && codings.all(is_known) {
        return Err(Fault::CodingUnknown);
    }
    Err(Fault::TransferEncoding)
}

/// 1*DIGIT below 2^63, and nothing else: no sign, no space, no list.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    const LIMIT: u64 = 1 << 63;
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit).filter(|value| *value < LIMIT)
    })
}
