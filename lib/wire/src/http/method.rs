//! Methods, and what a gateway may conclude from them (RFC 9110 §9).

macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident $text:literal;)*) => {
        /// A method.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Method {
            $($(#[$doc])* $variant,)*
            /// Any other token: forwarded, never sent twice.
            Other,
        }

        impl Method {
            /// The method spelled `text`; methods are case-sensitive.
            pub fn of(text: &[u8]) -> Self {
                $(if text == $text { return Self::$variant; })*
                Self::Other
            }
        }
    };
}

methods! {
    /// Reads.
    Get b"GET";
    /// Reads the head only.
    Head b"HEAD";
    /// Acts.
    Post b"POST";
    /// Replaces.
    Put b"PUT";
    /// Removes.
    Delete b"DELETE";
    /// Changes a part (RFC 5789).
    Patch b"PATCH";
    /// Asks what may be asked.
    Options b"OPTIONS";
    /// Opens a tunnel: refused.
    Connect b"CONNECT";
    /// Echoes: refused, it shows credentials.
    Trace b"TRACE";
}

/// The methods an Allow field names where one is refused.
pub const ALLOWED: &str = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS";

impl Method {
    /// Refused by every gateway of this workspace.
    pub fn is_refused(self) -> bool {
        matches!(self, Self::Connect | Self::Trace)
    }

    /// Whether two of the same request mean what one means (RFC 9110 §9.2.2).
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }

    /// Whether it only reads (RFC 9110 §9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }
}
