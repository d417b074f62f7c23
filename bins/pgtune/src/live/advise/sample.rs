//! A look at the statistics of a server: what is asked of each major, and what the answers amount to.
//!
//! Counters come with two moments: the mark, by which a reset is noticed, and since when they count. The queries are
//! text, the reading is pure; who asks is `super`.

use super::super::server::Row;

/// Idle in a transaction for longer than this is too long (A14), in seconds.
pub const IDLE_LIMIT_S: f64 = 300.0;

/// A counter of the statistics.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Counter {
    /// What it stands at.
    pub count: f64,
    /// The last reset, in seconds of the Unix epoch; another mark is another counter.
    pub mark_s: Option<f64>,
    /// How long it has counted, where that is known.
    pub counted_s: Option<f64>,
}

/// A table that waits for vacuum.
#[derive(Clone, PartialEq, Debug)]
pub struct DeadTable {
    /// Schema and name.
    pub name: String,
    /// Dead rows.
    pub dead: f64,
    /// Dead rows from which autovacuum comes.
    pub limit: f64,
}

/// Everything one look finds. None: this major does not count it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sample {
    /// The server's clock, in seconds of the Unix epoch.
    pub at_s: f64,
    /// When the server was started.
    pub started_s: f64,
    /// Checkpoints that were asked for, by WAL or by command.
    pub requested: Option<Counter>,
    /// All checkpoints.
    pub checkpoints: Option<Counter>,
    /// Bytes of WAL.
    pub wal_bytes: Option<Counter>,
    /// Times WAL had to be written because wal_buffers were full (14+).
    pub wal_buffers_full: Option<Counter>,
    /// Times the background writer stopped at bgwriter_lru_maxpages.
    pub maxwritten_clean: Option<Counter>,
    /// Bytes of temporary files.
    pub temp_bytes: Option<Counter>,
    /// Temporary files.
    pub temp_files: Option<Counter>,
    /// Blocks found in shared buffers.
    pub blocks_hit: Option<Counter>,
    /// Blocks read from outside.
    pub blocks_read: Option<Counter>,
    /// Sessions (14+).
    pub sessions: Option<Counter>,
    /// Milliseconds of all sessions (14+).
    pub session_ms: Option<Counter>,
    /// Clients now, we left out.
    pub clients: f64,
    /// Autovacuum workers now.
    pub workers: f64,
    /// Sessions idle in a transaction for longer than [`IDLE_LIMIT_S`].
    pub idle_count: f64,
    /// How long the longest idle one has been, in seconds.
    pub idle_s: f64,
    /// Tables over their threshold, worst first.
    pub dead_tables: Vec<DeadTable>,
    /// The database with the oldest frozen transaction, and its age.
    pub oldest: Option<(String, f64)>,
    /// Who holds back the removal of dead rows the longest.
    pub holder: Option<String>,
}

/// Asks how many clients there are; also between samples, for the peak.
pub const ACTIVITY: &str = "SELECT count(*) FILTER (WHERE backend_type = 'client backend'), \
     count(*) FILTER (WHERE backend_type = 'autovacuum worker'), \
     count(*) FILTER (WHERE idle AND for_s > 300), \
     coalesce(max(for_s) FILTER (WHERE idle), 0) \
     FROM (SELECT backend_type, state LIKE 'idle in transaction%' AS idle, \
           extract(epoch FROM pg_catalog.clock_timestamp() - state_change) AS for_s \
           FROM pg_catalog.pg_stat_activity WHERE pid <> pg_catalog.pg_backend_pid()) AS a";

const CLOCK: &str = "SELECT extract(epoch FROM pg_catalog.clock_timestamp()), \
                     extract(epoch FROM pg_catalog.pg_postmaster_start_time())";

const BGWRITER: &str =
    "SELECT maxwritten_clean, extract(epoch FROM stats_reset) FROM pg_catalog.pg_stat_bgwriter";

const OLDEST: &str =
    "SELECT datname, pg_catalog.age(datfrozenxid) FROM pg_catalog.pg_database ORDER BY 2 DESC LIMIT 1";

const HOLDER: &str = "SELECT who FROM (\
     SELECT 'session ' || pid, greatest(pg_catalog.age(backend_xmin), pg_catalog.age(backend_xid)) \
       FROM pg_catalog.pg_stat_activity \
       WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_catalog.pg_backend_pid() \
     UNION ALL SELECT 'replication slot ' || slot_name, greatest(pg_catalog.age(xmin), pg_catalog.age(catalog_xmin)) \
       FROM pg_catalog.pg_replication_slots WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL \
     UNION ALL SELECT 'prepared transaction ' || gid, pg_catalog.age(transaction) FROM pg_catalog.pg_prepared_xacts\
     ) AS holders (who, age) ORDER BY age DESC LIMIT 1";

