//! `--compat pgtune` against the web calculator: every setting, its order, exact sizes and warnings.

use pgtune::tune::{Amount, Kb, Plan};
use serde_json::Value;

const VECTORS: &str = include_str!("../data/pgtune_vectors.json");

fn arguments(input: &Value) -> Vec<String> {
    let text = |key: &str| match &input[key] {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let mut arguments = vec![
        "--compat=pgtune".to_owned(),
        format!("--pg-version={}", text("dbVersion")),
        format!("--os={}", if text("osType") == "mac" { "macos".into() } else { text("osType") }),
        format!("--profile={}", text("dbType")),
        format!("--memory={}{}", text("totalMemory"), text("totalMemoryUnit")),
        format!("--disk={}", text("hdType")),
        format!("--db-size={}", text("dbSize")),
    ];
    for (key, flag) in [("cpuNum", "--cpus"), ("connectionNum", "--connections")] {
        if !input[key].is_null() {
            arguments.push(format!("{flag}={}", text(key)));
        }
    }
    arguments
}

fn kb(plan: &Plan, name: &str) -> Value {
    match plan.setting(name).map(|setting| setting.amount) {
        Some(Amount::Size(Kb(kb))) => kb.into(),
        _ => Value::Null,
    }
}

#[test]
fn all_vectors_come_out_exactly() {
    let data: Value = serde_json::from_str(VECTORS).unwrap();
    let vectors = data["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 76);
    for vector in vectors {
        let name = &vector["name"];
        let arguments = arguments(&vector["input"]);
        let plan =
            crate::common::try_plan(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();

        let order: Vec<&str> = plan.settings.iter().map(|setting| setting.name).collect();
        let expected: Vec<&str> =
            vector["order"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(order, expected, "{name}: order");
        for (setting, value) in vector["settings"].as_object().unwrap() {
            assert_eq!(crate::common::value(&plan, setting), value.as_str().unwrap(), "{name}: {setting}");
        }
        for (setting, size) in vector["raw_kb"].as_object().unwrap() {
            assert_eq!(kb(&plan, setting), *size, "{name}: {setting} in kB");
        }
        let codes: Vec<Value> = crate::common::codes(&plan).into_iter().map(Value::from).collect();
        assert_eq!(Value::from(codes), vector["warnings"], "{name}: warnings");
    }
}
