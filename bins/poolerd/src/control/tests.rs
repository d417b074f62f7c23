use std::borrow::Cow;

use super::*;
use crate::core::{Column, Type};

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
    let span = Duration::from_micros(2_000_500);
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
    rows(&table).for_each(|row| control::write_row(&mut out, &row));
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
