//! The chunked coding (RFC 9112 §7.1), read strictly and written anew.
//!
//! ```text
//!            1-16 hex digits        CRLF, size > 0            size bytes           CRLF
//! ──▶ Size ──────────────────▶ Line ───────────────▶ Data ──────────────▶ DataEnd ──────▶ Size
//!                               │ CRLF, size 0
//!                               └──────────────▶ Trailers ──empty line──▶ Done
//! ```
//!
//! A line is judged byte by byte: it needs no buffer, and how it was cut makes no difference. No sign, no `0x`, no white
//! space, no bare line end. Extensions are checked against `;token[=token or quoted-string]` and dropped, their length is
//! limited. Only a trailer section is kept, up to its limit.

use super::fault::Fault;
use super::fields::{Fields, is_token_byte};
use super::limits::BodyLimits;

/// Hexadecimal digits of the longest chunk size.
const SIZE_DIGITS_MAX: u8 = 16;

/// What [`Chunked::next`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// `skip` bytes of coding, then `len` bytes of content (at least one). Call again behind them.
    Data {
        /// Bytes before the content.
        skip: usize,
        /// Bytes of content.
        len: usize,
    },
    /// `skip` bytes, all there were, are used up, and more are needed.
    Need {
        /// Bytes used up.
        skip: usize,
    },
    /// `skip` bytes are used up and the content is over.
    End {
        /// Bytes used up.
        skip: usize,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In the digits of a size.
    Size,
    /// Within the extensions of a chunk line.
    Extension(Extension),
    /// After the CR of a chunk line.
    LineFeed,
    /// In the content of a chunk.
    Data,
    /// Before the CR behind the content of a chunk.
    DataCarriageReturn,
    /// Before the LF behind the content of a chunk.
    DataLineFeed,
    /// In the trailer section.
    Trailers,
    /// Behind it.
    Done,
}

/// Where in `*( ";" token [ "=" ( token / quoted-string ) ] )`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Extension {
    /// Behind a semicolon.
    NameStart,
    /// In a name.
    Name,
    /// Behind an equals sign.
    ValueStart,
    /// In a token.
    Token,
    /// In a quoted string.
    Quoted,
    /// Behind a backslash in one.
    Escaped,
    /// Behind a quoted string.
    QuotedEnd,
}

/// Reads chunked content.
#[derive(Clone, Debug)]
pub struct Chunked {
    limits: BodyLimits,
    state: State,
    /// Size of the chunk: as far as its digits were read, then what is left of its content.
    left: u64,
    digits: u8,
    content_len: u64,
    extension_line_len: usize,
    extension_len: usize,
    /// The trailer section as far as it was read.
    trailer: Vec<u8>,
    trailers: Fields,
}

impl Chunked {
    /// A reader at the start of content.
    pub fn new(limits: BodyLimits) -> Self {
        Self {
            limits,
            state: State::Size,
            left: 0,
            digits: 0,
            content_len: 0,
            extension_line_len: 0,
            extension_len: 0,
            trailer: Vec::new(),
            trailers: Fields::default(),
        }
    }

