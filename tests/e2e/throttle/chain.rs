//! Everything behind the gateway is real: the example service, the pooler, PostgreSQL.

use super::PATIENCE;
use sluice_tests::account::Account;
use sluice_tests::http;
use sluice_tests::process::Process;
use sluice_tests::{Config, Postgres, Proxy, build, port};

use nix::sys::signal::Signal;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn an_overload_of_a_real_service_ends_in_answers_and_nothing_is_left() {
    let postgres = Postgres::start();
    let pooler = Config::new(&postgres).set("default_pool_size", "4").start();
    let account = Account::choose();
    let directory = account.directory();
    let api_port = port::free();
    let program = account.reachable(&build::program("example-api"), directory.path());
    let mut command = account.command(program, "KILL");
    command.arg(format!("127.0.0.1:{api_port}")).arg(format!("127.0.0.1:{}", pooler.port()));
    command.env("PGUSER", "alice").env("PGDATABASE", "postgres");
    let _api = Process::spawn(command, Signal::SIGKILL);
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, api_port)).is_err() {
        assert!(Instant::now() < deadline, "the service does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    let socket = pooler.directory().join("control.sock");
    let lines = format!(
        "origin = http://127.0.0.1:{api_port}\npressure_socket = {}\nmax_requests = 0\nmax_in_flight = 4\nqueue_per_key = 50\n\
         queue_size = 10\n",
        socket.display()
    );
    let proxy = Proxy::start("throttle-proxy", &lines);
    assert_eq!(proxy.get("/health").text(), "{\"status\":\"ok\"}\n");
    assert_eq!(proxy.get("/api/stages/2").json()["value"], "stage 2");
    assert_eq!(proxy.get("/nothing").status, 404);

    let port = proxy.port();
    let asked: Vec<_> =
        (0..40).map(|_| std::thread::spawn(move || http::get(port, "/api/slow?ms=100"))).collect();
    let answers: Vec<_> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(good >= 4, "{good} of 40");
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(refused.status, 503);
        assert!(refused.text().contains("Request queue is full"), "{}", refused.text());
    }
    let row = proxy.until(|row| row["in_flight"] == 0);
    assert_eq!(row["queued"], 0);
    assert_eq!(proxy.get("/api/time").status, 200);
}
