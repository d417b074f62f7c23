//! Plans with known values: the native rules, the budget, the WAL's volume, the pooler, the seed profile.

use crate::common::{codes, plan, rendered, value};
use pgtune::tune::Plan;
use pgtune::warnings::Code;

/// Whole percent of the worst case, before and after the budget.
fn worst(plan: &Plan) -> (u64, u64) {
    (plan.budget.before.0 / 1000, plan.budget.after.0 / 1000)
}

fn values(plan: &Plan, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| value(plan, name)).collect()
}

const MEMORY: [&str; 6] = [
    "max_connections",
    "shared_buffers",
    "effective_cache_size",
    "maintenance_work_mem",
    "autovacuum_work_mem",
    "work_mem",
];
const PARALLEL: [&str; 4] = [
    "max_worker_processes",
    "max_parallel_workers_per_gather",
    "max_parallel_workers",
    "max_parallel_maintenance_workers",
];

#[test]
fn check_values() {
    for (arguments, memory, before_after, parallel) in [
        ("128MB --cpus 1", ["25", "19MB", "96MB", "8MB", "5MB", "2176kB"], (964, 89), ["", "", "", ""]),
        ("512MB --cpus 1", ["52", "76MB", "384MB", "32MB", "21MB", "4MB"], (262, 88), ["", "", "", ""]),
        ("2GB --cpus 2", ["174", "512MB", "1536MB", "128MB", "85MB", "4MB"], (97, 89), ["", "", "", ""]),
        (
            "2GB --cpus 4 --pooled --pool-size 50",
            ["90", "512MB", "1536MB", "128MB", "85MB", "5MB"],
            (71, 71),
            ["8", "2", "4", "2"],
        ),
        (
            "2GB --cpus 4 --profile oltp --connections 1000",
            ["1000", "294MB", "1536MB", "128MB", "8MB", "1MB"],
            (331, 89),
            ["8", "2", "4", "2"],
        ),
        (
            "2GB --cpus 4 --profile dw",
            ["40", "512MB", "1536MB", "256MB", "85MB", "5MB"],
            (53, 53),
            ["8", "2", "4", "2"],
        ),
        (
            "16GB --cpus 8 --profile oltp --disk nvme",
            ["300", "4GB", "12GB", "1GB", "682MB", "13MB"],
            (74, 74),
            ["12", "4", "8", "4"],
        ),
        (
            "64GB --cpus 16 --profile oltp",
            ["300", "16GB", "48GB", "4GB", "2GB", "51MB"],
            (73, 73),
            ["20", "4", "16", "4"],
        ),
        (
            "128GB --cpus 32 --profile mixed",
            ["100", "32GB", "96GB", "8GB", "2GB", "124MB"],
            (47, 47),
            ["36", "4", "32", "4"],
        ),
    ] {
        let plan = plan(&format!("--memory {arguments}"));
        assert_eq!(values(&plan, &MEMORY), memory, "{arguments}");
        assert_eq!(worst(&plan), before_after, "{arguments}");
        assert_eq!(values(&plan, &PARALLEL), parallel, "{arguments}");
    }
}

#[test]
fn workers_come_with_their_cost_limit() {
    const NAMES: [&str; 3] = ["autovacuum_max_workers", "autovacuum_vacuum_cost_limit", "io_workers"];
    for (arguments, expected) in [
        ("64GB --cpus 15", ["", "", "4"]),
        ("64GB --cpus 16", ["4", "300", "4"]),
        ("128GB --cpus 32", ["5", "400", "8"]),
        ("16GB --cpus 12", ["", "", ""]),
        ("16GB --cpus 13", ["", "", "4"]),
        ("16GB --cpus 4096", ["5", "400", "32"]),
    ] {
        assert_eq!(values(&plan(&format!("--memory {arguments}")), &NAMES), expected, "{arguments}");
    }
}

