//! The script for zsh, found as `_PROGRAM` on fpath or read by `source`.

use std::fmt::Write as _;

use super::{Completed, Ctl, Offered, Program, Values};

/// Offers files and a word. A function, because colons are not for actions of `_arguments`.
const FILE_OR: &str = "FUNCTION_file_or() { _alternative 'files:file:_files' \"words:word:($1)\" }\n";

pub(super) fn script(program: &Program) -> String {
    let function = program.function();
    let mut text = format!("#compdef {}\n{}", program.name, FILE_OR.replace("FUNCTION", &function));
    if let Some(ctl) = &program.ctl {
        text.push_str(&commands(&function, ctl));
    }
    let _ = writeln!(text, "{function}() {{");
    if let Some(ctl) = &program.ctl {
        text.push_str("    if (( CURRENT > 2 )) && [[ $words[2] == ctl ]]; then\n        _arguments -s \\\n");
        text.push_str(&flags(&function, &ctl.flags, "            "));
        let _ = writeln!(text, "            '1: :' '*:command:{function}_ctl'\n        return\n    fi");
    }
    text.push_str("    _arguments -s \\\n");
    text.push_str(&flags(&function, &program.flags, "        "));
    let operand = match (&program.ctl, program.operand) {
        (Some(_), Values::Files) => format!("'1:file: {function}_file_or ctl'"),
        (Some(_), _) => "'1:command:(ctl)'".to_owned(),
        (None, Values::Files) => "'*:file:_files'".to_owned(),
        (None, _) => "&& return".to_owned(),
    };
    let _ = writeln!(text, "        {operand}");
    let _ = write!(
        text,
        "}}\nif [[ $funcstack[1] == {function} ]]; then\n    {function} \"$@\"\nelse\n    compdef {function} {}\nfi\n",
        program.name
    );
    text
}

/// The function that offers the words behind `ctl`.
fn commands(function: &str, ctl: &Ctl) -> String {
    let taking: Vec<String> =
        ctl.flags.iter().filter(|flag| flag.value.is_some()).flat_map(Completed::spellings).collect();
    let mut text = format!(
        "{function}_ctl() {{\n    local -a typed whole open\n    local i\n    \
         for (( i = 3; i < CURRENT; i++ )); do\n        case $words[i] in\n            \
         ({}) (( i++ )) ;;\n            (-*) ;;\n            (*) typed+=(${{(L)words[i]}}) ;;\n        \
         esac\n    done\n    case \"${{#typed}}:${{typed}}\" in\n",
        taking.join("|")
    );
    for step in &ctl.steps {
        // Those that end in = are offered without a blank behind them.
        let (mut whole, mut open) = (Vec::new(), Vec::new());
        for Offered { word, doc } in &step.words {
            match (word.ends_with('='), doc.is_empty()) {
                (true, _) => open.push(quoted(word)),
                (false, true) => whole.push(quoted(word)),
                (false, false) => whole.push(quoted(&format!("{word}:{doc}"))),
            }
        }
        let pattern = step.pattern(|word| if word == " " { "\\ ".to_owned() } else { word.to_owned() });
        let _ =
            writeln!(text, "        ({pattern}) whole=({}) open=({}) ;;", whole.join(" "), open.join(" "));
    }
    text.push_str(
        "    esac\n    (( $#whole )) && _describe command whole\n    \
         (( $#open )) && compadd -S '' -a open\n}\n",
    );
    text
}

/// A line of `_arguments` for each spelling of each flag.
fn flags(function: &str, flags: &[Completed], indent: &str) -> String {
    let mut text = String::new();
    for flag in flags {
        let doc = flag.doc.replace('[', "\\[").replace(']', "\\]");
        let value = flag.value.map_or_else(String::new, |value| {
            let action = match flag.values {
                Values::Unknown => " ".to_owned(),
                Values::Words(words) => format!("({})", words.join(" ")),
                Values::List(words) => format!("_values -s , {} {}", value.to_lowercase(), words.join(" ")),
                Values::Files => "_files".to_owned(),
                Values::FilesOr(word) => {
                    format!(" {function}_file_or {word}")
                }
                Values::Directories => "_files -/".to_owned(),
                Values::Users => "_users".to_owned(),
            };
            format!(":{}:{action}", value.replace(':', "\\:"))
        });
        for word in flag.spellings() {
            // `--name=value` and `--name value`; `-x value` and `-xvalue`.
            let joined = match (flag.value, word.starts_with("--")) {
                (None, _) => "",
                (Some(_), true) => "=",
                (Some(_), false) => "+",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{indent}{} \\", quoted(&format!("*{word}{joined}[{doc}]{value}")));
        }
    }
    text
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
