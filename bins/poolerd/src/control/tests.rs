use std::borrow::Cow;

use super::*;
use crate::core::{Column, Type};
use sluice_cli::documents;

const COLUMNS: &[Column] = &[
    Column { name: "name", kind: Type::Text },
    Column { name: "connect_time", kind: Type::Text },
    Column { name: "maxwait", kind: Type::Int4 },
    Column { name: "maxwait_us", kind: Type::Int4 },
    Column { name: "min_wait_us", kind: Type::Numeric },
    Column { name: "count", kind: Type::Int8 },
    Column { name: "mode", kind: Type::Text },
];

#[test]
fn rows_have_milliseconds_and_dates() {
    let span = std::time::Duration::from_micros(2_000_500);
    let table = Table {
        columns: COLUMNS,
        rows: vec![vec![
            Cell::Text(Cow::Borrowed("it")),
            Cell::Time(SystemTime::UNIX_EPOCH),
            Cell::Seconds(span),
            Cell::SecondsRest(span),
            Cell::Micros(3000),
            Cell::Int(-1),
            Cell::Null,
        ]],
    };
    let mut out = Vec::new();
    rows(&table).for_each(|row| sluice_wire::control::write_row(&mut out, &row));
    let row: Value = serde_json::from_slice(&out).unwrap();
    let expected = serde_json::json!({
        "name": "it", "connect_time": "1970-01-01T00:00:00.000Z", "maxwait_ms": 2000.5, "min_wait_ms": 3,
        "count": -1, "mode": null,
    });
    assert_eq!(row, expected);
}

#[test]
fn a_notice_is_a_row() {
    let notice = ErrorResponse::new(
        sluice_wire::pg::error::Severity::Notice,
        sluice_wire::pg::sqlstate::SqlState::SUCCESSFUL_COMPLETION,
        "so",
    );
    assert_eq!(Value::Object(notice_row(&notice)), serde_json::json!({"notice": "so"}));
    let row = notice_row(&notice.with_detail("much"));
    assert_eq!(Value::Object(row), serde_json::json!({"notice": "so", "detail": "much"}));
}

#[test]
fn rows_of_pressure_are_as_the_page_describes_them() {
    let page = documents::under(include_str!("../../../../man/sluice-control.7"), ".Ss Rows of pressure");
    let mut described = documents::items(&page, ".It Cm ");
    described.sort_unstable();
    let pressure = Pressure {
        seq: 3,
        pool: "app/ann".into(),
        state: "pressured",
        waiting: 2,
        min_wait_ms: 60,
        expected_wait_ms: 80,
        sv_active: 4,
        sv_idle: 0,
        limit: 4,
        limit_effective: 4,
        rejected_per_s: 0.0,
        goodput_per_s: 10.0 / 3.0,
        retry_ratio: 0.0,
        retry_after_ms: 80,
        suggested_concurrency: 4,
    };
    let row = pressure_row(&pressure, SystemTime::UNIX_EPOCH);
    let keys: Vec<&str> = row.keys().map(String::as_str).collect();
    assert_eq!(keys, described);
    assert_eq!((&row["event"], &row["goodput_per_s"]), (&"pressure".into(), &3.333.into()));
    assert_eq!(row["ts"], "1970-01-01T00:00:00.000Z");
}
