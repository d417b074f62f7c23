//! Sessions over real sockets, against each other.

use std::path::PathBuf;

use super::*;
use crate::buf::BufPool;
use crate::conn::{Conn, Connect, Drained, Flush, Read, Sent};
use crate::poller::Readiness;
use crate::stream::Stream;

/// Certificates of a test authority, valid until 2126; see `tests/data/tls/README`.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

fn acceptor(names: &[&str]) -> Acceptor {
    accepting(names, None)
}

fn accepting(names: &[&str], clients: Option<&str>) -> Acceptor {
    let files: Vec<(PathBuf, PathBuf)> =
        names.iter().map(|name| (file(&format!("{name}.pem")), file(&format!("{name}.key")))).collect();
    let identities: Vec<Identity<'_>> = files.iter().map(|(chain, key)| Identity { chain, key }).collect();
    let clients = clients.map(|name| file(&format!("{name}.pem")));
    Acceptor::new(&identities, clients.as_deref(), b"http/1.1").unwrap()
}

fn connector(verify: Verify) -> Connector {
    trusting("ca", verify)
}

fn trusting(root: &str, verify: Verify) -> Connector {
    Connector::new(Some(&file(&format!("{root}.pem"))), verify, Some(b"http/1.1")).unwrap()
}

struct Pair {
    pool: BufPool,
    client: Conn,
    server: Conn,
}

const ALL: Readiness = Readiness { readable: true, writable: true, read_closed: false, error: false };

impl Pair {
    fn new(acceptor: &Acceptor, connector: &Connector, host: &str) -> Self {
        let (near, far) = Stream::pair().unwrap();
        let mut pool = BufPool::new(1024, 8);
        let (mut client, mut server) = (Conn::new(near), Conn::new(far));
        client.secure(&mut pool, connector.session(host).unwrap());
        server.secure(&mut pool, acceptor.session().unwrap());
        Self { pool, client, server }
    }

    /// Both sides in turn until both are decided.
    fn shake(&mut self) -> (io::Result<()>, io::Result<()>) {
        let (mut client, mut server) = (None, None);
        for _ in 0..20 {
            for (conn, outcome) in [(&mut self.client, &mut client), (&mut self.server, &mut server)] {
                conn.on_event(ALL);
                if outcome.is_some() {
                    continue;
                }
                match conn.handshake() {
                    Connect::Pending => {}
                    Connect::Done => *outcome = Some(Ok(())),
                    Connect::Failed(error) => *outcome = Some(Err(error)),
                }
            }
        }
        (client.unwrap(), server.unwrap())
    }

    fn open(names: &[&str], host: &str) -> Self {
        let mut pair = Self::new(&acceptor(names), &connector(Verify::Name), host);
        let (client, server) = pair.shake();
        client.unwrap();
        server.unwrap();
        pair
    }
}

fn read(conn: &mut Conn, scratch: &mut [u8]) -> Vec<u8> {
    let mut all = Vec::new();
    conn.on_event(ALL);
    while let Read::Data(count, drained) = conn.read(scratch) {
        all.extend_from_slice(&scratch[..count]);
        if drained == Drained::Yes {
            break;
        }
    }
    all
}

#[test]
fn bytes_pass_both_ways_and_nothing_is_kept() {
    let mut pair = Pair::open(&["a"], "a.test");
    let mut scratch = vec![0; 16 * 1024];
    assert_eq!(pair.client.send_bytes(&mut pair.pool, b"ping").unwrap(), Sent::All);
    assert_eq!(read(&mut pair.server, &mut scratch), b"ping");
    let slices = [io::IoSlice::new(b"po"), io::IoSlice::new(b"ng")];
    assert_eq!(pair.server.send(&mut pair.pool, &slices).unwrap(), Sent::All);
    assert_eq!(read(&mut pair.client, &mut scratch), b"pong");
    assert!(matches!(pair.client.read(&mut scratch), Read::WouldBlock));
    for conn in [&pair.client, &pair.server] {
        assert!(!conn.has_pending() && !conn.is_readable() && conn.is_secure());
    }
    assert_eq!(pair.pool.taken(), 0);
}

