//! The first message of a connection, which has no tag, and the `options` text inside it.
//!
//! Sans-IO and stateless: the caller shows everything received so far and is told how many bytes to wait for, or what
//! the message is. Nothing is kept between calls, and a length is believed only within [`LEN_MAX`].
//! Message formats: PostgreSQL manual, "Message Formats", StartupMessage, CancelRequest, SSLRequest, GSSENCRequest.

use std::fmt;

use super::backend::SECRET_LEN;
use super::reader::Reader;
use super::sqlstate::SqlState;

/// Bytes of the longest first message; PgBouncer's limit, far above PostgreSQL's 10000.
pub const LEN_MAX: usize = 65_535;

/// Length and code: what must be there before anything can be said.
const HEAD_LEN: usize = 8;

/// Protocol version 3.0.
pub const VERSION_3_0: u32 = 3 << 16;

pub(super) const CANCEL_REQUEST_CODE: u32 = 80_877_102;
pub(super) const SSL_REQUEST_CODE: u32 = 80_877_103;
const GSS_REQUEST_CODE: u32 = 80_877_104;
const VERSION_2_0: u32 = 2 << 16;
const MAJOR: u32 = 3;

/// How far the first message has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress<'a> {
    /// Not all there: call again when this many bytes are, counted from the start of the message.
    Need(usize),
    /// All there.
    Done {
        /// Bytes of the message; what follows belongs to the next one.
        consumed: usize,
        /// What it is.
        first: First<'a>,
    },
}

/// A first message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum First<'a> {
    /// SSLRequest: answer one byte, then another first message follows.
    Ssl,
    /// GSSENCRequest: the same.
    Gss,
    /// CancelRequest: act and close, there is no answer.
    Cancel {
        /// The process id given out in BackendKeyData.
        pid: [u8; 4],
        /// The secret given out in BackendKeyData.
        secret: &'a [u8],
    },
    /// StartupMessage.
    Startup(Startup<'a>),
}

/// A StartupMessage of protocol 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Startup<'a> {
    /// The minor version asked for: 3.`minor`.
    pub minor: u16,
    /// Pairs of zero-terminated strings; the list's own terminator is left out.
    list: &'a [u8],
}

impl<'a> Startup<'a> {
    /// The parameters in the order they came: name and value.
    pub fn params(&self) -> Params<'a> {
        Params { list: self.list }
    }

    /// The value of parameter `name`: the last one if there are several, as in PostgreSQL.
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.params().filter(|&(found, _)| found == name).last().map(|(_, value)| value)
    }
}

/// Iterator over the parameters of a StartupMessage.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    list: &'a [u8],
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = Reader::new(self.list);
        let pair = (reader.string().ok()?, reader.string().ok()?);
        self.list = reader.rest();
        Some(pair)
    }
}

/// The peer's first message cannot be understood. Displayed, it is the text for the client and the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartupError {
    /// Protocol version 2.
    VersionTwo,
    /// The length is below 8 or above [`LEN_MAX`], or the code is unknown, or the two do not fit: not PostgreSQL.
    BadHeader([u8; 8]),
    /// The parameters do not end with a zero byte that is the message's last.
    Layout,
    /// Bytes follow an SSLRequest before it was answered: a man in the middle may have put them there.
    DataAfterSsl,
    /// Bytes follow a GSSENCRequest before it was answered.
    DataAfterGss,
}

impl StartupError {
    /// The code to answer with.
    pub fn sqlstate(self) -> SqlState {
        SqlState::PROTOCOL_VIOLATION
    }

    /// What the peer seems to speak, where its first bytes give that away.
    pub fn hint(self) -> Option<&'static str> {
        const METHODS: [&[u8]; 9] = [
            b"GET ",
            b"HEAD ",
            b"POST ",
            b"PUT ",
            b"DELETE ",
            b"CONNECT ",
            b"OPTIONS ",
            b"TRACE ",
            b"PATCH ",
        ];
        let Self::BadHeader(bytes) = self else { return None };
        if METHODS.iter().any(|method| bytes.starts_with(method)) || bytes.starts_with(b"PRI * HT") {
            Some("This is a PostgreSQL port, and the request looks like HTTP.")
        } else if bytes.starts_with(&[0x16, 0x03]) {
            Some("The request looks like TLS without an SSLRequest before it, which is not offered here.")
        } else {
            None
        }
    }
}

impl fmt::Display for StartupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VersionTwo => f.write_str("old V2 protocol not supported"),
            Self::BadHeader(bytes) => {
                f.write_str("bad packet header: '")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("'")
            }
            Self::Layout => f.write_str("invalid startup packet layout: expected terminator as last byte"),
            Self::DataAfterSsl => f.write_str("received unencrypted data after SSL request"),
            Self::DataAfterGss => f.write_str("received unencrypted data after GSSAPI encryption request"),
        }
    }
}

