//! Host names to addresses, off the loop.
//!
//! `getaddrinfo` blocks, so lookups are offloaded ([`crate::offload`]), a few at a time. Caching and choosing among the
//! addresses is the owner's business.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};

pub use crate::offload::QueueFull;
use crate::offload::{Limits, Offload};
use crate::poller::Waker;

/// Lookups at a time. More than one, so that a name whose server is silent does not hold up the others.
const LOOKUPS_MAX: usize = 4;

/// What a lookup found; `K` is the asker's own mark.
#[derive(Debug)]
pub struct Answer<K> {
    /// The mark given with the request.
    pub key: K,
    /// The addresses, without repetition, in the resolver's order; never empty.
    pub addresses: Result<Vec<IpAddr>, io::Error>,
}

/// Lookups under way and waiting.
#[derive(Debug)]
pub struct Resolver<K> {
    lookups: Offload<K, io::Result<Vec<IpAddr>>>,
}

impl<K> Resolver<K> {
    /// A resolver that rings `waker` for each answer and lets up to `waiting_max` requests wait.
    #[must_use]
    pub fn new(waker: Waker, waiting_max: usize) -> Self {
        let limits = Limits { running: LOOKUPS_MAX, waiting: waiting_max };
        Self { lookups: Offload::new("resolve", waker, limits) }
    }

    /// Asks for the addresses of `host`. One that is an address already needs no lookup: parse it first.
    ///
    /// # Errors
    /// [`QueueFull`]; there will be no answer.
    pub fn request(&mut self, key: K, host: &str) -> Result<(), QueueFull> {
        let host = host.to_owned();
        self.lookups.start(key, move || lookup(&host))
    }

    /// The next answer there is: call until `None` after each ring.
    pub fn answer(&mut self) -> Option<Answer<K>> {
        let (key, found) = self.lookups.done()?;
        Some(Answer { key, addresses: found.and_then(|addresses| addresses) })
    }

    /// Requests without an answer yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.lookups.pending()
    }
}

pub(crate) fn lookup(host: &str) -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in (host, 0).to_socket_addrs()? {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    if addresses.is_empty() { Err(io::Error::other("name has no address")) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poller::Poller;
    use crate::slab::Key;
    use crate::token::Token;

    fn answers(poller: &mut Poller, resolver: &mut Resolver<u32>, count: usize) -> Vec<Answer<u32>> {
        let mut answers = Vec::new();
        while answers.len() < count {
            poller.wait(None).unwrap();
            answers.extend(std::iter::from_fn(|| resolver.answer()));
        }
        answers
    }

    #[test]
    fn every_request_is_answered_once() {
        let mut poller = Poller::new().unwrap();
        let waker = poller.waker(Token::new(0, Key::default())).unwrap();
        let mut resolver = Resolver::new(waker, 100);
        for key in 0..20 {
            resolver.request(key, "localhost").unwrap();
        }
        let mut keys = Vec::new();
        for answer in answers(&mut poller, &mut resolver, 20) {
            assert!(answer.addresses.unwrap().iter().all(IpAddr::is_loopback));
            keys.push(answer.key);
        }
        keys.sort_unstable();
        assert!(keys.into_iter().eq(0..20));
        assert_eq!(resolver.pending(), 0);
        assert!(resolver.answer().is_none());
    }

    #[test]
    fn a_name_that_cannot_be_is_an_error() {
        let mut poller = Poller::new().unwrap();
        let waker = poller.waker(Token::new(0, Key::default())).unwrap();
        let mut resolver = Resolver::new(waker, 1);
        // RFC 6761 §6.4: names under "invalid." never resolve. The other is no name at all.
        resolver.request(1, "nonesuch.invalid").unwrap();
        resolver.request(2, "\0").unwrap();
        for answer in answers(&mut poller, &mut resolver, 2) {
            assert!(answer.addresses.is_err());
        }
    }

    #[test]
    fn the_queue_has_an_end() {
        let mut poller = Poller::new().unwrap();
        let waker = poller.waker(Token::new(0, Key::default())).unwrap();
        let mut resolver = Resolver::new(waker, 2);
        for key in 0..LOOKUPS_MAX as u32 + 2 {
            resolver.request(key, "127.0.0.1").unwrap();
        }
        assert_eq!(resolver.request(99, "127.0.0.1"), Err(QueueFull));
        assert_eq!(resolver.pending(), LOOKUPS_MAX + 2);
        let mut keys: Vec<u32> =
            answers(&mut poller, &mut resolver, LOOKUPS_MAX + 2).iter().map(|answer| answer.key).collect();
        keys.sort_unstable();
        assert!(keys.into_iter().eq(0..LOOKUPS_MAX as u32 + 2));
    }
}
