//! Messages a frontend sends: readers for those a client sends us, builders for those we send to a server.
//!
//! Readers take the body behind the five byte header and borrow from it. `Bind` is read from a prefix of its body:
//! only its two names concern us, the parameters stream. The first message of a connection is in
//! [`startup`](super::startup). Message formats: PostgreSQL manual, "Message Formats".

use super::reader::Reader;
use super::startup::{CANCEL_REQUEST_CODE, SSL_REQUEST_CODE};
use super::{Malformed, writer};

pub use super::reader::NAME_LEN_MAX;

/// Query: one or more statements, simple protocol.
pub const QUERY: u8 = b'Q';
/// Parse: prepares a statement.
pub const PARSE: u8 = b'P';
/// Bind: makes a portal from a statement and parameters.
pub const BIND: u8 = b'B';
/// Describe: asks for the shape of a statement or portal.
pub const DESCRIBE: u8 = b'D';
/// Close: drops a statement or portal.
pub const CLOSE: u8 = b'C';
/// Execute: runs a portal.
pub const EXECUTE: u8 = b'E';
/// Flush: asks for the answers so far.
pub const FLUSH: u8 = b'H';
/// Sync: ends a batch.
pub const SYNC: u8 = b'S';
/// FunctionCall: calls a function by its oid.
pub const FUNCTION_CALL: u8 = b'F';
/// CopyData: a part of a COPY.
pub const COPY_DATA: u8 = b'd';
/// CopyDone: the end of a COPY.
pub const COPY_DONE: u8 = b'c';
/// CopyFail: the failure of a COPY.
pub const COPY_FAIL: u8 = b'f';
/// PasswordMessage, SASLInitialResponse, SASLResponse: which one depends on the authentication request.
pub const PASSWORD: u8 = b'p';
/// Terminate: the frontend leaves.
pub const TERMINATE: u8 = b'X';

/// A statement, as the `kind` of a Describe or Close.
pub const KIND_STATEMENT: u8 = b'S';
/// A portal, as the `kind` of a Describe or Close.
pub const KIND_PORTAL: u8 = b'P';

/// Parse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parse<'a> {
    /// The statement's name; empty for the unnamed statement.
    pub name: &'a [u8],
    /// The query text, its zero byte, an int16 count and that many int32 parameter types: two statements whose
    /// definitions are equal bytes are the same statement.
    pub definition: &'a [u8],
}

impl<'a> Parse<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// [`Malformed`] unless the body is a name, a text and exactly as many parameter types as it announces.
    #[inline]
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let name = reader.name()?;
        let definition = reader.rest();
        reader.string()?;
        let types = reader.u16()?;
        reader.bytes(4 * usize::from(types))?;
        reader.end()?;
        Ok(Self { name, definition })
    }

    /// The query text, without its zero byte.
    #[inline]
    pub fn query(&self) -> &'a [u8] {
        writer::until_zero(self.definition)
    }
}

/// The part of a Bind that names things; formats and parameters follow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BindHead<'a> {
    /// The portal's name; empty for the unnamed portal.
    pub portal: &'a [u8],
    /// The statement's name; empty for the unnamed statement.
    pub statement: &'a [u8],
    /// Offset in the body where the parameter formats start.
    pub tail: usize,
}

impl<'a> BindHead<'a> {
    /// Reads the names from a body or a prefix of one; None while one of them is not complete.
    ///
    /// # Errors
    /// [`Malformed::LongName`] if a name is longer than [`NAME_LEN_MAX`]: at most twice that, and two zero bytes, must
    /// be held before the answer is known. A body that is complete and still gives None is malformed too.
    #[inline]
    pub fn read(body: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let mut reader = Reader::new(body);
        let (portal, statement) = match (reader.name(), reader.name()) {
            (Ok(portal), Ok(statement)) => (portal, statement),
            (Err(Malformed::LongName), _) | (Ok(_), Err(Malformed::LongName)) => {
                return Err(Malformed::LongName);
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { portal, statement, tail: portal.len() + statement.len() + 2 }))
    }
}