/// The questions of one look at a server of this major, in the order [`read`] takes their answers.
pub fn queries(major: u32) -> [String; 9] {
    [
        CLOCK.to_owned(),
        checkpoints(major).to_owned(),
        wal(major).to_owned(),
        BGWRITER.to_owned(),
        databases(major),
        ACTIVITY.to_owned(),
        dead_tables(major),
        OLDEST.to_owned(),
        HOLDER.to_owned(),
    ]
}

/// Requested checkpoints, all of them, the last reset.
fn checkpoints(major: u32) -> &'static str {
    match major {
        ..=16 => {
            "SELECT checkpoints_req, checkpoints_timed + checkpoints_req, extract(epoch FROM stats_reset) \
             FROM pg_catalog.pg_stat_bgwriter"
        }
        17 => {
            "SELECT num_requested, num_timed + num_requested, extract(epoch FROM stats_reset) \
             FROM pg_catalog.pg_stat_checkpointer"
        }
        // num_timed counts those that an idle server skips.
        18.. => {
            "SELECT num_requested, num_done, extract(epoch FROM stats_reset) \
             FROM pg_catalog.pg_stat_checkpointer"
        }
    }
}

/// wal_buffers_full, bytes of WAL, the last reset.
fn wal(major: u32) -> &'static str {
    match major {
        ..=13 => {
            "SELECT NULL, CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN \
             pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0') END, NULL"
        }
        14.. => {
            "SELECT wal_buffers_full, wal_bytes, extract(epoch FROM stats_reset) FROM pg_catalog.pg_stat_wal"
        }
    }
}

/// What databases count: temp_bytes, temp_files, hit and read blocks, sessions and their milliseconds (14+).
const DATABASE: [&str; 6] = ["temp_bytes", "temp_files", "blks_hit", "blks_read", "sessions", "session_time"];

/// The last reset, then of each of [`DATABASE`] the sum over databases and the sum of their rates a second. Each database
/// is reset on its own; one that never was has counted no longer than there has been an archiver to count.
fn databases(major: u32) -> String {
    let known = if major < 14 { 4 } else { DATABASE.len() };
    let columns = DATABASE.iter().enumerate().map(|(at, name)| {
        if at < known {
            format!(", sum(d.{name}), sum(d.{name} / d.counted_s)")
        } else {
            ", NULL, NULL".to_owned()
        }
    });
    format!(
        "SELECT extract(epoch FROM max(d.stats_reset)){} FROM (SELECT d.*, greatest(1, extract(epoch FROM \
         pg_catalog.clock_timestamp() - coalesce(d.stats_reset, a.stats_reset))) AS counted_s \
         FROM pg_catalog.pg_stat_database AS d, pg_catalog.pg_stat_archiver AS a) AS d",
        columns.collect::<String>()
    )
}

/// Tables of this database over the threshold of autovacuum, by their own options where they have some.
fn dead_tables(major: u32) -> String {
    let option = |name: &str| {
        format!(
            "coalesce((SELECT option_value::float8 FROM pg_catalog.pg_options_to_table(c.reloptions) \
             WHERE option_name = '{name}'), pg_catalog.current_setting('{name}')::float8)"
        )
    };
    let computed = format!(
        "{} + {} * greatest(c.reltuples, 0)",
        option("autovacuum_vacuum_threshold"),
        option("autovacuum_vacuum_scale_factor")
    );
    let threshold = match major {
        ..=17 => computed,
        18.. => {
            let most = option("autovacuum_vacuum_max_threshold");
            format!("CASE WHEN {most} >= 0 THEN least({computed}, {most}) ELSE {computed} END")
        }
    };
    format!(
        "SELECT name, dead, threshold FROM (\
         SELECT s.schemaname || '.' || s.relname AS name, s.n_dead_tup AS dead, {threshold} AS threshold \
         FROM pg_catalog.pg_stat_user_tables AS s JOIN pg_catalog.pg_class AS c ON c.oid = s.relid \
         WHERE NOT 'autovacuum_enabled=false' = ANY (coalesce(c.reloptions, '{{}}'))) AS t \
         WHERE dead > threshold ORDER BY dead - threshold DESC LIMIT 100"
    )
}

