//! Who a client is: lists of addresses, and the PROXY protocol.

use std::net::{IpAddr, SocketAddr};

use super::super::forwarded::{Style, Trust, client_address};
use super::super::proxy_protocol::{Broken, Origin, Progress, V1_LEN_MAX, V2_LEN_MAX, Version, read, write};
use super::good_request;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The client for these lines, behind a trusted peer 10.0.0.1 among trusted addresses 10.*.
fn client(style: Style, trust: Trust, lines: &str) -> String {
    let head = good_request(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes());
    let is_trusted = |address: IpAddr| matches!(address, IpAddr::V4(address) if address.octets()[0] == 10);
    let client = client_address(head.fields(), style, Some(ip("::ffff:10.0.0.1")), trust, is_trusted);
    client.unwrap().to_string()
}

#[test]
fn the_right_most_untrusted_entry_is_the_client() {
    let xff = |list: &str| client(Style::Xff, Trust::Yes, &format!("X-Forwarded-For: {list}\r\n"));
    assert_eq!(xff("192.0.2.1"), "192.0.2.1");
    assert_eq!(xff("192.0.2.9, 192.0.2.1, 10.0.0.3 ,10.0.0.2"), "192.0.2.1");
    assert_eq!(xff("10.0.0.3, 10.0.0.2"), "10.0.0.3", "all are trusted: the first");
    assert_eq!(xff("192.0.2.1:8080, 10.0.0.2:1"), "192.0.2.1");
    assert_eq!(xff("[2001:db8::1]:80"), "2001:db8::1");
    assert_eq!(xff("[2001:db8::1]"), "2001:db8::1");
    assert_eq!(xff("2001:db8::1"), "2001:db8::1");
    assert_eq!(xff("::ffff:192.0.2.1"), "192.0.2.1");
    assert_eq!(xff("192.0.2.9\r\nX-Forwarded-For: 192.0.2.1"), "192.0.2.1", "lines are one list");
}

#[test]
fn an_entry_that_cannot_be_read_ends_the_walk() {
    let xff = |list: &str| client(Style::Xff, Trust::Yes, &format!("X-Forwarded-For: {list}\r\n"));
    for broken in [
        "",
        "unknown",
        "_hidden",
        "192.0.2.256",
        "192.0.2.1 x",
        "a.example",
        "[::1",
        "192.0.2.1:99999",
        "192.0.2.1,",
    ] {
        assert_eq!(xff(broken), "10.0.0.1", "{broken:?}");
        assert_eq!(xff(&format!("192.0.2.1, {broken}, 10.0.0.2")), "10.0.0.2", "{broken:?}");
    }
}

#[test]
fn strangers_are_not_believed() {
    for style in [Style::Xff, Style::Rfc7239, Style::Both] {
        let lines = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n";
        assert_eq!(client(style, Trust::No, lines), "10.0.0.1");
    }
    assert_eq!(client(Style::Off, Trust::Yes, "X-Forwarded-For: 192.0.2.1\r\n"), "10.0.0.1");
}