/// What a Describe or Close is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target<'a> {
    /// [`KIND_STATEMENT`] or [`KIND_PORTAL`].
    pub kind: u8,
    /// The name; empty for the unnamed one.
    pub name: &'a [u8],
}

impl<'a> Target<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// [`Malformed`] if the kind is neither of the two, or the body is not one name.
    #[inline]
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let kind = reader.byte()?;
        if !matches!(kind, KIND_STATEMENT | KIND_PORTAL) {
            return Err(Malformed::Value);
        }
        let name = reader.name()?;
        reader.end()?;
        Ok(Self { kind, name })
    }
}

/// Execute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Execute<'a> {
    /// The portal's name; empty for the unnamed portal.
    pub portal: &'a [u8],
    /// Rows after which the portal is suspended; zero or less for no limit.
    pub max_rows: i32,
}

impl<'a> Execute<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// [`Malformed`] unless the body is one name and one number.
    #[inline]
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let portal = reader.name()?;
        let max_rows = reader.i32()?;
        reader.end()?;
        Ok(Self { portal, max_rows })
    }
}

/// SASLInitialResponse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SaslInitial<'a> {
    /// The mechanism the client chose.
    pub mechanism: &'a [u8],
    /// The first client message; None if the client sends none yet (length -1).
    pub data: Option<&'a [u8]>,
}

impl<'a> SaslInitial<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// [`Malformed`] unless the body is a mechanism and a response of the length it announces.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let mechanism = reader.name()?;
        let data = match reader.i32()? {
            -1 => None,
            len => Some(reader.bytes(usize::try_from(len).map_err(|_| Malformed::Value)?)?),
        };
        reader.end()?;
        Ok(Self { mechanism, data })
    }
}

/// The text of a Query body: one string, whose only zero byte is its last.
///
/// # Errors
/// [`Malformed::Unterminated`] or [`Malformed::Trailing`] otherwise.
#[inline]
pub fn read_query(body: &[u8]) -> Result<&[u8], Malformed> {
    only_string(body)
}

/// The password, or md5 answer, of a PasswordMessage body.
///
/// # Errors
/// As [`read_query`].
pub fn read_password(body: &[u8]) -> Result<&[u8], Malformed> {
    only_string(body)
}

/// The reason in a CopyFail body.
///
/// # Errors
/// As [`read_query`].
pub fn read_copy_fail(body: &[u8]) -> Result<&[u8], Malformed> {
    only_string(body)
}

#[inline]
fn only_string(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let text = reader.string()?;
    reader.end()?;
    Ok(text)
}

/// Appends a Query.
#[inline]
pub fn query(out: &mut Vec<u8>, sql: &[u8]) {
    writer::message(out, QUERY, |out| writer::string(out, sql));
}

/// Appends a Parse; `definition` is that of [`Parse`].
#[inline]
pub fn parse(out: &mut Vec<u8>, name: &[u8], definition: &[u8]) {
    writer::message(out, PARSE, |out| {
        writer::string(out, name);
        out.extend_from_slice(definition);
    });
}

/// Appends a Bind up to the end of its names; the caller sends `tail_len` bytes of formats and parameters behind it.
#[inline]
pub fn bind_head(out: &mut Vec<u8>, portal: &[u8], statement: &[u8], tail_len: usize) {
    let (portal, statement) = (writer::until_zero(portal), writer::until_zero(statement));
    let len = writer::length(4 + portal.len() + 1 + statement.len() + 1 + tail_len);
    out.push(BIND);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(portal);
    out.push(0);
    out.extend_from_slice(statement);
    out.push(0);
}

/// Appends a Describe; `kind` is [`KIND_STATEMENT`] or [`KIND_PORTAL`].
#[inline]
pub fn describe(out: &mut Vec<u8>, kind: u8, name: &[u8]) {
    target(out, DESCRIBE, kind, name);
}

