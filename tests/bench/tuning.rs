//! PostgreSQL as it comes, and on what pgtune prints for this machine: the same data, the same queries, in turn.
//!
//! The figures are of this machine and of data that fits its memory. A ratio near one is a finding too: most settings
//! matter only to queries that need what they give.

use crate::{Choice, median, number};
use serde_json::{Map, Value, json};
use sluice_tests::postgres;
use sluice_tests::trial::{Started, Trial};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A kind of query.
struct Row {
    name: &'static str,
    clients: u32,
    script: &'static str,
    /// Indexes that are there for this row only.
    indexes: &'static [(&'static str, &'static str)],
}

/// The four kinds of the original design; and one to which the settings do harm.
const ROWS: [Row; 5] = [
    Row {
        name: "simple select",
        clients: 8,
        script: "\\set id random(1, 1000000)\nSELECT customer, total FROM orders WHERE id = :id;\n",
        indexes: &[],
    },
    Row {
        name: "complex join",
        clients: 2,
        script: "\\set day random(1, 300)\n\
            SELECT c.region, l.product % 10 AS kind, count(*), sum(l.amount * l.price)\n\
            FROM customers c JOIN orders o ON o.customer = c.id JOIN lines l ON l.order_id = o.id\n\
            WHERE o.day BETWEEN :day AND :day + 60 GROUP BY 1, 2 ORDER BY 4 DESC;\n",
        indexes: &[],
    },
    Row {
        name: "sort and aggregate",
        clients: 2,
        script: "\\set day random(1, 180)\n\
            SELECT customer, sum(total), rank() OVER (ORDER BY sum(total) DESC),\n\
            percentile_cont(0.5) WITHIN GROUP (ORDER BY total)\n\
            FROM orders WHERE day >= :day GROUP BY customer ORDER BY 2 DESC LIMIT 100;\n",
        indexes: &[],
    },
    Row {
        name: "bulk insert",
        clients: 2,
        script: "INSERT INTO sink (customer, day, total, note)\n\
            SELECT n % 50000, n % 365, n / 7.0, repeat('x', 40) FROM generate_series(1, 50000) n;\n",
        indexes: &[],
    },
    // A fifth of the table, grouped by a column its rows are not in the order of. With random_page_cost = 1.1 the planner
    // walks the index on that column, which looks at every row of the table; with 4 it sorts what the other index finds.
    Row {
        name: "misled by an index",
        clients: 2,
        script: "\\set day random(295, 305)\n\
            SELECT customer, sum(total), rank() OVER (ORDER BY sum(total) DESC),\n\
            percentile_cont(0.5) WITHIN GROUP (ORDER BY total)\n\
            FROM orders WHERE day >= :day GROUP BY customer ORDER BY 2 DESC LIMIT 100;\n",
        indexes: &[("orders_customer", "orders (customer)"), ("orders_day", "orders (day)")],
    },
];

/// 50,000 customers, a million orders, three million lines: about 300 MB. Nothing is sorted yet that a query sorts.
const SCHEMA: [&str; 8] = [
    "CREATE TABLE customers (id int PRIMARY KEY, region text, name text)",
    "CREATE TABLE orders (id int PRIMARY KEY, customer int, day int, total numeric(12, 2))",
    "CREATE TABLE lines (order_id int, product int, amount int, price numeric(10, 2))",
    "CREATE TABLE sink (id bigserial PRIMARY KEY, customer int, day int, total numeric, note text)",
    "INSERT INTO customers SELECT n, 'region ' || n % 20, md5(n::text) FROM generate_series(1, 50000) n",
    "INSERT INTO orders SELECT n, 1 + hashint4(n) & 32767, n % 365, (n % 9973) * 1.5 FROM generate_series(1, 1000000) n",
    "INSERT INTO lines SELECT 1 + n % 1000000, n % 5000, 1 + n % 9, (n % 997) * 0.99 FROM generate_series(1, 3000000) n",
    "VACUUM (ANALYZE, FREEZE)",
];

/// A configuration with a name.
struct Contender {
    name: &'static str,
    conf: String,
}

