//! What manual pages, sample files and units say, for the tests that hold them against the tables.
//!
//! Pages are in mdoc, as `man/` writes them: a list has an item a row, `.It Ic KEY` and what stands in parentheses behind it
//! in the next line. Nothing here fails: what does not fit is returned as a list of faults.

use crate::flags::{Flag, Usage};
use crate::settings::{Setting, Table};

/// The lines of a section, its subsections included. None where there is no such heading.
#[must_use]
pub fn section<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let heading = format!(".Sh {name}");
    let lines = page.lines().skip_while(|line| *line != heading).skip(1);
    lines.take_while(|line| !line.starts_with(".Sh ")).collect()
}

/// The lines under a heading of either kind, up to the next one. None where there is no such heading.
#[must_use]
pub fn under<'a>(page: &'a str, heading: &str) -> Vec<&'a str> {
    let lines = page.lines().skip_while(|line| *line != heading).skip(1);
    lines.take_while(|line| !line.starts_with(".Sh ") && !line.starts_with(".Ss ")).collect()
}

/// What the items of a list are about: the rest of the lines that begin with `lead`.
#[must_use]
pub fn items<'a>(lines: &[&'a str], lead: &str) -> Vec<&'a str> {
    lines.iter().filter_map(|line| line.strip_prefix(lead)).collect()
}

/// The items that describe the flags of a command line.
#[must_use]
pub fn flags(usage: &Usage) -> Vec<String> {
    usage.flags.iter().map(flag).collect()
}

fn flag(flag: &Flag) -> String {
    let value = flag.value.name().map_or_else(String::new, |value| format!(" Ar {}", value.to_lowercase()));
    match flag.short {
        Some(letter) => format!(".It Fl {letter} , Fl -{}{value}", flag.long),
        None => format!(".It Fl -{}{value}", flag.long),
    }
}

/// What is wrong with a list that is to describe every key of a table, in its order and with `facts` in parentheses.
#[must_use]
pub fn faults_of_list(lines: &[&str], table: Table, facts: impl Fn(&Setting) -> String) -> Vec<String> {
    let mut faults = Vec::new();
    let mut described = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = line.strip_prefix(".It Ic ") else { continue };
        described.push(name);
        let Some(row) = table.row(name) else {
            faults.push(format!("{name} is on the page alone"));
            continue;
        };
        let expected = format!(".Pq \"{}\"", facts(row));
        if lines.get(at + 1) != Some(&expected.as_str()) {
            faults.push(format!("{name} needs {expected}"));
        }
        if lines.get(at + 2).is_none_or(|line| line.starts_with(".It") || line.starts_with(".El")) {
            faults.push(format!("{name} has no text"));
        }
    }
    faults.extend(order(&described, table));
    faults
}

/// What is wrong with a sample file that is to show every key of a table, in its order, each as a comment with its default
/// below its line of help.
#[must_use]
pub fn faults_of_sample(lines: &[&str], table: Table) -> Vec<String> {
    let mut faults = Vec::new();
    let mut shown = Vec::new();
    for pair in lines.windows(2) {
        let entry = pair[1].strip_prefix(';').and_then(|line| line.split_once(" ="));
        let Some((name, value)) = entry else { continue };
        shown.push(name);
        let Some(row) = table.row(name) else {
            faults.push(format!("{name} is in the sample alone"));
            continue;
        };
        let help = format!("# {}", row.doc);
        if pair[0] != help {
            faults.push(format!("{name} needs {help}"));
        }
        let default = row.shown_default().unwrap_or_default();
        if value.trim_start() != default {
            faults.push(format!("{name} is shown as{value}, not {default}"));
        }
    }
    faults.extend(order(&shown, table));
    faults
}

fn order(names: &[&str], table: Table) -> Option<String> {
    let expected: Vec<_> = table.0.iter().map(|row| row.name).collect();
    (names != expected).then(|| format!("the order is {names:?}, not {expected:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::SAMPLE;
    use crate::settings::{Acted, Kind, Reload};

    const fn row(name: &'static str, doc: &'static str) -> Setting {
        let (reload, acted) = (Reload::Yes, Acted::Yes);
        Setting { name, kind: Kind::Bool, default: Some("1"), reload, acted, also_in: &[], doc }
    }

    const TABLE: Table = Table(&[row("wide", "Opens wide."), row("loud", "Squeaks.")]);

    const PAGE: &str = "\
.Sh DESCRIPTION
.It Fl q , Fl -quiet
.Sh SETTINGS
.It Ic wide
.Pq \"boolean; default 1; reloadable\"
How far it opens.
.It Ic loud
.Pq \"boolean; default 1; reloadable\"
Whether it squeaks.
.El
.Sh FILES
";

    #[test]
    fn a_list_that_is_right_has_no_faults() {
        let lines = section(PAGE, "SETTINGS");
        assert_eq!(items(&lines, ".It Ic "), ["wide", "loud"]);
        assert_eq!(faults_of_list(&lines, TABLE, Setting::facts), Vec::<String>::new());
        assert_eq!(under(PAGE, ".Ss Nothing"), Vec::<&str>::new());
        assert_eq!(flags(&SAMPLE)[..2], [".It Fl q , Fl -quiet", ".It Fl u , Fl -user Ar name"]);
    }

    #[test]
    fn each_fault_of_a_list_is_told() {
        for (from, to, fault) in [
            (".It Ic wide", ".It Ic deep", "deep is on the page alone"),
            ("default 1; re", "default 0; re", "wide needs .Pq \"boolean; default 1; reloadable\""),
            ("Whether it squeaks.\n", "", "loud has no text"),
            (".It Ic wide\n", "", "the order is [\"loud\"], not [\"wide\", \"loud\"]"),
        ] {
            let page = PAGE.replacen(from, to, 1);
            let faults = faults_of_list(&section(&page, "SETTINGS"), TABLE, Setting::facts);
            assert!(faults.iter().any(|one| one == fault), "{faults:?}");
        }
    }

    #[test]
    fn a_sample_shows_every_key() {
        let text = "# Opens wide.\n;wide = 1\n\n# Squeaks.\n;loud = 1\n";
        let faults = |text: &str| faults_of_sample(&text.lines().collect::<Vec<_>>(), TABLE);
        assert_eq!(faults(text), Vec::<String>::new());
        assert_eq!(faults(&text.replace("wide = 1", "wide = 0")), ["wide is shown as 0, not 1"]);
        assert_eq!(faults(&text.replace("Squeaks", "Creaks")), ["loud needs # Squeaks."]);
        let alone = faults(&text.replace(";loud", ";soft"));
        assert_eq!(alone[0], "soft is in the sample alone");
        assert!(alone[1].starts_with("the order is "), "{alone:?}");
    }
}
