//! Host names of servers, as the shell has last found them: facts for the console, nothing is decided by them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use super::Core;

/// What is known of each name the configuration has.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<String, Name>,
    /// Lookups under way.
    lookups: usize,
}

/// The answer to the latest lookup of a name.
#[derive(Debug)]
pub(super) struct Name {
    /// Empty if there was none.
    pub(super) addresses: Vec<IpAddr>,
    /// How long it is believed.
    pub(super) until: Instant,
}

impl Names {
    /// In alphabetical order.
    pub(super) fn known(&self) -> impl ExactSizeIterator<Item = (&str, &Name)> {
        self.known.iter().map(|(name, known)| (name.as_str(), known))
    }

    /// Forgets all names that are none of these.
    pub(super) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.known.retain(|name, _| wanted(name));
    }

    pub(super) fn lookups(&self) -> usize {
        self.lookups
    }
}

impl Core {
    /// The shell looks a name up.
    pub fn lookup_begun(&mut self) {
        self.names.lookups += 1;
    }

    /// The shell has looked `name` up; no addresses if it was not found. The answer is believed until then.
    pub fn lookup_ended(&mut self, name: &str, addresses: &[IpAddr], until: Instant) {
        self.names.lookups = self.names.lookups.saturating_sub(1);
        self.names.known.insert(name.to_owned(), Name { addresses: addresses.to_vec(), until });
    }
}