#[test]
fn elements_of_forwarded() {
    let rfc = |list: &str| client(Style::Rfc7239, Trust::Yes, &format!("Forwarded: {list}\r\n"));
    // RFC 7239 §4 and §6 by example.
    assert_eq!(rfc("for=192.0.2.43, for=10.0.0.17"), "192.0.2.43");
    assert_eq!(rfc("For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::17");
    assert_eq!(rfc("for=192.0.2.60;proto=http;by=203.0.113.43"), "192.0.2.60");
    assert_eq!(rfc("proto=http;FOR=\"192.0.2.60:8080\""), "192.0.2.60");
    assert_eq!(rfc("for=192.0.2.9;x=\"a, b;c\", for=10.0.0.2"), "192.0.2.9");
    for broken in [
        "for=unknown",
        "for=_gazonk",
        "proto=http",
        "for=192.0.2.1;for=192.0.2.2",
        "for",
        "for=",
        "for=[::1]",
        "for=\"192.0.2.1",
        "=a;for=192.0.2.1",
    ] {
        assert_eq!(rfc(broken), "10.0.0.1", "{broken:?}");
        assert_eq!(rfc(&format!("for=192.0.2.1, {broken}")), "10.0.0.1", "{broken:?}");
    }
}

#[test]
fn only_the_field_that_is_kept_up_is_read() {
    let lines = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2\r\n";
    assert_eq!(client(Style::Xff, Trust::Yes, lines), "192.0.2.1");
    assert_eq!(client(Style::Rfc7239, Trust::Yes, lines), "192.0.2.2");
    assert_eq!(client(Style::Both, Trust::Yes, lines), "192.0.2.1");
    assert_eq!(client(Style::Both, Trust::Yes, "Forwarded: for=192.0.2.2\r\n"), "192.0.2.2");
    assert_eq!(client(Style::Xff, Trust::Yes, "Forwarded: for=192.0.2.2\r\n"), "10.0.0.1");
}

#[test]
fn a_peer_without_an_address() {
    let head = good_request(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    let of = |trust| client_address(head.fields(), Style::Xff, None, trust, |_| false);
    assert_eq!((of(Trust::No), of(Trust::Yes)), (None, Some(ip("192.0.2.1"))));
}

/// Reads a PROXY header however it is cut.
fn header(bytes: &[u8]) -> Result<Progress, Broken> {
    let whole = read(bytes);
    for prefix in sluice_check::prefixes(bytes) {
        match (read(prefix), whole) {
            (Ok(Progress::Need), _) => (),
            (Ok(Progress::Done { consumed, origin }), _) => {
                assert!(consumed <= prefix.len());
                assert_eq!(whole, Ok(Progress::Done { consumed, origin }));
            }
            (Err(Broken), whole) => assert_eq!(whole, Err(Broken), "{}", prefix.escape_ascii()),
        }
    }
    whole
}

fn proxied(source: &str, destination: &str) -> Origin {
    Origin::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

#[test]
fn headers_of_version_1() {
    let done = |line: &str| match header(format!("{line}\r\nGET / ").as_bytes()) {
        Ok(Progress::Done { consumed, origin }) if consumed == line.len() + 2 => origin,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(done("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443"), proxied("192.0.2.1:56324", "10.0.0.1:443"));
    assert_eq!(done("PROXY TCP6 2001:db8::1 ::1 0 65535"), proxied("[2001:db8::1]:0", "[::1]:65535"));
    assert_eq!(done("PROXY UNKNOWN"), Origin::Local);
    assert_eq!(done("PROXY UNKNOWN ffff:f...f:ffff whatever 1"), Origin::Local);
    let bad = [
        "PROXY",
        "PROXY ",
        "PROXY TCP4",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3",
        "PROXY TCP4 192.0.2.1  10.0.0.1 1 2",
        "PROXY TCP4 ::1 ::1 1 2",
        "PROXY TCP6 192.0.2.1 10.0.0.1 1 2",
        "PROXY TCP4 192.0.2.1 10.0.0.1 01 2",
        "PROXY TCP4 192.0.2.1 10.0.0.1 65536 2",
        "PROXY TCP4 192.0.2.1 10.0.0.1 +1 2",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 ",
        "PROXY UDP4 192.0.2.1 10.0.0.1 1 2",
        "proxy TCP4 192.0.2.1 10.0.0.1 1 2",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r",
        "PROXY\tTCP4 192.0.2.1 10.0.0.1 1 2",
        "PROXY TCP4 192.0.2.256 10.0.0.1 1 2",
        "GET / HTTP/1.1",
        "\x16\x03\x01",
    ];
    for line in bad {
        assert_eq!(header(format!("{line}\r\n").as_bytes()), Err(Broken), "{line:?}");
    }
    assert_eq!(header(b"PROXY UNKNOWN\n"), Err(Broken));
}

#[test]
fn headers_of_version_1_at_and_beyond_their_limit() {
    let line = |len: usize| [b"PROXY UNKNOWN ", &vec![b'x'; len - 16][..], b"\r\n"].concat();
    assert!(matches!(header(&line(V1_LEN_MAX)), Ok(Progress::Done { consumed: V1_LEN_MAX, .. })));
    assert_eq!(header(&line(V1_LEN_MAX + 1)), Err(Broken));
}

fn version_2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, body].concat()
}

#[test]
fn headers_of_version_2() {
    let four = [192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb];
    let with_extensions = [&four[..], b"\x04\0\x01x"].concat();
    for body in [&four[..], &with_extensions] {
        let bytes = version_2(0x21, 0x11, body);
        let expected =
            Progress::Done { consumed: bytes.len(), origin: proxied("192.0.2.1:56324", "10.0.0.1:443") };
        assert_eq!(header(&[&bytes[..], b"GET /"].concat()), Ok(expected));
    }
    let mut six = [0; 36];
    (six[15], six[31], six[33], six[35]) = (1, 2, 3, 4);
    let bytes = version_2(0x21, 0x21, &six);
    assert_eq!(
        header(&bytes),
        Ok(Progress::Done { consumed: bytes.len(), origin: proxied("[::1]:3", "[::2]:4") })
    );
    for (command, family, body) in [
        (0x20, 0x00, &b""[..]),
        (0x20, 0x11, &four),
        (0x20, 0xff, b"x"),
        (0x21, 0x00, b""),
        (0x21, 0x31, &[0; 216]),
    ] {
        let bytes = version_2(command, family, body);
        assert_eq!(header(&bytes), Ok(Progress::Done { consumed: bytes.len(), origin: Origin::Local }));
    }
    for (command, family, body) in [
        (0x11, 0x11, &four[..]),
        (0x22, 0x11, &four),
        (0x21, 0x13, &four),
        (0x21, 0x41, &four),
        (0x21, 0x11, &four[..11]),
        (0x21, 0x21, &four),
    ] {
        assert_eq!(header(&version_2(command, family, body)), Err(Broken), "{command:#x} {family:#x}");
    }
    assert_eq!(header(b"\r\n\r\n\0\r\nQUIT\r"), Err(Broken));
}

#[test]
fn headers_of_version_2_at_and_beyond_their_limit() {
    let with = |len: usize| version_2(0x20, 0, &vec![0; len - 16]);
    assert!(matches!(read(&with(V2_LEN_MAX)), Ok(Progress::Done { consumed: V2_LEN_MAX, .. })));
    assert_eq!(read(&with(V2_LEN_MAX + 1)), Err(Broken));
    assert_eq!(read(&with(V2_LEN_MAX + 1)[..16]), Err(Broken), "at once");
}

#[test]
fn what_is_written_is_read_again() {
    let address = |text: &str| text.parse::<SocketAddr>().ok();
    let pairs = [
        (address("192.0.2.1:1"), address("10.0.0.1:65535")),
        (address("[2001:db8::1]:1"), address("[::1]:2")),
        (address("192.0.2.1:1"), address("[::1]:2")),
        (None, address("10.0.0.1:1")),
        (None, None),
    ];
    for (source, destination) in pairs {
        let both =
            source.zip(destination).filter(|(source, destination)| source.is_ipv4() == destination.is_ipv4());
        let expected =
            both.map_or(Origin::Local, |(source, destination)| Origin::Proxied { source, destination });
        for version in [Version::V1, Version::V2] {
            let mut out = Vec::new();
            write(&mut out, version, source, destination);
            assert_eq!(header(&out), Ok(Progress::Done { consumed: out.len(), origin: expected }));
        }
    }
}
