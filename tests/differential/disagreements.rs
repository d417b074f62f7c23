//! Where one side refuses what the other takes, and why that is as it should be.

use sluice_wire::http::Fault;

use super::Message;

/// What we refuse and llhttp takes.
pub(crate) const WE_REFUSE: [(Fault, &str); 8] = [
    (
        Fault::RequestLine,
        "llhttp takes HTTP/0.9 and several spaces; RFC 9112 §3 wants a version and single ones",
    ),
    (Fault::Method, "llhttp passes over a CR before the request line; RFC 9112 §2.2 knows empty lines only"),
    (Fault::Target, "llhttp looks at few bytes of a target and at none of its form"),
    (Fault::Host, "llhttp leaves Host to others; RFC 9112 §3.2 wants 400"),
    (
        Fault::TransferEncoding,
        "llhttp takes lists with empty elements, and reads other codings of responses to the end",
    ),
    (
        Fault::CodingUnknown,
        "llhttp ignores the fields of responses without content; we trust none that frames wrongly",
    ),
    (
        Fault::StatusLine,
        "llhttp takes any status, control bytes in a reason, and empty lines before a response",
    ),
    (Fault::LineEnd, "llhttp passes over a bare LF before a response"),
];

/// What llhttp refuses and we take: the reason, if it is a good one for this message.
pub(crate) fn they_refuse(code: &str, message: &Message) -> Option<&'static str> {
    let fields = || message.fields.chunks(2).filter_map(|pair| Some((pair.first()?, pair.get(1)?)));
    let lengths =
        fields().filter(|(name, _)| name.eq_ignore_ascii_case(b"content-length")).collect::<Vec<_>>();
    let is_list = lengths.iter().any(|(_, value)| value.contains(&b','));
    let trails = |name: &[u8]| message.trailers.chunks(2).any(|pair| pair[0].eq_ignore_ascii_case(name));
    let is_response = message.start[1].iter().all(u8::is_ascii_digit);
    match code {
        "HPE_INVALID_METHOD" => Some("llhttp knows a list of methods; RFC 9110 §16.1 lets there be others"),
        "HPE_INVALID_CONTENT_LENGTH" | "HPE_UNEXPECTED_CONTENT_LENGTH"
            if is_response && (is_list || lengths.len() > 1) =>
        {
            Some("equal lengths of a response are one (RFC 9110 §8.6), and it is sent on with one")
        }
        "HPE_INVALID_CONTENT_LENGTH" if lengths.len() == 1 => Some("llhttp takes no tab behind a length"),
        "HPE_INVALID_CONTENT_LENGTH" if trails(b"content-length") => {
            Some("fields that frame mean nothing in a trailer section, and are not sent on")
        }
        "HPE_INVALID_TRANSFER_ENCODING" if trails(b"transfer-encoding") => {
            Some("fields that frame mean nothing in a trailer section, and are not sent on")
        }
        _ => None,
    }
}
