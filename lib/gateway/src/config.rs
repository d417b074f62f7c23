//! The configuration of a gateway, checked and put together: what the machine and the shell read.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sluice_wire::http::fields::is_token;
use sluice_wire::http::forwarded::Style;
use sluice_wire::http::proxy_protocol;
use sluice_wire::http::target::{Form, Target, is_authority};

use crate::origins::{Balance, Policy};
use crate::route::Routes;
use crate::settings::{Forwarded, SendProxy, Settings};

/// A configuration that can be acted on.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The program's name: in Via and Proxy-Status unless `via_name` says otherwise.
    pub program: &'static str,
    /// The settings as given.
    pub settings: Settings,
    /// The routes.
    pub routes: Routes,
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// Where monitors may ask.
    pub admin: Option<Listen>,
    /// The origins.
    pub origins: Vec<Endpoint>,
    /// How they are used.
    pub policy: Policy,
    /// What origins are told about clients.
    pub style: Style,
    /// What connections to origins begin with.
    pub send_proxy: Option<proxy_protocol::Version>,
    trusted: Trusted,
}

/// What is wrong with a setting whose form is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The key.
    pub key: &'static str,
    /// What is wrong, reading on from the key's name.
    pub text: String,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub place: Place,
    /// Whether TLS is spoken there.
    pub security: Security,
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// It is not.
    Plain,
    /// By TLS.
    Tls,
}

/// A place to connect to or to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Address and port.
    Tcp(SocketAddr),
    /// A name that is looked up, and a port.
    Name(String, u16),
    /// A Unix socket, abstract behind a leading `@`.
    Unix(String),
}

/// An origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As it was written.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// Whether TLS is spoken to it.
    pub security: Security,
}

/// Who is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Trusted {
    prefixes: Vec<(IpAddr, u8)>,
    unix: bool,
}

impl Config {
    /// Checks what single values cannot tell.
    ///
    /// # Errors
    /// The first [`Wrong`].
    pub fn new(program: &'static str, settings: Settings, routes: Routes) -> Result<Self, Wrong> {
        let wrong = |key, text: String| Wrong { key, text };
        let listen = settings.listen.iter().map(|text| Listen::read(text)).collect::<Result<Vec<_>, _>>();
        let listen = listen.map_err(|text| wrong("listen", text))?;
        let admin = settings.admin_listen.as_deref().map(Listen::read).transpose();
        let admin = admin.map_err(|text| wrong("admin_listen", text))?;
        if admin.as_ref().is_some_and(|admin| admin.security == Security::Tls) {
            return Err(wrong("admin_listen", "takes no TLS".to_owned()));
        }
        let origins = settings.origin.iter().map(|text| Endpoint::read(text)).collect::<Result<Vec<_>, _>>();
        let origins = origins.map_err(|text| wrong("origin", text))?;
        if origins.is_empty() {
            return Err(wrong("origin", "names no origin".to_owned()));
        }
        let balance = Balance::of(&settings.balance);
        let balance =
            balance.ok_or_else(|| wrong("balance", format!("is not a balance: {}", settings.balance)))?;
        let trusted = Trusted::read(&settings.trusted_peers).map_err(|text| wrong("trusted_peers", text))?;
        check_words(&settings)?;
        let policy = Policy {
            balance,
            fail_max: settings.origin_fail_max,
            eject: settings.origin_eject_ms,
            ramp: settings.origin_ramp_ms,
            rise: settings.check_rise,
            fall: settings.check_fall,
            conns_max: settings.origin_conns_max,
            idle_max: settings.origin_idle_max,
            keepalive: settings.origin_keepalive_ms,
            reuse_unsafe: settings.reuse_unsafe_ms,
        };
        let style = match settings.forwarded {
            Forwarded::Off => Style::Off,
            Forwarded::Xff => Style::Xff,
            Forwarded::Rfc7239 => Style::Rfc7239,
            Forwarded::Both => Style::Both,
        };
        let send_proxy = match settings.send_proxy {
            SendProxy::Off => None,
            SendProxy::V1 => Some(proxy_protocol::Version::V1),
            SendProxy::V2 => Some(proxy_protocol::Version::V2),
        };
        Ok(Self { program, settings, routes, listen, admin, origins, policy, style, send_proxy, trusted })
    }