#[test]
fn the_wal_fits_its_volume() {
    for (profile, disk, expected) in [
        ("oltp", "--wal-disk 10GB", ["1536MB", "6GB"]),
        ("oltp", "--wal-disk 2GB", ["304MB", "1216MB"]),
        ("oltp", "--wal-disk 13GB", ["1984MB", "7984MB"]),
        // 60 % of this is just 8GB.
        ("oltp", "--wal-disk 13654MB", ["2GB", "8GB"]),
        ("oltp", "--wal-disk 16GB --wal-shared", ["512MB", "2GB"]),
        ("web", "--wal-disk 16GB --wal-shared", ["512MB", "2GB"]),
        ("oltp", "--wal-disk 100MB", ["64MB", "256MB"]),
        ("dw", "--wal-disk 1TB", ["4GB", "16GB"]),
        ("desktop", "", ["100MB", "2GB"]),
    ] {
        let plan = plan(&format!("--memory 16GB --cpus 4 --profile {profile} {disk}"));
        assert_eq!(values(&plan, &["min_wal_size", "max_wal_size"]), expected, "{profile} {disk}");
        assert_eq!(codes(&plan).contains(&"wal-disk-unknown"), disk.is_empty(), "{profile} {disk}");
        assert_eq!(codes(&plan).contains(&"wal-disk-small"), disk == "--wal-disk 100MB", "{profile} {disk}");
    }
}

#[test]
fn given_connections_stay() {
    for connections in [1, 3, 4, 5, 19, 20, 100, 5000, 262_143] {
        let plan = plan(&format!("--memory 2GB --cpus 2 --connections {connections}"));
        assert_eq!(value(&plan, "max_connections"), connections.to_string());
        assert_eq!(codes(&plan).contains(&"few-connections"), connections < 20, "{connections}");
        assert_eq!(codes(&plan).contains(&"too-many-backends"), connections > 262_000, "{connections}");
    }
    let reserved = |n: u64| {
        let plan = plan(&format!("--memory 2GB --cpus 2 --connections {n}"));
        (value(&plan, "superuser_reserved_connections"), value(&plan, "reserved_connections"))
    };
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(reserved(1), pair("0", ""));
    assert_eq!(reserved(3), pair("2", ""));
    assert_eq!(reserved(4), pair("", ""));
    assert_eq!(reserved(5), pair("", "1"));
    assert_eq!(reserved(6), pair("", "2"));
}

#[test]
fn the_budget_can_be_left_alone_and_tells_then() {
    let plan = plan("--memory 512MB --cpus 1 --no-budget");
    assert_eq!(value(&plan, "max_connections"), "200");
    assert_eq!(worst(&plan), (262, 262));
    assert!(codes(&plan).contains(&"budget-exceeded") && plan.is_risky());
}

#[test]
fn what_cannot_fit_is_a_risk() {
    let plan = plan("--memory 64MB --cpus 1 --connections 1000");
    assert_eq!(value(&plan, "max_connections"), "1000");
    assert_eq!(values(&plan, &["work_mem", "shared_buffers"]), ["1MB", "6MB"]);
    assert!(codes(&plan).contains(&"budget-exceeded") && plan.is_risky());
}

#[test]
fn a_small_shm_stops_parallel_builds() {
    for (shm, workers, warned) in [("64MB", "0", true), ("65MB", "2", false)] {
        let plan = plan(&format!("--memory 4GB --cpus 4 --shm {shm}"));
        assert_eq!(value(&plan, "max_parallel_maintenance_workers"), workers);
        assert_eq!(codes(&plan).contains(&"shm-small"), warned);
    }
    let plan = plan("--memory 4GB --cpus 1 --shm 64MB");
    assert_eq!(value(&plan, "max_parallel_maintenance_workers"), "0");
}

