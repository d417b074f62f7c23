//! The way from an origin to a connection: addresses of names, looked up off the loop and anew every `resolve_ms`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use sluice_unix::poller::Waker;
use sluice_unix::resolve::Resolver;
use sluice_unix::stream::{Stream, TcpOptions};

use crate::config::{Config, Place};
use crate::origins::{ConnId, OriginId};

/// Lookups that may wait at once.
const LOOKUPS_MAX: usize = 256;

/// What is known of an origin's name.
#[derive(Debug, Default)]
struct Known {
    addresses: Vec<IpAddr>,
    next: usize,
    /// When it is looked up again.
    until: Option<Instant>,
    asking: bool,
    /// Connections that wait for the first answer.
    waiting: Vec<ConnId>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Dialer {
    /// Answers carry the configuration they were asked for: a later one has other origins.
    resolver: Resolver<(u64, OriginId)>,
    epoch: u64,
    known: Vec<Known>,
}

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Dialed {
    /// Under way.
    Stream(Stream),
    /// The name is being looked up.
    Waiting,
    /// The name has no address.
    Unresolved,
    /// Not possible, and why.
    Failed(io::Error),
}

/// What an answer of the resolver came to.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) origin: OriginId,
    /// Connections that waited for it, and how each goes on.
    pub(super) dialed: Vec<(ConnId, Dialed)>,
    /// Why the name could not be looked up.
    pub(super) error: Option<io::Error>,
}

impl Dialer {
    pub(super) fn new(waker: Waker) -> Self {
        Self { resolver: Resolver::new(waker, LOOKUPS_MAX), epoch: 0, known: Vec::new() }
    }

    /// Other origins: what was known of the old ones is forgotten. Connections that waited are handed back.
    pub(super) fn forget(&mut self) -> Vec<ConnId> {
        self.epoch += 1;
        self.known.drain(..).flat_map(|known| known.waiting).collect()
    }

    /// A connection that may still wait for the name of its origin is not wanted any more.
    pub(super) fn cancel(&mut self, conn: ConnId) {
        self.known.iter_mut().for_each(|known| known.waiting.retain(|waiting| *waiting != conn));
    }

    /// Begins a connection to an origin.
    pub(super) fn dial(&mut self, conn: ConnId, origin: OriginId, config: &Config, now: Instant) -> Dialed {
        let Some(endpoint) = config.origins.get(usize::from(origin.0)) else {
            return Dialed::Failed(io::ErrorKind::NotFound.into());
        };
        match &endpoint.place {
            Place::Tcp(address) => from(Stream::connect_tcp(*address, &TcpOptions::default())),
            Place::Unix(path) => from(Stream::connect_unix(path)),
            Place::Name(name, port) => {
                let known = self.look_up(origin, name, now);
                if known.addresses.is_empty() {
                    known.waiting.push(conn);
                    return Dialed::Waiting;
                }
                known.dial(*port)
            }
        }
    }

    /// What is known of a name, asking again in the background when that is old.
    fn look_up(&mut self, origin: OriginId, name: &str, now: Instant) -> &mut Known {
        let at = usize::from(origin.0);
        if at >= self.known.len() {
            self.known.resize_with(at + 1, Known::default);
        }
        let known = &mut self.known[at];
        let fresh = known.until.is_some_and(|until| now < until) && !known.addresses.is_empty();
        if !fresh && !known.asking {
            known.asking = self.resolver.request((self.epoch, origin), name).is_ok();
        }
        known
    }

    /// The next answer.
    pub(super) fn answer(&mut self, config: &Config, now: Instant) -> Option<Resolved> {
        let answer = self.resolver.answer()?;
        let (epoch, origin) = answer.key;
        let known = self.known.get_mut(usize::from(origin.0)).filter(|_| epoch == self.epoch);
        let Some(known) = known else { return Some(Resolved { origin, dialed: Vec::new(), error: None }) };
        known.asking = false;
        known.until = Some(now + config.settings.resolve_ms);
        let error = match answer.addresses {
            Ok(addresses) => {
                known.addresses = addresses;
                None
            }
            // What was known before is better than nothing.
            Err(error) => Some(error),
        };
        let port = match config.origins.get(usize::from(origin.0)).map(|endpoint| &endpoint.place) {
            Some(Place::Name(_, port)) => *port,
            _ => 0,
        };
        let waiting = std::mem::take(&mut known.waiting);
        let dialed = waiting.into_iter().map(|conn| (conn, known.dial(port))).collect();
        Some(Resolved { origin, dialed, error })
    }
}

impl Known {
    /// The addresses in turn.
    fn dial(&mut self, port: u16) -> Dialed {
        let Some(&address) = self.addresses.get(self.next % self.addresses.len().max(1)) else {
            return Dialed::Unresolved;
        };
        self.next = self.next.wrapping_add(1);
        from(Stream::connect_tcp(SocketAddr::new(address, port), &TcpOptions::default()))
    }
}

fn from(stream: io::Result<Stream>) -> Dialed {
    match stream {
        Ok(stream) => Dialed::Stream(stream),
        Err(error) => Dialed::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Routes;
    use crate::settings::Settings;
    use sluice_unix::poller::Poller;
    use sluice_unix::slab::Key;
    use sluice_unix::token::Token;
    use std::time::Duration;

    struct Bench {
        poller: Poller,
        dialer: Dialer,
        config: Config,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let mut poller = Poller::new().unwrap();
            let dialer = Dialer::new(poller.waker(Token::new(1, Key::default())).unwrap());
            let settings = Settings { origin: vec!["http://localhost:1".into()], ..Settings::default() };
            let config = Config::new("gate", settings, Routes::new(Vec::new())).unwrap();
            Self { poller, dialer, config, now: Instant::now() }
        }

        fn dial(&mut self, index: u32) -> Dialed {
            self.dialer.dial(conn(index), OriginId(0), &self.config, self.now)
        }

        fn answer(&mut self) -> Resolved {
            loop {
                self.poller.wait(None).unwrap();
                if let Some(resolved) = self.dialer.answer(&self.config, self.now) {
                    return resolved;
                }
            }
        }
    }

    fn conn(index: u32) -> ConnId {
        ConnId(Key { index, generation: 1 })
    }

    #[test]
    fn who_has_left_is_not_connected_when_the_name_is_known() {
        let mut bench = Bench::new();
        for index in 0..3 {
            assert!(matches!(bench.dial(index), Dialed::Waiting));
        }
        bench.dialer.cancel(conn(1));
        let dialed: Vec<ConnId> = bench.answer().dialed.iter().map(|(conn, _)| *conn).collect();
        assert_eq!(dialed, [conn(0), conn(2)]);
    }

    #[test]
    fn a_name_is_looked_up_anew_when_its_time_is_over_and_nobody_waits_for_it() {
        let mut bench = Bench::new();
        assert!(matches!(bench.dial(0), Dialed::Waiting));
        bench.answer();
        bench.now += Duration::from_secs(30) - Duration::from_millis(1);
        assert!(!matches!(bench.dial(1), Dialed::Waiting));
        assert!(!bench.dialer.known[0].asking);
        bench.now += Duration::from_millis(1);
        assert!(!matches!(bench.dial(2), Dialed::Waiting), "by what was known");
        assert!(bench.dialer.known[0].asking);
        assert!(bench.answer().dialed.is_empty());
        bench.dial(3);
        assert!(!bench.dialer.known[0].asking, "for as long again");
    }
}
