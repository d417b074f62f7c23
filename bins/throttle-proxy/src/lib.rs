//! throttle-proxy: an HTTP gateway that lets a service have as much as it can do, and tells everybody else at once.

pub mod config;
pub mod limiter;
