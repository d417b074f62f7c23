//! The protocol of Redis, version 2 (redis.io, "Redis serialization protocol specification"): commands out, replies in.
//!
//! Owned by whoever speaks to a Redis. Invariants: how the bytes were cut makes no difference; a reply holds at most
//! [`REPLY_LEN_MAX`] bytes on the wire and [`DEPTH_MAX`] levels, whatever it announces; a stream with a fault stays
//! useless.

/// Bytes of the longest reply, all of its lines and elements counted.
pub const REPLY_LEN_MAX: usize = 64 * 1024;

/// Arrays within arrays.
pub const DEPTH_MAX: usize = 4;

/// A reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A short text, such as `OK`.
    Simple(Vec<u8>),
    /// An error: a code in capitals, a space and words.
    Error(Vec<u8>),
    /// A number.
    Integer(i64),
    /// Bytes.
    Bulk(Vec<u8>),
    /// Replies.
    Array(Vec<Value>),
    /// Nothing: the null of bulk strings and of arrays.
    Null,
}

impl Value {
    /// The number, also where it comes as the digits of a string.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Simple(text) | Self::Bulk(text) => number(text),
            Self::Error(_) | Self::Array(_) | Self::Null => None,
        }
    }
}

/// What [`Replies::next`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// A whole reply.
    Value(Value),
    /// Not all there: feed more.
    Need,
    /// Not RESP2, or beyond a limit: give the connection up.
    Broken,
}

/// Cuts a stream into replies.
#[derive(Clone, Default, Debug)]
pub struct Replies {
    buffer: Vec<u8>,
    /// Bytes at the front that were handed out.
    consumed: usize,
    /// Bytes that must be there before another look can tell more.
    wanted: usize,
    broken: bool,
}

/// Why a value cannot be read.
enum Stop {
    /// This many bytes must be there first, counted from the start of the reply.
    Need(usize),
    Broken,
}

impl Replies {
    /// Takes the next bytes of the stream. Call [`Replies::next`] until it needs more before feeding again.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next reply, if it is all there.
    #[expect(
        clippy::should_implement_trait,
        reason = "the end of the bytes fed is not the end of the replies"
    )]
    pub fn next(&mut self) -> Next {
        if self.broken {
            return Next::Broken;
        }
        let bytes = self.buffer.get(self.consumed..).unwrap_or_default();
        if bytes.is_empty() {
            self.buffer = Vec::new();
            self.consumed = 0;
            return Next::Need;
        }
        if bytes.len() < self.wanted {
            return Next::Need;
        }
        let visible = bytes.get(..REPLY_LEN_MAX).unwrap_or(bytes);
        let mut cursor = Cursor { bytes: visible, at: 0 };
        match cursor.value(0) {
            Ok(value) => {
                self.consumed += cursor.at;
                self.wanted = 0;
                Next::Value(value)
            }
            Err(Stop::Need(wanted)) if wanted <= REPLY_LEN_MAX => {
                self.wanted = wanted;
                Next::Need
            }
            Err(_) => {
                self.broken = true;
                Next::Broken
            }
        }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        let Some(&kind) = self.bytes.get(self.at) else { return Err(Stop::Need(self.at + 1)) };
        if !b"+-:$*".contains(&kind) {
            return Err(Stop::Broken);
        }
        self.at += 1;
        let line = self.line()?;
        match kind {
            b'+' => Ok(Value::Simple(line.to_vec())),
            b'-' => Ok(Value::Error(line.to_vec())),
            b':' => number(line).map(Value::Integer).ok_or(Stop::Broken),
            _ if line == b"-1" => Ok(Value::Null),
            b'$' => self.bulk(len(line)?),
            _ => self.array(len(line)?, depth),
        }
    }

    /// Up to the next CRLF, which it passes. A bare CR or LF is a fault.
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(end) = memchr::memchr2(b'\r', b'\n', rest) else {
            return Err(Stop::Need(self.bytes.len() + 1));
        };
        match rest.get(end..end + 2) {
            Some(b"\r\n") => {
                self.at += end + 2;
                Ok(rest.get(..end).unwrap_or_default())
            }
            None if rest.get(end) == Some(&b'\r') => Err(Stop::Need(self.bytes.len() + 1)),
            _ => Err(Stop::Broken),
        }
    }

    fn bulk(&mut self, len: usize) -> Result<Value, Stop> {
        let end = self.at + len;
        let Some(whole) = self.bytes.get(self.at..end + 2) else { return Err(Stop::Need(end + 2)) };
        let text = whole.strip_suffix(b"\r\n").ok_or(Stop::Broken)?;
        self.at = end + 2;
        Ok(Value::Bulk(text.to_vec()))
    }

    fn array(&mut self, len: usize, depth: usize) -> Result<Value, Stop> {
        if depth == DEPTH_MAX {
            return Err(Stop::Broken);
        }
        // Each element takes three bytes at least: nothing is reserved for what is merely announced.
        if self.at + 3 * len > REPLY_LEN_MAX {
            return Err(Stop::Broken);
        }
        let mut values = Vec::new();
        for _ in 0..len {
            values.push(self.value(depth + 1)?);
        }
        Ok(Value::Array(values))
    }
}

/// A length: digits, at most what a reply may hold.
fn len(line: &[u8]) -> Result<usize, Stop> {
    let is_digits = line.iter().all(u8::is_ascii_digit);
    let len = number(line).filter(|_| is_digits).and_then(|len| usize::try_from(len).ok());
    len.filter(|len| *len <= REPLY_LEN_MAX).ok_or(Stop::Broken)
}

