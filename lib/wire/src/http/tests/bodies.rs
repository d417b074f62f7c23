//! Rows 13 to 15 and 19 of the checklist: content, whole and in pieces, and what it ends with.

use sluice_check::exhaustive;

use super::super::body::{Body, Truncated};
use super::super::chunked::{CHUNK_END, LAST_CHUNK, Piece, write_chunk_line};
use super::super::fault::Fault;
use super::super::fields::Fields;
use super::super::framing::{RequestFraming, ResponseFraming};
use super::super::limits::BodyLimits;

const LIMITS: BodyLimits = BodyLimits::DEFAULT;

/// What came of content: its bytes, its trailers, and how many bytes belong to it.
#[derive(PartialEq, Eq, Debug)]
struct Read {
    content: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// None if it is not over.
    used: Option<usize>,
}

fn read_pieces(mut body: Body, pieces: &[&[u8]]) -> Result<Read, Fault> {
    let (mut content, mut used) = (Vec::new(), 0);
    let mut over = false;
    for piece in pieces {
        let mut rest = *piece;
        while !over {
            match body.next(rest)? {
                Piece::Data { skip, len } => {
                    assert!(len > 0);
                    content.extend_from_slice(&rest[skip..skip + len]);
                    used += skip + len;
                    rest = &rest[skip + len..];
                }
                Piece::Need { skip } => {
                    assert_eq!(skip, rest.len(), "all is used up before more is asked for");
                    used += skip;
                    break;
                }
                Piece::End { skip } => {
                    used += skip;
                    over = true;
                }
            }
        }
    }
    over |= body.is_done();
    assert_eq!(body.content_len(), content.len() as u64);
    assert_eq!(over, body.is_done());
    let trailers = body.trailers().into_iter().flat_map(Fields::iter);
    let trailers = trailers.map(|field| (field.text.to_vec(), field.value.to_vec())).collect();
    Ok(Read { content, trailers, used: over.then_some(used) })
}

/// Reads content in every way it can be cut.
fn read(framing: RequestFraming, limits: &BodyLimits, bytes: &[u8]) -> Result<Read, Fault> {
    let whole = read_pieces(Body::of_request(framing, limits)?, &[bytes]);
    sluice_check::pieces(bytes, |pieces| {
        let cut = read_pieces(Body::of_request(framing, limits).unwrap(), pieces);
        assert_eq!(cut, whole, "{}", bytes.escape_ascii());
    });
    whole
}

fn chunked(bytes: &[u8]) -> Result<Read, Fault> {
    read(RequestFraming::Chunked, &LIMITS, bytes)
}