#[test]
fn features_are_used_where_they_exist() {
    let names = ["wal_compression", "io_method", "io_workers"];
    for (arguments, expected, warned) in [
        ("", ["on", "worker", "4"], false),
        ("--with lz4", ["lz4", "worker", "4"], false),
        ("--with zstd,io_uring", ["zstd", "io_uring", ""], false),
        ("--with lz4 --pg-version 14", ["on", "", ""], true),
        ("--with io_uring --pg-version 17", ["on", "", ""], true),
        ("--with io_uring --os macos", ["on", "worker", "4"], true),
    ] {
        let plan = plan(&format!("--memory 16GB --cpus 16 {arguments}"));
        assert_eq!(values(&plan, &names), expected, "{arguments}");
        assert_eq!(codes(&plan).contains(&"feature-unknown"), warned, "{arguments}");
    }
}

#[test]
fn other_systems() {
    let names = ["effective_io_concurrency", "maintenance_io_concurrency", "huge_pages"];
    for (arguments, expected) in [
        ("--os linux --pg-version 12", ["200", "", "try"]),
        ("--os linux --pg-version 13", ["200", "200", "try"]),
        ("--os macos --pg-version 17", ["", "", "try"]),
        ("--os macos --pg-version 18", ["200", "200", "try"]),
        ("--os windows --pg-version 18 --disk nvme", ["1000", "1000", "try"]),
    ] {
        assert_eq!(
            values(&plan(&format!("--memory 16GB --cpus 4 {arguments}")), &names),
            expected,
            "{arguments}"
        );
    }
    let windows = |major| {
        value(
            &plan(&format!("--memory 128GB --cpus 4 --os windows --pg-version {major}")),
            "maintenance_work_mem",
        )
    };
    assert_eq!((windows(17), windows(18)), ("2047MB".into(), "8GB".into()));
}

#[test]
fn extras_are_asked_for() {
    let both = plan("--memory 4GB --cpus 2 --extras guards,observe");
    let expected = [
        ("idle_in_transaction_session_timeout", "60s"),
        ("client_connection_check_interval", "10s"),
        ("temp_file_limit", ""),
        ("track_io_timing", "on"),
        ("log_lock_waits", "on"),
        ("log_temp_files", "10MB"),
        ("log_checkpoints", "on"),
        ("log_autovacuum_min_duration", "10s"),
        ("compute_query_id", "on"),
    ];
    for (name, text) in expected {
        assert_eq!(value(&both, name), text, "{name}");
        assert_eq!(value(&plan("--memory 4GB --cpus 2"), name), "", "{name}");
    }
    let old = plan("--memory 4GB --cpus 2 --extras guards,observe --pg-version 13 --profile dw");
    for name in
        ["idle_in_transaction_session_timeout", "client_connection_check_interval", "compute_query_id"]
    {
        assert_eq!(value(&old, name), "", "{name}");
    }
}

#[test]
fn a_reserve_is_taken_off() {
    let (with, without) = (plan("--memory 18GB --reserve 2GB --cpus 4"), plan("--memory 16GB --cpus 4"));
    assert_eq!(with.settings, without.settings);
}

fn pool(plan: &Plan, name: &str) -> String {
    let pooling = &plan.pooling;
    let mut lines =
        [&pooling.pooler, &pooling.app, &pooling.throttle, &pooling.breaker].into_iter().flatten();
    lines.find(|line| line.name == name).unwrap().amount.to_string()
}

fn pools(plan: &Plan, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| pool(plan, name)).collect()
}

#[test]
fn the_pool_of_fifty() {
    let plan = plan("--memory 2GB --cpus 4 --pooled --pool-size 50");
    assert_eq!(
        pools(&plan, &["default_pool_size", "min_pool_size", "reserve_pool_size", "max_client_conn"]),
        ["50", "10", "10", "1000"]
    );
    assert_eq!(pools(&plan, &["max_db_connections", "query_wait_timeout"]), ["60", "3"]);
    assert_eq!(
        pools(&plan, &["DB_POOL_SIZE", "DB_MAX_OVERFLOW", "DB_POOL_TIMEOUT", "MAX_CONCURRENT_DB_REQUESTS"]),
        ["25", "10", "4", "35"]
    );
    assert_eq!(
        pools(&plan, &["queue_max_wait_ms", "abort_failure_ms", "patience_ms"]),
        ["3000", "4000", "5000"]
    );
    assert_eq!(pools(&plan, &["slow_call_ms", "permit_deadline_ms"]), ["5000", "10000"]);
    assert_eq!(plan.pooling.processes_allowed, 28);
    assert_eq!((plan.pooling.descriptors, plan.pooling.limit_nofile), (1124, 2048));
}

