//! HTTP/1.1 for a gateway: messages read strictly, judged once, and written anew (RFC 9110, 9112).
//!
//! ```text
//! bytes ─▶ RequestReader ─▶ RequestHead ─▶ forward::request ─▶ bytes        bytes ─▶ Body ─▶ ranges to relay
//!             (scan, target, fields, framing)                                       (chunked)
//! ```
//!
//! Nothing is repaired: what two servers might read differently is a [`Fault`]. A head that was read is a list of facts and
//! ranges; what is forwarded is built from those, never copied as a whole. Content is never copied here at all: readers
//! tell which ranges of the caller's bytes it is.
//!
//! * [`request`], [`response`]: heads. [`fields`], [`names`], [`target`], [`method`], [`framing`], [`connection`],
//!   [`upgrade`]: their parts.
//! * [`body`], [`chunked`]: content, in and out.
//! * [`forward`], [`forwarded`]: the heads that are sent on. [`answer`]: the answers that are our own.
//! * [`structured`], [`hints`], [`date`]: fields with a grammar of their own. [`proxy_protocol`]: what comes before them.
//! * [`fault`], [`limits`]: the tables of what is refused and of how much is taken.

pub mod answer;
pub mod body;
pub mod chunked;
pub mod connection;
pub mod date;
pub mod fault;
pub mod fields;
pub mod forward;
pub mod forwarded;
pub mod framing;
pub mod hints;
pub mod limits;
pub mod method;
pub mod names;
pub mod proxy_protocol;
pub mod request;
pub mod response;
mod scan;
pub mod status;
pub mod structured;
pub mod target;
pub mod upgrade;

#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use limits::{BodyLimits, HeadLimits};