#[test]
fn what_waits_to_be_sent_precedes_the_session() {
    let (near, far) = Stream::pair().unwrap();
    let mut pool = BufPool::new(1024, 8);
    let (mut client, mut server) = (Conn::new(near), Conn::new(far));
    client.queue(&mut pool, b"PROXY UNKNOWN\r\n");
    client.secure(&mut pool, connector(Verify::Name).session("a.test").unwrap());
    assert!(matches!(client.handshake(), Connect::Pending));
    let mut scratch = vec![0; 15];
    assert!(matches!(server.read(&mut scratch), Read::Data(15, _)));
    assert_eq!(scratch, b"PROXY UNKNOWN\r\n");
    server.secure(&mut pool, acceptor(&["a"]).session().unwrap());
    let mut pair = Pair { pool, client, server };
    let (client, server) = pair.shake();
    client.unwrap();
    server.unwrap();
}

#[test]
fn small_slices_share_records() {
    let mut pair = Pair::open(&["a"], "a.test");
    let sent: Vec<u8> = (0..3000_u32).map(|at| at as u8).collect();
    let slices: Vec<io::IoSlice<'_>> = sent.chunks(1).map(io::IoSlice::new).collect();
    assert_eq!(pair.server.send(&mut pair.pool, &slices).unwrap(), Sent::All);
    let mut scratch = vec![0; 64 * 1024];
    let encrypted = pair.client.stream().read(&mut scratch).unwrap();
    // With the tickets of the session.
    assert!((sent.len()..sent.len() + 500).contains(&encrypted), "{encrypted}");

    let mut pair = Pair::open(&["a"], "a.test");
    let long = vec![7; 20_000];
    let slices = [&b"ab"[..], &long, b"c", &long, b"d"].map(io::IoSlice::new);
    pair.server.send(&mut pair.pool, &slices).unwrap();
    let expected = [&b"ab"[..], &long, b"c", &long, b"d"].concat();
    assert_eq!(read(&mut pair.client, &mut scratch), expected);
}

#[test]
fn a_record_that_does_not_fit_comes_in_pieces() {
    let mut pair = Pair::open(&["a"], "a.test");
    let sent: Vec<u8> = (0..40_000_u32).map(|at| at as u8).collect();
    let mut got = Vec::new();
    let mut scratch = vec![0; 1000];
    pair.client.send_bytes(&mut pair.pool, &sent).unwrap();
    while got.len() < sent.len() {
        pair.client.on_event(ALL);
        pair.client.flush(&mut pair.pool).unwrap();
        got.extend_from_slice(&read(&mut pair.server, &mut scratch));
    }
    assert_eq!(got, sent);
}

#[test]
fn a_peer_that_does_not_read_is_told_of_and_gets_everything() {
    let mut pair = Pair::open(&["a"], "a.test");
    let sent = vec![7; 3 << 20];
    assert_eq!(pair.server.send_bytes(&mut pair.pool, &sent).unwrap(), Sent::Queued);
    assert!(pair.server.has_pending() && pair.server.pending_len() > 1 << 20);
    let (mut got, mut scratch) = (0, vec![0; 64 * 1024]);
    while got < sent.len() {
        got += read(&mut pair.client, &mut scratch).len();
        pair.server.on_event(ALL);
        pair.server.flush(&mut pair.pool).unwrap();
    }
    assert_eq!(pair.server.flush(&mut pair.pool).unwrap(), Flush::Done);
    assert!(!pair.server.has_pending());
}

#[test]
fn an_end_is_told_from_a_cut() {
    let mut scratch = vec![0; 1024];
    let mut pair = Pair::open(&["a"], "a.test");
    pair.server.send_bytes(&mut pair.pool, b"last").unwrap();
    pair.server.shutdown_write().unwrap();
    assert_eq!(read(&mut pair.client, &mut scratch), b"last");
    assert!(matches!(pair.client.read(&mut scratch), Read::Eof));

    let mut pair = Pair::open(&["a"], "a.test");
    pair.server.send_bytes(&mut pair.pool, b"last").unwrap();
    pair.server.stream().shutdown(std::net::Shutdown::Write).unwrap();
    is_cut(&mut pair.client);

    let mut pair = Pair::open(&["a"], "a.test");
    pair.server.send_bytes(&mut pair.pool, b"last").unwrap();
    pair.server.abort(&mut pair.pool);
    is_cut(&mut pair.client);
}

