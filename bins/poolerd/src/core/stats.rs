//! What is counted per pool, and the averages made of it.
//!
//! Averages are per second (counts, bytes) or per item (times), over the last whole period of `stats_period`.

use std::time::{Duration, Instant};

use super::log::{Event, Level};
use super::{ClientId, Core, ServerId, Tick};

/// Totals since start. Times are in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Times a client was given a server.
    pub server_assignments: u64,
    /// Transactions ended.
    pub transactions: u64,
    /// Queries ended.
    pub queries: u64,
    /// Bytes from clients.
    pub received_bytes: u64,
    /// Bytes to clients.
    pub sent_bytes: u64,
    /// Time in transactions.
    pub transaction_us: u64,
    /// Time in queries, the wait for a server included.
    pub query_us: u64,
    /// Time clients waited for a server.
    pub wait_us: u64,
    /// Parse messages of clients, of named statements that are looked after.
    pub client_parses: u64,
    /// Parse messages to servers, likewise.
    pub server_parses: u64,
    /// Bind messages of clients, likewise.
    pub binds: u64,
    /// Logins completed.
    pub client_logins: u64,
}

macro_rules! each_counter {
    ($with:ident!($($arguments:tt)*)) => {
        $with!($($arguments)* server_assignments transactions queries received_bytes sent_bytes transaction_us
            query_us wait_us client_parses server_parses binds client_logins)
    };
}

macro_rules! add_all {
    ($into:ident, $from:ident, $($name:ident)*) => { $($into.$name += $from.$name;)* };
}

macro_rules! subtract_all {
    ($into:ident, $from:ident, $($name:ident)*) => { $($into.$name = $into.$name.saturating_sub($from.$name);)* };
}

impl Counters {
    /// Adds another pool's counts.
    pub(super) fn add(&mut self, other: &Counters) {
        each_counter!(add_all!(self, other,));
    }

    /// What has come since `earlier`.
    pub(super) fn since(mut self, earlier: &Counters) -> Counters {
        let this = &mut self;
        each_counter!(subtract_all!(this, earlier,));
        self
    }

    /// Per second of `period_us`; times per item they belong to.
    pub(super) fn averages(&self, period_us: u64) -> Counters {
        let per_second = |count: u64| (u128::from(count) * 1_000_000 / u128::from(period_us.max(1))) as u64;
        let per_item = |time: u64, items: u64| time.checked_div(items).unwrap_or(0);
        Counters {
            server_assignments: per_second(self.server_assignments),
            transactions: per_second(self.transactions),
            queries: per_second(self.queries),
            received_bytes: per_second(self.received_bytes),
            sent_bytes: per_second(self.sent_bytes),
            transaction_us: per_item(self.transaction_us, self.transactions),
            query_us: per_item(self.query_us, self.queries),
            wait_us: per_item(self.wait_us, self.server_assignments),
            client_parses: per_second(self.client_parses),
            server_parses: per_second(self.server_parses),
            binds: per_second(self.binds),
            client_logins: per_second(self.client_logins),
        }
    }
}

/// The counts of one pool: now, and as they were at the last two period ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stats {
    pub(super) now: Counters,
    pub(super) last: Counters,
    pub(super) before_last: Counters,
}

impl Stats {
    /// What has come since the period before the last one ended.
    pub(super) fn recent(&self) -> Counters {
        self.now.since(&self.before_last)
    }

    fn end_period(&mut self) {
        self.before_last = self.last;
        self.last = self.now;
    }
}

/// When the periods ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    pub(super) last: Instant,
    pub(super) before_last: Instant,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Meter { last: now, before_last: now }
    }
}

impl Core {
    #[inline]
    pub(super) fn count_received(&mut self, id: ClientId, bytes: usize) {
        let pool = self.clients.get(id.0).and_then(|c| c.pool).and_then(|p| self.pools.get_mut(p.0));
        if let Some(pool) = pool {
            pool.stats.now.received_bytes += bytes as u64;
        }
    }

    #[inline]
    pub(super) fn count_sent(&mut self, id: ServerId, bytes: usize, _now: Instant) {
        self.count(id, |stats| stats.sent_bytes += bytes as u64);
    }

    /// A request, and perhaps its transaction, has ended.
    pub(super) fn count_queries_done(
        &mut self,
        client_id: ClientId,
        server_id: ServerId,
        status: sluice_wire::pg::backend::TransactionStatus,
        now: Instant,
    ) {
        let (Some(client), Some(server)) = (self.clients.get_mut(client_id.0), self.servers.get(server_id.0))
        else {
            return;
        };
        let Some(pool) = self.pools.get_mut(server.pool.0) else { return };
        let stats = &mut pool.stats.now;
        let micros = |since: Instant| now.saturating_duration_since(since).as_micros() as u64;
        if let Some(since) = client.query_since.take() {
            stats.queries += 1;
            stats.query_us += micros(since);
        }
        if status == sluice_wire::pg::backend::TransactionStatus::Idle {
            stats.transactions += 1;
            let since = client.transaction_since.take();
            stats.transaction_us += since.map_or(0, micros);
            // The client may have waited first; the server is its own since it became active.
            let held =
                since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since.max(server.since)));
            pool.pressure.ended(held, now);
        }
    }

    pub(super) fn stats_tick(&mut self, now: Instant) {
        let period = self.config.global.stats_period;
        self.stats = Meter { last: now, before_last: self.stats.last };
        self.console.stats.end_period();
        for (_, pool) in self.pools.iter_mut() {
            pool.stats.end_period();
        }
        if self.config.global.log_stats {
            let average = self.average(now);
            let text = format!(
                "stats: {} xacts/s, {} queries/s, {} client parses/s, {} server parses/s, {} binds/s, \
                 {} client logins/s, in {} B/s, out {} B/s, xact {} us, query {} us, wait {} us",
                average.transactions,
                average.queries,
                average.client_parses,
                average.server_parses,
                average.binds,
                average.client_logins,
                average.received_bytes,
                average.sent_bytes,
                average.transaction_us,
                average.query_us,
                average.wait_us
            );
            self.log_plain(Level::Log, Event::Stats, &text);
        }
        self.timers.schedule(now + period, Tick::Stats);
    }

    /// Totals of all pools, the console's included.
    pub(super) fn total(&self) -> Counters {
        let mut total = self.console.stats.now;
        for (_, pool) in self.pools.iter() {
            total.add(&pool.stats.now);
        }
        total
    }

    /// Averages of all pools, the console's included, over the last whole period and the current one.
    pub(super) fn average(&self, now: Instant) -> Counters {
        let mut delta = self.console.stats.recent();
        for (_, pool) in self.pools.iter() {
            delta.add(&pool.stats.recent());
        }
        delta.averages(now.saturating_duration_since(self.stats.before_last).as_micros() as u64)
    }
}
