//! Messages a backend sends: readers for those a server sends us, builders for those we send to a client.
//!
//! Readers take the body behind the five byte header and borrow from it. Errors and notices are in
//! [`error`](super::error). Message formats: PostgreSQL manual, "Message Formats".

use super::reader::Reader;
use super::{Malformed, writer};

/// AuthenticationOk and the authentication requests.
pub const AUTHENTICATION: u8 = b'R';
/// BackendKeyData: what a CancelRequest needs.
pub const BACKEND_KEY_DATA: u8 = b'K';
/// BindComplete.
pub const BIND_COMPLETE: u8 = b'2';
/// CloseComplete.
pub const CLOSE_COMPLETE: u8 = b'3';
/// CommandComplete: a statement's tag.
pub const COMMAND_COMPLETE: u8 = b'C';
/// CopyBothResponse: replication begins.
pub const COPY_BOTH_RESPONSE: u8 = b'W';
/// CopyData: a part of a COPY.
pub const COPY_DATA: u8 = b'd';
/// CopyDone: the end of a COPY.
pub const COPY_DONE: u8 = b'c';
/// CopyInResponse: the server waits for data.
pub const COPY_IN_RESPONSE: u8 = b'G';
/// CopyOutResponse: data follows.
pub const COPY_OUT_RESPONSE: u8 = b'H';
/// DataRow.
pub const DATA_ROW: u8 = b'D';
/// EmptyQueryResponse: the answer to an empty query text.
pub const EMPTY_QUERY_RESPONSE: u8 = b'I';
/// ErrorResponse.
pub const ERROR_RESPONSE: u8 = b'E';
/// FunctionCallResponse.
pub const FUNCTION_CALL_RESPONSE: u8 = b'V';
/// NegotiateProtocolVersion: the newest version, and the options, we do not know.
pub const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
/// NoData: the statement returns no rows.
pub const NO_DATA: u8 = b'n';
/// NoticeResponse.
pub const NOTICE_RESPONSE: u8 = b'N';
/// NotificationResponse: a NOTIFY.
pub const NOTIFICATION_RESPONSE: u8 = b'A';
/// ParameterDescription: the types of a statement's parameters.
pub const PARAMETER_DESCRIPTION: u8 = b't';
/// ParameterStatus: the value of a reported setting.
pub const PARAMETER_STATUS: u8 = b'S';
/// ParseComplete.
pub const PARSE_COMPLETE: u8 = b'1';
/// PortalSuspended: Execute's row limit was reached.
pub const PORTAL_SUSPENDED: u8 = b's';
/// ReadyForQuery.
pub const READY_FOR_QUERY: u8 = b'Z';
/// RowDescription.
pub const ROW_DESCRIPTION: u8 = b'T';

/// Bytes of the shortest and the longest secret in a BackendKeyData (protocol 3.0: 4; 3.2: up to 256).
pub const SECRET_LEN: std::ops::RangeInclusive<usize> = 4..=256;

const AUTH_OK: u32 = 0;
const AUTH_CLEARTEXT: u32 = 3;
const AUTH_MD5: u32 = 5;
const AUTH_SASL: u32 = 10;
const AUTH_SASL_CONTINUE: u32 = 11;
const AUTH_SASL_FINAL: u32 = 12;

/// What a ReadyForQuery says about the transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TransactionStatus {
    /// Not in a transaction.
    Idle = b'I',
    /// In a transaction.
    InTransaction = b'T',
    /// In a transaction that failed and waits for its end.
    Failed = b'E',
}

impl TransactionStatus {
    /// The status for its byte on the wire; None for any other byte.
    #[inline]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::InTransaction),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }

    /// The byte on the wire.
    #[inline]
    pub fn as_byte(self) -> u8 {
        self as u8
    }
}