/// Measures all chosen rows and prints the table.
pub(crate) fn run(pgtune: &str, choice: &Choice) -> Value {
    let trial = Trial::system().durable();
    let stock = std::fs::read_to_string(trial.data().join("postgresql.conf")).unwrap();
    let printed = printed(pgtune, &trial);
    let contenders = [
        Contender { name: "as it comes", conf: stock.clone() },
        // As an included file would have it: behind what initdb wrote.
        Contender { name: "pgtune", conf: format!("{stock}\n{printed}") },
    ];
    eprintln!("creating the data");
    load(&trial, &contenders[1]);
    let rows: Vec<&Row> = ROWS.iter().filter(|row| choice.has(row.name)).collect();
    let mut samples: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for round in 1..=number("ROUNDS", 3) {
        for contender in &contenders {
            let server = start(&trial, contender);
            for row in &rows {
                eprintln!("round {round}: {} with {}", row.name, contender.name);
                let figure = measure(row, &server, round);
                samples.entry((row.name, contender.name)).or_default().push(figure);
            }
            server.stop();
        }
    }
    let figures: Vec<(&Row, f64, f64)> = rows
        .iter()
        .map(|row| {
            let of = |contender: &Contender| median(samples[&(row.name, contender.name)].clone());
            (*row, of(&contenders[0]), of(&contenders[1]))
        })
        .collect();
    print(&figures, &printed);
    json(&figures, &printed)
}

/// What pgtune prints for this machine and this server.
fn printed(pgtune: &str, trial: &Trial) -> String {
    let mut command = Command::new(pgtune);
    command.args(["-q", "--pg-version", &trial.major(), "--data-dir"]).arg(trial.data());
    let output = command.output().unwrap_or_else(|error| panic!("{pgtune}: {error}"));
    assert!(output.status.success(), "{pgtune}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn start(trial: &Trial, contender: &Contender) -> Started {
    trial.start(&contender.conf).unwrap_or_else(|log| panic!("{}: {log}", contender.name))
}

fn load(trial: &Trial, contender: &Contender) {
    let server = start(trial, contender);
    let mut client = server.superuser();
    for statement in SCHEMA {
        client.query(statement).unwrap();
    }
    drop(client);
    server.stop();
}

/// Milliseconds of one query, by pgbench, after a second that does not count. The sink is empty before. In a round all
/// contenders get the same random numbers, as a query takes half or twice the time by what it is asked for.
fn measure(row: &Row, server: &Started, round: u32) -> f64 {
    let mut client = server.superuser();
    client.query("TRUNCATE sink RESTART IDENTITY").unwrap();
    for (name, on) in row.indexes {
        client.query(&format!("CREATE INDEX {name} ON {on}")).unwrap();
    }
    client.query("CHECKPOINT").unwrap();
    let script = server.socket_directory().join("script.sql");
    std::fs::write(&script, row.script).unwrap();
    pgbench(row, server.socket_directory(), &script, (1, round));
    let figure = pgbench(row, server.socket_directory(), &script, (number("SECONDS", 5), round));
    for (name, _) in row.indexes {
        client.query(&format!("DROP INDEX {name}")).unwrap();
    }
    figure
}

fn pgbench(row: &Row, socket: &Path, script: &Path, (seconds, seed): (u32, u32)) -> f64 {
    let mut command = Command::new(postgres::bin().join("pgbench"));
    command
        .env("PGHOST", socket)
        .env("PGPORT", "5432")
        .env("PGUSER", "postgres")
        .env("PGDATABASE", "postgres");
    command
        .args(["-n", "-j", "2", "-c", &row.clients.to_string(), "-T", &seconds.to_string()])
        .args(["--random-seed", &seed.to_string(), "-f"])
        .arg(script);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let latency = text.lines().find_map(|line| line.strip_prefix("latency average = ")?.strip_suffix(" ms"));
    let latency = latency.and_then(|number| number.trim().parse().ok());
    latency.unwrap_or_else(|| panic!("{}: {text}\n{}", row.name, String::from_utf8_lossy(&output.stderr)))
}

fn print(figures: &[(&Row, f64, f64)], printed: &str) {
    println!(
        "PostgreSQL as it comes and on pgtune's settings for this machine: ms a query, medians of the rounds"
    );
    println!();
    println!("{:<20} {:>8} {:>12} {:>12} {:>8}", "query", "clients", "as it comes", "pgtune", "ratio");
    for (row, stock, tuned) in figures {
        println!("{:<20} {:>8} {stock:>12.3} {tuned:>12.3} {:>7.2}x", row.name, row.clients, stock / tuned);
    }
    println!();
    for line in printed.lines().filter(|line| line.starts_with("# detected")) {
        println!("{}", line.trim_start_matches("# "));
    }
    println!();
}

fn json(figures: &[(&Row, f64, f64)], printed: &str) -> Value {
    let rows: Map<String, Value> = figures
        .iter()
        .map(|(row, stock, tuned)| {
            let row_figures =
                json!({ "clients": row.clients, "stock_ms": stock, "pgtune_ms": tuned, "ratio": stock / tuned });
            (row.name.to_owned(), row_figures)
        })
        .collect();
    let settings: Map<String, Value> = printed
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({ "rows": rows, "settings": settings })
}
