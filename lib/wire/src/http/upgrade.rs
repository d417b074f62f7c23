//! Which protocols a connection may switch to through this gateway (RFC 9110 §7.8).

/// Whether `protocol` is a thing to tunnel. Other versions of HTTP are not: what runs in a tunnel passes no rule of the
/// gateway any more, and an origin that speaks h2c would take any request through it. TLS within plain text is not either.
pub fn is_tunnelled(protocol: &[u8]) -> bool {
    let name = protocol.split(|&byte| byte == b'/').next().unwrap_or_default();
    let refused: [&[u8]; 5] = [b"h2c", b"h2", b"h3", b"http", b"tls"];
    super::fields::is_token(name) && !refused.iter().any(|refused| refused.eq_ignore_ascii_case(name))
}