/// An Authentication message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Authentication<'a> {
    /// Logged in.
    Ok,
    /// The password is wanted as it is.
    CleartextPassword,
    /// The password is wanted hashed with this salt.
    Md5Password {
        /// Four random bytes.
        salt: [u8; 4],
    },
    /// A SASL exchange is wanted.
    Sasl {
        /// What the server offers, in its order of preference.
        mechanisms: Mechanisms<'a>,
    },
    /// A challenge of the SASL exchange.
    SaslContinue(&'a [u8]),
    /// The last message of the SASL exchange.
    SaslFinal(&'a [u8]),
    /// A method this crate does not know (Kerberos, GSSAPI, SSPI), by its number.
    Other(u32),
}

impl<'a> Authentication<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// [`Malformed`] if the body does not have the shape its number asks for.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let authentication = match reader.u32()? {
            AUTH_OK => Self::Ok,
            AUTH_CLEARTEXT => Self::CleartextPassword,
            AUTH_MD5 => Self::Md5Password { salt: reader.array()? },
            AUTH_SASL => return Ok(Self::Sasl { mechanisms: Mechanisms::read(reader)? }),
            AUTH_SASL_CONTINUE => return Ok(Self::SaslContinue(reader.rest())),
            AUTH_SASL_FINAL => return Ok(Self::SaslFinal(reader.rest())),
            other => return Ok(Self::Other(other)),
        };
        reader.end()?;
        Ok(authentication)
    }
}

/// The names of SASL mechanisms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mechanisms<'a> {
    /// Zero-terminated, not empty names; the list's own terminator is left out.
    names: &'a [u8],
}

impl<'a> Mechanisms<'a> {
    fn read(mut reader: Reader<'a>) -> Result<Self, Malformed> {
        let list = reader.rest();
        loop {
            let before = reader.rest().len();
            if reader.string()?.is_empty() {
                reader.end()?;
                return Ok(Self { names: &list[..list.len() - before] });
            }
        }
    }
}

impl<'a> Iterator for Mechanisms<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut reader = Reader::new(self.names);
        let name = reader.string().ok()?;
        self.names = reader.rest();
        Some(name)
    }
}

/// The status in a ReadyForQuery body.
///
/// # Errors
/// [`Malformed`] unless the body is one of the three status bytes.
#[inline]
pub fn read_ready_for_query(body: &[u8]) -> Result<TransactionStatus, Malformed> {
    match *body {
        [] => Err(Malformed::Short),
        [status] => TransactionStatus::from_byte(status).ok_or(Malformed::Value),
        _ => Err(Malformed::Trailing),
    }
}

/// Name and value in a ParameterStatus body.
///
/// # Errors
/// [`Malformed`] unless the body is two strings.
#[inline]
pub fn read_parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut reader = Reader::new(body);
    let status = (reader.string()?, reader.string()?);
    reader.end()?;
    Ok(status)
}

/// Process id and secret in a BackendKeyData body.
///
/// # Errors
/// [`Malformed`] if the secret's length is not within [`SECRET_LEN`].
pub fn read_backend_key_data(body: &[u8]) -> Result<([u8; 4], &[u8]), Malformed> {
    let mut reader = Reader::new(body);
    let pid = reader.array()?;
    let secret = reader.rest();
    match secret.len() {
        len if len < *SECRET_LEN.start() => Err(Malformed::Short),
        len if len > *SECRET_LEN.end() => Err(Malformed::Trailing),
        _ => Ok((pid, secret)),
    }
}

/// The tag in a CommandComplete body, `SELECT 1` for example.
///
/// # Errors
/// [`Malformed`] unless the body is one string.
#[inline]
pub fn command_tag(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let tag = reader.string()?;
    reader.end()?;
    Ok(tag)
}

