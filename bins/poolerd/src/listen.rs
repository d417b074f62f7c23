//! The listening sockets a configuration asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use sluice_unix::fault::Failure;
use sluice_unix::listener::{ListenError, Listener, ReusePort, TcpListen, UnixListen};
use sluice_unix::log::{Level, Log};
use sluice_unix::privs;
use sluice_unix::stream::{self, Keepalive, TcpOptions};

use crate::config::Global;
use crate::core::{Address, Event};

/// `tcp_defer_accept = 1` holds a connection without bytes back for this long, in seconds.
const DEFER_ACCEPT_S: u32 = 1;

/// A listening socket and where it listens.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) listener: Listener,
    /// Shown in the log and, with the port, as `local_addr` of clients.
    pub(crate) name: String,
    pub(crate) local: Address,
    /// Paused because descriptors ran out.
    pub(crate) paused: bool,
}

impl Door {
    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self.local, Address::Tcp(_))
    }
}

/// Options of sockets, both accepted and made.
pub(crate) fn tcp_options(global: &Global) -> TcpOptions {
    TcpOptions {
        keepalive: global.tcp_keepalive.then_some(Keepalive {
            count: global.tcp_keepcnt,
            idle_s: global.tcp_keepidle,
            interval_s: global.tcp_keepintvl,
        }),
        user_timeout_ms: global.tcp_user_timeout.map_or(0, |t| t.as_millis().min(u32::MAX.into()) as u32),
        buffer_bytes: global.tcp_socket_buffer,
    }
}

/// Takes over the sockets a service manager has opened; without any, opens what the configuration asks for. As in PgBouncer,
/// an address of `listen_addr` that cannot be had is a warning while another one works.
///
/// # Errors
/// [`Failure`] with text for the log: which address, which call, why.
pub(crate) fn open(global: &Global, log: &Log) -> Result<Vec<Door>, Failure> {
    let inherited = Listener::inherited().map_err(|error| Failure::Configuration(error.to_string()))?;
    if !inherited.is_empty() {
        let text = "listen_addr and unix_socket_dir are ignored: the service manager has opened the sockets";
        log.line(Level::Warning, Event::Config.name(), format_args!("{text}"));
        let doors = inherited.into_iter().map(|listener| inherit(listener, global)).collect::<Result<_, _>>();
        return doors.map_err(Failure::Configuration);
    }
    let mut doors = open_tcp(global, log)?;
    if !global.unix_socket_dir.is_empty() && global.listen_port > 0 {
        doors.push(open_unix(global)?);
    }
    if doors.is_empty() {
        return Err(Failure::Configuration(
            "nowhere to listen on: set listen_addr or unix_socket_dir".to_owned(),
        ));
    }
    Ok(doors)
}

fn open_tcp(global: &Global, log: &Log) -> Result<Vec<Door>, Failure> {
    let how = TcpListen {
        backlog: global.listen_backlog,
        reuse_port: if global.so_reuseport { ReusePort::Yes } else { ReusePort::No },
        defer_accept_s: if global.tcp_defer_accept { DEFER_ACCEPT_S } else { 0 },
        options: tcp_options(global),
    };
    let mut doors = Vec::new();
    let mut failures = Vec::new();
    for host in &global.listen_addr {
        for address in addresses(host, global.listen_port)? {
            match Listener::tcp(address, &how) {
                Ok(listener) => doors.push(Door {
                    listener,
                    name: address.to_string(),
                    local: Address::Tcp(address),
                    paused: false,
                }),
                // `*` on a machine without IPv6 is IPv4 only.
                Err(ListenError::Call("socket", _)) if host == "*" && address.is_ipv6() => {}
                Err(error) => {
                    let text = format!("cannot listen on {address}: {error}");
                    log.line(Level::Warning, Event::Config.name(), format_args!("{text}"));
                    failures.push(Failure::listening(&error, text));
                }
            }
        }
    }
    if !doors.is_empty() || failures.is_empty() {
        return Ok(doors);
    }
    // One that may pass is worth another try, whatever is wrong with the others.
    let passing = failures.iter().position(|failure| matches!(failure, Failure::Temporary(_)));
    Err(failures.swap_remove(passing.unwrap_or(0)))
}

fn inherit(listener: Listener, global: &Global) -> Result<Door, String> {
    let address = listener.local_address().map_err(|error| format!("inherited socket: {error}"))?;
    let (name, local) = match address {
        stream::Address::Tcp(address) => {
            let options = listener.set_options(&tcp_options(global));
            options.map_err(|error| format!("inherited socket {address}: setsockopt(): {error}"))?;
            (address.to_string(), Address::Tcp(address))
        }
        stream::Address::Unix => ("unix: inherited".to_owned(), unix_address(global)),
    };
    Ok(Door { listener, name, local, paused: false })
}

fn unix_address(global: &Global) -> Address {
    Address::Unix { pid: std::process::id(), uid: privs::user_id(), port: global.listen_port }
}

fn open_unix(global: &Global) -> Result<Door, Failure> {
    let path = unix_path(&global.unix_socket_dir, global.listen_port);
    let group_id = match &global.unix_socket_group {
        None => None,
        Some(name) => match privs::group_id(name) {
            Ok(Some(id)) => Some(id),
            Ok(None) => {
                return Err(Failure::Configuration(format!("unix_socket_group: no such group: {name}")));
            }
            Err(error) => {
                return Err(Failure::Temporary(format!("unix_socket_group: cannot look up {name}: {error}")));
            }
        },
    };
    let how = UnixListen { backlog: global.listen_backlog, mode: global.unix_socket_mode, group_id };
    let listener = Listener::unix(&path, &how).map_err(|error| {
        let text = match error {
            ListenError::InUse => format!("{error}: {path}"),
            _ => format!("cannot listen on {path}: {error}"),
        };
        Failure::listening(&error, text)
    })?;
    Ok(Door { listener, name: format!("unix:{path}"), local: unix_address(global), paused: false })
}

/// Where PostgreSQL clients look for a server in that directory.
pub(crate) fn unix_path(dir: &str, port: u16) -> String {
    if dir.starts_with('@') {
        format!("{dir}/.s.PGSQL.{port}")
    } else {
        format!("{}/.s.PGSQL.{port}", dir.trim_end_matches('/'))
    }
}

fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    if host == "*" {
        return Ok(vec![
            SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
            SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
        ]);
    }
    // A resolver that is not up yet looks like a name that does not exist.
    let failed = |error| Failure::Temporary(format!("listen_addr: cannot look up {host}: {error}"));
    Ok((host, port).to_socket_addrs().map_err(failed)?.collect())
}
