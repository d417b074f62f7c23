//! Rows 9 to 13 of the checklist: where the content of a request ends.

use sluice_check::exhaustive;

use super::super::fault::Fault;
use super::super::framing::{RequestFraming, ResponseFraming};
use super::super::request::Version;
use super::request;

/// The framing of a request with these field lines.
fn framing(fields: &str) -> Result<RequestFraming, Fault> {
    framing_of("1", fields)
}

fn framing_of(minor: &str, fields: &str) -> Result<RequestFraming, Fault> {
    let bytes = format!("POST / HTTP/1.{minor}\r\nHost: a\r\n{fields}\r\n");
    request(bytes.as_bytes()).map(|read| read.unwrap().1.framing())
}

#[test]
fn row_9_content_length() {
    assert_eq!(framing("Content-Length: 0\r\n"), Ok(RequestFraming::Length(0)));
    assert_eq!(framing("content-length:\t 0042 \r\n"), Ok(RequestFraming::Length(42)));
    assert_eq!(
        framing("Content-Length: 9223372036854775807\r\n"),
        Ok(RequestFraming::Length(i64::MAX as u64))
    );
    let bad = [
        "",
        "+5",
        "-5",
        "-0",
        "5 5",
        "5,5",
        "5, 5",
        "5,",
        ",5",
        "0x5",
        "5.0",
        "5e1",
        "five",
        "5;",
        "\"5\"",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999999",
        "\u{665}",
    ];
    for value in bad {
        assert_eq!(framing(&format!("Content-Length: {value}\r\n")), Err(Fault::ContentLength), "{value:?}");
    }
    for fields in
        ["Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nX: y\r\ncontent-length: 6\r\n"]
    {
        assert_eq!(framing(fields), Err(Fault::ContentLength), "{fields:?}");
    }
}

#[test]
fn row_9_all_short_values() {
    for value in exhaustive(b"059+-, \tx\x0b", 5) {
        let bytes = [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:", &value[..], b"\r\n\r\n"].concat();
        let read = super::super::request::RequestReader::default().read(&bytes, &super::HeadLimits::REQUEST);
        let is_space = |byte: &&u8| b" \t".contains(byte);
        let start = value.iter().take_while(is_space).count();
        let end = value.len() - value.iter().rev().take_while(is_space).count();
        let text = value.get(start..end).unwrap_or_default();
        let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let expected = match std::str::from_utf8(text).unwrap().parse() {
            Ok(length) if is_number => Ok(RequestFraming::Length(length)),
            _ if value.contains(&0x0b) => Err(Fault::FieldValue),
            _ => Err(Fault::ContentLength),
        };
        assert_eq!(read.map(|read| read.unwrap().1.framing()), expected, "{}", value.escape_ascii());
    }
}

#[test]
fn row_10_length_and_encoding() {
    let pairs = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ];
    for fields in pairs {
        assert_eq!(framing(fields), Err(Fault::LengthAndEncoding), "{fields:?}");
    }
    // Neither needs to be good for that.
    assert_eq!(framing("Content-Length: x\r\nTransfer-Encoding: y\r\n"), Err(Fault::LengthAndEncoding));
}

#[test]
fn row_11_transfer_codings() {
    for value in ["chunked", "CHUNKED", " chunked\t"] {
        assert_eq!(
            framing(&format!("Transfer-Encoding:{value}\r\n")),
            Ok(RequestFraming::Chunked),
            "{value:?}"
        );
    }
    for value in ["gzip, chunked", "Deflate,chunked", "gzip , x-compress,\tchunked"] {
        assert_eq!(
            framing(&format!("Transfer-Encoding: {value}\r\n")),
            Err(Fault::CodingUnknown),
            "{value:?}"
        );
    }
    let bad = [
        "",
        "xchunked",
        "chunkedx",
        "chunked, identity",
        "identity",
        "identity, chunked",
        "chunked, chunked",
        "chunked, gzip",
        "gzip",
        "chunked;q=1",
        "\"chunked\"",
        "chunked,",
        ",chunked",
        "chunk ed",
        "cow, chunked",
        "chunked\u{a0}",
        "\u{7f}chunked",
    ];
    for value in bad {
        let fault = framing(&format!("Transfer-Encoding: {value}\r\n")).unwrap_err();
        let expected = if value.contains('\u{7f}') { Fault::FieldValue } else { Fault::TransferEncoding };
        assert_eq!(fault, expected, "{value:?}");
    }
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(framing(twice), Err(Fault::TransferEncoding));
    assert_eq!(
        framing("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
        Err(Fault::TransferEncoding)
    );
    // Names that only look like it frame nothing, and are not sent on (see forwarding).
    assert_eq!(framing("Transfer_Encoding: chunked\r\n"), Ok(RequestFraming::None));
}

#[test]
fn row_12_transfer_encoding_in_http_1_0() {
    assert_eq!(framing_of("0", "Transfer-Encoding: chunked\r\n"), Err(Fault::EncodingInOld));
    assert_eq!(framing_of("0", "Content-Length: 5\r\n"), Ok(RequestFraming::Length(5)));
}

#[test]
fn row_13_a_request_with_neither_has_no_content() {
    assert_eq!(framing(""), Ok(RequestFraming::None));
    assert_eq!(framing_of("0", "Connection: close\r\n"), Ok(RequestFraming::None));
}

#[test]
fn row_18_towards_the_client() {
    let cases = [
        (ResponseFraming::UntilClose, ResponseFraming::Chunked, ResponseFraming::UntilClose),
        (ResponseFraming::Chunked, ResponseFraming::Chunked, ResponseFraming::UntilClose),
        (ResponseFraming::Length(5), ResponseFraming::Length(5), ResponseFraming::Length(5)),
        (ResponseFraming::None, ResponseFraming::None, ResponseFraming::None),
    ];
    for (from, new, old) in cases {
        assert_eq!((from.towards(Version::Http11), from.towards(Version::Http10)), (new, old));
    }
}