/// Appends a Close; `kind` is [`KIND_STATEMENT`] or [`KIND_PORTAL`].
#[inline]
pub fn close(out: &mut Vec<u8>, kind: u8, name: &[u8]) {
    target(out, CLOSE, kind, name);
}

#[inline]
fn target(out: &mut Vec<u8>, tag: u8, kind: u8, name: &[u8]) {
    writer::message(out, tag, |out| {
        out.push(kind);
        writer::string(out, name);
    });
}

/// Appends an Execute; `max_rows` zero for no limit.
#[inline]
pub fn execute(out: &mut Vec<u8>, portal: &[u8], max_rows: i32) {
    writer::message(out, EXECUTE, |out| {
        writer::string(out, portal);
        out.extend_from_slice(&max_rows.to_be_bytes());
    });
}

/// Appends a Sync.
#[inline]
pub fn sync(out: &mut Vec<u8>) {
    writer::message(out, SYNC, |_| ());
}

/// Appends a Flush.
#[inline]
pub fn flush(out: &mut Vec<u8>) {
    writer::message(out, FLUSH, |_| ());
}

/// Appends a Terminate.
#[inline]
pub fn terminate(out: &mut Vec<u8>) {
    writer::message(out, TERMINATE, |_| ());
}

/// Appends a CopyFail with the reason `message`.
pub fn copy_fail(out: &mut Vec<u8>, message: &[u8]) {
    writer::message(out, COPY_FAIL, |out| writer::string(out, message));
}

/// Appends a PasswordMessage with a password or an md5 answer.
pub fn password(out: &mut Vec<u8>, password: &[u8]) {
    writer::message(out, PASSWORD, |out| writer::string(out, password));
}

/// Appends a SASLInitialResponse: the chosen mechanism and its first message.
pub fn sasl_initial(out: &mut Vec<u8>, mechanism: &[u8], data: &[u8]) {
    writer::message(out, PASSWORD, |out| {
        writer::string(out, mechanism);
        out.extend_from_slice(&writer::length(data.len()).to_be_bytes());
        out.extend_from_slice(data);
    });
}

/// Appends a SASLResponse.
pub fn sasl_response(out: &mut Vec<u8>, data: &[u8]) {
    writer::message(out, PASSWORD, |out| out.extend_from_slice(data));
}

/// Appends a StartupMessage; `version` is the whole protocol version, major in its upper 16 bits. A parameter without a
/// name is left out: it would end the list.
pub fn startup(out: &mut Vec<u8>, version: u32, params: &[(&[u8], &[u8])]) {
    writer::sized(out, |out| {
        out.extend_from_slice(&version.to_be_bytes());
        for &(name, value) in params {
            if let Some(name) = writer::listed(name) {
                writer::string(out, name);
                writer::string(out, value);
            }
        }
        out.push(0);
    });
}

/// Appends a CancelRequest for the backend `pid`, whose key is `secret`.
pub fn cancel_request(out: &mut Vec<u8>, pid: [u8; 4], secret: &[u8]) {
    writer::sized(out, |out| {
        out.extend_from_slice(&CANCEL_REQUEST_CODE.to_be_bytes());
        out.extend_from_slice(&pid);
        out.extend_from_slice(secret);
    });
}

