//! The origin and the gateways before it, each as one process that serves in one thread.

use nix::sys::signal::Signal;
use sluice_tests::account::Account;
use sluice_tests::process::{CpuTime, Process};
use sluice_tests::{PATIENCE, port};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The small answer's content has a hundred bytes, the large one's a million.
const SMALL: usize = 100;
const LARGE: usize = 1_000_000;

/// What there is to compare.
pub(crate) enum Kind {
    Nginx,
    Haproxy,
    /// Ours, and where it is.
    Throttle(String),
}

/// What all gateways share: who they run as, the server they forward to, how many connections they must take.
pub(crate) struct Site {
    account: Account,
    connections: usize,
    origin: u16,
    _process: Process,
    _directory: TempDir,
}

impl Site {
    /// Starts the origin.
    pub(crate) fn new(connections: usize) -> Site {
        let account = Account::choose();
        let directory = account.directory();
        let port = port::free();
        std::fs::write(directory.path().join("large"), vec![b'x'; LARGE]).unwrap();
        let locations = format!(
            "location = /small {{ default_type text/plain; return 200 '{}'; }}\n\
             location = /large {{ default_type text/plain; alias {}/large; }}\n",
            "x".repeat(SMALL),
            directory.path().display()
        );
        let process = nginx(&account, directory.path(), port, &locations, "");
        Site { account, connections, origin: port, _process: process, _directory: directory }
    }

    /// The origin's port.
    pub(crate) fn origin(&self) -> u16 {
        self.origin
    }
}

/// A running gateway.
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) port: u16,
    process: Process,
    _directory: TempDir,
}

impl Server {
    pub(crate) fn start(kind: &Kind, site: &Site) -> Server {
        let directory = site.account.directory();
        let port = port::free();
        let (name, process) = match kind {
            Kind::Nginx => {
                let upstream = format!(
                    "upstream origin {{ server 127.0.0.1:{}; keepalive 300; keepalive_requests 1000000000; }}\n",
                    site.origin
                );
                let location = "location / { proxy_pass http://origin; proxy_http_version 1.1; \
                                proxy_set_header Connection ''; }\n";
                let process = nginx(&site.account, directory.path(), port, location, &upstream);
                (version("nginx", "-v"), process)
            }
            Kind::Haproxy => (version("haproxy", "-v"), haproxy(site, directory.path(), port)),
            Kind::Throttle(program) => (
                "throttle-proxy".to_owned(),
                throttle(site, directory.path(), program, port, site.origin, &[]),
            ),
        };
        Server { name, port, process, _directory: directory }
    }

    /// throttle-proxy before another origin, with settings beside the usual ones.
    pub(crate) fn throttle(program: &str, site: &Site, origin: u16, settings: &[&str]) -> Server {
        let (directory, port) = (site.account.directory(), port::free());
        let process = throttle(site, directory.path(), program, port, origin, settings);
        Server { name: "throttle-proxy".to_owned(), port, process, _directory: directory }
    }

    /// As `Process::cpu_time`.
    pub(crate) fn cpu_time(&self) -> CpuTime {
        self.process.cpu_time()
    }

    /// As `Process::peak_bytes`.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.process.peak_bytes()
    }

    /// Counts the peak from now on: proc_pid_clear_refs(5).
    pub(crate) fn forget_peak(&self) -> u64 {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.pid()), "5").unwrap();
        self.process.peak_bytes()
    }

    /// As `Process::resident_bytes`.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
    }
}

/// One nginx process, in the foreground and without a master.
fn nginx(account: &Account, directory: &Path, port: u16, locations: &str, upstream: &str) -> Process {
    let at = directory.display();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
        .collect();
    let configuration = format!(
        "daemon off; master_process off; pid {at}/pid; error_log stderr crit;\n\
         events {{ worker_connections 19000; }}\n\
         http {{\naccess_log off; sendfile on; tcp_nopush on; keepalive_timeout 600s; keepalive_requests 1000000000;\n\
         {paths}{upstream}server {{ listen 127.0.0.1:{port} backlog=4096;\n{locations}}}\n}}\n"
    );
    std::fs::write(directory.join("nginx.conf"), configuration).unwrap();
    let mut command = account.command(found("nginx"), "KILL");
    command.arg("-e").arg("stderr").arg("-c").arg(directory.join("nginx.conf")).arg("-p").arg(directory);
    started(command, "nginx", port)
}

fn haproxy(site: &Site, directory: &Path, port: u16) -> Process {
    let (connections, origin) = (site.connections, site.origin);
    let configuration = format!(
        "global\n    nbthread 1\n    maxconn {connections}\n\
         defaults\n    mode http\n    timeout connect 5s\n    timeout client 600s\n    timeout server 60s\n    \
         timeout http-keep-alive 600s\n    option http-keep-alive\n    http-reuse always\n\
         frontend in\n    bind 127.0.0.1:{port} backlog 4096\n    default_backend out\n\
         backend out\n    server origin 127.0.0.1:{origin}\n"
    );
    std::fs::write(directory.join("haproxy.cfg"), configuration).unwrap();
    let mut command = site.account.command(found("haproxy"), "KILL");
    command.arg("-db").arg("-f").arg(directory.join("haproxy.cfg"));
    started(command, "haproxy", port)
}

/// Without limits, so that forwarding is what is measured.
fn throttle(
    site: &Site,
    directory: &Path,
    program: &str,
    port: u16,
    origin: u16,
    settings: &[&str],
) -> Process {
    let program = site.account.reachable(&std::fs::canonicalize(program).unwrap(), directory);
    let mut command = site.account.command(program, "KILL");
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--listen-backlog", "4096"]);
    command.args(["--origin", &format!("http://127.0.0.1:{origin}"), "--origin-conns-max", "1000"]);
    command.args([
        "--max-requests",
        "0",
        "--max-in-flight",
        "0",
        "--client-conns-max",
        &site.connections.to_string(),
    ]);
    command.args(["--requests-per-conn", "0", "--keepalive-ms", "600000", "--access-log", "off"]);
    command.arg("--control-socket").arg(directory.join("control.sock")).args(settings);
    started(command, "throttle-proxy", port)
}

/// Waits until the port is served.
fn started(command: Command, name: &str, port: u16) -> Process {
    let mut process = Process::spawn(command, Signal::SIGKILL);
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        let lines = process.log().lines().join("\n");
        assert!(process.running() && Instant::now() < deadline, "{name} does not serve:\n{lines}");
        std::thread::sleep(Duration::from_millis(10));
    }
    process
}

/// Debian keeps servers where not everybody looks.
fn found(name: &str) -> String {
    let places = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
    let found = places.iter().map(|place| format!("{place}/{name}")).find(|path| Path::new(path).exists());
    found.unwrap_or_else(|| panic!("{name} is not installed"))
}

/// Name and number, as the program itself gives them.
fn version(name: &str, flag: &str) -> String {
    let output = Command::new(found(name)).arg(flag).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let number =
        text.split(['/', ' ', '-', '\n']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    format!("{name} {}", number.unwrap_or_default())
}