/// What the answers to [`queries`] amount to; None if one has not the shape it must have.
pub fn read(answers: &[Vec<Row>]) -> Option<Sample> {
    let [clock, checkpoints, wal, bgwriter, databases, activity, dead, oldest, holder] = answers else {
        return None;
    };
    let clock = numbers::<2>(clock)?;
    let [requested, total, checkpoint_reset] = numbers(checkpoints)?;
    let [full, bytes, wal_reset] = numbers(wal)?;
    let [maxwritten, bgwriter_reset] = numbers(bgwriter)?;
    let databases = numbers::<{ 1 + 2 * DATABASE.len() }>(databases)?;
    let at_s = clock[0]?;
    let counter = |count: Option<f64>, reset_s: Option<f64>| {
        Some(Counter { count: count?, mark_s: reset_s, counted_s: reset_s.map(|reset_s| at_s - reset_s) })
    };
    let database = |at: usize| {
        let (count, rate) = (databases[1 + 2 * at]?, databases[2 + 2 * at]?);
        // Nothing in any time is nothing.
        let counted_s = if count == 0.0 { 1.0 } else { count / rate };
        Some(Counter { count, mark_s: databases[0], counted_s: Some(counted_s) })
    };
    let mut sample = Sample {
        at_s,
        started_s: clock[1]?,
        requested: counter(requested, checkpoint_reset),
        checkpoints: counter(total, checkpoint_reset),
        wal_bytes: counter(bytes, wal_reset),
        wal_buffers_full: counter(full, wal_reset),
        maxwritten_clean: counter(maxwritten, bgwriter_reset),
        temp_bytes: database(0),
        temp_files: database(1),
        blocks_hit: database(2),
        blocks_read: database(3),
        sessions: database(4),
        session_ms: database(5),
        dead_tables: dead.iter().filter_map(dead_table).collect(),
        oldest: oldest.first().and_then(|row| Some((row.first()?.clone()?, number(row, 1)?))),
        holder: holder.first().and_then(|row| row.first()?.clone()),
        ..Sample::default()
    };
    look(&mut sample, activity)?;
    Some(sample)
}

/// Notes the answer to [`ACTIVITY`] in a sample.
pub fn look(sample: &mut Sample, answer: &[Row]) -> Option<()> {
    let [clients, workers, idle_count, idle_s] = numbers(answer)?;
    (sample.clients, sample.workers) = (clients?, workers?);
    (sample.idle_count, sample.idle_s) = (idle_count?, idle_s?);
    Some(())
}

fn dead_table(row: &Row) -> Option<DeadTable> {
    Some(DeadTable { name: row.first()?.clone()?, dead: number(row, 1)?, limit: number(row, 2)? })
}

/// The numbers of the only row; None unless there are so many columns.
fn numbers<const N: usize>(rows: &[Row]) -> Option<[Option<f64>; N]> {
    let row = rows.first().filter(|row| row.len() == N)?;
    Some(std::array::from_fn(|column| number(row, column)))
}

fn number(row: &Row, column: usize) -> Option<f64> {
    row.get(column)?.as_deref()?.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Vec<Row> {
        vec![text.split(' ').map(|cell| Some(cell.to_owned()).filter(|cell| cell != "-")).collect()]
    }

    fn answers() -> Vec<Vec<Row>> {
        vec![
            row("1000.5 100"),
            row("3 10 50"),
            row("- 1e9 -"),
            row("7 60"),
            row("70 1 .5 2 .5 3 .5 4 .5 5 .5 - -"),
            row("8 1 2 301.5"),
            row("public.t 100 50"),
            row("postgres 12345"),
            vec![],
        ]
    }

    #[test]
    fn answers_become_a_sample() {
        let sample = read(&answers()).unwrap();
        assert_eq!((sample.at_s, sample.started_s, sample.clients), (1000.5, 100.0, 8.0));
        assert_eq!(
            sample.checkpoints,
            Some(Counter { count: 10.0, mark_s: Some(50.0), counted_s: Some(950.5) })
        );
        assert_eq!(sample.wal_buffers_full, None);
        assert_eq!(sample.wal_bytes, Some(Counter { count: 1e9, mark_s: None, counted_s: None }));
        assert_eq!(sample.session_ms, None);
        assert_eq!(sample.sessions, Some(Counter { count: 5.0, mark_s: Some(70.0), counted_s: Some(10.0) }));
        assert_eq!(sample.dead_tables.len(), 1);
        assert_eq!(sample.oldest, Some(("postgres".to_owned(), 12345.0)));
        assert_eq!((sample.idle_count, sample.idle_s, sample.holder), (2.0, 301.5, None));
    }

    #[test]
    fn answers_of_another_shape_are_none() {
        for at in [0, 1, 2, 3, 4, 5] {
            for wrong in [vec![], row("1"), row("x y z")] {
                let mut answers = answers();
                answers[at] = wrong.clone();
                let counted_anyway = at != 0
                    && at != 5
                    && wrong.first().is_some_and(|row| row.len() == 3)
                    && matches!(at, 1 | 2);
                assert_eq!(read(&answers).is_some(), counted_anyway, "{at} {wrong:?}");
            }
        }
        assert_eq!(read(&answers()[..8]), None);
    }

    #[test]
    fn every_major_is_asked_in_its_own_words() {
        let text = |major| queries(major).join("\n");
        assert!(text(13).contains("pg_current_wal_insert_lsn") && !text(13).contains("d.sessions"));
        assert!(text(14).contains("pg_stat_wal") && text(14).contains("d.sessions"));
        assert!(text(16).contains("checkpoints_timed") && text(17).contains("num_timed"));
        assert!(text(18).contains("num_done") && text(18).contains("max_threshold"));
        assert!(text(18).contains("for_s > 300"), "the limit of A14");
    }
}
