//! The script for fish 3 and newer.

use std::fmt::Write as _;

use super::{Completed, Ctl, Program, Values};

pub(super) fn script(program: &Program) -> String {
    let name = program.name;
    let function = format!("_{}", program.function());
    let mut text = String::new();
    let Some(ctl) = &program.ctl else {
        text.push_str(&flags(name, "", &program.flags));
        if !matches!(program.operand, Values::Files) {
            let _ = writeln!(text, "complete -c {name} -f");
        }
        return text;
    };
    text.push_str(&commands(&function, ctl));
    text.push_str(&flags(name, &format!(" -n 'not {function}_in_ctl'"), &program.flags));
    let files = if matches!(program.operand, Values::Files) { "" } else { " -f" };
    let _ = writeln!(text, "complete -c {name} -n 'not {function}_in_ctl'{files}");
    let _ = writeln!(text, "complete -c {name} -n {function}_is_first -a ctl -d 'Ask a running {name}.'");
    text.push_str(&flags(name, &format!(" -n {function}_in_ctl"), &ctl.flags));
    let _ = writeln!(text, "complete -c {name} -n {function}_in_ctl -f -a '({function}_ctl)'");
    text
}

/// The functions that tell where the cursor is and offer the words behind `ctl`.
fn commands(function: &str, ctl: &Ctl) -> String {
    let taking: Vec<String> =
        ctl.flags.iter().filter(|flag| flag.value.is_some()).flat_map(Completed::spellings).collect();
    let mut text = format!(
        "function {function}_is_first\n    test (count (commandline -opc)) = 1\nend\n\
         function {function}_in_ctl\n    set -l words (commandline -opc)\n    \
         test (count $words) -gt 1; and test $words[2] = ctl\nend\n\
         function {function}_ctl\n    set -l words (commandline -opc)\n    set -l typed\n    set -l skip 0\n    \
         for word in $words[3..-1]\n        if test $skip = 1\n            set skip 0\n            continue\n        \
         end\n        switch $word\n            case {}\n                set skip 1\n            case '-*'\n            \
         case '*'\n                set typed $typed (string lower -- $word)\n        end\n    end\n    \
         switch (count $typed)\":$typed\"\n",
        taking.join(" ")
    );
    for step in &ctl.steps {
        let pattern = step.pattern(str::to_owned);
        let _ = writeln!(text, "        case {}\n            printf '%s\\t%s\\n' \\", quoted(&pattern));
        let words = step
            .words
            .iter()
            .map(|offered| format!("                {} {}", quoted(&offered.word), quoted(&offered.doc)));
        text.push_str(&words.collect::<Vec<_>>().join(" \\\n"));
        text.push('\n');
    }
    text.push_str("    end\nend\n");
    text
}

fn flags(name: &str, condition: &str, flags: &[Completed]) -> String {
    let mut text = String::new();
    for flag in flags {
        let _ = write!(text, "complete -c {name}{condition}");
        if let Some(letter) = flag.short {
            let _ = write!(text, " -s {letter}");
        }
        let value = match (flag.value, flag.values) {
            (None, _) => String::new(),
            (Some(_), Values::Unknown) => " -x".to_owned(),
            (Some(_), Values::Words(words) | Values::List(words)) => format!(" -x -a '{}'", words.join(" ")),
            (Some(_), Values::Files) => " -r -F".to_owned(),
            (Some(_), Values::FilesOr(word)) => format!(" -r -F -a {word}"),
            (Some(_), Values::Directories) => " -x -a '(__fish_complete_directories)'".to_owned(),
            (Some(_), Values::Users) => " -x -a '(__fish_complete_users)'".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, " -l {}{value} -d {}", flag.long, quoted(flag.doc));
    }
    text
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
