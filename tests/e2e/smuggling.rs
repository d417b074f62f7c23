//! Attempts to have throttle-proxy and a server behind it disagree on where requests end, before a real nginx and a
//! real HAProxy. Every attack carries a request for /smuggled that must never be seen as one, and behind each attack an
//! innocent client shares the one connection to the server: it must get its own answer.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of a test report by panicking, as tests do"
)]

use nix::sys::signal::Signal;
use sluice_tests::account::Account;
use sluice_tests::http::Connection;
use sluice_tests::process::Process;
use sluice_tests::{PATIENCE, Proxy, port};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use tempfile::TempDir;

/// What must come of a stream.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// One refusal, and the end.
    Refused(u16),
    /// An answer for each of these targets.
    Served(&'static [&'static str]),
    /// The fault lies behind a good head: one answer or none, and the end.
    CutOff,
}

use Expected::{CutOff, Refused, Served};

/// What attackers want to be a request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Field lines that are refused: what two servers may read differently.
const REFUSED: [&str; 29] = [
    // Both lengths: either may be believed.
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    // Codings that one server takes and another does not see.
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding: identity, chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: \"chunked\"\r\n",
    "Transfer-Encoding: chunked;q=1\r\n",
    "Transfer-Encoding:\x0bchunked\r\n",
    "Transfer-Encoding: \0chunked\r\n",
    "Transfer-Encoding:\r\n chunked\r\n",
    "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n",
    "Transfer-Encoding\t: chunked\r\n",
    " Transfer-Encoding: chunked\r\n",
    "X: y\nTransfer-Encoding: chunked\r\n",
    "X: y\rTransfer-Encoding: chunked\r\n",
    "X: y\r\n\rTransfer-Encoding: chunked\r\n",
    // Lengths that are read differently.
    "Content-Length: 0\r\nContent-Length: 100\r\n",
    "Content-Length: 5\r\nContent-Length: 5\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: -1\r\n",
    "Content-Length: 0x5\r\n",
    "Content-Length: 5 5\r\n",
    "Content-Length:\r\n",
    "Content-Length: 9223372036854775808\r\n",
    "Content-Length: 18446744073709551616\r\n",
    // Whose request it is.
    "Host: b\r\n",
];

/// Streams: first line and fields, then content, and what must come of it.
fn streams() -> Vec<(String, Expected)> {
    let mut streams = Vec::new();
    let mut post = |fields: &str, content: &str, expected| {
        streams.push((format!("POST /first HTTP/1.1\r\nHost: a\r\n{fields}\r\n{content}"), expected));
    };
    let hidden = format!("0\r\n\r\n{SMUGGLED}");
    let len = SMUGGLED.len();
    for fields in REFUSED {
        post(fields, &hidden, Refused(400));
    }
    post("Transfer-Encoding: gzip, chunked\r\n", &hidden, Refused(501));
    // Content that looks like a request stays content, whatever Connection says of the field that frames it.
    let framed = format!("Content-Length: {len}\r\n");
    let chunks = format!("{len:x}\r\n{SMUGGLED}\r\n0\r\n\r\n");
    let trailers = format!("{len:x};a=\"b\"\r\n{SMUGGLED}\r\n0\r\nContent-Length: 5\r\nX: y\r\n\r\n");
    for more in [
        "",
        "Connection: content-length, transfer-encoding\r\n",
        "Transfer_Encoding: chunked\r\n",
        "Content_Length: 0\r\n",
    ] {
        post(&format!("{framed}{more}"), SMUGGLED, Served(&["/first"]));
    }
    post("Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n", &chunks, Served(&["/first"]));
    post("Transfer-Encoding: chunked\r\nContent_Length: 0\r\n", &chunks, Served(&["/first"]));
    post("Transfer-Encoding:\tCHUNKED \r\n", &trailers, Served(&["/first"]));
    // Chunks that end where another reader sees more of them.
    for content in [
        "5\nhello\n0\n\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5;\nx\r\n0\r\n\r\n",
        "5\r\nhello!!0\r\n\r\n",
        ";\r\n\r\n",
        "\r\n\r\n",
        "10000000000000000\r\n",
        "-1\r\n",
        "5;a=\"\nb\"\r\nhello\r\n0\r\n\r\n",
    ] {
        post("Transfer-Encoding: chunked\r\n", &format!("{content}{SMUGGLED}"), CutOff);
    }
    post("Transfer-Encoding: chunked\r\n", &format!("0\r\nA : b\r\n\r\n{SMUGGLED}"), CutOff);
    streams.extend(first_lines().map(|(bytes, expected)| (bytes.replace('@', SMUGGLED), expected)));
    streams
}

