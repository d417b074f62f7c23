//! The listening sockets a configuration asks for, or a service manager has opened.

use std::net::{SocketAddr, ToSocketAddrs};

use sluice_unix::fault::Failure;
use sluice_unix::listener::{ListenError, Listener, TcpListen, UnixListen};
use sluice_unix::stream::{Address, TcpOptions};

use crate::config::{Config, Listen, Place, Security};

/// A listening socket and what is spoken there.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) listener: Listener,
    /// Shown in the log.
    pub(super) name: String,
    pub(super) security: Security,
    /// No edge will come for who waits already: a timer will.
    pub(super) paused: bool,
}

/// Takes over the sockets a service manager has opened; without any, opens what the configuration asks for.
///
/// # Errors
/// [`Failure`] with text for the operator: which address, which call, why.
pub(super) fn open(config: &Config) -> Result<Vec<Door>, Failure> {
    let inherited = Listener::inherited().map_err(|error| Failure::Configuration(error.to_string()))?;
    if inherited.is_empty() {
        return config.listen.iter().map(|listen| open_one(listen, config)).collect();
    }
    inherited.into_iter().map(inherit).collect::<Result<_, _>>().map_err(Failure::Configuration)
}

fn inherit(listener: Listener) -> Result<Door, String> {
    let address = listener.local_address().map_err(|error| format!("inherited socket: {error}"))?;
    let name = match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix => "unix: inherited".to_owned(),
    };
    let options = listener.set_options(&TcpOptions::default());
    options.map_err(|error| format!("inherited socket {name}: setsockopt(): {error}"))?;
    Ok(Door { listener, name, security: Security::Plain, paused: false })
}

fn open_one(listen: &Listen, config: &Config) -> Result<Door, Failure> {
    let backlog = config.settings.listen_backlog;
    let (opened, name) = match &listen.place {
        Place::Tcp(address) => (tcp(*address, backlog), address.to_string()),
        Place::Name(host, port) => {
            let found = (host.as_str(), *port).to_socket_addrs();
            let unknown = |why: String| Failure::Temporary(format!("listen: {why}"));
            let mut found = found.map_err(|error| unknown(format!("cannot look up {host}: {error}")))?;
            let address = found.next().ok_or_else(|| unknown(format!("{host} has no address")))?;
            (tcp(address, backlog), address.to_string())
        }
        Place::Unix(path) => {
            let how = UnixListen { backlog, mode: config.settings.unix_socket_mode, group_id: None };
            (Listener::unix(path, &how), format!("unix:{path}"))
        }
    };
    let listener =
        opened.map_err(|error| Failure::listening(&error, format!("cannot listen on {name}: {error}")))?;
    // Port 0 asks for any: the log tells which it was.
    let name = match listener.local_address() {
        Ok(Address::Tcp(address)) => address.to_string(),
        _ => name,
    };
    Ok(Door { listener, name, security: listen.security, paused: false })
}

fn tcp(address: SocketAddr, backlog: u32) -> Result<Listener, ListenError> {
    Listener::tcp(address, &TcpListen { backlog, ..TcpListen::default() })
}
