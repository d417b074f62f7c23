//! Reading: defaults, then the file, then the environment, then flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sluice_cli::ini::{Fault, Ini, IniError, Item, Place};
use sluice_cli::load::{ConfigError, Misfit, Overrides, Variable, Written, comment_warning, shorten};
use sluice_cli::nearest::nearest;
use sluice_cli::settings::{SetError, Values};
use sluice_gateway::gate::RouteId;
use sluice_gateway::route::{DEFAULT, Route};

use super::policy::{describe, limit, policy, route};
use super::table::{ALIASES, Global, LIMIT_KEYS, ROUTE_KEYS, SETTINGS};
use super::types::Field as _;
use super::{Snapshot, check};
use crate::limiter::keys::KeySpec;

/// What environment variables that set a key begin with.
pub const ENVIRONMENT_PREFIX: &str = "THROTTLE_PROXY_";

/// A variable that services of this kind have already; it sets `max_in_flight`.
pub const MAX_CONCURRENT: &str = "MAX_CONCURRENT_DB_REQUESTS";

/// Most `[route NAME]` and `[limit NAME]` sections, of each kind.
pub(super) const SECTIONS_MAX: usize = 256;

/// Reads the configuration file, if there is one.
///
/// # Errors
/// [`ConfigError`]; nothing of the file holds then.
pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Snapshot, ConfigError> {
    match path {
        Some(path) => build(path, Ini::open(path).map_err(|error| of_ini(&error))?, overrides),
        None => parse(Path::new(""), "", overrides),
    }
}

/// Reads `text` as if it were the configuration file `path`.
///
/// # Errors
/// As [`load`].
pub fn parse(path: &Path, text: &str, overrides: &Overrides) -> Result<Snapshot, ConfigError> {
    build(path, Ini::of_bytes(path, text.as_bytes().to_vec()), overrides)
}

/// The name of a key by another name.
pub(super) fn canonical(key: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, key)| key)
}

impl Snapshot {
    /// The configuration as its file is now. Keys that need a restart keep their value, with a warning where the file
    /// has another.
    ///
    /// # Errors
    /// As [`load`]; `self` goes on.
    pub fn reload(&self, overrides: &Overrides) -> Result<Self, ConfigError> {
        let path = Some(self.path.as_path()).filter(|path| !path.as_os_str().is_empty());
        let mut next = load(path, overrides)?;
        next.warnings.extend(next.values.keep_fixed(&self.values));
        next.global = Global::from_values(&next.values);
        Ok(next)
    }
}

/// A section that is being read.
struct Section {
    name: String,
    place: Place,
    /// What it sets, in order.
    entries: Vec<(String, String, Place)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Top,
    Route,
    Limit,
}

struct Loader {
    values: Values,
    /// Where the top of the file sets a key.
    places: BTreeMap<&'static str, String>,
    at: Kind,
    routes: Vec<Section>,
    limits: Vec<Section>,
    warnings: Vec<String>,
}

fn build(path: &Path, lines: Ini, overrides: &Overrides) -> Result<Snapshot, ConfigError> {
    let mut loader = Loader {
        values: Values::new(SETTINGS),
        places: BTreeMap::new(),
        at: Kind::Top,
        routes: Vec::new(),
        limits: Vec::new(),
        warnings: Vec::new(),
    };
    for line in lines {
        let line = line.map_err(|error| of_ini(&error))?;
        match line.item {
            Item::Section(name) => loader.enter(&name, line.place)?,
            Item::Entry { key, value } => loader.entry(key, value, line.place)?,
        }
    }
    loader.environment(overrides)?;
    loader.flags(overrides)?;
    check::global(&loader.values).map_err(|(key, message)| {
        let place = loader.places.get(key).map(|place| format!(" ({place})"));
        ConfigError(format!("{message}{}", place.unwrap_or_default()))
    })?;
    loader.finish(path)
}

impl Loader {
    fn enter(&mut self, name: &str, place: Place) -> Result<(), ConfigError> {
        let (kind, rest) = name.split_once(char::is_whitespace).unwrap_or((name, ""));
        let section = Section { name: rest.trim().to_owned(), place, entries: Vec::new() };
        let (at, list) = match kind {
            "route" => (Kind::Route, &mut self.routes),
            "limit" => (Kind::Limit, &mut self.limits),
            _ => {
                let near = nearest(kind, ["route", "limit"]);
                let near = near.map(|near| format!(", the nearest is [{near} NAME]")).unwrap_or_default();
                let message = format!("unknown section [{}]{near}", shorten(name));
                return Err(at(&section.place, &message));
            }
        };
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if section.name.is_empty() || !section.name.chars().all(word) {
            let message = format!("[{}] needs a name of letters, digits, - _ and .", shorten(name));
            return Err(self::at(&section.place, &message));
        }
        if let Some(first) = list.iter().find(|other| other.name == section.name) {
            let message = format!("[{kind} {}] stands in {} already", section.name, first.place);
            return Err(self::at(&section.place, &message));
        }
        if list.len() >= SECTIONS_MAX {
            return Err(self::at(
                &section.place,
                &format!("more than {SECTIONS_MAX} sections [{kind} NAME]"),
            ));
        }
        list.push(section);
        self.at = at;
        Ok(())
    }

