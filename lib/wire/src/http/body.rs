//! Content of either direction, by the framing that was decided: which bytes are content, and where it ends.

use super::chunked::{Chunked, Piece};
use super::fault::Fault;
use super::fields::Fields;
use super::framing::{RequestFraming, ResponseFraming};
use super::limits::BodyLimits;

/// Reads the content of one message.
#[derive(Clone, Debug)]
pub struct Body {
    coding: Coding,
    /// Bytes of content that were read.
    content_len: u64,
}

#[derive(Clone, Debug)]
enum Coding {
    /// So many bytes are left.
    Length(u64),
    /// Boxed: most messages are not chunked.
    Chunked(Box<Chunked>),
    UntilClose {
        body_max: u64,
    },
}

/// The connection ended within content that had not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated;

impl Body {
    /// The content of a request.
    ///
    /// # Errors
    /// [`Fault::ContentLong`] if it announces more than may come.
    pub fn of_request(framing: RequestFraming, limits: &BodyLimits) -> Result<Self, Fault> {
        match framing {
            RequestFraming::None => Self::with_length(0, limits),
            RequestFraming::Length(len) => Self::with_length(len, limits),
            RequestFraming::Chunked => Ok(Self::with_chunks(limits)),
        }
    }

    /// The content of a response.
    ///
    /// # Errors
    /// [`Fault::ContentLong`] if it announces more than may come.
    pub fn of_response(framing: ResponseFraming, limits: &BodyLimits) -> Result<Self, Fault> {
        match framing {
            ResponseFraming::None => Self::with_length(0, limits),
            ResponseFraming::Length(len) => Self::with_length(len, limits),
            ResponseFraming::Chunked => Ok(Self::with_chunks(limits)),
            ResponseFraming::UntilClose => {
                Ok(Self { coding: Coding::UntilClose { body_max: limits.body_max }, content_len: 0 })
            }
        }
    }

    fn with_length(len: u64, limits: &BodyLimits) -> Result<Self, Fault> {
        if limits.body_max > 0 && len > limits.body_max {
            return Err(Fault::ContentLong);
        }
        Ok(Self { coding: Coding::Length(len), content_len: 0 })
    }

    fn with_chunks(limits: &BodyLimits) -> Self {
        Self { coding: Coding::Chunked(Box::new(Chunked::new(*limits))), content_len: 0 }
    }

    /// Judges `bytes`, which follow what was used up before. Call again behind a [`Piece::Data`] with what is left;
    /// [`Piece::End`] leaves what belongs to the next message.
    ///
    /// # Errors
    /// As [`Chunked::next`].
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, Fault> {
        let piece = match &mut self.coding {
            Coding::Length(0) => Piece::End { skip: 0 },
            Coding::Length(left) => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= len as u64;
                if len == 0 { Piece::Need { skip: 0 } } else { Piece::Data { skip: 0, len } }
            }
            Coding::Chunked(chunked) => chunked.next(bytes)?,
            Coding::UntilClose { .. } if bytes.is_empty() => Piece::Need { skip: 0 },
            Coding::UntilClose { .. } => Piece::Data { skip: 0, len: bytes.len() },
        };
        if let Piece::Data { len, .. } = piece {
            self.content_len += len as u64;
        }
        match self.coding {
            Coding::UntilClose { body_max } if body_max > 0 && self.content_len > body_max => {
                Err(Fault::ContentLong)
            }
            _ => Ok(piece),
        }
    }

    /// Whether all of it was read. Content until the end of the connection never is before [`Body::end`].
    pub fn is_done(&self) -> bool {
        match &self.coding {
            Coding::Length(left) => *left == 0,
            Coding::Chunked(chunked) => chunked.is_done(),
            Coding::UntilClose { .. } => false,
        }
    }

    /// The connection has ended in good order: is the content whole?
    ///
    /// # Errors
    /// [`Truncated`] if more was announced.
    pub fn end(&self) -> Result<(), Truncated> {
        match self.coding {
            Coding::UntilClose { .. } => Ok(()),
            _ if self.is_done() => Ok(()),
            _ => Err(Truncated),
        }
    }

    /// Bytes of content still to come, if they were announced.
    pub fn rest(&self) -> Option<u64> {
        match &self.coding {
            Coding::Length(left) => Some(*left),
            Coding::Chunked(chunked) => chunked.is_done().then_some(0),
            Coding::UntilClose { .. } => None,
        }
    }

    /// Bytes of content read so far.
    pub fn content_len(&self) -> u64 {
        self.content_len
    }

    /// The trailer fields of chunked content that is over.
    pub fn trailers(&self) -> Option<&Fields> {
        match &self.coding {
            Coding::Chunked(chunked) if !chunked.trailers().is_empty() => Some(chunked.trailers()),
            _ => None,
        }
    }
}
