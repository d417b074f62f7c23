//! Fuzz bodies: for each parser, what must hold for *any* bytes. Tests run them on noise and on damaged valid input,
//! the targets under `tests/fuzz` under a coverage-guided fuzzer. Programs never call these.

use crate::conf::grammar::{Directive, directives};

/// The grammar of configuration files.
pub fn conf(data: &[u8]) {
    let whole: Vec<_> = directives(data).collect();
    // Lines do not depend on each other.
    let mut alone = Vec::new();
    for (number, line) in (1_u32..).zip(data.split(|&byte| byte == b'\n')) {
        let found: Vec<_> = directives(line).collect();
        assert!(found.len() <= 1);
        alone.extend(found.into_iter().map(|(_, directive)| (number, directive)));
    }
    assert_eq!(alone, whole);
    for (_, directive) in whole {
        let Ok(Directive::Set { name, value }) = directive else { continue };
        assert!(!value.contains(&0) && value.len() <= data.len());
        // Written with quotes and read again it is the same, in any letter case and with or without the sign.
        for sign in [" = ", "="] {
            let mut line = name.to_ascii_uppercase().into_bytes();
            line.extend_from_slice(sign.as_bytes());
            line.extend(quoted(&value));
            let again = directives(&line).next();
            assert!(
                value.contains(&b'\n')
                    || again == Some((1, Ok(Directive::Set { name: name.clone(), value: value.clone() })))
            );
        }
    }
}

fn quoted(value: &[u8]) -> Vec<u8> {
    let inner = value.iter().flat_map(|&byte| match byte {
        b'\'' => b"''".to_vec(),
        b'\\' => b"\\\\".to_vec(),
        byte => vec![byte],
    });
    [b'\''].into_iter().chain(inner).chain([b'\'']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_check::{Rng, mutate};

    #[test]
    fn confs() {
        let valid = [
            b"shared_buffers = 128MB\t# comment\nWork_Mem 4MB\nport=5433\n".to_vec(),
            b"a.b = 'it''s \\'quoted\\' \\101\\n'\ninclude_dir 'conf.d'\r\n".to_vec(),
            b"x = -1.5e-3\ny=0x1Fkb\nz = on\nw = a/b:c-d.e\n'".to_vec(),
        ];
        let mut rng = Rng::new(1);
        for _ in 0..20_000 {
            let mut input = valid[rng.below(valid.len())].clone();
            mutate(&mut rng, &mut input);
            conf(&input);
        }
        for _ in 0..5_000 {
            let len = rng.between(0, 64);
            conf(&rng.bytes(len));
        }
    }

    #[test]
    fn every_short_line() {
        for input in sluice_check::exhaustive(b"a1.='\\# -\n", 6) {
            conf(&input);
        }
    }
}
