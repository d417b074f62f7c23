//! What people reach a gateway with: curl, wrk, node's fetch and a WebSocket client, Python's requests, and a page in
//! Chromium, before a site that node serves. `scripts/drivers` installs what is pinned into `.drivers/`; where something is
//! missing the test fails and says so.
#![expect(clippy::unwrap_used, reason = "the helpers of a test report by panicking, as tests do")]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sluice_tests::account::Account;
use sluice_tests::port;
use sluice_tests::proxy::Proxy;
use sluice_tests::tls::readable;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A gateway before the site. `/few` takes one request; everything else is free.
const LIMITS: &str = "max_requests = 0\nmax_in_flight = 0\naccess_log = off\ncors_allow_origin = *\n\
                      [route few]\nmatch_path = /few\nmax_requests = 1\nqueue_size = 0\n";

/// The site behind the gateway. Dropping it ends it.
struct Site {
    node: Child,
    port: u16,
}

impl Site {
    fn start() -> Site {
        let mut node = Command::new("node")
            .arg(drivers().join("web_origin.js"))
            .env("NODE_PATH", top().join(".drivers/node/node_modules"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(node.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Site { port: line.trim().parse().unwrap(), node }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // It may have failed already, and then the test has.
        let _ = kill(Pid::from_raw(self.node.id().cast_signed()), Signal::SIGKILL);
        let _ = self.node.wait();
    }
}

fn scene() -> (Site, Proxy) {
    let site = Site::start();
    let proxy = Proxy::start("throttle-proxy", &format!("origin = http://127.0.0.1:{}\n{LIMITS}", site.port));
    (site, proxy)
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn drivers() -> PathBuf {
    top().join("tests/drivers")
}

/// A command that is ended after two minutes: a client that hangs must not hang the tests.
fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120"]).arg(program);
    command
}

/// Runs the command; its standard output.
fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let hint = "scripts/deps test and scripts/drivers install what is missing";
    assert!(output.status.success(), "{command:?}: {}; {hint}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// Runs a script of tests/drivers with an interpreter of .drivers.
fn script(interpreter: &Path, name: &str) {
    let (_site, proxy) = scene();
    let mut command = command(interpreter);
    command.arg(drivers().join(name)).env("GATEWAY", format!("127.0.0.1:{}", proxy.port()));
    command.env("NODE_PATH", top().join(".drivers/node/node_modules"));
    let out = run(command);
    assert_eq!(out.trim_end().lines().last(), Some("all assertions held"), "{out}");
}

#[test]
fn node_fetch_and_websockets() {
    script(Path::new("node"), "fetch_script.js");
}

#[test]
fn python_requests() {
    script(&top().join(".drivers/python/bin/python"), "requests_script.py");
}

#[test]
fn curl() {
    let (_site, proxy) = scene();
    let curl = |arguments: &[&str], target: &str| {
        let mut command = command("curl");
        command.args(["-sS", "--max-time", "30"]).args(arguments);
        command.arg(format!("http://127.0.0.1:{}{target}", proxy.port()));
        run(command)
    };
    assert_eq!(curl(&[], "/api"), "GET /api");
    assert_eq!(curl(&["--http1.0"], "/api"), "GET /api");
    assert_eq!(curl(&["--data", "a=1"], "/echo"), "a=1");
    assert_eq!(curl(&["-H", "Transfer-Encoding: chunked", "--data", "in chunks"], "/echo"), "in chunks");
    let large = "b".repeat(100_000);
    assert_eq!(curl(&["-H", "Expect: 100-continue", "--data", &large], "/echo"), large);
    let content = std::env::temp_dir().join(format!("sluice-echo-{}", std::process::id()));
    std::fs::write(&content, "c".repeat(8 << 20)).unwrap();
    let upload = content.to_str().unwrap();
    for fields in ["Expect:", "Expect: 100-continue", "Transfer-Encoding: chunked"] {
        assert!(
            curl(&["-H", fields, "-X", "POST", "-T", upload], "/echo") == "c".repeat(8 << 20),
            "{fields}"
        );
    }
    std::fs::remove_file(&content).unwrap();
    assert_eq!(curl(&["--http1.0"], "/numbers").lines().count(), 200);
    assert!(curl(&["--raw"], "/numbers").ends_with("\r\n0\r\nX-Count: 200\r\n\r\n"));
    assert_eq!(curl(&["-o", "/dev/null", "-w", "%{http_code}"], "/few"), "200");
    assert_eq!(curl(&["-o", "/dev/null", "-w", "%{http_code}"], "/few"), "503");
}

#[test]
fn curl_with_a_client_certificate() {
    let site = Site::start();
    let files = readable(&["a.pem", "a.key", "b.pem", "b.key", "stranger.pem", "stranger.key", "ca.pem"]);
    let at = |name: &str| files.path().join(name).display().to_string();
    let (cert, key, ca) = (at("a.pem"), at("a.key"), at("ca.pem"));
    let secure = port::free();
    let lines = format!(
        "origin = http://127.0.0.1:{}\nlisten = tls:127.0.0.1:{secure}\ntls_cert_file = {cert}\ntls_key_file = {key}\n\
         tls_client_ca = {ca}\n{LIMITS}",
        site.port
    );
    let proxy = Proxy::start("throttle-proxy", &lines);
    let curl = |identity: Option<&str>| {
        let mut command = command("curl");
        command.args(["-sS", "--max-time", "30", "--cacert", &ca]);
        if let Some(name) = identity {
            command.args(["--cert", &at(&format!("{name}.pem")), "--key", &at(&format!("{name}.key"))]);
        }
        command.arg(format!("https://127.0.0.1:{secure}/api"));
        command
    };
    assert_eq!(run(curl(Some("b"))), "GET /api");
    for identity in [None, Some("stranger")] {
        assert!(!curl(identity).output().unwrap().status.success(), "{identity:?}");
    }
    assert_eq!(proxy.metric("http_bad_requests_total{reason=\"client_certificate\"}"), 2.0);
}

#[test]
fn wrk() {
    let (_site, proxy) = scene();
    let mut command = command("wrk");
    command.args(["-t", "2", "-c", "64", "-d", "1s"]).arg(format!("http://127.0.0.1:{}/api", proxy.port()));
    let out = run(command);
    assert!(out.contains("requests in"), "{out}");
    assert!(!out.contains("Non-2xx") && !out.contains("Socket errors"), "{out}");
}

/// The page is not from the gateway, so the browser lets it read answers only where their fields allow it.
#[test]
fn a_page_in_chromium() {
    let (site, proxy) = scene();
    let account = Account::choose();
    let home = account.directory();
    let mut command = account.command("timeout", "KILL");
    command.args(["--kill-after=5", "120", "chromium", "--headless", "--no-sandbox", "--disable-gpu"]);
    command.args(["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]);
    command.args(["--disable-component-update", "--disable-dev-shm-usage"]);
    command.arg(format!("--user-data-dir={}", home.path().join("profile").display()));
    command.arg("--dump-dom").env("HOME", home.path());
    let (page, gateway) = (site.port, proxy.port());
    command.arg(format!("http://127.0.0.1:{page}/page?gateway=127.0.0.1:{gateway}"));
    let dom = run(command);
    let told = dom.split("<pre id=\"told\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let expected = "api: GET /api/user\necho: true\nnumbers: 200\nsocket: through the tunnel\n\
                    few: 200,503\ndetail: Request queue is full\nretry: true\ndone\n";
    assert_eq!(told, Some(expected), "{dom}");
}
