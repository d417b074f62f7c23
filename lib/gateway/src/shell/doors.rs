//! The listening sockets a configuration asks for, or a service manager has opened.

use std::net::{SocketAddr, ToSocketAddrs};

use sluice_unix::fault::Failure;
use sluice_unix::listener::{ListenError, Listener, TcpListen, UnixListen};
use sluice_unix::stream::{Address, TcpOptions};

use crate::config::{Config, Listen, Place, Security};

use super::Prepared;

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

/// The listening sockets a process begins with.
#[derive(Debug)]
pub struct Doors {
    opened: Vec<Door>,
    /// Where monitors ask.
    admin: Option<Door>,
    /// A service manager has opened them: there are no others.
    inherited: bool,
}

impl Doors {
    /// Takes over the sockets a service manager has opened; without any, opens those of TCP that the configuration asks
    /// for. This is done while the process may still use any port; Unix sockets belong to the user it becomes, and are
    /// opened later.
    ///
    /// # Errors
    /// [`Failure`] with text for the operator: which address, which call, why.
    pub fn open(prepared: &Prepared) -> Result<Self, Failure> {
        let config = &prepared.config;
        let mut handed = Listener::inherited().map_err(|error| Failure::Configuration(error.to_string()))?;
        let asked = config.admin.as_ref().filter(|admin| !is_unix(admin));
        let own = asked.and_then(|admin| handed.iter().position(|listener| is_at(listener, admin)));
        let admin = match (own, asked) {
            (Some(at), _) => Some(inherit(handed.remove(at), &[]).map_err(Failure::Configuration)?),
            (None, Some(asked)) => Some(open_one(asked, config)?),
            (None, None) => None,
        };
        let inherited = !handed.is_empty();
        let opened = if inherited {
            let handed = handed.into_iter().map(|listener| inherit(listener, &config.listen));
            handed.collect::<Result<_, _>>().map_err(Failure::Configuration)?
        } else {
            let wanted = config.listen.iter().filter(|listen| !is_unix(listen));
            wanted.map(|listen| open_one(listen, config)).collect::<Result<_, _>>()?
        };
        Ok(Self { opened, admin, inherited })
    }

    /// All of them, once those of the user are open too, and the one of monitors.
    pub(super) fn complete(self, config: &Config) -> Result<(Vec<Door>, Option<Door>), Failure> {
        let Self { mut opened, mut admin, inherited } = self;
        if let Some(asked) = config.admin.as_ref().filter(|admin| is_unix(admin)) {
            admin = Some(open_one(asked, config)?);
        }
        if !inherited {
            for listen in config.listen.iter().filter(|listen| is_unix(listen)) {
                opened.push(open_one(listen, config)?);
            }
        }
        Ok((opened, admin))
    }
}

impl Door {
    /// Where it is and what is spoken there, for the log.
    pub(super) fn shown(&self) -> String {
        match self.security {
            Security::Plain => self.name.clone(),
            Security::Tls => format!("{} with TLS", self.name),
        }
    }
}

fn is_unix(listen: &Listen) -> bool {
    matches!(listen.place, Place::Unix(_))
}

/// Whether an inherited socket is bound to this very address.
fn is_at(listener: &Listener, listen: &Listen) -> bool {
    match (listener.local_address(), &listen.place) {
        (Ok(Address::Tcp(address)), Place::Tcp(asked)) => address == *asked,
        _ => false,
    }
}

fn inherit(listener: Listener, listen: &[Listen]) -> Result<Door, String> {
    let address = listener.local_address().map_err(|error| format!("inherited socket: {error}"))?;
    let name = match &address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix => "unix: inherited".to_owned(),
    };
    let options = listener.set_options(&TcpOptions::default());
    options.map_err(|error| format!("inherited socket {name}: setsockopt(): {error}"))?;
    Ok(Door { listener, name, security: spoken_at(&address, listen), paused: false })
}

/// What is spoken at an inherited socket: what `listen` says of its address. Of one it does not name it says nothing,
/// unless it has TLS everywhere.
fn spoken_at(address: &Address, listen: &[Listen]) -> Security {
    let named = |listen: &&Listen| match (&listen.place, address) {
        (Place::Tcp(named), Address::Tcp(address)) => {
            named.port() == address.port()
                && (named.ip() == address.ip()
                    || named.ip().is_unspecified()
                    || address.ip().is_unspecified())
        }
        (Place::Name(_, port), Address::Tcp(address)) => *port == address.port(),
        (Place::Unix(_), Address::Unix) => true,
        _ => false,
    };
    let all_tls = !listen.is_empty() && listen.iter().all(|listen| listen.security == Security::Tls);
    match listen.iter().find(named) {
        Some(listen) => listen.security,
        None if all_tls => Security::Tls,
        None => Security::Plain,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Listen {
        Listen::read(text).unwrap()
    }

    #[test]
    fn an_inherited_socket_is_the_monitors_by_its_very_address() {
        let listener = Listener::tcp("127.0.0.1:0".parse().unwrap(), &TcpListen::default()).unwrap();
        let Ok(Address::Tcp(address)) = listener.local_address() else { panic!("it has no address") };
        assert!(is_at(&listener, &listen(&address.to_string())));
        let port = address.port();
        for other in [format!("0.0.0.0:{port}"), format!("[::1]:{port}"), format!("localhost:{port}")] {
            assert!(!is_at(&listener, &listen(&other)), "{other}");
        }
    }

    #[test]
    fn inherited_sockets_speak_what_listen_says() {
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        let both = [listen("127.0.0.1:80"), listen("tls:0.0.0.0:443")];
        assert_eq!(spoken_at(&tcp("127.0.0.1:80"), &both), Security::Plain);
        assert_eq!(spoken_at(&tcp("192.0.2.1:443"), &both), Security::Tls);
        assert_eq!(spoken_at(&tcp("[::]:443"), &both), Security::Tls);
        assert_eq!(spoken_at(&tcp("192.0.2.1:8443"), &both), Security::Plain);
        assert_eq!(spoken_at(&Address::Unix, &both), Security::Plain);
        assert_eq!(spoken_at(&tcp("192.0.2.1:8443"), &both[1..]), Security::Tls);
        assert_eq!(spoken_at(&Address::Unix, &both[1..]), Security::Tls);
        assert_eq!(spoken_at(&tcp("192.0.2.1:443"), &[]), Security::Plain);
    }
}
