//! Valid streams, and the words that mutants are made with.

use super::llhttp::{Kind, Stream};

/// Streams of requests.
pub(crate) fn requests() -> Vec<Stream> {
    let streams: [&[u8]; 9] = [
        b"GET /a%20b?c=d HTTP/1.1\r\nHost: a.example:80\r\nAccept: */*\r\nUser-Agent: x y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nX:\r\nY: z\r\n\r\n",
        b"POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloPOST /d HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"PUT /e HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /f HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PATCH /g HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1;z=\"w\"\r\n!\r\n0\r\nT: u\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nVia: 1.0 b\r\nConnection: te\r\nTE: trailers\r\n\r\n",
        b"DELETE http://b/c HTTP/1.1\r\nHost: a\r\nCookie: a=b; c=d\r\n\r\n",
        b"GET /h HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /i HTTP/1.0\r\n\r\n",
        b"GET /j HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ];
    streams.iter().map(|bytes| Stream { kind: Kind::Request, bytes: bytes.to_vec() }).collect()
}

/// Streams of responses.
pub(crate) fn responses() -> Vec<Stream> {
    let streams: [(Kind, &[u8]); 8] = [
        (Kind::Response, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello"),
        (Kind::Response, b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"),
        (Kind::Response, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 204 No\r\n\r\n"),
        (Kind::Response, b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\nT: u\r\n\r\n"),
        (Kind::Response, b"HTTP/1.1 404 Not found\r\nConnection: close\r\n\r\nuntil the end"),
        (Kind::Response, b"HTTP/1.1 304 Not modified\r\nETag: \"x\"\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (Kind::HeadResponse, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (Kind::Response, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nokHTTP/1.0 200 OK\r\n\r\nx"),
    ];
    streams.iter().map(|(kind, bytes)| Stream { kind: *kind, bytes: bytes.to_vec() }).collect()
}

/// What messages are made of, and what attacks on them are made of.
pub(crate) const WORDS: [&[u8]; 36] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b":",
    b",",
    b";",
    b"\"",
    b"0\r\n\r\n",
    b"1\r\na\r\n",
    b"5;a=b\r\n",
    b"0x5",
    b"+5",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"chunked",
    b"xchunked",
    b" chunked, identity",
    b"Host: b\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"X : y\r\n",
    b" folded\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HEAD ",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\xe9",
];
