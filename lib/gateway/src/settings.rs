//! The settings both proxies have, each with its default, once.
//!
//! [`common_settings!`] is the list. It hands its rows to a macro of the caller: a program puts them, followed by rows of
//! its own, into its table of keys (files, help, man page and checks come from there); here they become the fields of
//! [`Settings`], which is what the machine reads. A row gives the field's type, the kind of value, the default as shown,
//! whether a running program takes a change, whether it is acted on, the other sections it may stand in, and a line of text.

use std::time::Duration;

/// Calls `$callback! { common rows, the rows given }`; see the module.
///
/// The rows name `Kind`, `COUNT`, `SIZE`, `TIME` (at least a millisecond) and `TIME_OFF` (0 allowed), which have to be in
/// scope at the place of expansion if the callback uses them.
#[macro_export]
macro_rules! common_settings {
    ($callback:ident { $($own:tt)* }) => {
        $callback! {
            // Where to listen and where to go.
            listen: Vec<String>, Kind::List, "127.0.0.1:8080", No, Yes, [],
                "Addresses to listen on: host:port, unix:/path; tls: before one takes TLS there.";
            listen_backlog: u32, COUNT, "511", No, Yes, [],
                "Length of the kernel's queue of connections not yet accepted.";
            unix_socket_mode: u32, Kind::Mode, "0660", No, Yes, [],
                "Permissions of Unix sockets that are listened on.";
            origin: Vec<String>, Kind::List, "http://127.0.0.1:3000", Yes, Yes, [],
                "Servers to forward to: http://host:port, https://host:port, unix:/path.";
            default_host: Option<String>, Kind::Text, "", Yes, Yes, [],
                "Host for HTTP/1.0 requests that have none; empty refuses them.";
            via_name: Option<String>, Kind::Text, "", Yes, Yes, [],
                "Name of this gateway in Via and Proxy-Status; empty for the program's.";

            // Limits of messages.
            target_max: usize, (Kind::Bytes { min: 1, max: i32::MAX as i64 }), "8192", Yes, Yes, [],
                "Bytes of a request target; beyond it 414.";
            head_max: usize, (Kind::Bytes { min: 1, max: i32::MAX as i64 }), "32768", Yes, Yes, [],
                "Bytes of the head of a request; beyond it 431.";
            field_max: usize, (Kind::Bytes { min: 1, max: i32::MAX as i64 }), "16384", Yes, Yes, [],
                "Bytes of one field line of a request; beyond it 431.";
            fields_max: usize, (Kind::Int { min: 1, max: 256 }), "100", Yes, Yes, [],
                "Field lines of a request; beyond it 431.";
            body_max: u64, (Kind::Bytes { min: 0, max: i64::MAX }), "0", Yes, Yes, [],
                "Bytes of the content of a request, 0 for any number; beyond it 413.";
            chunk_ext_line_max: usize, SIZE, "256", Yes, Yes, [],
                "Bytes of extensions on one chunk line.";
            chunk_ext_max: usize, SIZE, "16384", Yes, Yes, [],
                "Bytes of extensions on all chunk lines of a message.";
            trailer_max: usize, SIZE, "8192", Yes, Yes, [],
                "Bytes of a trailer section.";
            trailer_fields_max: usize, (Kind::Int { min: 0, max: 256 }), "32", Yes, Yes, [],
                "Field lines of a trailer section.";
            origin_head_max: usize, (Kind::Bytes { min: 1, max: i32::MAX as i64 }), "65536", Yes, Yes, [],
                "Bytes of the head of a response; beyond it 502.";
            origin_fields_max: usize, (Kind::Int { min: 1, max: 256 }), "200", Yes, Yes, [],
                "Field lines of a response; beyond it 502.";
            interim_max: u32, COUNT, "8", Yes, Yes, [],
                "Interim responses before the final one; beyond it 502.";

            // Limits of connections.
            client_conns_max: u32, (Kind::Int { min: 1, max: i32::MAX as i64 }), "10000", Yes, Yes, [],
                "Client connections at a time; beyond it 503.";
            client_conns_per_address: u32, COUNT, "0", Yes, Yes, [],
                "Client connections of one address at a time, 0 for any number; beyond it closed.";
            requests_per_conn: u32, COUNT, "10000", Yes, Yes, [],
                "Requests on one client connection before it is closed, 0 for any number.";
            tunnels_max: u32, COUNT, "1000", Yes, Yes, [],
                "Tunnels at a time; beyond it 503.";
            tls_handshakes_max: u32, (Kind::Int { min: 1, max: i32::MAX as i64 }), "256", Yes, Yes, [],
                "TLS handshakes at a time; beyond it accepting pauses.";
            origin_conns_max: u32, (Kind::Int { min: 1, max: 65_535 }), "256", Yes, Yes, [],
                "Connections to one origin at a time; beyond it 503.";
            origin_idle_max: u32, COUNT, "64", Yes, Yes, [],
                "Unused connections kept to one origin; beyond it the oldest is closed.";
            buffer_total_bytes: usize, SIZE, "67108864", Yes, Yes, [],
                "Bytes held for slow peers, all together; beyond it new requests get 503.";
            linger_bytes: usize, SIZE, "65536", Yes, Yes, [],
                "Bytes of an unwanted request read and dropped so that its connection can go on; beyond it closed.";
            replay_max: usize, SIZE, "16384", Yes, Yes, [],
                "Bytes of content kept to send again to a fresh connection; beyond it no second attempt.";

            // Times.
            header_ms: Duration, TIME, "10000", Yes, Yes, [],
                "Time from the first byte of a head to its end; then 408.";
            tls_handshake_ms: Duration, TIME, "10000", Yes, Yes, [],
                "Time for a TLS handshake; then closed.";
            keepalive_ms: Duration, TIME, "60000", Yes, Yes, [],
                "Time between requests on a client connection; then closed.";
            tunnel_idle_ms: Duration, TIME, "300000", Yes, Yes, [],
                "Time a tunnel may be silent; then closed.";
            body_idle_ms: Duration, TIME, "30000", Yes, Yes, [],
                "Time a client may pause within content; then 408.";
            body_min_rate: u64, (Kind::Bytes { min: 0, max: i32::MAX as i64 }), "128", Yes, Yes, [],
                "Bytes a second a client must send on average after ten seconds, 0 for any rate; then 408.";
            origin_connect_ms: Duration, TIME, "2000", Yes, Yes, [],
                "Time for a connection to an origin, TLS included; then 504.";
            origin_head_ms: Duration, TIME, "30000", Yes, Yes, [],
                "Time from the last byte of a request to the head of its response; then 504.";
            origin_body_idle_ms: Duration, TIME, "60000", Yes, Yes, [],
                "Time an origin may pause within content; then the client's connection is aborted.";
            origin_write_ms: Duration, TIME, "30000", Yes, Yes, [],
                "Time an origin may take no byte of a request; then 504.";
            client_write_ms: Duration, TIME, "30000", Yes, Yes, [],
                "Time a client may take no byte of a response; then closed.";
            origin_keepalive_ms: Duration, TIME, "4000", Yes, Yes, [],
                "Time an unused connection to an origin is kept.";
            continue_ms: Duration, TIME, "3000", Yes, Yes, [],
                "Time an origin has to answer Expect: 100-continue before the gateway does.";
            linger_ms: Duration, TIME, "5000", Yes, Yes, [],
                "Time a closing connection has to take its last answer, and its peer to end.";
            half_close_ms: Duration, TIME, "30000", Yes, Yes, [],
                "Time a request goes on after its client has shut its direction.";
            drain_ms: Duration, TIME, "30000", Yes, Yes, [],
                "Time connections have to finish after SIGTERM.";
            drain_queue: $crate::settings::DrainQueue, Kind::Enum(&["refuse", "finish"]), "refuse", Yes, Yes, [],
                "What becomes of queued requests after SIGTERM.";
            queue_half_close: $crate::settings::QueueHalfClose, Kind::Enum(&["leave", "stay"]), "leave", Yes, Yes, [],
                "Whether a queued client that shuts its direction has left.";

            // Origins.
            balance: String, Kind::Text, "least_inflight", Yes, Yes, [],
                "How an origin is chosen: least_inflight, round_robin, hash:address, hash:path or hash:header:NAME.";
            reuse_unsafe_ms: Duration, TIME, "1000", Yes, Yes, [],
                "Longest rest of a connection that may carry a request which must not be repeated.";
            origin_fail_max: u32, COUNT, "3", Yes, Yes, [],
                "Failures in a row after which an origin is left out, 0 for never.";
            origin_eject_ms: Duration, TIME, "10000", Yes, Yes, [],
                "Time an origin is left out, times the number of times it was; at most 300 s.";
            origin_ramp_ms: Duration, TIME_OFF, "10000", Yes, Yes, [],
                "Time over which an origin that returns gets its full share.";
            check_path: Option<String>, Kind::Text, "", Yes, Yes, [],
                "Path that is asked for to check origins; empty for no checks.";
            check_interval_ms: Duration, TIME, "5000", Yes, Yes, [],
                "Time between two checks of an origin.";
            check_timeout_ms: Duration, TIME, "1000", Yes, Yes, [],
                "Time a check may take.";
            check_rise: u32, (Kind::Int { min: 1, max: 1000 }), "2", Yes, Yes, [],
                "Checks in a row that must succeed before an origin is used again.";
            check_fall: u32, (Kind::Int { min: 1, max: 1000 }), "3", Yes, Yes, [],
                "Checks in a row that must fail before an origin is left out.";
            resolve_ms: Duration, TIME, "30000", Yes, Yes, [],
                "Time after which names of origins are looked up anew.";

            // TLS and identity.
            tls_cert_file: Vec<String>, Kind::List, "", Yes, Yes, [],
                "Certificate chains for tls: listeners, PEM; the one whose name the client asks for is shown, else the first.";
            tls_key_file: Vec<String>, Kind::List, "", Yes, Yes, [],
                "Private keys of the chains in tls_cert_file, in the same order.";
            tls_client_ca: Option<String>, Kind::Text, "", Yes, Yes, [],
                "Certificates that those of clients of tls: listeners must lead to, PEM; empty asks for none.";
            origin_tls_ca: Option<String>, Kind::Text, "", Yes, Yes, [],
                "Certificates that those of https origins must lead to, PEM.";
            trusted_peers: Vec<String>, Kind::List, "", Yes, Yes, [],
                "Prefixes of peers whose Forwarded and X-Forwarded fields are believed; unix for Unix sockets.";
            forwarded: $crate::settings::Forwarded, Kind::Enum(&["xff", "rfc7239", "both", "off"]), "xff", Yes, Yes, [],
                "Which fields tell origins who the client is.";
            proxy_protocol: bool, Kind::Bool, "off", No, Yes, [],
                "Whether trusted peers begin connections with a PROXY header.";
            send_proxy: $crate::settings::SendProxy, Kind::Enum(&["off", "v1", "v2"]), "off", Yes, Yes, [],
                "PROXY header that connections to origins begin with.";
            cors_allow_origin: Vec<String>, Kind::List, "", Yes, Yes, [],
                "Origins whose pages may read the gateway's own answers; * for all.";

            // The process.
            access_log: bool, Kind::Bool, "on", Yes, Yes, [],
                "Logs each request.";
            log_query: bool, Kind::Bool, "on", Yes, Yes, [],
                "Logs the query of request targets too.";
            admin_listen: Option<String>, Kind::Text, "", No, Yes, [],
                "Address for GET /metrics, /livez and /readyz: host:port, unix:/path; empty for none.";
            admin_conns_max: u32, (Kind::Int { min: 1, max: 65_535 }), "64", Yes, Yes, [],
                "Connections to admin_listen at a time; beyond it closed.";
            $($own)*
        }
    };
}

