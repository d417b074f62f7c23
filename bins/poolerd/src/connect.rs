//! Connections to servers: where a host is, and the first steps towards it.
//!
//! Names are looked up off the loop and remembered for `dns_max_ttl`; answers with several addresses are used in turn.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sluice_unix::poller::Waker;
use sluice_unix::resolve::Resolver;
use sluice_unix::stream::{Stream, TcpOptions};

use crate::config::Host;
use crate::core::{Endpoint, ServerId, Unreachable};
use crate::listen::unix_path;

/// Lookups that may wait at once; more fail at once rather than pile up.
const LOOKUPS_MAX: usize = 1024;

/// How long answers are believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    pub(crate) found: Duration,
    pub(crate) missing: Duration,
}

/// What is known of a name.
#[derive(Debug)]
struct Known {
    addresses: Vec<IpAddr>,
    /// What went wrong, if there is no address.
    error: Option<Unreachable>,
    until: Instant,
    next: usize,
}

/// The way from an endpoint to a connection.
#[derive(Debug)]
pub(crate) struct Dialer {
    resolver: Resolver<String>,
    known: HashMap<String, Known>,
    waiting: HashMap<String, Vec<(ServerId, u16)>>,
}

/// What came of a lookup.
pub(crate) struct Answer {
    pub(crate) name: String,
    /// None if the name was not found.
    pub(crate) addresses: Vec<IpAddr>,
    /// How long that is believed.
    pub(crate) until: Instant,
    /// The servers that waited for it, and how each goes on.
    pub(crate) dialed: Vec<(ServerId, Dialed)>,
}

/// What came of an attempt.
pub(crate) enum Dialed {
    /// Under way.
    Stream(Stream),
    /// The name is being looked up from now on.
    Begun,
    /// The name is being looked up.
    Waiting,
    /// Not possible, and why.
    Failed(Unreachable),
}

impl Dialer {
    pub(crate) fn new(waker: Waker) -> Self {
        Dialer { resolver: Resolver::new(waker, LOOKUPS_MAX), known: HashMap::new(), waiting: HashMap::new() }
    }

    pub(crate) fn dial(
        &mut self,
        server: ServerId,
        to: &Endpoint,
        options: &TcpOptions,
        now: Instant,
    ) -> Dialed {
        match &to.host {
            Host::Unix(dir) => from(Stream::connect_unix(&unix_path(dir, to.port))),
            Host::Ip(address) => from(Stream::connect_tcp(SocketAddr::new(*address, to.port), options)),
            Host::Name(name) => {
                if let Some(known) = self.known.get_mut(name)
                    && known.until > now
                {
                    return known.dial(to.port, options);
                }
                let waiting = self.waiting.entry(name.clone()).or_default();
                waiting.push((server, to.port));
                if waiting.len() > 1 {
                    return Dialed::Waiting;
                }
                if self.resolver.request(name.clone(), name).is_err() {
                    self.waiting.remove(name);
                    let error = "too many lookups are waiting".to_owned();
                    return Dialed::Failed(Unreachable::Lookup { name: name.clone(), error });
                }
                Dialed::Begun
            }
        }
    }

    /// The next answer there is.
    pub(crate) fn answer(
        &mut self,
        lifetimes: Lifetimes,
        options: &TcpOptions,
        now: Instant,
    ) -> Option<Answer> {
        let answer = self.resolver.answer()?;
        let name = answer.key;
        let mut known = match answer.addresses {
            Ok(addresses) => Known { addresses, error: None, until: now + lifetimes.found, next: 0 },
            Err(error) => {
                let error = Some(Unreachable::Lookup { name: name.clone(), error: error.to_string() });
                Known { addresses: Vec::new(), error, until: now + lifetimes.missing, next: 0 }
            }
        };
        let waiting = self.waiting.remove(&name).unwrap_or_default();
        let dialed = waiting.into_iter().map(|(id, port)| (id, known.dial(port, options))).collect();
        let (addresses, until) = (known.addresses.clone(), known.until);
        self.known.insert(name.clone(), known);
        Some(Answer { name, addresses, until, dialed })
    }
}

impl Known {
    fn dial(&mut self, port: u16, options: &TcpOptions) -> Dialed {
        if let Some(error) = &self.error {
            return Dialed::Failed(error.clone());
        }
        let Some(&address) = self.addresses.get(self.next % self.addresses.len().max(1)) else {
            return Dialed::Failed(Unreachable::Connect("no address".to_owned()));
        };
        self.next = self.next.wrapping_add(1);
        from(Stream::connect_tcp(SocketAddr::new(address, port), options))
    }
}

fn from(stream: io::Result<Stream>) -> Dialed {
    match stream {
        Ok(stream) => Dialed::Stream(stream),
        Err(error) => Dialed::Failed(Unreachable::Connect(error.to_string())),
    }
}