/// The columns in a RowDescription body. Of each, the name and the type are read; the rest is checked for being there.
///
/// # Errors
/// [`Malformed`] unless the body is as many columns as it says.
pub fn read_row_description(body: &[u8]) -> Result<Vec<Column<'_>>, Malformed> {
    let mut reader = Reader::new(body);
    // The count is not trusted with a reservation: each column has to be there.
    let columns: Result<Vec<_>, _> = (0..reader.u16()?)
        .map(|_| {
            let name = reader.string()?;
            reader.bytes(6)?; // table oid, attribute number
            let (type_oid, type_len) = (reader.u32()?, reader.u16()?.cast_signed());
            reader.bytes(6)?; // type modifier, format
            Ok(Column { name, type_oid, type_len })
        })
        .collect();
    reader.end()?;
    columns
}

/// The values of a DataRow, in order; None is NULL.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    /// Behind the count, known to be well-formed.
    rest: &'a [u8],
}

/// The number of values in a DataRow body, and the values.
///
/// # Errors
/// [`Malformed`] unless the body is as many values as it says.
pub fn read_data_row(body: &[u8]) -> Result<(u16, Values<'_>), Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.u16()?;
    let values = Values { rest: reader.rest() };
    for _ in 0..count {
        read_value(&mut reader)?;
    }
    reader.end()?;
    Ok((count, values))
}

impl<'a> Iterator for Values<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        let mut reader = Reader::new(self.rest);
        let value = read_value(&mut reader).ok()?;
        self.rest = reader.rest();
        Some(value)
    }
}

fn read_value<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    match reader.i32()? {
        -1 => Ok(None),
        len => reader.bytes(usize::try_from(len).map_err(|_| Malformed::Value)?).map(Some),
    }
}

/// A column of a RowDescription that belongs to no table; its values are text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column<'a> {
    /// The column's name.
    pub name: &'a [u8],
    /// The oid of its type in `pg_type`.
    pub type_oid: u32,
    /// Bytes of a value, or -1 where they vary (`pg_type.typlen`).
    pub type_len: i16,
}

/// Appends an AuthenticationOk.
pub fn authentication_ok(out: &mut Vec<u8>) {
    authentication(out, AUTH_OK, &[]);
}

/// Appends an AuthenticationCleartextPassword.
pub fn authentication_cleartext(out: &mut Vec<u8>) {
    authentication(out, AUTH_CLEARTEXT, &[]);
}

/// Appends an AuthenticationMD5Password.
pub fn authentication_md5(out: &mut Vec<u8>, salt: [u8; 4]) {
    authentication(out, AUTH_MD5, &salt);
}

/// Appends an AuthenticationSASL that offers `mechanisms`, best first.
pub fn authentication_sasl(out: &mut Vec<u8>, mechanisms: &[&[u8]]) {
    writer::message(out, AUTHENTICATION, |out| {
        out.extend_from_slice(&AUTH_SASL.to_be_bytes());
        mechanisms.iter().filter_map(|name| writer::listed(name)).for_each(|name| writer::string(out, name));
        out.push(0);
    });
}

/// Appends an AuthenticationSASLContinue.
pub fn sasl_continue(out: &mut Vec<u8>, data: &[u8]) {
    authentication(out, AUTH_SASL_CONTINUE, data);
}

/// Appends an AuthenticationSASLFinal.
pub fn sasl_final(out: &mut Vec<u8>, data: &[u8]) {
    authentication(out, AUTH_SASL_FINAL, data);
}

fn authentication(out: &mut Vec<u8>, number: u32, data: &[u8]) {
    writer::message(out, AUTHENTICATION, |out| {
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(data);
    });
}

/// Appends a ParameterStatus.
#[inline]
pub fn parameter_status(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    writer::message(out, PARAMETER_STATUS, |out| {
        writer::string(out, name);
        writer::string(out, value);
    });
}

/// Appends a BackendKeyData; `secret` has a length within [`SECRET_LEN`].
pub fn backend_key_data(out: &mut Vec<u8>, pid: [u8; 4], secret: &[u8]) {
    writer::message(out, BACKEND_KEY_DATA, |out| {
        out.extend_from_slice(&pid);
        out.extend_from_slice(secret);
    });
}

