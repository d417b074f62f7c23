//! The comparison: what a plan recommends against what there is. Pure.
//!
//! Numbers are compared in base units and may be off by [`TOLERANCE_PERCENT`] of what is recommended; switches and
//! words are exact.

use super::current::{Current, Pending, Settings};
use super::value::{self, Value};
use crate::guc::Apply;

/// How far a number may be off, in percent of the recommended one.
pub const TOLERANCE_PERCENT: f64 = 5.0;

sluice_cli::words! {
    /// How a setting stands.
    pub State,
    /// As recommended, or near enough.
    Ok = "ok",
    /// Lower.
    Low = "low",
    /// Higher.
    High = "high",
    /// Another word, or a switch the other way.
    Differs = "differs",
    /// The files already hold another value, which waits for a restart.
    Pending = "pending",
    /// The server does not know the setting, or does not take the recommended value.
    UnknownHere = "unknown-here",
    /// The server will not take the value that is there.
    Refused = "refused",
}

/// One setting of the comparison.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// The value there is; empty where the setting is unknown.
    pub current: String,
    /// The value recommended.
    pub recommended: String,
    /// What a change needs; None where the setting is unknown.
    pub apply: Option<Apply>,
    /// Who set the value there is, and why it is refused.
    pub source: String,
    /// How it stands.
    pub state: State,
}

/// Compares each recommended name and value with what there is.
pub fn compare<'a>(
    recommended: impl IntoIterator<Item = (&'a str, String)>,
    settings: &Settings,
) -> Vec<Difference> {
    recommended.into_iter().map(|(name, text)| difference(name, text, settings)).collect()
}

fn difference(name: &str, recommended: String, settings: &Settings) -> Difference {
    let lower = name.to_ascii_lowercase();
    let Some(current) = settings.find(&lower) else {
        return Difference {
            name: name.to_owned(),
            current: String::new(),
            recommended,
            apply: None,
            source: String::new(),
            state: State::UnknownHere,
        };
    };
    let mut source = current.source.clone();
    let (shown, state) = match (&current.value, value::read(&current.domain, &recommended)) {
        (Err(refused), _) => {
            source = format!("{source}: {refused}");
            (current.text.clone(), State::Refused)
        }
        (Ok(value), Err(_)) => (value::show(value, &current.unit), State::UnknownHere),
        (Ok(value), Ok(wanted)) => {
            let effective = settings.effective(&lower).unwrap_or_else(|| value.clone());
            let state = match current.pending {
                Pending::Restart => State::Pending,
                Pending::No => judge(&lower, &effective, &wanted),
            };
            (value::show(&effective, &current.unit), state)
        }
    };
    Difference {
        name: name.to_owned(),
        current: shown,
        recommended,
        apply: Some(current.apply),
        source,
        state,
    }
}

fn judge(name: &str, current: &Value, wanted: &Value) -> State {
    match (current, wanted) {
        (Value::Number(current), Value::Number(wanted)) => {
            if (current - wanted).abs() * 100.0 <= wanted.abs() * TOLERANCE_PERCENT {
                State::Ok
            } else if current < wanted {
                State::Low
            } else {
                State::High
            }
        }
        (Value::Word(current), Value::Word(wanted)) if same_word(name, current, wanted) => State::Ok,
        (current, wanted) if current == wanted => State::Ok,
        _ => State::Differs,
    }
}

/// Whether a setting has just this value, without tolerance.
pub fn is_same(current: &Current, wanted: &str) -> bool {
    match (&current.value, value::read(&current.domain, wanted)) {
        (Ok(Value::Word(current_word)), Ok(Value::Word(wanted))) => {
            same_word(&current.name, current_word, &wanted)
        }
        (Ok(value), Ok(wanted)) => *value == wanted,
        _ => false,
    }
}

/// Two words of an enum for one thing: since 15 wal_compression's `on` is shown as `pglz`.
fn same_word(name: &str, a: &str, b: &str) -> bool {
    let plain = |word: &'_ str| {
        if name == "wal_compression" && word == "on" { "pglz".to_owned() } else { word.to_owned() }
    };
    plain(a) == plain(b)
}

