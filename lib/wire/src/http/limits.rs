//! The limits of messages, with their defaults. All are inclusive: a message at its limit passes.

/// Limits of a head. The defaults of requests and responses differ: [`HeadLimits::REQUEST`], [`HeadLimits::RESPONSE`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadLimits {
    /// Bytes of a request target; no meaning for responses.
    pub target_max: usize,
    /// Bytes from the first line to the end of the empty line.
    pub head_max: usize,
    /// Bytes of one field line, its line end not counted.
    pub field_max: usize,
    /// Field lines; at most [`super::fields::FIELDS_CAP`].
    pub fields_max: usize,
}

impl HeadLimits {
    /// What a client may send by default.
    pub const REQUEST: Self = Self { target_max: 8192, head_max: 32_768, field_max: 16_384, fields_max: 100 };
    /// What an origin may send by default.
    pub const RESPONSE: Self = Self { target_max: 0, head_max: 65_536, field_max: 65_536, fields_max: 200 };
}

/// Limits of content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyLimits {
    /// Bytes of content, 0 for no limit.
    pub body_max: u64,
    /// Bytes of the extensions of one chunk line.
    pub chunk_ext_line_max: usize,
    /// Bytes of the extensions of all chunk lines of a message.
    pub chunk_ext_max: usize,
    /// Bytes of a trailer section, line ends counted.
    pub trailer_max: usize,
    /// Field lines of a trailer section.
    pub trailer_fields_max: usize,
}

impl BodyLimits {
    /// The defaults, for both directions.
    pub const DEFAULT: Self = Self {
        body_max: 0,
        chunk_ext_line_max: 256,
        chunk_ext_max: 16_384,
        trailer_max: 8192,
        trailer_fields_max: 32,
    };
}