impl std::error::Error for StartupError {}

/// Reads a first message from the start of `bytes`, which is all that was received and not consumed yet.
///
/// The first eight bytes decide whether it is one at all; the answer does not depend on how they arrived, but for bytes
/// behind an SSLRequest or GSSENCRequest, which are an error if they are there already.
///
/// # Errors
/// [`StartupError`] if it is not a first message of protocol 3.
pub fn read(bytes: &[u8]) -> Result<Progress<'_>, StartupError> {
    let Some(&head) = bytes.first_chunk::<HEAD_LEN>() else {
        return Ok(Progress::Need(HEAD_LEN));
    };
    let [a, b, c, d, code @ ..] = head;
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    let code = u32::from_be_bytes(code);
    let lens = match code {
        SSL_REQUEST_CODE | GSS_REQUEST_CODE => HEAD_LEN..=HEAD_LEN,
        CANCEL_REQUEST_CODE => HEAD_LEN + 4 + SECRET_LEN.start()..=HEAD_LEN + 4 + SECRET_LEN.end(),
        VERSION_2_0 if (HEAD_LEN..=LEN_MAX).contains(&len) => return Err(StartupError::VersionTwo),
        version if version >> 16 == MAJOR => HEAD_LEN..=LEN_MAX,
        _ => return Err(StartupError::BadHeader(head)),
    };
    if !lens.contains(&len) {
        return Err(StartupError::BadHeader(head));
    }
    let Some(message) = bytes.get(..len) else {
        return Ok(Progress::Need(len));
    };
    let more = bytes.len() > len;
    let body = &message[HEAD_LEN..];
    let first = match code {
        SSL_REQUEST_CODE if more => return Err(StartupError::DataAfterSsl),
        GSS_REQUEST_CODE if more => return Err(StartupError::DataAfterGss),
        SSL_REQUEST_CODE => First::Ssl,
        GSS_REQUEST_CODE => First::Gss,
        CANCEL_REQUEST_CODE => cancel(body).ok_or(StartupError::BadHeader(head))?,
        version => First::Startup(startup(version, body)?),
    };
    Ok(Progress::Done { consumed: len, first })
}

fn cancel(body: &[u8]) -> Option<First<'_>> {
    let (&pid, secret) = body.split_first_chunk()?;
    Some(First::Cancel { pid, secret })
}

fn startup(version: u32, list: &[u8]) -> Result<Startup<'_>, StartupError> {
    let mut reader = Reader::new(list);
    loop {
        let before = reader.rest().len();
        if reader.string().map_err(|_| StartupError::Layout)?.is_empty() {
            reader.end().map_err(|_| StartupError::Layout)?;
            let [_, _, minor @ ..] = version.to_be_bytes();
            return Ok(Startup { minor: u16::from_be_bytes(minor), list: &list[..list.len() - before] });
        }
        reader.string().map_err(|_| StartupError::Layout)?;
    }
}

/// The `options` parameter is not a list of settings. Displayed, it is the text for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OptionsError {
    /// An argument is neither `-c k=v`, `-ck=v` nor `--k=v`.
    Unsupported,
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Unsupported = self;
        f.write_str(
            "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed",
        )
    }
}

impl std::error::Error for OptionsError {}

/// A setting of an `options` text: name and value.
pub type Setting = (Vec<u8>, Vec<u8>);

/// Reads the settings of an `options` startup parameter: `-c k=v`, `-ck=v` and `--k=v`, separated by white space, where
/// a backslash takes the next byte literally. As in PostgreSQL a dash in a name stands for an underscore.
///
/// # Errors
/// [`OptionsError::Unsupported`] for any other argument, or one without a name or an equals sign.
pub fn options(text: &[u8]) -> Result<Vec<Setting>, OptionsError> {
    let mut settings = Vec::new();
    let mut arguments = Arguments { rest: text };
    while let Some(argument) = arguments.next() {
        let setting = if argument == b"-c" {
            arguments.next().ok_or(OptionsError::Unsupported)?
        } else {
            let (flag, setting) = argument.split_at_checked(2).ok_or(OptionsError::Unsupported)?;
            if !matches!(flag, b"-c" | b"--") {
                return Err(OptionsError::Unsupported);
            }
            setting.to_vec()
        };
        let equals = memchr::memchr(b'=', &setting).filter(|&at| at > 0).ok_or(OptionsError::Unsupported)?;
        let name = setting[..equals].iter().map(|&byte| if byte == b'-' { b'_' } else { byte }).collect();
        settings.push((name, setting[equals + 1..].to_vec()));
    }
    Ok(settings)
}