    /// Judges `bytes`, which follow what was used up before.
    ///
    /// # Errors
    /// [`Fault::Chunk`], [`Fault::ChunkExtension`], [`Fault::ContentLong`], [`Fault::TrailerLong`] and the faults of field
    /// lines. Nothing that follows can be trusted.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, Fault> {
        let mut skip = 0;
        loop {
            match self.state {
                State::Data => return Ok(self.data(skip, bytes.len() - skip)),
                State::Trailers => {
                    let rest = bytes.get(skip..).unwrap_or_default();
                    let used = self.trailer(rest)?;
                    skip += used;
                    if self.state == State::Trailers {
                        return Ok(Piece::Need { skip });
                    }
                }
                State::Done => return Ok(Piece::End { skip }),
                _ => {
                    let Some(&byte) = bytes.get(skip) else { return Ok(Piece::Need { skip }) };
                    self.state = self.step(byte)?;
                    skip += 1;
                }
            }
        }
    }

    /// Whether the content is over.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailer fields; empty before the end and if there were none.
    pub fn trailers(&self) -> &Fields {
        &self.trailers
    }

    fn data(&mut self, skip: usize, available: usize) -> Piece {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(available);
        if len == 0 {
            return Piece::Need { skip };
        }
        self.left -= len as u64;
        if self.left == 0 {
            self.state = State::DataCarriageReturn;
        }
        Piece::Data { skip, len }
    }

    fn step(&mut self, byte: u8) -> Result<State, Fault> {
        match (self.state, byte) {
            (State::Size, _) => self.size(byte),
            (State::Extension(extension), _) => self.extension(extension, byte),
            (State::LineFeed, b'\n') => self.chunk(),
            (State::DataCarriageReturn, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => {
                (self.left, self.digits, self.extension_line_len) = (0, 0, 0);
                Ok(State::Size)
            }
            _ => Err(Fault::Chunk),
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, Fault> {
        match byte {
            b'\r' if self.digits > 0 => Ok(State::LineFeed),
            b';' if self.digits > 0 => self.extension(Extension::QuotedEnd, byte),
            _ => {
                let digit = char::from(byte).to_digit(16).ok_or(Fault::Chunk)?;
                if self.digits == SIZE_DIGITS_MAX {
                    return Err(Fault::Chunk);
                }
                self.digits += 1;
                self.left = self.left << 4 | u64::from(digit);
                Ok(State::Size)
            }
        }
    }

    fn extension(&mut self, extension: Extension, byte: u8) -> Result<State, Fault> {
        let next = match (extension, byte) {
            (Extension::Name | Extension::Token | Extension::QuotedEnd, b'\r') => return Ok(State::LineFeed),
            (Extension::Name | Extension::Token | Extension::QuotedEnd, b';') => Extension::NameStart,
            (Extension::Name, b'=') => Extension::ValueStart,
            (Extension::NameStart | Extension::Name, _) if is_token_byte(byte) => Extension::Name,
            (Extension::ValueStart | Extension::Token, _) if is_token_byte(byte) => Extension::Token,
            (Extension::ValueStart, b'"') => Extension::Quoted,
            (Extension::Quoted, b'"') => Extension::QuotedEnd,
            (Extension::Quoted, b'\\') => Extension::Escaped,
            // RFC 9110 §5.6.4: tab, space, printable, and bytes beyond ASCII.
            (Extension::Quoted | Extension::Escaped, b'\t' | b' '..=b'~' | 0x80..) => Extension::Quoted,
            _ => return Err(Fault::ChunkExtension),
        };
        self.extension_line_len += 1;
        self.extension_len += 1;
        let is_long = self.extension_line_len > self.limits.chunk_ext_line_max
            || self.extension_len > self.limits.chunk_ext_max;
        if is_long { Err(Fault::ChunkExtension) } else { Ok(State::Extension(next)) }
    }

    /// The line of a chunk is over: is its size one to take?
    fn chunk(&mut self) -> Result<State, Fault> {
        if self.left == 0 {
            return Ok(State::Trailers);
        }
        self.content_len = self.content_len.checked_add(self.left).ok_or(Fault::Chunk)?;
        if self.limits.body_max > 0 && self.content_len > self.limits.body_max {
            return Err(Fault::ContentLong);
        }
        Ok(State::Data)
    }

    /// Keeps the bytes of the trailer section up to the empty line that ends it; returns how many there were.
    fn trailer(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut used = 0;
        while let Some(offset) = memchr::memchr(b'\n', bytes.get(used..).unwrap_or_default()) {
            let end = used + offset + 1;
            self.keep_trailer(bytes.get(used..end).unwrap_or_default())?;
            used = end;
            if self.trailer.ends_with(b"\r\n\r\n") || self.trailer == b"\r\n" {
                self.trailers = self.read_trailers()?;
                self.trailer = Vec::new();
                self.state = State::Done;
                return Ok(used);
            }
        }
        self.keep_trailer(bytes.get(used..).unwrap_or_default())?;
        Ok(bytes.len())
    }

    fn keep_trailer(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        // The empty line is not part of the section.
        if self.trailer.len() + bytes.len() > self.limits.trailer_max.saturating_add(CHUNK_END.len()) {
            return Err(Fault::TrailerLong);
        }
        self.trailer.extend_from_slice(bytes);
        if self.trailer.ends_with(b"\n") && !self.trailer.ends_with(b"\r\n") {
            return Err(Fault::LineEnd);
        }
        Ok(())
    }

    fn read_trailers(&self) -> Result<Fields, Fault> {
        if self.trailer.len() == b"\r\n".len() {
            return Ok(Fields::default());
        }
        Fields::read(&self.trailer, 0, self.limits.trailer_fields_max).map_err(|fault| match fault {
            Fault::FieldsMany => Fault::TrailerLong,
            fault => fault,
        })
    }
}

/// Appends the line that announces a chunk of `len` bytes; [`CHUNK_END`] follows them. A chunk of 0 bytes would be the
/// last: nothing is written for it.
pub fn write_chunk_line(out: &mut Vec<u8>, len: usize) {
    if len == 0 {
        return;
    }
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        let nibble = (len >> (4 * digit)) & 0xf;
        out.push(b"0123456789abcdef"[nibble]);
    }
    out.extend_from_slice(CHUNK_END);
}

/// What follows the content of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The last chunk and an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