/// A number in digits with an optional sign.
fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Appends a command of these words.
pub fn write_command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reply the pieces make, and whether the stream was given up.
    fn replies(pieces: &[&[u8]]) -> (Vec<Value>, bool) {
        let mut replies = Replies::default();
        let mut found = Vec::new();
        for piece in pieces {
            replies.feed(piece);
            loop {
                match replies.next() {
                    Next::Value(value) => found.push(value),
                    Next::Need => break,
                    Next::Broken => {
                        assert_eq!(replies.next(), Next::Broken);
                        return (found, true);
                    }
                }
            }
        }
        (found, false)
    }

    fn one(bytes: &[u8]) -> Value {
        let mut result = None;
        sluice_check::pieces(bytes, |pieces| {
            let (mut found, broken) = replies(pieces);
            assert!(!broken && found.len() == 1, "{}", bytes.escape_ascii());
            result = found.pop();
        });
        for prefix in sluice_check::prefixes(bytes) {
            assert_eq!(replies(&[prefix]), (vec![], false), "{}", prefix.escape_ascii());
        }
        result.unwrap()
    }

    #[test]
    fn the_kinds_of_replies() {
        assert_eq!(one(b"+OK\r\n"), Value::Simple(b"OK".to_vec()));
        assert_eq!(one(b"-ERR unknown command\r\n"), Value::Error(b"ERR unknown command".to_vec()));
        assert_eq!(one(b":-1000\r\n"), Value::Integer(-1000));
        assert_eq!(one(b"$6\r\nfoo\r\nb\r\n"), Value::Bulk(b"foo\r\nb".to_vec()));
        assert_eq!(one(b"$0\r\n\r\n"), Value::Bulk(vec![]));
        assert_eq!(one(b"$-1\r\n"), Value::Null);
        assert_eq!(one(b"*-1\r\n"), Value::Null);
        assert_eq!(one(b"*0\r\n"), Value::Array(vec![]));
        let nested = Value::Array(vec![
            Value::Integer(1),
            Value::Array(vec![Value::Null]),
            Value::Bulk(b"x".to_vec()),
        ]);
        assert_eq!(one(b"*3\r\n:1\r\n*1\r\n$-1\r\n$1\r\nx\r\n"), nested);
    }

    #[test]
    fn numbers_come_as_such_or_as_texts() {
        for bytes in [&b":42\r\n"[..], b"$2\r\n42\r\n", b"+42\r\n"] {
            assert_eq!(one(bytes).integer(), Some(42));
        }
        for bytes in [&b"-42\r\n"[..], b"$1\r\nx\r\n", b"*0\r\n", b"$-1\r\n"] {
            assert_eq!(one(bytes).integer(), None);
        }
    }

    #[test]
    fn what_is_no_reply() {
        let broken: [&[u8]; 13] = [
            b"OK\r\n",
            b"\r\n",
            b"+a\nb\r\n",
            b"+a\rb\r\n",
            b":\r\n",
            b":1x\r\n",
            b":99999999999999999999\r\n",
            b"$+1\r\na\r\n",
            b"$1\r\nab\r\n",
            b"$-2\r\n",
            b"*1x\r\n",
            b"*1\r\n!\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
        ];
        for bytes in broken {
            sluice_check::pieces(bytes, |pieces| {
                assert_eq!(replies(pieces), (vec![], true), "{}", bytes.escape_ascii());
            });
        }
    }

    #[test]
    fn cuts_make_no_difference() {
        for input in sluice_check::exhaustive(b"$*:1\r\n", 6) {
            let whole = replies(&[&input]);
            sluice_check::pieces(&input, |pieces| {
                assert_eq!(replies(pieces), whole, "{}", input.escape_ascii());
            });
        }
    }

    #[test]
    fn a_reply_at_and_beyond_its_limits() {
        let head = b"$65526\r\n".len();
        let bulk = |len: usize| [format!("${len}\r\n").as_bytes(), &vec![b'x'; len], b"\r\n"].concat();
        let longest = REPLY_LEN_MAX - head - 2;
        assert_eq!(replies(&[&bulk(longest)]), (vec![Value::Bulk(vec![b'x'; longest])], false));
        assert_eq!(replies(&[&bulk(longest + 1)]), (vec![], true));
        assert_eq!(replies(&[format!("${}\r\n", longest + 1).as_bytes()]), (vec![], true), "at once");
        let line = |len: usize| [b"+", &vec![b'x'; len][..], b"\r\n"].concat();
        assert!(!replies(&[&line(REPLY_LEN_MAX - 3)]).1);
        assert!(replies(&[&line(REPLY_LEN_MAX - 2)]).1);
        let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
        assert!(!replies(&[&nested(DEPTH_MAX)]).1);
        assert!(replies(&[&nested(DEPTH_MAX + 1)]).1);
        assert!(replies(&[b"*1000000\r\n"]).1, "nothing is reserved for what is announced");
    }

    #[test]
    fn commands() {
        let mut out = Vec::new();
        write_command(&mut out, &[b"SET", b"key", b"a\r\nb", b""]);
        assert_eq!(out, b"*4\r\n$3\r\nSET\r\n$3\r\nkey\r\n$4\r\na\r\nb\r\n$0\r\n\r\n");
        assert!(
            matches!(one(&out), Value::Array(words) if words.len() == 4),
            "a command is an array of strings"
        );
    }

    #[test]
    fn an_emptied_buffer_is_given_back() {
        let mut replies = Replies::default();
        replies.feed(b"+OK\r\n:1\r\n");
        assert_eq!(replies.next(), Next::Value(Value::Simple(b"OK".to_vec())));
        assert_eq!(replies.next(), Next::Value(Value::Integer(1)));
        assert_eq!((replies.next(), replies.buffer.capacity()), (Next::Need, 0));
    }
}
