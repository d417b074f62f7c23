//! Why a value is what it is: the texts, one row a name, and how they are put into comments.
//!
//! The rule with this machine's numbers comes with the value; what the setting is for, what more of it costs and when
//! to change it is the same everywhere and stands in two tables, one for PostgreSQL and one for what is in front of it.

mod pool;
mod server;

use crate::guc;
use crate::tune::{Plan, Setting};

/// What is worth knowing about a name.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// The setting, key or variable.
    pub name: &'static str,
    /// What it is for and why this rule.
    pub why: &'static str,
    /// What it costs, or what more of it would.
    pub cost: &'static str,
    /// When another value is better.
    pub change: &'static str,
}

const fn text(name: &'static str, why: &'static str, cost: &'static str, change: &'static str) -> Text {
    Text { name, why, cost, change }
}

/// The text of a name; every name that is ever printed has one.
#[must_use]
pub fn of(name: &str) -> Option<&'static Text> {
    server::TEXTS.iter().chain(pool::TEXTS).find(|text| text.name == name)
}

/// Width of a comment line, without its lead.
const WIDTH: usize = 100;

/// The lines of explanation above a value: rule, reason, cost, change.
#[must_use]
pub fn lines(name: &str, rule: &str) -> Vec<String> {
    let mut lines = wrapped("", rule);
    if let Some(text) = of(name) {
        for (lead, words) in [("why: ", text.why), ("cost: ", text.cost), ("change: ", text.change)] {
            lines.extend(wrapped(lead, words));
        }
    }
    lines
}

/// One line of facts about a setting of PostgreSQL: default, apply, first major.
#[must_use]
pub fn facts(setting: &Setting, plan: &Plan) -> String {
    let default = setting.guc(plan.major()).map(|guc| guc.default_text()).unwrap_or_default();
    let since = match guc::since(setting.name) {
        Some(major) if major > *guc::MAJORS.start() => format!("since PostgreSQL {major}"),
        _ => "known before PostgreSQL 13".to_owned(),
    };
    let apply = match setting.apply(plan.major()) {
        guc::Apply::Restart => "needs a restart",
        guc::Apply::Reload => "needs a reload",
        guc::Apply::Session => "needs a reload, or SET in a session",
    };
    format!("default {default}; {apply}; {since}")
}

/// The same as one text, for JSON.
#[must_use]
pub fn sentence(name: &str, rule: &str) -> String {
    match of(name) {
        Some(text) => format!("{rule}. {} {} {}", text.why, text.cost, text.change),
        None => rule.to_owned(),
    }
}

fn wrapped(lead: &str, words: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = lead.to_owned();
    let indent = " ".repeat(lead.len().max(2));
    for word in words.split(' ') {
        if line.len() + word.len() > WIDTH && line.trim() != lead.trim() {
            lines.push(std::mem::replace(&mut line, indent.clone()).trim_end().to_owned());
        }
        line.push_str(word);
        line.push(' ');
    }
    lines.push(line.trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_sentences_and_stand_once() {
        let mut names: Vec<&str> = Vec::new();
        for text in server::TEXTS.iter().chain(pool::TEXTS) {
            for words in [text.why, text.cost, text.change] {
                assert!(
                    words.ends_with('.') && words.is_ascii() && !words.contains("  "),
                    "{}: {words}",
                    text.name
                );
            }
            assert!(!names.contains(&text.name), "{}", text.name);
            names.push(text.name);
        }
    }

    #[test]
    fn texts_of_settings_are_about_settings() {
        for text in server::TEXTS {
            assert!(guc::since(text.name).is_some(), "{}", text.name);
        }
    }

    #[test]
    fn long_texts_wrap_and_lose_nothing() {
        let words = "word ".repeat(80);
        let lines = wrapped("why: ", words.trim());
        assert!(lines.len() > 3 && lines.iter().all(|line| line.len() <= WIDTH + 5), "{lines:#?}");
        let all = lines.join(" ");
        assert_eq!(all.split_whitespace().filter(|word| *word == "word").count(), 80);
    }
}
