//! Connections on their way in: real sockets, and time as a test says it is.

use super::*;
use crate::route::Routes;
use crate::settings::Settings;
use sluice_unix::stream::Stream;
use sluice_unix::tls::Identity;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(1);

struct Bench {
    entering: Entering,
    config: Config,
    poller: Poller,
    bufs: BufPool,
    scratch: Vec<u8>,
    acceptor: Acceptor,
    now: Instant,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { trusted_peers: vec!["127.0.0.1".to_owned()], ..Settings::default() };
        change(&mut settings);
        let file =
            |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../unix/tests/data/tls").join(name);
        let (chain, key) = (file("a.pem"), file("a.key"));
        let identity = Identity { chain: &chain, key: &key };
        Self {
            entering: Entering::new(),
            config: Config::new("gate", settings, Routes::new(Vec::new())).unwrap(),
            poller: Poller::new().unwrap(),
            bufs: BufPool::new(1024, 4),
            scratch: vec![0; 4096],
            acceptor: Acceptor::new(&[identity], None, b"http/1.1").unwrap(),
            now: Instant::now(),
        }
    }

    /// A connection by TLS, which has sent these bytes.
    fn connect(&mut self, first: &[u8]) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.write_all(first).unwrap();
        let (near, from) = listener.accept().unwrap();
        near.set_nonblocking(true).unwrap();
        let incoming = Incoming { peer: Some(from), local: None, trust: Trust::Yes, scheme: Scheme::Http };
        let way = Way {
            config: &self.config,
            poller: &self.poller,
            bufs: &mut self.bufs,
            scratch: &mut self.scratch,
            now: self.now,
        };
        let acceptor = Some(self.acceptor.clone());
        let entered = self.entering.insert(Conn::new(Stream::Tcp(near)), incoming, acceptor, way);
        assert!(matches!(entered, Entered::Waiting), "{entered:?}");
        peer
    }

    fn turn(&mut self) {
        self.poller.wait(None).unwrap();
        for (token, readiness) in self.poller.events().collect::<Vec<_>>() {
            let way = Way {
                config: &self.config,
                poller: &self.poller,
                bufs: &mut self.bufs,
                scratch: &mut self.scratch,
                now: self.now,
            };
            let entered = self.entering.on_event(token.key(), readiness, way);
            assert!(matches!(entered, Entered::Waiting), "{entered:?}");
        }
    }

    /// Why one is closed when so much time has passed.
    fn pass(&mut self, time: Duration) -> Option<String> {
        self.now += time;
        self.entering.expire(self.now, &mut self.bufs).map(|fault| fault.text)
    }
}

fn is_closed(mut peer: TcpStream) -> bool {
    peer.read(&mut [0; 16]).is_ok_and(|count| count == 0)
}

#[test]
fn a_handshake_has_its_time() {
    let mut bench = Bench::new(|_| {});
    let peer = bench.connect(b"");
    assert_eq!(bench.pass(Duration::from_secs(10) - MOMENT), None);
    assert_eq!(bench.entering.len(), 1);
    assert_eq!(bench.pass(MOMENT).as_deref(), Some("the TLS handshake did not end in time"));
    assert_eq!((bench.entering.len(), bench.entering.next()), (0, None));
    assert!(is_closed(peer), "without a word");
}

#[test]
fn a_proxy_header_has_its_time_and_the_handshake_behind_it_its_own() {
    let mut bench = Bench::new(|settings| {
        settings.proxy_protocol = true;
        settings.header_ms = Duration::from_secs(3);
        settings.tls_handshake_ms = Duration::from_secs(2);
    });
    let silent = bench.connect(b"PROXY TCP4 198.51.100.7");
    let mut prompt = bench.connect(b"PROXY TCP4 198.51.100.7 192.0.2.1 47");
    assert_eq!(bench.pass(Duration::from_secs(2)), None);
    prompt.write_all(b"11 443\r\n").unwrap();
    while bench.entering.entries.iter().all(|(_, entry)| entry.stage == Stage::Header) {
        bench.turn();
    }
    assert_eq!(bench.pass(Duration::from_secs(1) - MOMENT), None);
    assert_eq!(bench.pass(MOMENT).as_deref(), Some("the PROXY header did not arrive in time"));
    assert_eq!(bench.entering.len(), 1);
    assert!(is_closed(silent));
    assert_eq!(bench.pass(Duration::from_secs(1) - MOMENT), None);
    assert_eq!(bench.pass(MOMENT).as_deref(), Some("the TLS handshake did not end in time"));
    assert_eq!(bench.entering.len(), 0);
    assert!(is_closed(prompt));
}