/// Appends a ReadyForQuery.
#[inline]
pub fn ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    writer::message(out, READY_FOR_QUERY, |out| out.push(status.as_byte()));
}

/// Appends a ParseComplete.
#[inline]
pub fn parse_complete(out: &mut Vec<u8>) {
    writer::message(out, PARSE_COMPLETE, |_| ());
}

/// Appends a BindComplete.
#[inline]
pub fn bind_complete(out: &mut Vec<u8>) {
    writer::message(out, BIND_COMPLETE, |_| ());
}

/// Appends a CloseComplete.
#[inline]
pub fn close_complete(out: &mut Vec<u8>) {
    writer::message(out, CLOSE_COMPLETE, |_| ());
}

/// Appends a NoData.
pub fn no_data(out: &mut Vec<u8>) {
    writer::message(out, NO_DATA, |_| ());
}

/// Appends a PortalSuspended.
#[inline]
pub fn portal_suspended(out: &mut Vec<u8>) {
    writer::message(out, PORTAL_SUSPENDED, |_| ());
}

/// Appends an EmptyQueryResponse.
pub fn empty_query_response(out: &mut Vec<u8>) {
    writer::message(out, EMPTY_QUERY_RESPONSE, |_| ());
}

/// Appends a CommandComplete.
pub fn command_complete(out: &mut Vec<u8>, tag: &[u8]) {
    writer::message(out, COMMAND_COMPLETE, |out| writer::string(out, tag));
}

/// Appends a RowDescription; columns beyond 32767 are left out, as their number would not fit.
pub fn row_description(out: &mut Vec<u8>, columns: &[Column<'_>]) {
    writer::message(out, ROW_DESCRIPTION, |out| {
        counted(out, columns, |out, column| {
            writer::string(out, column.name);
            out.extend_from_slice(&[0; 4]); // table oid: none
            out.extend_from_slice(&[0; 2]); // attribute number: none
            out.extend_from_slice(&column.type_oid.to_be_bytes());
            out.extend_from_slice(&column.type_len.to_be_bytes());
            out.extend_from_slice(&(-1_i32).to_be_bytes()); // type modifier: none
            out.extend_from_slice(&[0; 2]); // format: text
        });
    });
}

/// Appends a DataRow; None is NULL. Values beyond 32767 are left out, as their number would not fit.
pub fn data_row<'a>(out: &mut Vec<u8>, values: impl IntoIterator<Item = Option<&'a [u8]>>) {
    writer::message(out, DATA_ROW, |out| {
        counted(out, values, |out, value| match value {
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(value) => {
                out.extend_from_slice(&writer::length(value.len()).to_be_bytes());
                out.extend_from_slice(value);
            }
        });
    });
}

/// Appends a ParameterDescription with the oids of the parameters' types.
pub fn parameter_description(out: &mut Vec<u8>, type_oids: &[u32]) {
    writer::message(out, PARAMETER_DESCRIPTION, |out| {
        counted(out, type_oids, |out, oid| out.extend_from_slice(&oid.to_be_bytes()));
    });
}

/// Appends a NegotiateProtocolVersion: the newest `version` we speak, whole, and the protocol options we do not know.
pub fn negotiate_protocol_version(out: &mut Vec<u8>, version: u32, unknown: &[&[u8]]) {
    writer::message(out, NEGOTIATE_PROTOCOL_VERSION, |out| {
        out.extend_from_slice(&version.to_be_bytes());
        out.extend_from_slice(&writer::length(unknown.len()).to_be_bytes());
        unknown.iter().for_each(|name| writer::string(out, name));
    });
}

