//! Taking a new configuration over, whole.

use std::sync::Arc;
use std::time::Instant;

use sluice_wire::pg::error::{ErrorResponse, Severity};
use sluice_wire::pg::sqlstate::SqlState;

use super::console::Wait;
use super::log::{Event, Level};
use super::{Core, DatabaseId, PoolId, Tick, UserId};
use crate::config::{Host, Secret, Snapshot};

impl Core {
    /// Puts a checked configuration in force. Databases that are gone from it end; servers of databases that now
    /// lead elsewhere are closed as soon as they are free.
    pub fn reload(&mut self, config: Arc<Snapshot>, now: Instant) {
        let old = std::mem::replace(&mut self.config, config);
        for (_, user) in self.users.iter_mut() {
            let before = old.secrets.secret(&*user.name);
            let after = self.config.secrets.secret(&*user.name);
            if before != after || old.global.scram_iterations != self.config.global.scram_iterations {
                user.scram_secret = None;
                user.scram_salt = None;
                user.scram_keys = None;
            }
        }
        self.adopt_config(now);
        self.check_invariants();
    }

    /// The shell has read the configuration anew, or could not and has logged why. Whoever asked is told.
    pub fn reload_finished(&mut self, outcome: Result<Arc<Snapshot>, String>, now: Instant) {
        let answer = match outcome {
            Ok(config) => {
                self.reload(config, now);
                Ok(())
            }
            Err(why) => {
                let text = "RELOAD Failed, see logs for more details";
                self.log_plain(Level::Error, Event::Reload, text);
                let text = "RELOAD failed, see logs for additional details";
                Err(ErrorResponse::new(Severity::Error, SqlState::CONFIG_FILE_ERROR, text).with_detail(why))
            }
        };
        self.answer_where(answer, |_, wait| wait == Wait::Reload);
        self.check_invariants();
    }

    /// Makes databases, pools and timers agree with the configuration.
    pub(super) fn adopt_config(&mut self, now: Instant) {
        let config = Arc::clone(&self.config);
        let secrets = &config.secrets;
        let is_scram = |user: &[u8]| matches!(secrets.secret(user), Some(Secret::Scram(_)));
        self.all_scram = !secrets.is_empty() && secrets.users().all(is_scram);
        self.some_scram = secrets.users().any(is_scram);
        self.plan_keys();
        let known: Vec<(DatabaseId, std::rc::Rc<str>)> =
            self.databases.iter().map(|(key, d)| (DatabaseId(key), std::rc::Rc::clone(&d.name))).collect();
        for (id, name) in known {
            match config.database(&name) {
                Some(new) => {
                    let auto = !config.databases.contains_key(&*name);
                    let Some(database) = self.databases.get_mut(id.0) else { continue };
                    database.auto = auto;
                    database.registered |= !auto;
                    let moved = database.config.needs_new_servers(&new);
                    database.config = new.into_owned();
                    if moved {
                        self.tag_servers(|pool| pool.database == id, now);
                    }
                }
                None => {
                    let text = format!(
                        "dropping database '{name}' as it does not exist anymore or inactive auto-database"
                    );
                    self.log_plain(Level::Log, Event::DropDatabase, &text);
                    self.drop_database(id, now);
                }
            }
        }
        for (name, database) in &config.databases {
            if !self.database_names.contains_key(name.as_str()) {
                self.add_database(name, database.clone(), now);
            }
        }
        self.names.retain(|name| {
            let mut hosts = config.databases.values().flat_map(|database| &database.host);
            hosts.any(|host| matches!(host, Host::Name(wanted) if wanted == name))
        });
        self.resolve_policies(now);
        for (id, name) in self.forced_users() {
            let user = self.user(&name);
            let pool = self.pool(id, user, now);
            self.arm_min_pool(pool, now);
        }
        if self.stats.last == now {
            self.timers.schedule(now + config.global.stats_period, Tick::Stats);
        }
        self.arm_pressure(now);
    }

    fn forced_users(&self) -> Vec<(DatabaseId, String)> {
        let forced =
            self.databases.iter().filter_map(|(key, d)| Some((DatabaseId(key), d.config.user.clone()?)));
        forced.collect()
    }

    /// Works out every pool's settings anew.
    pub(super) fn resolve_policies(&mut self, now: Instant) {
        let ids: Vec<(PoolId, DatabaseId, UserId)> =
            self.pools.iter().map(|(key, p)| (PoolId(key), p.database, p.user)).collect();
        for (id, database, user) in ids {
            let policy = self.policy(database, user);
            if let Some(pool) = self.pools.get_mut(id.0) {
                pool.largest_size = pool.size();
                pool.policy = policy;
                pool.scram_keys = None;
            }
            self.arm_pool(id, now);
        }
        let clients: Vec<_> = self.clients.iter().map(|(key, _)| super::ClientId(key)).collect();
        for client in clients {
            self.arm_client(client, now);
        }
        let servers: Vec<_> = self.servers.iter().map(|(key, _)| super::ServerId(key)).collect();
        for server in servers {
            self.arm_server(server, now);
        }
    }

    /// Closes the servers of some pools: free ones now, the others when they are released.
    pub(super) fn tag_servers(&mut self, wanted: impl Fn(&super::pool::Pool) -> bool, now: Instant) {
        let ids: Vec<super::ServerId> = self
            .servers
            .iter()
            .filter(|(_, s)| s.cancel.is_none() && self.pools.get(s.pool.0).is_some_and(&wanted))
            .map(|(key, _)| super::ServerId(key))
            .collect();
        for id in ids {
            let Some(server) = self.servers.get_mut(id.0) else { continue };
            server.close_needed = true;
            if matches!(server.state, super::ServerState::Idle | super::ServerState::Used) {
                self.close_server(id, "obsolete connection", now);
            } else if let Some(client) = server.link {
                // server_fast_close does not wait for the client to leave.
                self.release_if_done(client, now);
            }
        }
    }
}
