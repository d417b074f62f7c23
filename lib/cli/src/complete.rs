//! Completion scripts for shells, made from the flags table. Operands complete as file names.

use std::ffi::OsStr;
use std::fmt::{self, Write as _};

use crate::flags::Usage;
use crate::settings::Table;

crate::words! {
    /// A shell.
    pub Shell,
    /// bash, with or without its completion package.
    Bash = "bash",
    /// zsh; the script is to be found as `_PROGRAM` on its fpath.
    Zsh = "zsh",
    /// fish.
    Fish = "fish",
}

/// No such shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoShell(String);

impl fmt::Display for NoShell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no completions for {}, only for bash, zsh and fish", self.0)
    }
}

impl std::error::Error for NoShell {}

impl Shell {
    /// The shell that the value of `--completions` names.
    ///
    /// # Errors
    /// [`NoShell`].
    pub fn of(name: &OsStr) -> Result<Self, NoShell> {
        let name = name.to_string_lossy();
        Self::from_word(&name).ok_or_else(|| NoShell(name.into_owned()))
    }
}

/// A flag to complete.
struct Completed {
    short: Option<char>,
    long: String,
    value: Option<&'static str>,
    doc: &'static str,
}

impl Completed {
    fn words(&self) -> impl Iterator<Item = String> + '_ {
        let short = self.short.map(|letter| format!("-{letter}"));
        short.into_iter().chain([format!("--{}", self.long)])
    }
}

/// The script that completes the program's flags.
#[must_use]
pub fn complete(usage: &Usage, shell: Shell) -> String {
    complete_with(usage, Table(&[]), shell)
}

/// [`complete`], with the settings that are flags too.
#[must_use]
pub fn complete_with(usage: &Usage, settings: Table, shell: Shell) -> String {
    let own = usage.flags.iter().map(|flag| Completed {
        short: flag.short,
        long: flag.long.to_owned(),
        value: flag.value.name(),
        doc: flag.doc,
    });
    let settings = settings.0.iter().filter(|row| usage.flags.iter().all(|flag| flag.long != row.name));
    let settings = settings.map(|row| Completed {
        short: None,
        long: row.name.replace('_', "-"),
        value: Some("VALUE"),
        doc: row.doc,
    });
    let flags: Vec<Completed> = own.chain(settings).collect();
    match shell {
        Shell::Bash => bash(usage.program, &flags),
        Shell::Zsh => zsh(usage.program, &flags),
        Shell::Fish => fish(usage.program, &flags),
    }
}

fn bash(program: &str, flags: &[Completed]) -> String {
    let words: Vec<String> = flags.iter().flat_map(Completed::words).collect();
    let function = format!("_{}", program.replace('-', "_"));
    format!(
        "{function}() {{\n    local word=${{COMP_WORDS[COMP_CWORD]}}\n    if [[ $word == -* ]]; then\n        \
         mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$word\")\n    fi\n}}\ncomplete -o default -F {function} {}\n",
        words.join(" "),
        program,
    )
}

fn zsh(program: &str, flags: &[Completed]) -> String {
    let mut text = format!("#compdef {program}\n_arguments -s \\\n");
    for flag in flags {
        let doc = flag.doc.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]");
        let value = flag.value.map_or_else(String::new, |value| format!(":{}:", value.replace(':', "\\:")));
        for word in flag.words() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "    '*{word}[{doc}]{value}' \\");
        }
    }
    text.push_str("    '*:file:_files'\n");
    text
}

fn fish(program: &str, flags: &[Completed]) -> String {
    let mut text = String::new();
    for flag in flags {
        let _ = write!(text, "complete -c {program}");
        if let Some(letter) = flag.short {
            let _ = write!(text, " -s {letter}");
        }
        let value = if flag.value.is_some() { " -x" } else { "" };
        let doc = flag.doc.replace('\\', "\\\\").replace('\'', "\\'");
        let _ = writeln!(text, " -l {}{value} -d '{doc}'", flag.long);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::SAMPLE;

    #[test]
    fn each_shell_gets_every_flag() {
        let bash = complete(&SAMPLE, Shell::Bash);
        assert!(bash.contains("compgen -W '-q --quiet -u --user --test-config'"), "{bash}");
        assert!(bash.ends_with("complete -o default -F _gate gate\n"), "{bash}");

        let zsh = complete(&SAMPLE, Shell::Zsh);
        assert!(zsh.starts_with("#compdef gate\n"), "{zsh}");
        assert!(zsh.contains("    '*--user[Take a user'\\''s place.]:NAME:' \\\n"), "{zsh}");

        let fish = complete(&SAMPLE, Shell::Fish);
        assert!(fish.contains("complete -c gate -s u -l user -x -d 'Take a user\\'s place.'\n"), "{fish}");
        assert_eq!(fish.lines().count(), SAMPLE.flags.len());
    }

    #[test]
    fn the_bash_script_is_bash() {
        let script = complete(&SAMPLE, Shell::Bash);
        let checked = std::process::Command::new("bash").args(["-n", "-c", &script]).status();
        assert!(checked.unwrap().success());
    }
}
