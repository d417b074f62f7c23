//! The PROXY protocol, versions 1 and 2: who a connection comes from, told by a balancer before the first byte
//! (haproxy.org, doc/proxy-protocol.txt).
//!
//! Both are read from a listener that expects one; neither is guessed elsewhere. A header that is absent or broken has
//! no answer: the connection is closed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of the longest header of version 1, its line end included.
pub const V1_LEN_MAX: usize = 107;

/// Bytes of the longest header of version 2 that is taken here.
pub const V2_LEN_MAX: usize = 2048;

/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 before the addresses.
const V2_HEAD_LEN: usize = 16;

/// Which version is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Where a connection came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The balancer itself (a health check), or a kind of connection without addresses: the socket's own hold.
    Local,
    /// A client.
    Proxied {
        /// The client's address.
        source: SocketAddr,
        /// The address it connected to.
        destination: SocketAddr,
    },
}

/// How far a header has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// More bytes are needed.
    Need,
    /// It is all there.
    Done {
        /// Bytes of the header.
        consumed: usize,
        /// What it says.
        origin: Origin,
    },
}

/// The bytes are not a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

/// Reads a header from the start of `bytes`, which is all that was received. How it was cut makes no difference.
///
/// # Errors
/// [`Broken`] as soon as it cannot become one.
pub fn read(bytes: &[u8]) -> Result<Progress, Broken> {
    let is_start = |whole: &[u8]| bytes.iter().zip(whole).all(|(byte, wanted)| byte == wanted);
    if is_start(SIGNATURE) {
        return if bytes.len() < V2_HEAD_LEN { Ok(Progress::Need) } else { read_v2(bytes) };
    }
    if is_start(b"PROXY ") {
        return read_v1(bytes);
    }
    Err(Broken)
}

fn read_v1(bytes: &[u8]) -> Result<Progress, Broken> {
    let line = bytes.get(..V1_LEN_MAX).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', line) else {
        return if line.len() < V1_LEN_MAX { Ok(Progress::Need) } else { Err(Broken) };
    };
    let text = line.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Broken)?;
    let origin = v1_origin(std::str::from_utf8(text).map_err(|_| Broken)?).ok_or(Broken)?;
    Ok(Progress::Done { consumed: end + 1, origin })
}

fn v1_origin(line: &str) -> Option<Origin> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    // Whatever follows UNKNOWN is to be ignored.
    if family == "UNKNOWN" {
        return Some(Origin::Local);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    let (source, destination): (IpAddr, IpAddr) = match family {
        "TCP4" => (source.parse::<Ipv4Addr>().ok()?.into(), destination.parse::<Ipv4Addr>().ok()?.into()),
        "TCP6" => (source.parse::<Ipv6Addr>().ok()?.into(), destination.parse::<Ipv6Addr>().ok()?.into()),
        _ => return None,
    };
    Some(Origin::Proxied {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

/// 0 to 65535 in digits, without leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

fn read_v2(bytes: &[u8]) -> Result<Progress, Broken> {
    let &[command, family, high, low] =
        bytes.get(12..V2_HEAD_LEN).and_then(<[u8]>::first_chunk).ok_or(Broken)?;
    let consumed = V2_HEAD_LEN + usize::from(u16::from_be_bytes([high, low]));
    if consumed > V2_LEN_MAX || command >> 4 != 2 {
        return Err(Broken);
    }
    let is_local = match command & 0xf {
        0 => true,
        1 => false,
        _ => return Err(Broken),
    };
    let Some(body) = bytes.get(V2_HEAD_LEN..consumed) else { return Ok(Progress::Need) };
    let origin = if is_local { Origin::Local } else { v2_origin(family, body).ok_or(Broken)? };
    Ok(Progress::Done { consumed, origin })
}

/// The addresses of a proxied connection; what follows them (extensions) is not needed.
fn v2_origin(family: u8, body: &[u8]) -> Option<Origin> {
    let (source, destination, ports): (IpAddr, IpAddr, &[u8]) = match family {
        // TCP or UDP over IPv4, over IPv6.
        0x11 | 0x12 => {
            let (source, rest) = body.split_first_chunk::<4>()?;
            let (destination, rest) = rest.split_first_chunk::<4>()?;
            (Ipv4Addr::from(*source).into(), Ipv4Addr::from(*destination).into(), rest)
        }
        0x21 | 0x22 => {
            let (source, rest) = body.split_first_chunk::<16>()?;
            let (destination, rest) = rest.split_first_chunk::<16>()?;
            (Ipv6Addr::from(*source).into(), Ipv6Addr::from(*destination).into(), rest)
        }
        // Unspecified and Unix sockets: no address to take over.
        0x00 | 0x31 | 0x32 => return Some(Origin::Local),
        _ => return None,
    };
    let &[a, b, c, d] = ports.first_chunk()?;
    Some(Origin::Proxied {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    })
}

/// Appends a header for a connection from `source` to `destination`; without addresses, or with two of different
/// families, it says that there are none.
pub fn write(
    out: &mut Vec<u8>,
    version: Version,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
) {
    let both =
        source.zip(destination).filter(|(source, destination)| source.is_ipv4() == destination.is_ipv4());
    match version {
        Version::V1 => write_v1(out, both),
        Version::V2 => write_v2(out, both),
    }
}

fn write_v1(out: &mut Vec<u8>, both: Option<(SocketAddr, SocketAddr)>) {
    let line = match both {
        None => "PROXY UNKNOWN\r\n".to_owned(),
        Some((source, destination)) => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
        }
    };
    out.extend_from_slice(line.as_bytes());
}

fn write_v2(out: &mut Vec<u8>, both: Option<(SocketAddr, SocketAddr)>) {
    out.extend_from_slice(SIGNATURE);
    match both {
        // LOCAL, unspecified family, no addresses.
        None => out.extend_from_slice(&[0x20, 0x00, 0, 0]),
        Some((source, destination)) => {
            let (family, len) = if source.is_ipv4() { (0x11, 12) } else { (0x21, 36) };
            out.extend_from_slice(&[0x21, family, 0, len]);
            for address in [source.ip(), destination.ip()] {
                match address {
                    IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
                    IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
                }
            }
            out.extend_from_slice(&source.port().to_be_bytes());
            out.extend_from_slice(&destination.port().to_be_bytes());
        }
    }
}
