//! The rules of HTTP/1.1 for a gateway, one by one, whole and byte by byte.

mod answers;
mod bodies;
mod forwarding;
mod framing;
mod heads;
mod peers;
mod responses;
mod structures;
mod targets;

use super::fault::Fault;
use super::limits::HeadLimits;
use super::method::Method;
use super::request::{RequestHead, RequestReader};
use super::response::{ResponseHead, ResponseReader};

/// Reads one request however it is cut, and says how many bytes it took.
pub(super) fn request(bytes: &[u8]) -> Result<Option<(usize, RequestHead)>, Fault> {
    request_within(bytes, &HeadLimits::REQUEST)
}

/// The same with other limits.
pub(super) fn request_within(
    bytes: &[u8],
    limits: &HeadLimits,
) -> Result<Option<(usize, RequestHead)>, Fault> {
    let whole = RequestReader::default().read(bytes, limits);
    each_way(bytes, |ends| {
        let mut reader = RequestReader::default();
        let mut result = Ok(None);
        for &end in ends {
            result = reader.read(&bytes[..end], limits);
            if !matches!(result, Ok(None)) {
                break;
            }
        }
        assert_eq!(result, whole, "cut at {ends:?}: {}", bytes.escape_ascii());
    });
    whole
}

/// Reads one response to a request of `method` however it is cut.
pub(super) fn response(method: Method, bytes: &[u8]) -> Result<Option<(usize, ResponseHead)>, Fault> {
    response_within(method, bytes, &HeadLimits::RESPONSE)
}

/// The same with other limits.
pub(super) fn response_within(
    method: Method,
    bytes: &[u8],
    limits: &HeadLimits,
) -> Result<Option<(usize, ResponseHead)>, Fault> {
    let whole = ResponseReader::default().read(bytes, method, limits);
    each_way(bytes, |ends| {
        let mut reader = ResponseReader::default();
        let mut result = Ok(None);
        for &end in ends {
            result = reader.read(&bytes[..end], method, limits);
            if !matches!(result, Ok(None)) {
                break;
            }
        }
        assert_eq!(result, whole, "cut at {ends:?}: {}", bytes.escape_ascii());
    });
    whole
}

/// The head of a request that must be good, all of whose bytes it takes.
pub(super) fn good_request(bytes: &[u8]) -> RequestHead {
    match request(bytes) {
        Ok(Some((used, head))) if used == bytes.len() => head,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

/// The head of a response that must be good, all of whose bytes it takes.
pub(super) fn good_response(method: Method, bytes: &[u8]) -> ResponseHead {
    match response(method, bytes) {
        Ok(Some((used, head))) if used == bytes.len() => head,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

/// The fault of a request that must be bad.
pub(super) fn bad_request(bytes: &[u8]) -> Fault {
    match request(bytes) {
        Err(fault) => fault,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

/// Calls `feed` with the lengths of what a reader that keeps all bytes is shown one after the other.
fn each_way(bytes: &[u8], mut feed: impl FnMut(&[usize])) {
    sluice_check::pieces(bytes, |pieces| {
        let mut total = 0;
        let ends: Vec<usize> = pieces
            .iter()
            .map(|piece| {
                total += piece.len();
                total
            })
            .collect();
        feed(&ends);
    });
}