#[test]
fn pools_are_sized_for_the_load() {
    let size = |arguments: &str| pool(&plan(&format!("--memory 16GB {arguments}")), "default_pool_size");
    assert_eq!(size("--cpus 4"), "9");
    assert_eq!(size("--cpus 1.5 --spindles 0"), "2");
    assert_eq!(size("--cpus 4 --rate 1000 --db-time 20ms"), "20");
    assert_eq!(size("--cpus 4 --rate 1000.5 --db-time 20ms"), "21");
    assert_eq!(size("--cpus 4 --threads 10 --conns-per-request 3"), "21");
    assert_eq!(size("--cpus 4 --threads 10 --conns-per-request 3 --pools 2"), "11");
    assert_eq!(size("--cpus 4 --pools 100"), "2");
}

#[test]
fn processes_fit_the_pooler() {
    for (processes, clients) in [(1, 100), (28, 1000), (29, 1000), (200, 1000), (500, 1000), (3, 10)] {
        let plan = plan(&format!(
            "--memory 16GB --cpus 4 --pool-size 50 --app-processes {processes} --max-clients {clients}"
        ));
        let app: Vec<u64> =
            pools(&plan, &["DB_POOL_SIZE", "DB_MAX_OVERFLOW"]).iter().map(|n| n.parse().unwrap()).collect();
        assert!(processes * (app[0] + app[1]) <= clients, "{processes} of {app:?} in {clients}");
        // One more would not fit, or is more than was wanted.
        let more = app[0] + 1;
        assert!(app[0] == 25 || processes * (more + (2 * more).div_ceil(5)) > clients, "{processes} {app:?}");
    }
    let grown = plan("--memory 16GB --cpus 4 --pool-size 50 --app-processes 100");
    assert_eq!(pools(&grown, &["max_client_conn", "DB_POOL_SIZE"]), ["3850", "25"]);
    let crowded = plan("--memory 16GB --cpus 4 --app-processes 1000 --max-clients 1000");
    assert!(codes(&crowded).contains(&"app-exceeds-pooler"));
}

#[test]
fn a_pool_larger_than_the_server_is_a_risk() {
    // need 60 fits 70 = 60 + 3 + 2 + 5 connections, and no fewer.
    for (connections, risky) in [(70, false), (69, true)] {
        let plan = plan(&format!("--memory 16GB --cpus 4 --pool-size 50 --connections {connections}"));
        assert_eq!(codes(&plan).contains(&Code::PoolExceedsConnections.word()), risky, "{connections}");
    }
    let huge = plan("--memory 64TB --cpus 4 --pooled --pools 1000000 --pool-size 1000000");
    assert_eq!(value(&huge, "max_connections"), "262143");
    assert!(codes(&huge).contains(&"pool-exceeds-connections"));
    // Nobody asked for a pool.
    assert!(!codes(&plan("--memory 64GB --cpus 64 --profile dw")).contains(&"pool-exceeds-connections"));
}

#[test]
fn waits_nest_whatever_callers_wait() {
    for tenths in 30..400 {
        let plan =
            plan(&format!("--memory 16GB --cpus 4 --pooled --http-timeout {}", f64::from(tenths) / 10.0));
        assert!(!codes(&plan).contains(&"timeout-inverted"), "{tenths}");
    }
}