    /// This gateway's name in Via and Proxy-Status.
    #[must_use]
    pub fn pseudonym(&self) -> &str {
        self.settings.via_name.as_deref().unwrap_or(self.program)
    }

    /// Host for requests of HTTP/1.0 without one; empty: there is none.
    #[must_use]
    pub fn default_host(&self) -> &[u8] {
        self.settings.default_host.as_deref().unwrap_or_default().as_bytes()
    }

    /// Whether a peer is one of `trusted_peers`; `None` is a Unix socket.
    #[must_use]
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            None => self.trusted.unix,
            Some(peer) => self.trusted.prefixes.iter().any(|prefix| contains(*prefix, peer.to_canonical())),
        }
    }
}

/// Refuses what would be written into heads and cannot stand there.
fn check_words(settings: &Settings) -> Result<(), Wrong> {
    let wrong = |key, text: &str, what| Wrong { key, text: format!("is {what}: {text:?}") };
    if let Some(name) = settings.via_name.as_deref().filter(|name| !is_token(name.as_bytes())) {
        return Err(wrong("via_name", name, "no token"));
    }
    if let Some(host) = settings.default_host.as_deref().filter(|host| !is_authority(host.as_bytes())) {
        return Err(wrong("default_host", host, "no host[:port]"));
    }
    let is_path = |path: &&str| Target::read(path.as_bytes()).is_ok_and(|target| target.form == Form::Origin);
    if let Some(path) = settings.check_path.as_deref().filter(|path| !is_path(path)) {
        return Err(wrong("check_path", path, "no path"));
    }
    Ok(())
}

impl Listen {
    /// Reads `[tls:]host:port` or `[tls:]unix:/path`. The host is an address or `*`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let (security, rest) = match text.strip_prefix("tls:") {
            Some(rest) => (Security::Tls, rest),
            None => (Security::Plain, text),
        };
        let rest = rest.strip_prefix('*').map_or_else(|| rest.to_owned(), |port| format!("0.0.0.0{port}"));
        let place = Place::read(&rest, None).map_err(|why| format!("{why}: {text}"))?;
        Ok(Self { place, security })
    }
}

impl Endpoint {
    /// `host[:port]` as Host names it.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.place {
            Place::Tcp(address) => address.to_string(),
            Place::Name(name, port) => format!("{name}:{port}"),
            Place::Unix(_) => "localhost".to_owned(),
        }
    }

    /// Reads `http://host[:port]`, `https://host[:port]` or `unix:/path`.
    fn read(text: &str) -> Result<Self, String> {
        let (security, rest, port) = if let Some(rest) = text.strip_prefix("http://") {
            (Security::Plain, rest, 80)
        } else if let Some(rest) = text.strip_prefix("https://") {
            (Security::Tls, rest, 443)
        } else if text.starts_with("unix:") {
            (Security::Plain, text, 0)
        } else {
            return Err(format!("is neither http://, https:// nor unix: {text}"));
        };
        let rest = rest.strip_suffix('/').filter(|_| port > 0).unwrap_or(rest);
        let place = Place::read(rest, Some(port)).map_err(|why| format!("{why}: {text}"))?;
        Ok(Self { name: text.to_owned(), place, security })
    }
}

impl Place {
    fn read(text: &str, default_port: Option<u16>) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("unix:") {
            let named = path.starts_with('/') || path.starts_with('@');
            return if named { Ok(Self::Unix(path.to_owned())) } else { Err("is no path of a socket") };
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        if let (Ok(ip), Some(port)) = (text.trim_matches(['[', ']']).parse::<IpAddr>(), default_port) {
            return Ok(Self::Tcp(SocketAddr::new(ip, port)));
        }
        let (host, port) = match (text.rsplit_once(':'), default_port) {
            (Some((host, port)), _) => (host, port.parse().map_err(|_| "has no port")?),
            (None, Some(port)) => (text, port),
            (None, None) => return Err("has no port"),
        };
        let is_name =
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if is_name { Ok(Self::Name(host.to_owned(), port)) } else { Err("has no host") }
    }
}

impl Trusted {
    fn read(words: &[String]) -> Result<Self, String> {
        let mut trusted = Self::default();
        for word in words {
            if word == "unix" {
                trusted.unix = true;
                continue;
            }
            let (address, bits) = word.split_once('/').map_or((word.as_str(), None), |(a, b)| (a, Some(b)));
            let ip: IpAddr = address.parse().map_err(|_| format!("has no address: {word}"))?;
            let most = if ip.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(most), str::parse).ok().filter(|bits| *bits <= most);
            trusted.prefixes.push((ip, bits.ok_or_else(|| format!("has a prefix that is none: {word}"))?));
        }
        Ok(trusted)
    }
}