    fn entry(&mut self, key: String, value: String, place: Place) -> Result<(), ConfigError> {
        let list = match self.at {
            Kind::Top => return self.top(&key, &value, &place),
            Kind::Route => &mut self.routes,
            Kind::Limit => &mut self.limits,
        };
        if let Some(section) = list.last_mut() {
            section.entries.push((key, value, place));
        }
        Ok(())
    }

    fn top(&mut self, key: &str, value: &str, place: &Place) -> Result<(), ConfigError> {
        let key = canonical(key);
        let first = SETTINGS.row(key).and_then(|row| self.places.insert(row.name, place.to_string()));
        let value = &again(&self.values, (key, value), first.as_deref(), &mut self.warnings, place);
        set(&mut self.values, key, value, &mut self.warnings, place).map_err(|error| {
            // What belongs into a section is a likelier mistake than a typing error.
            let section = [(ROUTE_KEYS, "route"), (LIMIT_KEYS, "limit")]
                .into_iter()
                .find(|(keys, _)| keys.row(key).is_some())
                .map(|(_, section)| format!("{key} belongs into a section [{section} NAME]"));
            at(place, &section.unwrap_or_else(|| describe(key, &shorten(value), &error)))
        })
    }

    fn environment(&mut self, overrides: &Overrides) -> Result<(), ConfigError> {
        // Set to nothing, as compose files pass on what is not set, it says nothing.
        let shared =
            overrides.environment.iter().filter(|(name, value)| name == MAX_CONCURRENT && !value.is_empty());
        let shared = shared.map(|(name, value)| Variable { name, key: "max_in_flight".to_owned(), value });
        // Ours beat the one that others read too.
        let set = self.values.set_from_environment(shared.chain(overrides.variables(ENVIRONMENT_PREFIX)));
        self.warnings.extend(set.map_err(|Misfit { source, key, value, error }| {
            ConfigError(format!("{} (environment variable {source})", describe(&key, &value, &error)))
        })?);
        Ok(())
    }

    fn flags(&mut self, overrides: &Overrides) -> Result<(), ConfigError> {
        let set = self.values.set_from_flags(&overrides.flags);
        set.map_err(|Misfit { source, key, value, error }| {
            ConfigError(format!("{} (flag --{source})", describe(&key, &value, &error)))
        })
    }

    fn finish(mut self, path: &Path) -> Result<Snapshot, ConfigError> {
        let global = Global::from_values(&self.values);
        self.warnings.extend(check::warnings(&self.values));
        let idle = self.values.idle().map(|key| format!("{key} is set but has no effect yet"));
        self.warnings.extend(idle);
        let mut policies = vec![route(DEFAULT, &self.values)];
        let mut routes = Vec::new();
        for section in std::mem::take(&mut self.routes) {
            let (values, taken) = self.route_values(&section)?;
            let policy = route(&section.name, &values);
            if section.name == DEFAULT {
                if taken != (Route { name: DEFAULT.to_owned(), ..Route::default() }) {
                    let message = "[route default] takes what no other route does, and no match keys";
                    return Err(at(&section.place, message));
                }
                policies[0] = policy;
            } else {
                policies.push(policy);
                routes.push(taken);
            }
        }
        let names: Vec<String> = policies.iter().map(|policy| policy.name.clone()).collect();
        let sections = std::mem::take(&mut self.limits);
        let limits: Result<Vec<_>, ConfigError> =
            sections.iter().map(|section| self.limit_of(section, &names)).collect();
        let policy = policy(&global, policies, limits?);
        let Self { values, places, warnings, .. } = self;
        Ok(Snapshot { global, routes, policy, warnings, values, places, path: PathBuf::from(path) })
    }