/// For `common_settings! { gateway_settings {} }` in a program whose `Global` has the common rows: a method that picks them
/// out, and what the program's trait `Field` means for the types of this module.
#[macro_export]
macro_rules! gateway_settings {
    ($($name:ident: $field:ty, $kind:expr, $default:literal, $reload:ident, $acted:ident, [$($also:literal)*],
        $doc:literal;)+) => {
        impl Global {
            /// What the gateway reads.
            #[must_use]
            pub fn gateway(&self) -> $crate::settings::Settings {
                $crate::settings::Settings { $($name: self.$name.clone(),)+ }
            }
        }

        $crate::gateway_settings! { @words DrainQueue QueueHalfClose Forwarded SendProxy }
    };
    (@words $($type:ident)+) => { $(
        impl Field for $crate::settings::$type {
            fn from_value(value: &sluice_cli::settings::Value) -> Self {
                let found = if let sluice_cli::settings::Value::Word(word) = value { Self::of(word) } else { None };
                found.unwrap_or(Self::WORDS[0].1)
            }
        }
    )+ };
}

/// A type whose values are written as text in the table.
trait FromText {
    /// Reads a default of the table; what the table cannot hold reads as the type's least value.
    fn from_text(text: &str) -> Self;
}

macro_rules! numbers {
    ($($type:ty)*) => { $(impl FromText for $type {
        fn from_text(text: &str) -> Self {
            match text.strip_prefix('0') {
                Some(octal) if !octal.is_empty() => <$type>::from_str_radix(octal, 8).unwrap_or_default(),
                _ => text.parse().unwrap_or_default(),
            }
        }
    })* };
}
numbers!(u32 u64 usize);