fn is_cut(conn: &mut Conn) {
    let mut scratch = vec![0; 1024];
    assert_eq!(read(conn, &mut scratch), b"last");
    conn.on_event(ALL);
    assert!(
        matches!(conn.read(&mut scratch), Read::Failed(error) if error.kind() == io::ErrorKind::UnexpectedEof)
    );
}

#[test]
fn the_certificate_follows_the_name() {
    // Verified by name: the other certificate would be refused.
    Pair::open(&["a", "b"], "a.test");
    Pair::open(&["a", "b"], "b.test");
    Pair::open(&["a", "b"], "127.0.0.1");
}

#[test]
fn how_much_is_verified_is_a_choice() {
    let cases = [
        (Verify::Name, "a", "a.test", true),
        (Verify::Name, "a", "b.test", false),
        (Verify::Name, "stranger", "a.test", false),
        (Verify::Chain, "a", "b.test", true),
        (Verify::Chain, "stranger", "a.test", false),
        (Verify::Nothing, "stranger", "b.test", true),
    ];
    for (verify, name, host, good) in cases {
        let mut pair = Pair::new(&acceptor(&[name]), &connector(verify), host);
        let (client, server) = pair.shake();
        assert_eq!(client.is_ok(), good, "{verify:?} {name} as {host}");
        if let Err(error) = client {
            assert!(matches!(TlsError::of(&error), Some(TlsError::Certificate(_))), "{error}");
            // The alert has told the server.
            assert!(server.is_err());
        }
    }
}

#[test]
fn a_certificate_that_signed_itself_is_its_own_root() {
    let cases = [
        (Verify::Name, "own", "own", "a.test", true),
        (Verify::Name, "own", "own", "b.test", false),
        (Verify::Chain, "own", "own", "b.test", true),
        (Verify::Name, "ca", "own", "a.test", false),
        (Verify::Chain, "ca", "own", "a.test", false),
        (Verify::Name, "old", "old", "a.test", false),
        (Verify::Chain, "old", "old", "a.test", false),
    ];
    for (verify, root, name, host, good) in cases {
        let mut pair = Pair::new(&acceptor(&[name]), &trusting(root, verify), host);
        let (client, _) = pair.shake();
        assert_eq!(client.is_ok(), good, "{verify:?} {name} as {host} by {root}");
        if let Err(error) = client {
            assert!(matches!(TlsError::of(&error), Some(TlsError::Certificate(_))), "{error}");
        }
    }
}

#[test]
fn plain_bytes_are_refused_with_an_alert() {
    let (near, far) = Stream::pair().unwrap();
    let mut pool = BufPool::new(1024, 8);
    let mut server = Conn::new(far);
    near.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    server.secure(&mut pool, acceptor(&["a"]).session().unwrap());
    let Connect::Failed(error) = server.handshake() else { panic!("it went on") };
    assert!(matches!(TlsError::of(&error), Some(TlsError::Protocol(_))));
    let mut alert = [0; 16];
    assert!(near.read(&mut alert).unwrap() >= 7);
    assert_eq!(alert[0], 21);
}

#[test]
fn bytes_put_aside_belong_to_the_session() {
    let (near, far) = Stream::pair().unwrap();
    let mut pool = BufPool::new(1024, 8);
    let (mut client, mut server) = (Conn::new(near), Conn::new(far));
    client.secure(&mut pool, connector(Verify::Name).session("a.test").unwrap());
    assert!(matches!(client.handshake(), Connect::Pending));
    let mut scratch = vec![0; 64];
    let Read::Data(count, _) = server.read(&mut scratch) else { panic!("nothing came") };
    server.keep_input(&mut pool, &scratch[..count]);
    server.secure(&mut pool, acceptor(&["a"]).session().unwrap());
    assert_eq!(pool.taken(), 0);
    let mut pair = Pair { pool, client, server };
    let (client, server) = pair.shake();
    client.unwrap();
    server.unwrap();
}