#[test]
fn the_seed_byte_for_byte() {
    let settings: Vec<String> = rendered("--profile seed --memory 2GB --cpus 2")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let expected = "\
shared_buffers = 512MB
effective_cache_size = 1536MB
work_mem = 16MB
maintenance_work_mem = 256MB
wal_buffers = 32MB
min_wal_size = 2GB
max_wal_size = 8GB
checkpoint_completion_target = 0.9
wal_compression = on
random_page_cost = 1.1
effective_io_concurrency = 200
default_statistics_target = 100
autovacuum = on
autovacuum_max_workers = 4
autovacuum_naptime = 30s
autovacuum_vacuum_threshold = 25
autovacuum_analyze_threshold = 25";
    assert_eq!(settings.join("\n"), expected);
    for memory in ["64MB", "256GB"] {
        let other = plan(&format!("--profile seed --memory {memory} --cpus 64 --pg-version 12"));
        assert_eq!(other.settings, plan("--profile seed --memory 2GB --cpus 2").settings, "{memory}");
    }
}

#[test]
fn the_seeds_environment_and_pooler() {
    let expected = "\
DB_POOL_SIZE=25
DB_MAX_OVERFLOW=10
DB_POOL_TIMEOUT=30
MAX_CONCURRENT_DB_REQUESTS=50
DB_USE_PGBOUNCER=true
CLEANUP_UTIL_THRESHOLD=70
CLEANUP_MIN_INTERVAL_SEC=10
";
    assert_eq!(rendered("--profile seed --memory 2GB --format env"), expected);
    let expected = "\
[pgbouncer]
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 50
min_pool_size = 10
reserve_pool_size = 10
reserve_pool_timeout = 5
server_connect_timeout = 15
server_login_retry = 15
query_timeout = 0
query_wait_timeout = 120
client_idle_timeout = 0
client_login_timeout = 60
autodb_idle_timeout = 3600
max_packet_size = 2147483647
tcp_keepalive = 1
tcp_keepcnt = 3
tcp_keepidle = 600
tcp_keepintvl = 30
";
    assert_eq!(rendered("--profile seed --memory 2GB --format ini"), expected);
}

#[test]
fn the_seeds_warnings() {
    for (multiplier, pooled, unpooled) in
        [("1", "124.1", "155.4"), ("1.5", "147.6", "194.5"), ("2", "171", "233.5")]
    {
        let plan =
            plan(&format!("--profile seed --memory 2GB --cpus 2 --worst-case {multiplier} --wal-disk 15GB"));
        let expected = [
            "budget-exceeded",
            "wal-buffers-above-auto",
            "autovacuum-threshold-noop",
            "wal-disk-small",
            "app-concurrency",
            "timeout-inverted",
        ];
        let found: Vec<_> = codes(&plan).into_iter().filter(|code| *code != "nofile").collect();
        assert_eq!(found, expected);
        let text = &plan.warnings[0].text;
        assert!(text.contains(&format!("takes {pooled} %")), "{text}");
        assert!(text.contains(&format!(", {unpooled} % with the 100")), "{text}");
        assert!(plan.warnings.iter().any(|w| w.text.contains("15 requests always wait")));
    }
    let roomy = plan("--profile seed --memory 8GB --wal-disk 16GB --http-timeout 150");
    assert!(!codes(&roomy).contains(&"budget-exceeded") && !codes(&roomy).contains(&"wal-disk-small"));
    let mut limited = plan("--profile seed --memory 2GB").facts;
    for (descriptors, warned) in [(1123, true), (1124, false)] {
        limited.descriptors = Some(descriptors);
        let wishes = plan("--profile seed --memory 2GB").wishes;
        assert_eq!(
            codes(&pgtune::tune::plan(&wishes, &limited)).contains(&"nofile"),
            warned,
            "{descriptors}"
        );
    }
}

#[test]
fn same_input_same_bytes() {
    for format in
        ["conf", "alter-system", "env", "ini", "throttle", "breaker", "sysctl", "k8s", "patroni", "json"]
    {
        let arguments = format!("--memory 3GB --cpus 2.5 --format {format} --explain");
        assert_eq!(rendered(&arguments), rendered(&arguments));
    }
}
