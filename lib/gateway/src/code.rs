//! Why the gateway answers by itself: the one table of codes (RFC 9457 problem types, RFC 9209 error types).
//!
//! Clients search the details of refusals for their literal texts, so these are never reworded.

/// The text of every refusal of throttle-proxy.
const QUEUE_FULL: &str = "Request queue is full";

/// The text of every refusal of breaker-proxy.
const CIRCUIT_OPEN: &str = "Service temporarily unavailable: Circuit breaker is OPEN";

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $error:literal, $detail:expr;)+) => {
        /// Why an answer is ours.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $variant,)+ }

        impl Code {
            /// All codes, for documentation, metrics and tests.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// The stable name: `code` of the problem, label of the metric.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The status code.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// The error type of Proxy-Status.
            #[must_use]
            pub const fn proxy_status(self) -> &'static str {
                match self { $(Self::$variant => $error,)+ }
            }

            /// The text for people, and for clients that search it.
            #[must_use]
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail,)+ }
            }
        }
    };
}

codes! {
    /// The queue has no place.
    QueueFull = "queue_full", 503, "connection_limit_reached", QUEUE_FULL;
    /// The wait would be longer than it may be.
    QueueWait = "queue_wait", 503, "connection_limit_reached", QUEUE_FULL;
    /// The wait was longer than it may be.
    QueueTimeout = "queue_timeout", 503, "connection_limit_reached", QUEUE_FULL;
    /// Load is shed.
    Shed = "shed", 503, "connection_limit_reached", QUEUE_FULL;
    /// The process is about to end.
    Draining = "draining", 503, "connection_limit_reached", QUEUE_FULL;
    /// The client's own limit.
    RateLimited = "rate_limited", 429, "http_request_error", QUEUE_FULL;
    /// The circuit is open.
    CircuitOpen = "circuit_open", 503, "destination_unavailable", CIRCUIT_OPEN;
    /// The circuit is half open and its probes are under way.
    HalfOpen = "half_open", 503, "destination_unavailable", CIRCUIT_OPEN;
    /// The circuit has just closed and lets load return slowly.
    Ramp = "ramp", 503, "destination_unavailable", CIRCUIT_OPEN;
    /// The circuit was opened by hand.
    Forced = "forced", 503, "destination_unavailable", CIRCUIT_OPEN;
    /// Health checks say that the service is down.
    Offline = "offline", 503, "destination_unavailable", CIRCUIT_OPEN;
    /// Our own connections, buffers or tunnels are used up.
    Overload = "overload", 503, "connection_limit_reached", "The gateway is at its limit";
    /// The origin has no address.
    Dns = "dns", 502, "dns_error", "The origin's name cannot be looked up";
    /// The origin refuses connections.
    ConnectRefused = "connect_refused", 502, "connection_refused", "The origin refuses connections";
    /// The origin does not answer connections.
    ConnectTimeout = "connect_timeout", 504, "connection_timeout", "The origin cannot be reached in time";
    /// No TLS session with the origin.
    Tls = "tls", 502, "tls_protocol_error", "The origin cannot be reached by TLS";
    /// The origin's certificate does not hold.
    TlsCertificate = "tls_certificate", 502, "tls_certificate_error", "The origin's certificate is not accepted";
    /// The origin ended the connection.
    OriginReset = "origin_reset", 502, "connection_terminated", "The origin ended the connection";
    /// The origin's response is none.
    OriginMalformed = "origin_malformed", 502, "http_protocol_error", "The origin's response cannot be understood";
    /// The origin takes too long.
    OriginTimeout = "origin_timeout", 504, "http_response_timeout", "The origin did not respond in time";
    /// The request has been here before.
    Loop = "loop", 502, "proxy_loop_detected", "The request comes from this gateway";
    /// The request is not acceptable; the status is the fault's own.
    BadRequest = "bad_request", 400, "http_request_error", "The request is not acceptable";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_statuses_are_errors() {
        let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| (400..600).contains(&code.status())));
    }

    #[test]
    fn refusals_hold_the_texts_clients_search_for() {
        for code in Code::ALL {
            match code.proxy_status() {
                "destination_unavailable" => {
                    assert!(code.detail().contains("Circuit breaker is OPEN"));
                    assert!(code.detail().contains("Service temporarily unavailable"));
                }
                "connection_limit_reached" if *code != Code::Overload => {
                    assert!(code.detail().contains("Request queue is full"));
                }
                _ => {}
            }
        }
        assert!(Code::RateLimited.detail().contains("Request queue is full"));
    }
}
