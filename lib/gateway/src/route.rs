//! Which policy a request falls under: the `[route NAME]` sections.
//!
//! The raw path is compared, as it will be forwarded. The longest prefix wins; between equals the one that names a host
//! or methods; then the first in the file.

use crate::gate::RouteId;

/// The name of the route that takes what no other does.
pub const DEFAULT: &str = "default";

/// What a route takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// `[route NAME]`.
    pub name: String,
    /// `match_path`: a prefix that ends at a `/` boundary. Empty: any path.
    pub path: String,
    /// `match_host`: host, port not counting, letter case neither. Empty: any.
    pub hosts: Vec<String>,
    /// `match_methods`. Empty: any.
    pub methods: Vec<String>,
}

/// All routes of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    /// By [`RouteId`]; the first is the default.
    list: Vec<Route>,
    /// The others, in the order they are tried.
    order: Vec<RouteId>,
}

impl Routes {
    /// The default route and `others`, in the order of the file.
    #[must_use]
    pub fn new(others: Vec<Route>) -> Self {
        let mut list = vec![Route { name: DEFAULT.to_owned(), ..Route::default() }];
        list.extend(others);
        let mut order: Vec<RouteId> = (1..list.len()).map(|at| RouteId(at as u16)).collect();
        order.sort_by_key(|id| {
            let route = &list[usize::from(id.0)];
            let narrow = usize::from(!route.hosts.is_empty()) + usize::from(!route.methods.is_empty());
            std::cmp::Reverse((route.path.len(), narrow))
        });
        Self { list, order }
    }

    /// The route of a request.
    #[must_use]
    pub fn find(&self, method: &[u8], host: &[u8], path: &[u8]) -> RouteId {
        let takes = |id: &&RouteId| self.list[usize::from(id.0)].takes(method, host, path);
        self.order.iter().find(takes).copied().unwrap_or_default()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self, id: RouteId) -> &str {
        self.list.get(usize::from(id.0)).map_or(DEFAULT, |route| &route.name)
    }

    /// Every route, by id.
    pub fn iter(&self) -> impl Iterator<Item = (RouteId, &Route)> {
        self.list.iter().enumerate().map(|(at, route)| (RouteId(at as u16), route))
    }
}

impl Route {
    fn takes(&self, method: &[u8], host: &[u8], path: &[u8]) -> bool {
        let is_below = |prefix: &str| {
            let rest = path.strip_prefix(prefix.as_bytes());
            rest.is_some_and(|rest| prefix.ends_with('/') || matches!(rest.first(), None | Some(b'/')))
        };
        let is_host = |name: &String| name.as_bytes().eq_ignore_ascii_case(without_port(host));
        (self.path.is_empty() || is_below(&self.path))
            && (self.methods.is_empty() || self.methods.iter().any(|name| name.as_bytes() == method))
            && (self.hosts.is_empty() || self.hosts.iter().any(is_host))
    }
}

/// The host of `host[:port]`; the colons of an IPv6 address are within brackets.
fn without_port(authority: &[u8]) -> &[u8] {
    let end = authority.iter().rposition(|byte| *byte == b':' || *byte == b']');
    match end {
        Some(at) if authority[at] == b':' => &authority[..at],
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, path: &str) -> Route {
        Route { name: name.to_owned(), path: path.to_owned(), ..Route::default() }
    }

    #[test]
    fn the_longest_prefix_wins_at_a_boundary() {
        let routes = Routes::new(vec![route("a", "/api"), route("u", "/api/users"), route("s", "/static/")]);
        let find = |path: &str| routes.name(routes.find(b"GET", b"h", path.as_bytes())).to_owned();
        assert_eq!(find("/api"), "a");
        assert_eq!(find("/api/"), "a");
        assert_eq!(find("/api/user"), "a");
        assert_eq!(find("/api/users"), "u");
        assert_eq!(find("/api/users/1"), "u");
        assert_eq!(find("/apis"), DEFAULT);
        assert_eq!(find("/static/x"), "s");
        assert_eq!(find("/static"), DEFAULT);
        assert_eq!(find("/API"), DEFAULT);
        assert_eq!(find("*"), DEFAULT);
    }

    #[test]
    fn hosts_and_methods_narrow() {
        let narrow = Route { hosts: vec!["Example.org".into(), "[::1]".into()], ..route("h", "/a") };
        let writes = Route { methods: vec!["POST".into()], ..route("w", "") };
        let routes = Routes::new(vec![route("plain", "/a"), narrow, writes]);
        let find =
            |method: &str, host: &str| routes.name(routes.find(method.as_bytes(), host.as_bytes(), b"/a"));
        assert_eq!(find("GET", "example.ORG:80"), "h");
        assert_eq!(find("GET", "[::1]:8080"), "h");
        assert_eq!(find("GET", "[::1]"), "h");
        assert_eq!(find("GET", "other"), "plain");
        assert_eq!(find("POST", "other"), "plain");
        assert_eq!(routes.name(routes.find(b"POST", b"other", b"/b")), "w");
        assert_eq!(routes.name(routes.find(b"post", b"other", b"/b")), DEFAULT);
        assert_eq!(routes.iter().count(), 4);
    }
}
