//! The bodies of HTTP on seeded input: noise, valid messages, and messages damaged by bytes and by words.

use sluice_check::{Rng, exhaustive, mutate_words};

use super::{Body, NOISE};
use crate::fuzz::http;

const MUTANTS: usize = 10_000;

/// What messages are made of, and what attacks on them are made of.
const WORDS: [&[u8]; 40] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\"",
    b"%2e",
    b"..",
    b"/",
    b"0\r\n\r\n",
    b"1\r\na\r\n",
    b"5;a=b\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0",
    b"Transfer-Encoding: chunked\r\n",
    b"chunked",
    b"xchunked",
    b"gzip, ",
    b"Host: b\r\n",
    b"Connection: close\r\n",
    b"Connection: content-length, te\r\n",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"TE: trailers\r\n",
    b"Via: 1.1 gate\r\n",
    b"X_Forwarded_For: a\r\n",
    b"Forwarded: for=192.0.2.1\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HEAD ",
    b"OPTIONS ",
    b"http://b",
    b"Proxy-Status: gate\r\n",
    b"GET / HTTP/1.1\r\n",
    b"204",
];

fn run(seed: u64, body: Body, valid: &[&[u8]]) {
    let mut rng = Rng::new(seed);
    body(b"");
    valid.iter().for_each(|input| body(input));
    for _ in 0..NOISE {
        let len = rng.between(0, 64);
        body(&rng.bytes(len));
    }
    for _ in 0..MUTANTS {
        let mut input = valid[rng.below(valid.len())].to_vec();
        mutate_words(&mut rng, &mut input, &WORDS);
        body(&input);
    }
}

#[test]
fn requests() {
    let valid: [&[u8]; 6] = [
        b"GET /a%20b?c=d HTTP/1.1\r\nHost: a.example:80\r\nAccept: */*\r\nUser-Agent: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Type: text/plain\r\nCookie: x\r\n\r\nhelloGET / HTTP/1.1\r\n",
        b"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: [::1]\r\nMax-Forwards: 3\r\nVia: 1.0 b, 1.1 gate\r\nConnection: te, x\r\nTE: trailers\r\nX: y\r\n\r\n",
        b"\r\nGET http://b/c HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n\x81\0",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nDate: today\r\nForwarded: for=\"[::1]\";proto=http\r\n\r\n",
    ];
    run(20, http::request, &valid);
}

#[test]
fn responses() {
    let valid: [&[u8]; 6] = [
        b"1HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: today\r\nServer: x\r\n\r\nhello",
        b"0HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n",
        b"1HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nTrailer: a\r\n\r\n5\r\nhello\r\n0\r\na: b\r\n\r\n",
        b"1HTTP/1.0 404 Not found\r\nConnection: keep-alive, x\r\nX: y\r\nProxy-Status: gate; error=a, b; c=\"d\"\r\n\r\nuntil the end",
        b"1HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"1HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\0",
    ];
    run(21, http::response, &valid);
}

#[test]
fn chunks() {
    let valid: [&[u8]; 4] = [
        // A trailer section at its limit, which libFuzzer found to grow when it is sent on.
        b"0\r\nr0:012345678901234567890\r\nr0:01234567890123456\r\n\r\n",
        b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        b"1;a=b;c=\"d\"\r\nx\r\n00\r\nGrpc-Status: 0\r\nContent-Length: 5\r\n\r\nGET /",
        b"20\r\n0123456789abcdef0123456789abcdef\r\n0\r\n\r\n",
    ];
    run(22, http::chunked, &valid);
}

#[test]
fn values() {
    let valid: [&[u8]; 6] = [
        b"/a/b%20c?d=e",
        b"http://a.example:80/b?c",
        b"a;b=1;c=\"d\", (e f);g, ?1, 1.5, :cGFz:",
        b"u=3, i",
        b"for=192.0.2.1;host=\"a:80\";proto=http, for=\"[2001:db8::1]:80\"",
        b"text/plain;q=0.5, application/*;q=0.1, wait=5",
    ];
    run(23, http::values, &valid);
}

#[test]
fn proxy_headers() {
    let valid: [&[u8]; 4] = [
        b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\nGET /",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\xdc\x04\x01\xbb",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ];
    run(24, http::proxy_header, &valid);
}

#[test]
fn every_body_on_every_short_input() {
    let bodies: [Body; 5] = [http::request, http::response, http::chunked, http::values, http::proxy_header];
    let words: [&[u8]; 7] = [b"GET / HTTP/1.0", b"1HTTP/1.1 200", b"\r\n", b"\n", b"0", b"a:", b" "];
    for pieces in exhaustive(&words, 4) {
        bodies.iter().for_each(|body| body(&pieces.concat()));
    }
}
