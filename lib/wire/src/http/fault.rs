//! What is wrong with a message, and what that costs its sender: one table.
//!
//! The sender is at fault in every case. A request with a fault is answered with the status here and its connection is
//! closed (RFC 9112 §2.2, §6.3); the same fault in a response makes it useless: 502, and the origin's connection goes.

use std::fmt;

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident => $status:literal, $reason:literal, $text:literal;)*) => {
        /// A fault of a received message.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Fault {
            $($(#[$doc])* $variant,)*
        }

        impl Fault {
            /// Every fault, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The status of our answer if a client is at fault.
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                }
            }

            /// A stable word for metrics and logs.
            pub fn reason(self) -> &'static str {
                match self {
                    $(Self::$variant => $reason,)*
                }
            }

            /// A sentence for the answer: it names the fault and never repeats what was sent.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

faults! {
    /// A line ends in a bare LF, or holds a bare CR.
    LineEnd => 400, "line_end", "A line does not end in CRLF.";
    /// More than two empty lines before a request.
    EmptyLines => 400, "empty_lines", "There are too many empty lines before the request.";
    /// The request line is not `method SP request-target SP HTTP-version`.
    RequestLine => 400, "request_line", "The request line is malformed.";
    /// The method is not a token.
    Method => 400, "method", "The method is not a token.";
    /// The method is longer than any that is known.
    MethodLong => 501, "method_long", "The method is not known.";
    /// CONNECT or TRACE.
    MethodRefused => 405, "method_refused", "The method is not allowed here.";
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version => 505, "version", "Only HTTP/1.0 and HTTP/1.1 are spoken here.";
    /// The request target has a form or a byte it must not have.
    Target => 400, "target", "The request target is malformed.";
    /// The request target is longer than its limit.
    TargetLong => 414, "target_long", "The request target is too long.";
    /// The head is longer than its limit.
    HeadLong => 431, "head_long", "The header section is too long.";
    /// One field line is longer than its limit.
    FieldLong => 431, "field_long", "A field line is too long.";
    /// There are more field lines than the limit.
    FieldsMany => 431, "fields_many", "There are too many field lines.";
    /// A field name is not a token, or white space is before its colon, or a line is folded.
    FieldName => 400, "field_name", "A field name is malformed.";
    /// A field value holds a control byte.
    FieldValue => 400, "field_value", "A field value is malformed.";
    /// Host is missing, repeated or not `host[:port]`.
    Host => 400, "host", "The Host field is missing, repeated or malformed.";
    /// Content-Length is repeated or not a number.
    ContentLength => 400, "content_length", "The Content-Length field is repeated or malformed.";
    /// Content-Length and Transfer-Encoding together: an attempt to have two servers disagree.
    LengthAndEncoding => 400, "length_and_encoding", "Content-Length and Transfer-Encoding exclude each other.";
    /// Transfer-Encoding is not exactly `chunked`.
    TransferEncoding => 400, "transfer_encoding", "The Transfer-Encoding field is malformed.";
    /// A transfer coding that exists, but not here, before `chunked`.
    CodingUnknown => 501, "coding_unknown", "The transfer coding is not implemented.";
    /// Transfer-Encoding in an HTTP/1.0 request.
    EncodingInOld => 400, "encoding_in_old", "HTTP/1.0 has no Transfer-Encoding.";
    /// Max-Forwards of an OPTIONS request is not a number.
    MaxForwards => 400, "max_forwards", "The Max-Forwards field is malformed.";
    /// An expectation other than 100-continue.
    Expectation => 417, "expectation", "The expectation cannot be met.";
    /// A chunk line or the line end behind a chunk is malformed.
    Chunk => 400, "chunk", "The chunked coding is malformed.";
    /// Chunk extensions are malformed or longer than their limits.
    ChunkExtension => 400, "chunk_extension", "A chunk extension is malformed or too long.";
    /// The trailer section is longer than its limits.
    TrailerLong => 400, "trailer_long", "The trailer section is too long.";
    /// The content is longer than its limit.
    ContentLong => 413, "content_long", "The content is too long.";
    /// The status line of a response is malformed, or its status is not within 100 to 599.
    StatusLine => 502, "status_line", "The status line is malformed.";
    /// An interim response that cannot be one: 101 where no upgrade was offered.
    Unasked => 502, "unasked", "The origin switches protocols unasked.";
    /// More interim responses than the limit.
    InterimMany => 502, "interim_many", "There are too many interim responses.";
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Fault {}
