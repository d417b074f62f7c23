//! Where Redis is: `redis://[user:password@]host[:port][/db]`, or `unix:/path`.

use std::fmt;

/// The port of a Redis that is not told one.
const PORT: u16 = 6379;

/// Where Redis is, and who we are there.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisPlace {
    /// A host and port, or a path.
    pub address: RedisAddress,
    /// User, if one was given, and password.
    pub login: Option<(Option<String>, String)>,
    /// Number of the database.
    pub database: u32,
}

/// See [`RedisPlace`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisAddress {
    /// Over TCP.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(String),
}

impl fmt::Debug for RedisPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisPlace")
            .field("address", &self.address)
            .field("database", &self.database)
            .finish()
    }
}

impl RedisPlace {
    /// Reads the setting; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            let address = RedisAddress::Unix(path.to_owned());
            return (!path.is_empty()).then_some(Self { address, login: None, database: 0 });
        }
        let rest = text.strip_prefix("redis://")?;
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => {
                let (user, password) = login.split_once(':')?;
                let user = Some(user.to_owned()).filter(|user| !user.is_empty());
                (Some((user, password.to_owned())), rest)
            }
            None => (None, rest),
        };
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = if database.is_empty() { 0 } else { database.parse().ok()? };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (place, PORT),
        };
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let address = RedisAddress::Tcp(host.to_owned(), port);
        (!host.is_empty() && port > 0).then_some(Self { address, login, database })
    }
}

/// The setting with its password left out.
#[must_use]
pub fn without_password(text: &str) -> String {
    match (text.strip_prefix("redis://"), text.rsplit_once('@')) {
        (Some(_), Some((_, place))) => format!("redis://***@{place}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> RedisAddress {
        RedisAddress::Tcp(host.into(), port)
    }

    #[test]
    fn places() {
        let of = |text| RedisPlace::parse(text).map(|place| (place.address, place.database));
        assert_eq!(of("redis://h"), Some((tcp("h", 6379), 0)));
        assert_eq!(of("redis://h:7/2"), Some((tcp("h", 7), 2)));
        assert_eq!(of("redis://[::1]:7"), Some((tcp("::1", 7), 0)));
        assert_eq!(of("redis://[::1]"), Some((tcp("::1", 6379), 0)));
        assert_eq!(of("unix:/run/redis.sock"), Some((RedisAddress::Unix("/run/redis.sock".into()), 0)));
        for bad in
            ["", "h:1", "redis://", "redis://h:x", "redis://h:0", "redis://h/x", "redis://u@h", "unix:"]
        {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let place = RedisPlace::parse("redis://me:s3cret@h").unwrap();
        assert_eq!(place.login, Some((Some("me".into()), "s3cret".into())));
        assert!(!format!("{place:?}").contains("s3cret"));
        assert_eq!(without_password("redis://me:s3cret@h:1/2"), "redis://***@h:1/2");
        assert_eq!(without_password("redis://h"), "redis://h");
    }
}
