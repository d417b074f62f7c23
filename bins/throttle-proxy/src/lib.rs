//! throttle-proxy: an HTTP gateway that lets a service have as much as it can do, and tells everybody else at once.

pub mod config;
pub mod ctl;
pub mod daemon;
#[cfg(test)]
mod documents;
pub mod events;
mod feeds;
pub mod limiter;
mod link;
mod pressure;
mod shared;
