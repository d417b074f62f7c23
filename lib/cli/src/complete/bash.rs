//! The script for bash 4.2 and newer. It needs nothing of the package bash-completion.
//!
//! Readline breaks words at `=`, and replaces only what stands behind it. So the words are put together again first, and what
//! is offered is cut at its last `=` in the end.

use std::fmt::Write as _;

use super::{Completed, Ctl, Program, Step, Values};

/// Puts words together again, finds the flag whose value is being typed, and asks `FUNCTION_offer` for what may stand there.
const MAIN: &str = r#"FUNCTION() {
    local -a words=() typed=()
    local i last=0 flag= word= lead= cut=
    for ((i = 0; i <= COMP_CWORD; i++)); do
        if ((i > 1)) && [[ ${COMP_WORDS[i]} == =* || ${words[last]} == *= ]]; then
            words[last]+=${COMP_WORDS[i]}
        else
            last=${#words[@]}
            words+=("${COMP_WORDS[i]}")
        fi
    done
    word=${words[last]}
    ((last > 0)) && flag=${words[last - 1]}
    [[ $COMP_WORDBREAKS == *=* && $word == *=* ]] && cut=${word%"${word##*=}"}
    if [[ $word == --*=* ]]; then
        flag=${word%%=*} lead=${word%%=*}=
        word=${word#*=}
    fi
    COMPREPLY=()
    FUNCTION_offer
    ((${#COMPREPLY[@]})) || return 0
    COMPREPLY=("${COMPREPLY[@]/#/$lead}")
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    COMPREPLY=("${COMPREPLY[@]#"$cut"}")
}
"#;

pub(super) fn script(program: &Program) -> String {
    let function = program.function();
    let mut text = format!("{}{function}_offer() {{\n", MAIN.replace("FUNCTION", &function));
    if let Some(ctl) = &program.ctl {
        text.push_str("    if ((last > 1)) && [[ ${words[1]} == ctl ]]; then\n");
        text.push_str(&indent(&commands(ctl)));
        text.push_str("        return\n    fi\n");
    }
    text.push_str(&values(&program.flags));
    text.push_str("    if [[ $word == -* ]]; then\n");
    let _ = writeln!(text, "        {}", offer(&spellings(&program.flags)));
    text.push_str(match (&program.ctl, program.operand) {
        (Some(_), Values::Files) => {
            "    elif ((last == 1)); then\n        compopt -o filenames 2>/dev/null\n        \
             mapfile -t COMPREPLY < <(compgen -f -W ctl -- \"$word\")\n"
        }
        (Some(_), _) => {
            "    elif ((last == 1)); then\n        mapfile -t COMPREPLY < <(compgen -W ctl -- \"$word\")\n"
        }
        (None, Values::Files) => "",
        (None, _) => "    else\n        compopt +o default 2>/dev/null\n",
    });
    text.push_str("    fi\n}\n");
    let _ = writeln!(text, "complete -o default -F {function} {}", program.name);
    text
}

/// The part for the words behind `ctl`.
fn commands(ctl: &Ctl) -> String {
    let mut text = values(&ctl.flags);
    text.push_str("    if [[ $word == -* ]]; then\n");
    let _ = writeln!(text, "        {}", offer(&spellings(&ctl.flags)));
    text.push_str(
        "        return\n    fi\n    for ((i = 2; i < last; i++)); do\n        case ${words[i]} in\n",
    );
    let taking: Vec<String> =
        ctl.flags.iter().filter(|flag| flag.value.is_some()).flat_map(Completed::spellings).collect();
    let _ = writeln!(text, "            {}) ((i++)) ;;", taking.join(" | "));
    text.push_str(
        "            -*) ;;\n            *) typed+=(\"${words[i],,}\") ;;\n        esac\n    done\n",
    );
    text.push_str(
        "    word=${word,,}\n    compopt +o default 2>/dev/null\n    case ${#typed[@]}:${typed[*]} in\n",
    );
    for step in &ctl.steps {
        let words: Vec<&str> = step.words.iter().map(|offered| offered.word.as_str()).collect();
        let _ = writeln!(text, "        {}) {} ;;", pattern(step), offer(&words.join(" ")));
    }
    text.push_str("    esac\n");
    text
}

fn pattern(step: &Step) -> String {
    step.pattern(|word| if word == " " { "\\ ".to_owned() } else { word.to_owned() })
}

/// A case for each flag that takes a value.
fn values(flags: &[Completed]) -> String {
    let mut text = String::from("    case $flag in\n");
    for flag in flags.iter().filter(|flag| flag.value.is_some()) {
        let spellings: Vec<String> = flag.spellings().collect();
        let action = match flag.values {
            Values::Unknown => "compopt +o default 2>/dev/null".to_owned(),
            Values::Words(words) => offer(&words.join(" ")),
            Values::List(words) => format!(
                "mapfile -t COMPREPLY < <(compgen -P \"${{word%\"${{word##*,}}\"}}\" -W '{}' -- \"${{word##*,}}\")",
                words.join(" ")
            ),
            // What readline does where nothing is offered.
            Values::Files => ":".to_owned(),
            Values::FilesOr(other) => format!(
                "compopt -o filenames 2>/dev/null; \
                 mapfile -t COMPREPLY < <(compgen -f -W {other} -- \"$word\")"
            ),
            Values::Directories => "compopt -o dirnames +o default 2>/dev/null".to_owned(),
            Values::Users => "mapfile -t COMPREPLY < <(compgen -u -- \"$word\")".to_owned(),
        };
        let _ = writeln!(text, "        {}) {action}; return ;;", spellings.join(" | "));
    }
    text.push_str("    esac\n");
    text
}

fn offer(words: &str) -> String {
    format!("mapfile -t COMPREPLY < <(compgen -W '{words}' -- \"$word\")")
}

fn spellings(flags: &[Completed]) -> String {
    flags.iter().flat_map(Completed::spellings).collect::<Vec<_>>().join(" ")
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