/// Streams whose point is another than their content; `@` stands for the request that must not be seen.
fn first_lines() -> impl Iterator<Item = (String, Expected)> {
    let streams: [(&str, Expected); 18] = [
        ("GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n", Served(&["/a", "/b"])),
        ("\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n", Served(&["/a"])),
        ("\r\n\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("GET /first HTTP/1.1\nHost: a\n\n@", Refused(400)),
        ("GET /first HTTP/1.1\r\nHost: a\r\n\n@", Refused(400)),
        ("POST /first HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n@", Refused(400)),
        ("GET /first\r\n\r\n@", Refused(400)),
        ("GET /first HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n@", Refused(400)),
        ("GET /first HTTP/1.2\r\nHost: a\r\n\r\n@", Refused(505)),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n@", Refused(505)),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n@", Refused(405)),
        ("GET /x#/../smuggled HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("GET /x/..%2fsmuggled HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("GET /x\\..\\smuggled HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("GET http://b/a HTTP/1.1\r\nHost: a\r\n\r\n", Served(&["/a"])),
        (
            "GET /a HTTP/1.0\r\nConnection: keep-alive\r\nHost: a\r\n\r\nGET /b HTTP/1.0\r\nHost: a\r\n\r\n@",
            Served(&["/a", "/b"]),
        ),
        ("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n@", Served(&["/a"])),
        (
            "GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
            Served(&["/a"]),
        ),
    ];
    streams.into_iter().map(|(bytes, expected)| (bytes.to_owned(), expected))
}

/// A server that answers with the target it was asked for, and what it has seen.
struct Server {
    process: Process,
    directory: TempDir,
    port: u16,
}

impl Server {
    fn start(name: &str, configuration: impl Fn(&Path, u16) -> String, arguments: &[&str]) -> Server {
        let account = Account::choose();
        let (directory, port) = (account.directory(), port::free());
        let file = directory.path().join("configuration");
        std::fs::write(&file, configuration(directory.path(), port)).unwrap();
        let places = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
        let program = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
        let program = program.unwrap_or_else(|| panic!("{name} is missing; scripts/deps test installs it"));
        let mut command: Command = account.command(program, "KILL");
        command.args(arguments).arg(file);
        let mut process = Process::spawn(command, Signal::SIGKILL);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let lines = process.log().lines().join("\n");
            assert!(process.running() && Instant::now() < deadline, "{name} does not serve:\n{lines}");
            std::thread::yield_now();
        }
        Server { process, directory, port }
    }

    fn nginx() -> Server {
        let configuration = |directory: &Path, port: u16| {
            let at = directory.display();
            let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let paths: String = kinds.iter().map(|kind| format!("{kind}_temp_path {at}/{kind};\n")).collect();
            format!(
                "daemon off; master_process off; pid {at}/pid; error_log stderr crit;\nevents {{}}\nhttp {{\n{paths}\
                 log_format seen 'seen $request_uri'; access_log {at}/seen seen;\n\
                 server {{ listen 127.0.0.1:{port}; location / {{ return 200 '$request_uri'; }} }}\n}}\n"
            )
        };
        Server::start("nginx", configuration, &["-e", "stderr", "-c"])
    }

    fn haproxy() -> Server {
        let configuration = |_: &Path, port: u16| {
            format!(
                "global\n    log stderr format raw local0\ndefaults\n    mode http\n    log global\n    \
                 timeout client 60s\n    timeout server 60s\n    timeout connect 5s\n\
                 frontend in\n    bind 127.0.0.1:{port}\n    log-format \"seen %HU\"\n    \
                 http-request return status 200 content-type text/plain lf-string \"%[pathq]\"\n"
            )
        };
        Server::start("haproxy", configuration, &["-db", "-f"])
    }

    /// The targets of the requests it has seen, as far as it has told.
    fn seen(&self) -> Vec<String> {
        let file = std::fs::read_to_string(self.directory.path().join("seen")).unwrap_or_default();
        let lines = file.lines().map(str::to_owned).chain(self.process.log().lines());
        lines.filter_map(|line| line.strip_prefix("seen ").map(str::to_owned)).collect()
    }
}

/// Sends a stream and reads all answers until the connection ends.
fn answers(proxy: &Proxy, bytes: &str) -> Vec<(u16, String)> {
    let mut connection = Connection::open(proxy.port());
    connection.write(bytes.as_bytes());
    connection.half_close();
    std::iter::from_fn(|| connection.receive()).map(|response| (response.status, response.text())).collect()
}

fn attack(server: &Server) {
    // One connection to the server for everybody: whoever leaves something on it harms the next.
    let lines = "max_requests = 0\nmax_in_flight = 1\norigin_conns_max = 1\nqueue_max_wait_ms = 60s\npatience_ms = 60s\n";
    let proxy =
        Proxy::start("throttle-proxy", &format!("origin = http://127.0.0.1:{}\n{lines}", server.port));
    for (number, (bytes, expected)) in streams().into_iter().enumerate() {
        let found = answers(&proxy, &bytes);
        let statuses: Vec<_> = found.iter().map(|(status, _)| *status).collect();
        let shown = bytes.escape_debug();
        match expected {
            Refused(status) => assert_eq!(statuses, [status], "{shown}"),
            Served(targets) => {
                let texts: Vec<_> = found.iter().map(|(_, text)| text.as_str()).collect();
                assert_eq!(texts, targets, "{shown}");
                assert!(statuses.iter().all(|status| *status == 200), "{shown}: {statuses:?}");
            }
            CutOff => assert!(statuses.len() <= 1, "{shown}: {statuses:?}"),
        }
        let innocent = format!("/innocent-{number}");
        let answer = proxy.get(&innocent);
        assert_eq!((answer.status, answer.text()), (200, innocent), "behind {shown}");
    }
    assert!(server.seen().iter().any(|target| target == "/innocent-0"), "the server tells what it sees");
    assert!(!server.seen().iter().any(|target| target.contains("smuggled")), "{:?}", server.seen());
}

#[test]
fn nginx_sees_no_request_that_was_not_sent() {
    attack(&Server::nginx());
}

#[test]
fn haproxy_sees_no_request_that_was_not_sent() {
    attack(&Server::haproxy());
}