/// The content of chunks that must be good and take all bytes.
fn good(bytes: &[u8]) -> Vec<u8> {
    match chunked(bytes) {
        Ok(Read { content, used: Some(used), .. }) if used == bytes.len() => content,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

#[test]
fn row_13_no_content_ends_at_once() {
    for framing in [RequestFraming::None, RequestFraming::Length(0)] {
        let read = read(framing, &LIMITS, b"GET /").unwrap();
        assert_eq!(read, Read { content: vec![], trailers: vec![], used: Some(0) });
    }
}

#[test]
fn a_length_is_counted() {
    let read_five = read(RequestFraming::Length(5), &LIMITS, b"helloGET /").unwrap();
    assert_eq!(read_five, Read { content: b"hello".to_vec(), trailers: vec![], used: Some(5) });
    for prefix in sluice_check::prefixes(b"hello") {
        let mut body = Body::of_request(RequestFraming::Length(5), &LIMITS).unwrap();
        if !prefix.is_empty() {
            assert_eq!(body.next(prefix), Ok(Piece::Data { skip: 0, len: prefix.len() }));
        }
        assert_eq!((body.is_done(), body.end()), (false, Err(Truncated)), "row 19");
    }
}

#[test]
fn content_until_the_end_of_the_connection() {
    let mut body = Body::of_response(ResponseFraming::UntilClose, &LIMITS).unwrap();
    assert_eq!(body.next(b""), Ok(Piece::Need { skip: 0 }));
    assert_eq!(body.next(b"abc"), Ok(Piece::Data { skip: 0, len: 3 }));
    assert_eq!((body.is_done(), body.end(), body.content_len()), (false, Ok(()), 3));
}

#[test]
fn row_14_the_example_of_the_rfc() {
    // RFC 9112 §7.1.1 to §7.1.3 by their grammar.
    let bytes = b"4\r\nWiki\r\n5;a\r\npedia\r\n0E;b=c;d=\"e\\\"f;\"\r\n in \r\n\r\nchunks\r\n0\r\nA: b\r\nC:d \r\n\r\nGET /";
    let read = chunked(bytes).unwrap();
    assert_eq!(read.content, b"Wikipedia in \r\n\r\nchunks");
    assert_eq!(read.trailers, [(b"A".to_vec(), b"b".to_vec()), (b"C".to_vec(), b"d".to_vec())]);
    assert_eq!(read.used, Some(bytes.len() - 5));
}

#[test]
fn row_14_sizes() {
    assert_eq!(good(b"0\r\n\r\n"), b"");
    assert_eq!(good(b"0000000000000001\r\na\r\n000\r\n\r\n"), b"a");
    assert_eq!(good(b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n").len(), 20);
    let bad: [&[u8]; 22] = [
        b"\r\n",
        b";\r\n",
        b";a\r\n",
        b"x\r\n",
        b"+1\r\na\r\n",
        b"-1\r\n",
        b"0x1\r\na\r\n",
        b" 1\r\na\r\n",
        b"1 \r\na\r\n",
        b"1\t\r\na\r\n",
        b"1\n",
        b"1\ra",
        b"1\r\r\n",
        b"00000000000000001\r\n",
        b"fffffffffffffffff\r\n",
        b"1_0\r\n",
        b"1,\r\n",
        b"\xb2\r\n",
        b"1\0\r\n",
        b"g\r\n",
        b"1\x0b\r\n",
        b"1.\r\n",
    ];
    for bytes in bad {
        assert_eq!(chunked(bytes), Err(Fault::Chunk), "{}", bytes.escape_ascii());
    }
    // The largest sizes are counted, not computed with.
    assert!(
        chunked(b"ffffffffffffffff\r\nabc").is_ok_and(|read| read.used.is_none() && read.content == b"abc")
    );
}

#[test]
fn row_14_sizes_that_add_up_to_too_much() {
    let mut body = Body::of_request(RequestFraming::Chunked, &LIMITS).unwrap();
    // As if the content so far were nearly 2^64 bytes long.
    assert_eq!(body.next(b"1\r\na"), Ok(Piece::Data { skip: 3, len: 1 }));
    assert_eq!(body.next(b"\r\nffffffffffffffff\r\n"), Err(Fault::Chunk));
}

#[test]
fn row_14_every_chunk_ends_in_crlf() {
    let bad: [&[u8]; 6] = [
        b"1\r\nab\r\n",
        b"1\r\na\n0\r\n\r\n",
        b"1\r\na\r0",
        b"1\r\na0\r\n\r\n",
        b"1\r\na\r\r\n",
        b"2\r\na\r\n0\r\n\r\n",
    ];
    for bytes in bad {
        assert_eq!(chunked(bytes), Err(Fault::Chunk), "{}", bytes.escape_ascii());
    }
}

#[test]
fn row_14_extensions() {
    for extension in [";a", ";a=b", ";a=\"\"", ";a=\"b c\t\\\\\"", ";a;b;c=d", ";a=\"\x7e\u{e9}\""] {
        assert_eq!(
            good(format!("1{extension}\r\na\r\n0{extension}\r\n\r\n").as_bytes()),
            b"a",
            "{extension}"
        );
    }
    let bad: [&[u8]; 16] = [
        b"1;\r\n",
        b"1;\n",
        b"1;a\n",
        b"1;=b\r\n",
        b"1;a=\r\n",
        b"1;a=b=c\r\n",
        b"1; a\r\n",
        b"1;a \r\n",
        b"1;a =b\r\n",
        b"1;a=\"b\r\n",
        b"1;a=\"b\"c\r\n",
        b"1;a=b\"\r\n",
        b"1;a,b\r\n",
        b"1;a=\"\\\r\n",
        b"1;a=\"\0\"\r\n",
        b"1;;a\r\n",
    ];
    for bytes in bad {
        assert_eq!(chunked(bytes), Err(Fault::ChunkExtension), "{}", bytes.escape_ascii());
    }
    // The line ends of an extension are checked as those of any chunk line.
    assert_eq!(chunked(b"1;a\ra\r\n"), Err(Fault::Chunk));
}

#[test]
fn row_14_extensions_at_and_beyond_their_limits() {
    let line = |len: usize| [b"1;", &vec![b'a'; len - 1][..], b"\r\na\r\n"].concat();
    assert!(chunked(&line(256)).is_ok());
    assert_eq!(chunked(&line(257)), Err(Fault::ChunkExtension));
    let lines = |len: usize| {
        let mut body = Body::of_request(RequestFraming::Chunked, &LIMITS).unwrap();
        let bytes =
            [line(256).repeat(len / 256), if len.is_multiple_of(256) { vec![] } else { line(2) }].concat();
        let mut rest = &bytes[..];
        loop {
            match body.next(rest)? {
                Piece::Data { skip, len } => rest = &rest[skip + len..],
                Piece::Need { .. } | Piece::End { .. } => return Ok::<_, Fault>(()),
            }
        }
    };
    assert_eq!(lines(16_384), Ok(()));
    assert_eq!(lines(16_385), Err(Fault::ChunkExtension));
}

/// Whether bytes are chunked content by the grammar, what it is, and its length: an oracle that sees the whole.
fn by_the_grammar(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let end = at + bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        let line = std::str::from_utf8(&bytes[at..end]).ok()?;
        let (size, extension) = line.split_once(';').map_or((line, None), |(size, rest)| (size, Some(rest)));
        let is_size = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_size || !extension.is_none_or(|text| text.split(';').all(is_token)) {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        at = end + 2;
        if size == 0 {
            return bytes[at..].starts_with(b"\r\n").then_some((content, at + 2));
        }
        content.extend_from_slice(bytes.get(at..at + size)?);
        at += size;
        bytes[at..].starts_with(b"\r\n").then_some(())?;
        at += 2;
    }
}

#[test]
fn row_14_all_short_chunks() {
    let parts: [&[u8]; 7] = [b"\r\n", b"\r", b"\n", b"0", b"1", b";", b"a"];
    for pieces in exhaustive(&parts, 6) {
        let bytes = [&pieces.concat()[..], b"\r\n0\r\n\r\n"].concat();
        let found = read_pieces(Body::of_request(RequestFraming::Chunked, &LIMITS).unwrap(), &[&bytes]);
        let whole = found.ok().and_then(|read| {
            let content = read.content;
            read.used.filter(|_| read.trailers.is_empty()).map(|used| (content, used))
        });
        assert_eq!(whole, by_the_grammar(&bytes), "{}", bytes.escape_ascii());
    }
}

#[test]
fn row_15_trailers_are_field_lines() {
    let with = |trailer: &[u8]| chunked(&[b"0\r\n", trailer, b"\r\n"].concat());
    assert_eq!(with(b"A: 1\r\na:\t2 \r\n").unwrap().trailers.len(), 2);
    let bad: [(&[u8], Fault); 8] = [
        (b"A : 1\r\n", Fault::FieldName),
        (b" A: 1\r\n", Fault::FieldName),
        (b"A: 1\r\n b\r\n", Fault::FieldName),
        (b"A\r\n", Fault::FieldName),
        (b"A: \0\r\n", Fault::FieldValue),
        (b"A: 1\n", Fault::LineEnd),
        (b"\n", Fault::LineEnd),
        (b"A: b\rc\r\n", Fault::FieldValue),
    ];
    for (trailer, fault) in bad {
        assert_eq!(with(trailer), Err(fault), "{}", trailer.escape_ascii());
    }
}

#[test]
fn row_15_trailers_at_and_beyond_their_limits() {
    let limits = BodyLimits { trailer_max: 20, trailer_fields_max: 3, ..LIMITS };
    let with = |limits, trailer: &[u8]| {
        read(RequestFraming::Chunked, limits, &[b"0\r\n", trailer, b"\r\n"].concat())
    };
    assert!(with(&limits, b"A: 345678901234567\r\n").is_ok_and(|read| read.used.is_some()));
    assert_eq!(with(&limits, b"A: 3456789012345678\r\n"), Err(Fault::TrailerLong));
    assert_eq!(with(&limits, b"A: 1\r\nA: 2\r\nA: 3456\r\n"), Err(Fault::TrailerLong));
    assert!(with(&limits, b"A: 1\r\nA: 2\r\nA:3\r\n").is_ok_and(|read| read.trailers.len() == 3));
    assert_eq!(
        with(&BodyLimits { trailer_fields_max: 2, ..limits }, b"A: 1\r\nA: 2\r\nA:3\r\n"),
        Err(Fault::TrailerLong)
    );
    // By default, without cutting: 8 KiB take long enough.
    let whole = |len: usize| {
        let trailer = [b"0\r\nA: ", &vec![b'x'; len - 5][..], b"\r\n\r\n"].concat();
        read_pieces(Body::of_request(RequestFraming::Chunked, &LIMITS).unwrap(), &[&trailer])
    };
    assert!(whole(8192).is_ok_and(|read| read.used.is_some()));
    assert_eq!(whole(8193), Err(Fault::TrailerLong));
    let count = |count: usize| chunked(&[b"0\r\n", &b"A: b\r\n".repeat(count)[..], b"\r\n"].concat());
    assert!(count(32).is_ok());
    assert_eq!(count(33), Err(Fault::TrailerLong));
}

#[test]
fn content_at_and_beyond_its_limit() {
    let limits = BodyLimits { body_max: 4, ..LIMITS };
    assert!(read(RequestFraming::Length(4), &limits, b"abcd").is_ok());
    assert_eq!(read(RequestFraming::Length(5), &limits, b""), Err(Fault::ContentLong), "before a byte of it");
    assert!(read(RequestFraming::Chunked, &limits, b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n").is_ok());
    assert_eq!(read(RequestFraming::Chunked, &limits, b"2\r\nab\r\n3\r\n"), Err(Fault::ContentLong));
    let mut body = Body::of_response(ResponseFraming::UntilClose, &limits).unwrap();
    assert_eq!(body.next(b"abcd"), Ok(Piece::Data { skip: 0, len: 4 }));
    assert_eq!(body.next(b"e"), Err(Fault::ContentLong));
}

#[test]
fn row_19_every_prefix_of_chunks_is_truncated() {
    let bytes = b"2;a=b\r\nab\r\n1\r\nc\r\n0\r\nA: b\r\n\r\n";
    for prefix in sluice_check::prefixes(bytes) {
        let mut body = Body::of_request(RequestFraming::Chunked, &LIMITS).unwrap();
        let mut rest = prefix;
        while let Ok(Piece::Data { skip, len }) = body.next(rest) {
            rest = &rest[skip + len..];
        }
        assert_eq!((body.is_done(), body.end()), (false, Err(Truncated)), "{}", prefix.escape_ascii());
        assert_eq!(body.trailers(), None);
    }
    assert_eq!(good(bytes), b"abc");
}

#[test]
fn what_is_written_is_read_again() {
    for len in [1, 9, 10, 15, 16, 17, 255, 256, 4096, 65_535] {
        let content = vec![b'x'; len];
        let mut out = Vec::new();
        write_chunk_line(&mut out, len);
        assert_eq!(out, format!("{len:x}\r\n").as_bytes());
        out.extend_from_slice(&content);
        out.extend_from_slice(CHUNK_END);
        write_chunk_line(&mut out, 0);
        out.extend_from_slice(LAST_CHUNK);
        let read = read_pieces(Body::of_request(RequestFraming::Chunked, &LIMITS).unwrap(), &[&out]).unwrap();
        assert_eq!((read.content, read.used), (content, Some(out.len())));
    }
    let mut out = Vec::new();
    write_chunk_line(&mut out, usize::MAX);
    assert_eq!(out, b"ffffffffffffffff\r\n");
}