impl FromText for Duration {
    fn from_text(text: &str) -> Self {
        Self::from_millis(u64::from_text(text))
    }
}

impl FromText for bool {
    fn from_text(text: &str) -> Self {
        text == "on"
    }
}

impl FromText for String {
    fn from_text(text: &str) -> Self {
        text.to_owned()
    }
}

impl FromText for Option<String> {
    fn from_text(text: &str) -> Self {
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl FromText for Vec<String> {
    fn from_text(text: &str) -> Self {
        text.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ })+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Its values as written in the configuration.
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];

            /// The value written `word`.
            #[must_use]
            pub fn of(word: &str) -> Option<Self> {
                Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
            }
        }

        impl FromText for $name {
            fn from_text(text: &str) -> Self {
                Self::of(text).unwrap_or(Self::WORDS[0].1)
            }
        }
    )+ };
}

words! {
    /// Setting `drain_queue`.
    DrainQueue {
        /// They are refused.
        Refuse = "refuse",
        /// They take their turn.
        Finish = "finish",
    }
    /// Setting `queue_half_close`.
    QueueHalfClose {
        /// It has left.
        Leave = "leave",
        /// It still waits for its answer.
        Stay = "stay",
    }
    /// Setting `forwarded`.
    Forwarded {
        /// X-Forwarded-For, -Host and -Proto.
        Xff = "xff",
        /// Forwarded (RFC 7239).
        Rfc7239 = "rfc7239",
        /// Both.
        Both = "both",
        /// None.
        Off = "off",
    }
    /// Setting `send_proxy`.
    SendProxy {
        /// None.
        Off = "off",
        /// The text header.
        V1 = "v1",
        /// The binary header.
        V2 = "v2",
    }
}

macro_rules! declare {
    ($($name:ident: $field:ty, $kind:expr, $default:literal, $reload:ident, $acted:ident, [$($also:literal)*],
        $doc:literal;)+) => {
        /// What the gateway is told by the configuration, one field a key of [`common_settings!`].
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings { $(#[doc = $doc] pub $name: $field,)+ }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: FromText::from_text($default),)+ }
            }
        }
    };
}

common_settings!(declare {});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_table() {
        let settings = Settings::default();
        assert_eq!(settings.head_max, 32 * 1024);
        assert_eq!(settings.unix_socket_mode, 0o660);
        assert_eq!(settings.origin_keepalive_ms, Duration::from_secs(4));
        assert_eq!(settings.listen, ["127.0.0.1:8080"]);
        assert_eq!(settings.check_path, None);
        assert!(settings.access_log && !settings.proxy_protocol);
        assert_eq!(settings.forwarded, Forwarded::Xff);
        assert_eq!(settings.drain_queue, DrainQueue::Refuse);
    }
}
