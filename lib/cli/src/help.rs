//! Help text, made from the flags table.

use std::fmt::Write as _;

use crate::flags::{Flag, Usage};
use crate::settings::Table;

/// The text of `--help`: what the program is, how it is called, every flag.
#[must_use]
pub fn help(usage: &Usage) -> String {
    let mut text = format!("{}\n\n{}\nFlags:\n", usage.about, synopsis(usage));
    let width = usage.flags.iter().map(|flag| left(flag).len()).max().unwrap_or(0);
    for flag in usage.flags {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:width$}  {}", left(flag), flag.doc);
    }
    text
}

/// [`help`], with the settings that are flags too.
#[must_use]
pub fn help_with(usage: &Usage, settings: Table) -> String {
    let mut text = help(usage);
    text.push_str("\nEvery setting is a flag too:\n");
    let width = settings.0.iter().map(|row| row.name.len()).max().unwrap_or(0);
    for row in settings.0 {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  --{:width$}  {}", row.name.replace('_', "-"), row.doc);
    }
    text
}

/// How the program is called, a line for each way; also what a usage error shows.
#[must_use]
pub fn synopsis(usage: &Usage) -> String {
    let mut text = String::new();
    for (n, way) in usage.synopses.iter().enumerate() {
        let lead = if n == 0 { "Usage:" } else { "      " };
        let _ = writeln!(text, "{lead} {} {way}", usage.program);
    }
    text
}

fn left(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    let value = flag.value.name().map_or_else(String::new, |value| format!(" {value}"));
    format!("{short}--{}{value}", flag.long)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::SAMPLE;

    #[test]
    fn help_lists_every_flag() {
        let expected = "\
A gate.

Usage: gate [flags] FILE
       gate ctl COMMAND

Flags:
  -q, --quiet        Say less.
  -u, --user NAME    Take a user's place.
      --test-config  Check the file.
";
        assert_eq!(help(&SAMPLE), expected);
    }
}