/// Appends an SSLRequest.
pub fn ssl_request(out: &mut Vec<u8>) {
    writer::sized(out, |out| out.extend_from_slice(&SSL_REQUEST_CODE.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::frame::{self, HEADER_LEN};
    use crate::pg::startup::VERSION_3_0;

    fn built(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = b"before".to_vec();
        build(&mut out);
        assert!(out.starts_with(b"before"));
        out.split_off(6)
    }

    /// The only message in what `build` appends: its tag and body.
    fn message(build: impl FnOnce(&mut Vec<u8>)) -> (u8, Vec<u8>) {
        let bytes = built(build);
        let message = frame::message(&bytes).unwrap().unwrap();
        assert!(message.rest.is_empty());
        (message.tag, message.body.to_vec())
    }

    #[test]
    fn messages_without_a_body() {
        assert_eq!(message(sync), (SYNC, vec![]));
        assert_eq!(message(flush), (FLUSH, vec![]));
        assert_eq!(message(terminate), (TERMINATE, vec![]));
    }

    #[test]
    fn parse_is_read_back_and_its_definition_is_the_key() {
        let definition = b"SELECT $1\0\0\x01\0\0\0\x17";
        let (tag, body) = message(|out| parse(out, b"name", definition));
        let read = Parse::read(&body).unwrap();
        assert_eq!((tag, read.name, read.definition), (PARSE, &b"name"[..], &definition[..]));
        assert_eq!(read.query(), b"SELECT $1");
        let (_, renamed) = message(|out| parse(out, b"PGBOUNCER_1", read.definition));
        assert_eq!(Parse::read(&renamed).unwrap().definition, definition);
    }

    #[test]
    fn parse_counts_its_types() {
        assert!(Parse::read(b"\0\0\0\0").is_ok());
        assert_eq!(Parse::read(b"\0\0\0\x01\0\0\0"), Err(Malformed::Short));
        assert_eq!(Parse::read(b"\0\0\0\x01\0\0\0\x17\0"), Err(Malformed::Trailing));
        assert_eq!(Parse::read(b"\0\0\xff\xff"), Err(Malformed::Short));
        let mut most = b"\0\0\xff\xff".to_vec();
        most.resize(4 + 4 * 0xffff, 0);
        assert!(Parse::read(&most).is_ok());
    }

    #[test]
    fn bodies_that_end_too_early_or_late_are_malformed() {
        type Error = fn(&[u8]) -> Option<Malformed>;
        let bodies: [(&[u8], Error); 7] = [
            (b"n\0SELECT 1\0\0\0", |body| Parse::read(body).err()),
            (b"Sname\0", |body| Target::read(body).err()),
            (b"portal\0\0\0\0\x05", |body| Execute::read(body).err()),
            (b"SCRAM\0\0\0\0\x02ab", |body| SaslInitial::read(body).err()),
            (b"SELECT 1\0", |body| read_query(body).err()),
            (b"secret\0", |body| read_password(body).err()),
            (b"reason\0", |body| read_copy_fail(body).err()),
        ];
        for (body, error) in bodies {
            assert_eq!(error(body), None);
            for prefix in sluice_check::prefixes(body) {
                assert!(
                    matches!(error(prefix), Some(Malformed::Short | Malformed::Unterminated)),
                    "{prefix:?}"
                );
            }
            assert_eq!(error(&[body, b"\0"].concat()), Some(Malformed::Trailing));
        }
    }

    #[test]
    fn a_zero_inside_a_query_is_malformed() {
        assert_eq!(read_query(b"SELECT\x001\0"), Err(Malformed::Trailing));
        assert_eq!(read_query(b"\0"), Ok(&b""[..]));
    }

    #[test]
    fn bind_is_read_from_any_prefix_that_has_its_names() {
        let body = b"portal\0stmt\0\0\0\0\0\0\0";
        let names_len = b"portal\0stmt\0".len();
        for prefix in sluice_check::prefixes(body) {
            let read = BindHead::read(prefix).unwrap();
            if prefix.len() < names_len {
                assert_eq!(read, None);
            } else {
                let head = BindHead { portal: b"portal", statement: b"stmt", tail: names_len };
                assert_eq!(read, Some(head));
            }
        }
    }

    #[test]
    fn bind_names_at_and_beyond_the_limit() {
        let name = |len| [vec![b'x'; len], vec![0]].concat();
        let both = [name(NAME_LEN_MAX), name(NAME_LEN_MAX)].concat();
        assert!(BindHead::read(&both).unwrap().is_some());
        assert_eq!(BindHead::read(&both[..both.len() - 1]), Ok(None));
        assert_eq!(BindHead::read(&name(NAME_LEN_MAX + 1)), Err(Malformed::LongName));
        assert_eq!(BindHead::read(&vec![b'x'; NAME_LEN_MAX + 1]), Err(Malformed::LongName));
        let second = [name(0), name(NAME_LEN_MAX + 1)].concat();
        assert_eq!(BindHead::read(&second), Err(Malformed::LongName));
    }

    #[test]
    fn a_rewritten_bind_has_the_right_length() {
        let tail = b"\0\0\0\x01\0\0\0\x01x\0\0";
        let mut bytes = built(|out| bind_head(out, b"", b"PGBOUNCER_17", tail.len()));
        bytes.extend_from_slice(tail);
        let message = frame::message(&bytes).unwrap().unwrap();
        assert_eq!((message.tag, message.rest.len()), (BIND, 0));
        let head = BindHead::read(message.body).unwrap().unwrap();
        assert_eq!((head.portal, head.statement), (&b""[..], &b"PGBOUNCER_17"[..]));
        assert_eq!(&message.body[head.tail..], tail);
    }

    #[test]
    fn a_bind_that_grew_beyond_the_protocol_is_refused_not_wrapped() {
        let bytes = built(|out| bind_head(out, b"", b"name", 0x7fff_ffff));
        assert!(frame::header(&bytes).is_err());
        let bytes = built(|out| bind_head(out, b"", b"name", usize::MAX >> 1));
        assert_eq!(&bytes[1..HEADER_LEN], [0xff; 4]);
    }

    #[test]
    fn targets_and_executes_are_read_back() {
        let (tag, body) = message(|out| describe(out, KIND_STATEMENT, b"s"));
        assert_eq!((tag, Target::read(&body)), (DESCRIBE, Ok(Target { kind: KIND_STATEMENT, name: b"s" })));
        let (tag, body) = message(|out| close(out, KIND_PORTAL, b""));
        assert_eq!((tag, Target::read(&body)), (CLOSE, Ok(Target { kind: KIND_PORTAL, name: b"" })));
        assert_eq!(Target::read(b"Xname\0"), Err(Malformed::Value));
        let (tag, body) = message(|out| execute(out, b"p", -3));
        assert_eq!((tag, Execute::read(&body)), (EXECUTE, Ok(Execute { portal: b"p", max_rows: -3 })));
    }

    #[test]
    fn passwords_are_read_back() {
        let (tag, body) = message(|out| password(out, b"secret"));
        assert_eq!((tag, read_password(&body)), (PASSWORD, Ok(&b"secret"[..])));
        let (tag, body) = message(|out| sasl_initial(out, b"SCRAM-SHA-256", b"n,,"));
        let initial = SaslInitial { mechanism: b"SCRAM-SHA-256", data: Some(b"n,,") };
        assert_eq!((tag, SaslInitial::read(&body)), (PASSWORD, Ok(initial)));
        assert_eq!(message(|out| sasl_response(out, b"c=biws")), (PASSWORD, b"c=biws".to_vec()));
        let none = SaslInitial::read(b"X\0\xff\xff\xff\xff").unwrap();
        assert_eq!(none.data, None);
        assert_eq!(SaslInitial::read(b"X\0\x80\0\0\0"), Err(Malformed::Value));
        assert_eq!(SaslInitial::read(b"X\0\x7f\xff\xff\xff"), Err(Malformed::Short));
        let (tag, body) = message(|out| copy_fail(out, b"client left"));
        assert_eq!((tag, read_copy_fail(&body)), (COPY_FAIL, Ok(&b"client left"[..])));
    }

    #[test]
    fn a_startup_leaves_out_what_would_end_its_list() {
        let params: [(&[u8], &[u8]); 3] = [(b"user", b"anna"), (b"", b"lost"), (b"a\0b", b"c\0d")];
        let bytes = built(|out| startup(out, VERSION_3_0, &params));
        assert_eq!(bytes, b"\0\0\0\x17\0\x03\0\0user\0anna\0a\0c\0\0");
    }
}