/// Splits an `options` text at white space and takes escapes out.
struct Arguments<'a> {
    rest: &'a [u8],
}

impl Iterator for Arguments<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let start = self.rest.iter().position(|&byte| !is_space(byte))?;
        let mut argument = Vec::new();
        let mut bytes = self.rest[start..].iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'\\' => argument.extend(bytes.next()),
                byte if is_space(byte) => break,
                byte => argument.push(byte),
            }
        }
        self.rest = bytes.as_slice();
        Some(argument)
    }
}

/// C's isspace in the C locale, which is what PostgreSQL splits at.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::frontend;

    const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
    const GSS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";

    fn message(len: u32, code: u32, body: &[u8]) -> Vec<u8> {
        [&len.to_be_bytes()[..], &code.to_be_bytes(), body].concat()
    }

    /// A message whose length is right.
    fn framed(code: u32, body: &[u8]) -> Vec<u8> {
        message(8 + body.len() as u32, code, body)
    }

    fn first(bytes: &[u8]) -> First<'_> {
        match read(bytes) {
            Ok(Progress::Done { consumed, first }) if consumed == bytes.len() => first,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_startup_message_is_read_in_any_pieces() {
        let mut bytes = Vec::new();
        frontend::startup(
            &mut bytes,
            VERSION_3_0,
            &[(b"user", b"anna"), (b"database", b""), (b"user", b"otto")],
        );
        for prefix in sluice_check::prefixes(&bytes) {
            let need = if prefix.len() < HEAD_LEN { HEAD_LEN } else { bytes.len() };
            assert_eq!(read(prefix), Ok(Progress::Need(need)));
        }
        let First::Startup(startup) = first(&bytes) else { panic!() };
        assert_eq!(startup.minor, 0);
        let params: Vec<_> = startup.params().collect();
        assert_eq!(params, [(&b"user"[..], &b"anna"[..]), (b"database", b""), (b"user", b"otto")]);
        assert_eq!(startup.param(b"user"), Some(&b"otto"[..]));
        assert_eq!(startup.param(b"User"), None);
    }

    #[test]
    fn what_follows_a_startup_is_not_consumed() {
        let mut bytes = framed(VERSION_3_0, b"user\0anna\0\0");
        let len = bytes.len();
        bytes.extend_from_slice(b"p\0\0\0\x05\0");
        assert!(matches!(read(&bytes), Ok(Progress::Done { consumed, .. }) if consumed == len));
    }

    #[test]
    fn every_minor_version_is_passed_on() {
        for minor in [0, 1, 2, 9999, u16::MAX] {
            let bytes = framed(VERSION_3_0 | u32::from(minor), b"\0");
            let First::Startup(startup) = first(&bytes) else { panic!() };
            assert_eq!((startup.minor, startup.params().count()), (minor, 0));
        }
    }

    #[test]
    fn requests_without_parameters() {
        assert_eq!(first(SSL), First::Ssl);
        assert_eq!(first(GSS), First::Gss);
        let mut bytes = Vec::new();
        frontend::ssl_request(&mut bytes);
        assert_eq!(bytes, SSL);
        for request in [SSL, GSS] {
            for prefix in sluice_check::prefixes(request) {
                assert_eq!(read(prefix), Ok(Progress::Need(HEAD_LEN)));
            }
        }
    }

    #[test]
    fn bytes_behind_an_encryption_request_are_an_error() {
        let ssl = read(&[SSL, b"x"].concat()).unwrap_err();
        assert_eq!(ssl.to_string(), "received unencrypted data after SSL request");
        let gss = read(&[GSS, SSL].concat()).unwrap_err();
        assert_eq!(gss.to_string(), "received unencrypted data after GSSAPI encryption request");
    }

    #[test]
    fn cancel_keys_at_and_beyond_both_bounds() {
        for len in [4, 256] {
            let secret = vec![9; len];
            let mut bytes = Vec::new();
            frontend::cancel_request(&mut bytes, [1, 2, 3, 4], &secret);
            assert_eq!(first(&bytes), First::Cancel { pid: [1, 2, 3, 4], secret: &secret });
        }
        for len in [0, 3, 257] {
            let bytes = framed(CANCEL_REQUEST_CODE, &vec![9; 4 + len]);
            assert!(matches!(read(&bytes), Err(StartupError::BadHeader(_))), "{len}");
        }
    }

    #[test]
    fn lengths_at_and_beyond_both_bounds() {
        assert_eq!(read(&message(8, VERSION_3_0, b"")), Err(StartupError::Layout));
        assert_eq!(read(&message(65_535, VERSION_3_0, b"")), Ok(Progress::Need(65_535)));
        for len in [0, 4, 7, 65_536, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
            let bytes = message(len, VERSION_3_0, b"user\0");
            assert_eq!(read(&bytes), Err(StartupError::BadHeader(*bytes.first_chunk().unwrap())), "{len}");
            assert_eq!(read(&bytes[..7]), Ok(Progress::Need(8)));
        }
        for len in [7, 9, 65_535] {
            assert!(matches!(read(&message(len, SSL_REQUEST_CODE, b"x")), Err(StartupError::BadHeader(_))));
        }
    }

    #[test]
    fn other_protocols_are_told_so() {
        let old = read(&message(296, 0x0002_0000, b"")).unwrap_err();
        assert_eq!((old.to_string().as_str(), old.hint()), ("old V2 protocol not supported", None));
        for version in [0, 1 << 16, 0x0002_0001, 4 << 16, 0xffff_ffff] {
            let text = read(&message(8, version, b"")).unwrap_err().to_string();
            assert_eq!(text, format!("bad packet header: '00000008{version:08x}'"));
        }
        let http = read(b"GET / HTTP/1.1\r\n").unwrap_err();
        assert_eq!(http.to_string(), "bad packet header: '474554202f204854'");
        assert!(http.hint().is_some_and(|hint| hint.contains("HTTP")));
        assert!(read(b"PRI * HTTP/2.0\r\n").unwrap_err().hint().is_some());
        let tls = read(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03").unwrap_err();
        assert!(tls.hint().is_some_and(|hint| hint.contains("TLS")));
        assert_eq!(read(b"SSH-2.0-").unwrap_err().hint(), None);
        assert_eq!(tls.sqlstate(), SqlState::PROTOCOL_VIOLATION);
    }

    #[test]
    fn the_list_ends_with_the_message() {
        let text = "invalid startup packet layout: expected terminator as last byte";
        for body in [
            &b""[..],
            b"user",
            b"user\0",
            b"user\0anna",
            b"user\0anna\0",
            b"\0\0",
            b"user\0anna\0\0x",
            b"\0user\0anna\0",
        ] {
            let error = read(&framed(VERSION_3_0, body)).map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), text, "{}", body.escape_ascii());
        }
        // One empty string is the terminator, wherever it stands: never a parameter without a name.
        for body in sluice_check::exhaustive(b"a\0", 8) {
            if let Ok(Progress::Done { first: First::Startup(startup), .. }) =
                read(&framed(VERSION_3_0, &body))
            {
                let mut again = Vec::new();
                let params: Vec<_> = startup.params().collect();
                frontend::startup(&mut again, VERSION_3_0, &params);
                assert_eq!(again[HEAD_LEN..], body);
            }
        }
    }

    fn parsed(text: &[u8]) -> Option<Vec<(String, String)>> {
        let string = |bytes| String::from_utf8(bytes).unwrap();
        options(text)
            .ok()
            .map(|all| all.into_iter().map(|(name, value)| (string(name), string(value))).collect())
    }

    #[test]
    fn options_in_all_three_forms() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        type Case = (&'static [u8], &'static [(&'static str, &'static str)]);
        let cases: [Case; 13] = [
            (b"", &[]),
            (b" \t\n", &[]),
            (b"-c a=b", &[("a", "b")]),
            (b"-ca=b", &[("a", "b")]),
            (b"--a=b", &[("a", "b")]),
            (b"  -c  a=b --c=d  -ce=f ", &[("a", "b"), ("c", "d"), ("e", "f")]),
            (b"--a=", &[("a", "")]),
            (b"--a=b=c", &[("a", "b=c")]),
            (b"--search-path=my-schema", &[("search_path", "my-schema")]),
            (br"-c a=x\ y", &[("a", "x y")]),
            (br"-c a=x\\y\z", &[("a", r"x\yz")]),
            (br"\-c a=b\", &[("a", "b")]),
            (b"-c\x0ba=b\x0c--c=d\r", &[("a", "b"), ("c", "d")]),
        ];
        for (text, settings) in cases {
            let settings: Vec<_> = settings.iter().map(|(name, value)| pair(name, value)).collect();
            assert_eq!(parsed(text), Some(settings), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn options_in_other_forms() {
        for text in [
            &b"-c"[..],
            b"-c a",
            b"-c =b",
            b"--",
            b"--a",
            b"--=b",
            b"-a=b",
            b"a=b",
            b"-",
            b"-d 5",
            b"--a=b x",
            b"-c --a=b -c",
        ] {
            let error = options(text).unwrap_err().to_string();
            assert_eq!(
                error,
                "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed",
                "{}",
                text.escape_ascii()
            );
        }
    }
}