/// The table: NAME CURRENT RECOMMENDED APPLY SOURCE STATE, a line each.
pub fn cells(difference: &Difference) -> Vec<String> {
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    vec![
        difference.name.clone(),
        dash(&difference.current),
        difference.recommended.clone(),
        difference.apply.map_or("-", Apply::word).to_owned(),
        dash(&difference.source),
        difference.state.word().to_owned(),
    ]
}

/// The heads of [`cells`].
pub const HEADS: [&str; 6] = ["NAME", "CURRENT", "RECOMMENDED", "APPLY", "SOURCE", "STATE"];

#[cfg(test)]
mod tests {
    use super::super::current::sample;
    use super::*;

    fn state(name: &str, current: &str, recommended: &str) -> State {
        let differences = compare([(name, recommended.to_owned())], &sample(&[(name, current)]));
        differences[0].state
    }

    #[test]
    fn five_percent_are_near_enough() {
        for (current, state_of) in [
            ("10000", State::Ok),
            ("9510", State::Ok),
            ("10490", State::Ok),
            ("9500", State::Ok),
            ("10500", State::Ok),
            ("9499", State::Low),
            ("9490", State::Low),
            ("10501", State::High),
            ("10510", State::High),
        ] {
            assert_eq!(state("max_connections", current, "10000"), state_of, "{current}");
            let (current, recommended) = (format!("{current}kB"), "10000kB");
            assert_eq!(state("work_mem", &current, recommended), state_of, "{current}");
        }
        assert_eq!(state("work_mem", "4MB", "4096kB"), State::Ok);
        assert_eq!(state("random_page_cost", "1.15", "1.1"), State::Ok);
        assert_eq!(state("random_page_cost", "1.2", "1.1"), State::High);
        assert_eq!(state("max_parallel_maintenance_workers", "1", "0"), State::High);
        assert_eq!(state("max_parallel_maintenance_workers", "0", "0"), State::Ok);
    }

    #[test]
    fn switches_and_words_are_exact() {
        assert_eq!(state("jit", "TRUE", "on"), State::Ok);
        assert_eq!(state("jit", "off", "on"), State::Differs);
        assert_eq!(state("huge_pages", "try", "try"), State::Ok);
        assert_eq!(state("huge_pages", "on", "try"), State::Differs);
        assert_eq!(state("wal_compression", "on", "pglz"), State::Ok);
        assert_eq!(state("wal_compression", "pglz", "on"), State::Ok);
        assert_eq!(state("wal_compression", "lz4", "on"), State::Differs);
        assert_eq!(state("wal_compression", "off", "on"), State::Differs);
    }

    #[test]
    fn minus_one_counts_by_what_it_stands_for() {
        let settings = sample(&[("autovacuum_work_mem", "-1"), ("maintenance_work_mem", "64MB")]);
        let found = compare([("autovacuum_work_mem", "64MB".to_owned())], &settings);
        assert_eq!((found[0].state, found[0].current.as_str()), (State::Ok, "64MB"));
    }

    #[test]
    fn what_cannot_be_compared() {
        let found = compare([("no_such_setting", "1".to_owned())], &sample(&[]));
        assert_eq!((found[0].state, found[0].apply), (State::UnknownHere, None));
        assert_eq!(cells(&found[0]).join(" "), "no_such_setting - 1 - - unknown-here");
        assert_eq!(state("io_method", "worker", "no_such_method"), State::UnknownHere);
        for text in ["5mb", "5KB"] {
            let found = compare([("work_mem", "4MB".to_owned())], &sample(&[("work_mem", text)]));
            assert_eq!((found[0].state, found[0].current.as_str()), (State::Refused, text));
            assert!(
                found[0].source.contains("postgresql.conf:0: units are case-sensitive"),
                "{}",
                found[0].source
            );
        }
    }

    #[test]
    fn absent_is_the_default() {
        let found = compare(
            [("work_mem", "4MB".to_owned()), ("checkpoint_completion_target", "0.9".to_owned())],
            &sample(&[]),
        );
        assert!(found.iter().all(|row| row.state == State::Ok && row.source == "default"));
        assert_eq!(cells(&found[0]).join(" "), "work_mem 4MB 4MB session default ok");
    }
}