/// Whatever comes, a session ends in good order or in an error; it neither panics nor goes round for ever.
#[test]
fn damaged_bytes_do_no_harm() {
    let (acceptor, connector) = (acceptor(&["a"]), connector(Verify::Name));
    let mut rng = sluice_check::Rng::new(7);
    for _ in 0..300 {
        let (mut client, mut server) = (connector.session("a.test").unwrap(), acceptor.session().unwrap());
        let damage_at = rng.below(4);
        for turn in 0..6 {
            exchange(&mut client, &mut server, (turn == damage_at).then_some(&mut rng));
            exchange(&mut server, &mut client, (turn + 1 == damage_at).then_some(&mut rng));
        }
    }
}

fn exchange(from: &mut Session, to: &mut Session, damage: Option<&mut sluice_check::Rng>) {
    let mut scratch = [0; 4096];
    let steps = |session: &mut Session, scratch: &mut [u8]| {
        for step in 0.. {
            assert!(step < 1000, "a session goes round");
            if !matches!(session.step(scratch), Ok(Step::Data(_) | Step::Again)) {
                return;
            }
        }
    };
    steps(from, &mut scratch);
    let _ = from.encrypt(b"some content");
    let mut bytes = from.outgoing().as_slice().to_vec();
    from.outgoing().clear();
    if let Some(rng) = damage
        && !bytes.is_empty()
    {
        for _ in 0..rng.between(1, 4) {
            let at = rng.below(bytes.len());
            bytes[at] = rng.byte();
        }
    }
    for piece in bytes.chunks(700) {
        to.feed(piece);
        steps(to, &mut scratch);
    }
}

/// A connector that shows the certificate of `name`.
fn showing(name: &str) -> Connector {
    let Connector(config) = connector(Verify::Name);
    let mut config = Arc::unwrap_or_clone(config);
    let (chain, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
    let identity = Identity { chain: &chain, key: &key };
    let certified = certified(&identity, &ring::default_provider()).unwrap();
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    Connector(Arc::new(config))
}

#[test]
fn clients_have_to_show_a_certificate_where_it_is_asked_for() {
    let asking = accepting(&["a"], Some("ca"));
    let mut known = Pair::new(&asking, &showing("b"), "a.test");
    let (client, server) = known.shake();
    client.unwrap();
    server.unwrap();
    // Whoever signed itself or is a stranger's, and whoever shows none. The reason is theirs.
    for connector in [showing("stranger"), showing("own"), connector(Verify::Name)] {
        let mut pair = Pair::new(&asking, &connector, "a.test");
        let (_, server) = pair.shake();
        let error = server.unwrap_err();
        assert!(matches!(TlsError::of(&error), Some(TlsError::Certificate(_))), "{error}");
        assert!(!matches!(pair.client.read(&mut [0; 100]), Read::Data(..)));
    }
    // Where it is not asked for it does no harm.
    let (client, server) = Pair::new(&acceptor(&["a"]), &showing("stranger"), "a.test").shake();
    client.unwrap();
    server.unwrap();
}

#[test]
fn files_that_are_no_use_are_named() {
    let (chain, key, stranger) = (file("a.pem"), file("a.key"), file("stranger.key"));
    let missing = file("nonesuch.pem");
    let new =
        |chain, key| Acceptor::new(&[Identity { chain, key }], None, b"http/1.1").unwrap_err().to_string();
    assert!(new(&missing, &key).contains("nonesuch.pem"));
    assert!(new(&key, &key).contains("holds no certificate"));
    assert!(new(&chain, &chain).contains("nothing of that kind"));
    assert!(new(&chain, &stranger).contains("cannot use the key"));
    let requires = |roots: &Path| {
        Acceptor::new(&[Identity { chain: &chain, key: &key }], Some(roots), b"http/1.1").map(|_| ())
    };
    assert!(requires(&missing).unwrap_err().to_string().contains("nonesuch.pem"));
    assert!(requires(&key).unwrap_err().to_string().contains("holds no certificate"));
    assert!(Connector::new(Some(&key), Verify::Name, None).is_err());
    assert!(connector(Verify::Name).session("no name").is_err());
}
