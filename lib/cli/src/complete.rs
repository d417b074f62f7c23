//! Completion scripts for shells, made from the flags table. Operands complete as file names.

use std::fmt::Write as _;

use crate::flags::{Flag, Usage};

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// bash, with or without its completion package.
    Bash,
    /// zsh; the script is to be found as `_PROGRAM` on its fpath.
    Zsh,
    /// fish.
    Fish,
}

/// The script that completes the program's flags.
#[must_use]
pub fn complete(usage: &Usage, shell: Shell) -> String {
    match shell {
        Shell::Bash => bash(usage),
        Shell::Zsh => zsh(usage),
        Shell::Fish => fish(usage),
    }
}

fn bash(usage: &Usage) -> String {
    let words: Vec<String> = usage.flags.iter().flat_map(words).collect();
    let function = format!("_{}", usage.program.replace('-', "_"));
    format!(
        "{function}() {{\n    local word=${{COMP_WORDS[COMP_CWORD]}}\n    if [[ $word == -* ]]; then\n        \
         mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$word\")\n    fi\n}}\ncomplete -o default -F {function} {}\n",
        words.join(" "),
        usage.program,
    )
}

fn zsh(usage: &Usage) -> String {
    let mut text = format!("#compdef {}\n_arguments -s \\\n", usage.program);
    for flag in usage.flags {
        let doc = flag.doc.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]");
        let value = flag.value.map_or_else(String::new, |value| format!(":{value}:"));
        for word in words(flag) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "    '*{word}[{doc}]{value}' \\");
        }
    }
    text.push_str("    '*:file:_files'\n");
    text
}

fn fish(usage: &Usage) -> String {
    let mut text = String::new();
    for flag in usage.flags {
        let _ = write!(text, "complete -c {}", usage.program);
        if let Some(letter) = flag.short {
            let _ = write!(text, " -s {letter}");
        }
        let value = if flag.value.is_some() { " -x" } else { "" };
        let doc = flag.doc.replace('\\', "\\\\").replace('\'', "\\'");
        let _ = writeln!(text, " -l {}{value} -d '{doc}'", flag.long);
    }
    text
}

fn words(flag: &Flag) -> Vec<String> {
    let short = flag.short.map(|letter| format!("-{letter}"));
    short.into_iter().chain([format!("--{}", flag.long)]).collect()
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