/// Appends an int16 count and that many items.
fn counted<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut put: impl FnMut(&mut Vec<u8>, T)) {
    let at = out.len();
    out.extend_from_slice(&[0; 2]);
    let mut count = 0_i16;
    for item in items.into_iter().take(usize::from(i16::MAX.unsigned_abs())) {
        put(out, item);
        count += 1;
    }
    out[at..at + 2].copy_from_slice(&count.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::frame;

    /// The only message in what `build` appends: its tag and body.
    fn message(build: impl FnOnce(&mut Vec<u8>)) -> (u8, Vec<u8>) {
        let mut bytes = b"before".to_vec();
        build(&mut bytes);
        let message = frame::message(&bytes[6..]).unwrap().unwrap();
        assert!(message.rest.is_empty());
        (message.tag, message.body.to_vec())
    }

    #[test]
    fn messages_without_a_body() {
        assert_eq!(message(parse_complete), (PARSE_COMPLETE, vec![]));
        assert_eq!(message(bind_complete), (BIND_COMPLETE, vec![]));
        assert_eq!(message(close_complete), (CLOSE_COMPLETE, vec![]));
        assert_eq!(message(no_data), (NO_DATA, vec![]));
        assert_eq!(message(empty_query_response), (EMPTY_QUERY_RESPONSE, vec![]));
    }

    #[test]
    fn every_status_is_read_back_and_no_other_byte_is_one() {
        for byte in 0..=u8::MAX {
            match TransactionStatus::from_byte(byte) {
                Some(status) => {
                    assert_eq!(status.as_byte(), byte);
                    let (tag, body) = message(|out| ready_for_query(out, status));
                    assert_eq!((tag, read_ready_for_query(&body)), (READY_FOR_QUERY, Ok(status)));
                }
                None => assert_eq!(read_ready_for_query(&[byte]), Err(Malformed::Value)),
            }
        }
        assert_eq!(read_ready_for_query(b""), Err(Malformed::Short));
        assert_eq!(read_ready_for_query(b"II"), Err(Malformed::Trailing));
    }

    #[test]
    fn authentication_requests_are_read_back() {
        let read = |build: &dyn Fn(&mut Vec<u8>), check: &dyn Fn(Authentication<'_>)| {
            let (tag, body) = message(build);
            assert_eq!(tag, AUTHENTICATION);
            check(Authentication::read(&body).unwrap());
        };
        read(&authentication_ok, &|read| assert_eq!(read, Authentication::Ok));
        read(&authentication_cleartext, &|read| assert_eq!(read, Authentication::CleartextPassword));
        let salt = [1, 2, 3, 4];
        read(&|out| authentication_md5(out, salt), &|read| {
            assert_eq!(read, Authentication::Md5Password { salt });
        });
        read(&|out| sasl_continue(out, b"r="), &|read| assert_eq!(read, Authentication::SaslContinue(b"r=")));
        read(&|out| sasl_final(out, b"v="), &|read| assert_eq!(read, Authentication::SaslFinal(b"v=")));
        read(&|out| authentication_sasl(out, &[b"ONE", b"", b"TWO"]), &|read| {
            let Authentication::Sasl { mechanisms } = read else { panic!() };
            assert_eq!(mechanisms.collect::<Vec<_>>(), [b"ONE", b"TWO"]);
        });
        read(&|out| authentication(out, 7, b"gss"), &|read| assert_eq!(read, Authentication::Other(7)));
    }

    #[test]
    fn authentication_requests_of_the_wrong_shape() {
        let read = |body: &'static [u8]| Authentication::read(body).unwrap_err();
        assert_eq!(read(b"\0\0\0"), Malformed::Short);
        assert_eq!(read(b"\0\0\0\0x"), Malformed::Trailing);
        assert_eq!(read(b"\0\0\0\x03x"), Malformed::Trailing);
        assert_eq!(read(b"\0\0\0\x05sal"), Malformed::Short);
        assert_eq!(read(b"\0\0\0\x05salty"), Malformed::Trailing);
        assert_eq!(read(b"\0\0\0\x0a"), Malformed::Unterminated);
        assert_eq!(read(b"\0\0\0\x0aONE\0"), Malformed::Unterminated);
        assert_eq!(read(b"\0\0\0\x0aONE\0\0TWO\0"), Malformed::Trailing);
    }

    #[test]
    fn a_parameter_status_is_two_strings() {
        let (tag, body) = message(|out| parameter_status(out, b"TimeZone", b"GMT"));
        assert_eq!(tag, PARAMETER_STATUS);
        assert_eq!(read_parameter_status(&body), Ok((&b"TimeZone"[..], &b"GMT"[..])));
        for prefix in sluice_check::prefixes(&body) {
            assert_eq!(read_parameter_status(prefix), Err(Malformed::Unterminated));
        }
        assert_eq!(read_parameter_status(b"a\0b\0c"), Err(Malformed::Trailing));
    }

    #[test]
    fn a_secret_has_4_to_256_bytes() {
        for (len, expected) in
            [(3, Some(Malformed::Short)), (4, None), (256, None), (257, Some(Malformed::Trailing))]
        {
            let secret = vec![7; len];
            let (tag, body) = message(|out| backend_key_data(out, [0, 0, 1, 2], &secret));
            assert_eq!(tag, BACKEND_KEY_DATA);
            match expected {
                None => assert_eq!(read_backend_key_data(&body), Ok(([0, 0, 1, 2], &secret[..]))),
                Some(error) => assert_eq!(read_backend_key_data(&body), Err(error)),
            }
        }
        assert_eq!(read_backend_key_data(b"123"), Err(Malformed::Short));
    }

    #[test]
    fn a_command_tag_is_one_string() {
        let (tag, body) = message(|out| command_complete(out, b"SELECT 1"));
        assert_eq!((tag, command_tag(&body)), (COMMAND_COMPLETE, Ok(&b"SELECT 1"[..])));
        assert_eq!(command_tag(b"SELECT"), Err(Malformed::Unterminated));
        assert_eq!(command_tag(b"SELECT\0\0"), Err(Malformed::Trailing));
    }

    #[test]
    fn rows_have_the_manuals_layout() {
        let column = Column { name: b"id", type_oid: 0x17, type_len: 4 };
        let (tag, body) = message(|out| row_description(out, &[column]));
        let layout = b"\0\x01id\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
        assert_eq!((tag, &body[..]), (ROW_DESCRIPTION, &layout[..]));
        let (tag, body) = message(|out| data_row(out, [Some(&b"7"[..]), None, Some(&b""[..])]));
        let layout = b"\0\x03\0\0\0\x017\xff\xff\xff\xff\0\0\0\0";
        assert_eq!((tag, &body[..]), (DATA_ROW, &layout[..]));
        let (tag, body) = message(|out| parameter_description(out, &[0x17, 0x19]));
        assert_eq!((tag, &body[..]), (PARAMETER_DESCRIPTION, &b"\0\x02\0\0\0\x17\0\0\0\x19"[..]));
    }

    #[test]
    fn counts_at_and_beyond_their_limit() {
        for (values, count) in [(32_767, 32_767), (32_768, 32_767)] {
            let (_, body) = message(|out| data_row(out, std::iter::repeat_n(None, values)));
            assert_eq!(body[..2], [0x7f, 0xff]);
            assert_eq!(body.len(), 2 + 4 * count);
        }
    }

    #[test]
    fn a_negotiation_names_what_is_unknown() {
        let (tag, body) = message(|out| negotiate_protocol_version(out, 196_608, &[b"_pq_.a", b"_pq_.b"]));
        let layout = b"\0\x03\0\0\0\0\0\x02_pq_.a\0_pq_.b\0";
        assert_eq!((tag, &body[..]), (NEGOTIATE_PROTOCOL_VERSION, &layout[..]));
    }
}