fn contains((prefix, bits): (IpAddr, u8), address: IpAddr) -> bool {
    let shared = match (prefix, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return false,
    };
    shared >= u32::from(bits)
}

/// The greatest timeout a drain can take, for harnesses that wait for its end.
#[must_use]
pub fn drain_max(settings: &Settings) -> Duration {
    settings.drain_ms + settings.linger_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Option<(Place, Security)> {
        Endpoint::read(text).ok().map(|origin| (origin.place, origin.security))
    }

    #[test]
    fn origins_are_read() {
        let address = |text: &str| Place::Tcp(text.parse().unwrap());
        assert_eq!(endpoint("http://127.0.0.1:3000"), Some((address("127.0.0.1:3000"), Security::Plain)));
        assert_eq!(endpoint("https://[::1]/"), Some((address("[::1]:443"), Security::Tls)));
        assert_eq!(
            endpoint("http://api.example"),
            Some((Place::Name("api.example".into(), 80), Security::Plain))
        );
        assert_eq!(
            endpoint("unix:/run/api.sock"),
            Some((Place::Unix("/run/api.sock".into()), Security::Plain))
        );
        for text in ["", "api", "http://", "http://a:b", "http://a/b", "unix:relative", "ftp://a"] {
            assert_eq!(endpoint(text), None, "{text}");
        }
    }

    #[test]
    fn listeners_are_read() {
        let listen = |text: &str| Listen::read(text).ok();
        assert_eq!(listen("tls:[::]:443").unwrap().security, Security::Tls);
        assert_eq!(listen("*:80").unwrap().place, Place::Tcp("0.0.0.0:80".parse().unwrap()));
        assert_eq!(listen("unix:@gate").unwrap().place, Place::Unix("@gate".into()));
        assert!(listen("127.0.0.1").is_none());
        assert!(listen("").is_none());
    }

    #[test]
    fn what_goes_into_heads_is_checked() {
        let key_of_fault = |change: &dyn Fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            Config::new("x", settings, Routes::new(Vec::new())).err().map(|wrong| wrong.key)
        };
        for (text, is_good) in [("gate-1", true), ("a b", false), ("\"", false), ("a\r\nb", false)] {
            let fault = key_of_fault(&|settings| settings.via_name = Some(text.to_owned()));
            assert_eq!(fault, (!is_good).then_some("via_name"), "{text:?}");
            let fault = key_of_fault(&|settings| settings.balance = format!("hash:header:{text}"));
            assert_eq!(fault, (!is_good).then_some("balance"), "{text:?}");
        }
        for (text, is_good) in [("a.test:80", true), ("[::1]", true), ("a b", false), ("a/b", false)] {
            let fault = key_of_fault(&|settings| settings.default_host = Some(text.to_owned()));
            assert_eq!(fault, (!is_good).then_some("default_host"), "{text:?}");
        }
        for (text, is_good) in [("/health?full=1", true), ("health", false), ("/a b", false), ("*", false)] {
            let fault = key_of_fault(&|settings| settings.check_path = Some(text.to_owned()));
            assert_eq!(fault, (!is_good).then_some("check_path"), "{text:?}");
        }
    }

    #[test]
    fn trust_is_by_prefix_and_family() {
        let settings = Settings {
            trusted_peers: vec!["10.0.0.0/8".into(), "::1".into(), "unix".into()],
            ..Settings::default()
        };
        let config = Config::new("x", settings, Routes::new(Vec::new())).unwrap();
        let trusts = |text: &str| config.trusts(Some(text.parse().unwrap()));
        assert!(trusts("10.255.0.1") && trusts("::1") && trusts("::ffff:10.0.0.1") && config.trusts(None));
        assert!(!trusts("11.0.0.1") && !trusts("::2") && !trusts("127.0.0.1"));
        for word in ["10.0.0.0/33", "x", "::/129", "10.0.0.0/"] {
            let settings = Settings { trusted_peers: vec![word.into()], ..Settings::default() };
            let wrong = Config::new("x", settings, Routes::new(Vec::new())).unwrap_err();
            assert_eq!(wrong.key, "trusted_peers");
        }
    }
}