    /// The settings of a route, and what it takes.
    fn route_values(&mut self, section: &Section) -> Result<(Values, Route), ConfigError> {
        let mut values = self.values.clone();
        let mut taken = Values::new(ROUTE_KEYS);
        let mut places = BTreeMap::new();
        for (key, value, place) in &section.entries {
            let key = canonical(key);
            let values = if ROUTE_KEYS.row(key).is_some() { &mut taken } else { &mut values };
            let first = places.insert(key, place.to_string());
            let value = &again(values, (key, value), first.as_deref(), &mut self.warnings, place);
            set_in(values, "route", key, value, &mut self.warnings, place)?;
        }
        check::route(&values).map_err(|(_, message)| at(&section.place, &message))?;
        self.warnings.extend(
            check::warnings(&values)
                .into_iter()
                .filter(|_| !section.entries.is_empty())
                .map(|warning| format!("[route {}]: {warning}", section.name)),
        );
        let words = |key| taken.value(key).words().map(str::to_owned).collect();
        let path = String::from_value(taken.value("match_path"));
        if !path.is_empty() && !path.starts_with('/') {
            return Err(at(&section.place, "match_path does not begin with /"));
        }
        let route = Route {
            name: section.name.clone(),
            path,
            hosts: words("match_host"),
            methods: words("match_methods"),
        };
        Ok((values, route))
    }

    fn limit_of(
        &mut self,
        section: &Section,
        names: &[String],
    ) -> Result<crate::limiter::policy::LimitPolicy, ConfigError> {
        let mut values = self.values.clone();
        let mut own = Values::new(LIMIT_KEYS);
        let mut places = BTreeMap::new();
        for (key, value, place) in &section.entries {
            let key = canonical(key);
            let values = if LIMIT_KEYS.row(key).is_some() { &mut own } else { &mut values };
            let first = places.insert(key, place.to_string());
            let value = &again(values, (key, value), first.as_deref(), &mut self.warnings, place);
            set_in(values, "limit", key, value, &mut self.warnings, place)?;
        }
        let text = String::from_value(own.value("key"));
        let key = KeySpec::parse(&text).ok_or_else(|| {
            at(&section.place, &format!("invalid value \"{text}\" for key: expected {}", check::KEY))
        })?;
        let routes: Result<Vec<RouteId>, ConfigError> = own
            .value("routes")
            .words()
            .map(|name| {
                let found = names.iter().position(|route| route == name);
                found.map(|at| RouteId(at as u16)).ok_or_else(|| {
                    let near = nearest(name, names.iter().map(String::as_str));
                    let near = near.map(|near| format!(", the nearest is {near}")).unwrap_or_default();
                    at(&section.place, &format!("no such route: {name}{near}"))
                })
            })
            .collect();
        Ok(limit(&section.name, key, routes?, &values))
    }
}

/// The value a key gets that one section may set more than once: a list goes on; of anything else the last one counts,
/// which is worth a warning. `first` is where it was set before.
fn again(
    values: &Values,
    (key, value): (&str, &str),
    first: Option<&str>,
    warnings: &mut Vec<String>,
    place: &Place,
) -> String {
    match (first, values.table().row(key).map(|row| row.kind)) {
        (Some(_), Some(sluice_cli::settings::Kind::List)) => format!("{}, {value}", values.value(key)),
        (Some(first), Some(_)) => {
            warnings.push(format!("{key} is set in {first} already; what counts is {place}"));
            value.to_owned()
        }
        _ => value.to_owned(),
    }
}

/// Sets a key of a section `section`.
fn set_in(
    values: &mut Values,
    section: &str,
    key: &str,
    value: &str,
    warnings: &mut Vec<String>,
    place: &Place,
) -> Result<(), ConfigError> {
    let row = values.table().row(key);
    let belongs = |row: &sluice_cli::settings::Setting| {
        row.also_in.contains(&section) || values.table().0.len() < SETTINGS.0.len()
    };
    if row.is_some_and(|row| !belongs(row)) {
        return Err(at(place, &format!("{key} belongs to the top of the file, not into [{section} NAME]")));
    }
    set(values, key, value, warnings, place).map_err(|error| {
        let others = if section == "route" { ROUTE_KEYS } else { LIMIT_KEYS };
        let error = match error {
            SetError::Unknown(near) => SetError::Unknown(others.nearest(key).or(near)),
            error => error,
        };
        at(place, &describe(key, &shorten(value), &error))
    })
}

/// Sets a key; a comment behind the value is taken off, with a warning, where the value is invalid otherwise.
fn set(
    values: &mut Values,
    key: &str,
    value: &str,
    warnings: &mut Vec<String>,
    place: &Place,
) -> Result<(), SetError> {
    if values.set_from_file(key, value)? == Written::BeforeComment {
        warnings.push(format!("{} ({place})", comment_warning(key)));
    }
    Ok(())
}

fn of_ini(error: &IniError) -> ConfigError {
    let IniError { place, fault } = error;
    match fault {
        Fault::Syntax(what) => at(place, &format!("syntax error: {what}")),
        Fault::Unreadable(path, error) if place.line == 0 => {
            ConfigError(format!("cannot open configuration file {}: {error}", path.display()))
        }
        fault if place.line == 0 => ConfigError(fault.to_string()),
        fault => at(place, &fault.to_string()),
    }
}

fn at(place: &Place, message: &str) -> ConfigError {
    ConfigError(format!("{message} ({place})"))
}
