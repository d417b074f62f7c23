//! `auth_file`: a line a user, `"name" "secret"`, a doubled quote standing for one, the rest of the line ignored; `;`
//! begins a comment. Like PgBouncer, an entry that cannot be read ends the file, and those before it count.

use std::fmt;

use super::{Secret, Secrets};

/// Longest user name, in bytes.
const NAME_BYTES: usize = 127;
/// Longest secret, in bytes.
const SECRET_BYTES: usize = 65_530;

/// Where and why a file was not read to its end. Never quotes the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// Line, counted from 1.
    pub(super) line: u32,
    pub(super) fault: Fault,
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A quote is missing.
    Quote,
    NameTooLong,
    SecretTooLong,
}

/// The users of a file, up to the first bad entry.
pub(super) fn parse(bytes: &[u8]) -> (Secrets, Option<Broken>) {
    let mut secrets = Secrets::default();
    let mut rest = bytes;
    loop {
        rest = rest.trim_ascii_start();
        match rest.first() {
            None => return (secrets, None),
            Some(b';') => rest = after_line(rest),
            Some(_) => match entry(rest) {
                Ok((name, secret, after)) => {
                    secrets.insert(name, Secret::parse(&secret));
                    rest = after_line(after);
                }
                Err(fault) => return (secrets, Some(Broken { line: line_of(bytes, rest), fault })),
            },
        }
    }
}

type Entry<'a> = (Vec<u8>, Vec<u8>, &'a [u8]);

fn entry(text: &[u8]) -> Result<Entry<'_>, Fault> {
    let (name, rest) = quoted(text)?;
    if name.len() > NAME_BYTES {
        return Err(Fault::NameTooLong);
    }
    // Whatever stands between the two is skipped, as PgBouncer does, but only to the end of the line.
    let line = &rest[..rest.len() - after_line(rest).len()];
    let at = line.iter().position(|&b| b == b'"').ok_or(Fault::Quote)?;
    let (secret, rest) = quoted(&rest[at..])?;
    if secret.len() > SECRET_BYTES {
        return Err(Fault::SecretTooLong);
    }
    Ok((name, secret, rest))
}

/// A text in double quotes, and what is behind it.
fn quoted(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Fault> {
    let mut rest = text.strip_prefix(b"\"").ok_or(Fault::Quote)?;
    let mut content = Vec::new();
    loop {
        let end = rest.iter().position(|&b| b == b'"').ok_or(Fault::Quote)?;
        content.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        if rest.first() != Some(&b'"') {
            return Ok((content, rest));
        }
        content.push(b'"');
        rest = &rest[1..];
    }
}

fn after_line(text: &[u8]) -> &[u8] {
    text.iter().position(|&b| b == b'\n').map_or(&[], |end| &text[end + 1..])
}

fn line_of(whole: &[u8], rest: &[u8]) -> u32 {
    let before = &whole[..whole.len() - rest.len()];
    let lines = before.iter().filter(|&&b| b == b'\n').count() + 1;
    u32::try_from(lines).unwrap_or(u32::MAX)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quote => "broken auth file",
            Self::NameTooLong => "username too long in auth file",
            Self::SecretTooLong => "password too long in auth file",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<(String, Secret)> {
        let (secrets, broken) = parse(text.as_bytes());
        assert_eq!(broken, None, "{text:?}");
        let name = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        secrets.users().map(|user| (name(user), secrets.secret(user).unwrap().clone())).collect()
    }

    fn plain(name: &str, password: &str) -> (String, Secret) {
        (name.into(), Secret::Plain(password.into()))
    }

    #[test]
    fn entries() {
        assert_eq!(of(""), []);
        assert_eq!(of(" \n; comment \"a\" \"b\"\n\n"), []);
        assert_eq!(of("\"a\" \"b\""), [plain("a", "b")]);
        assert_eq!(
            of("\"a\" \"b\" and more\r\n  \"c\"-\"d\" ; is still skipped \r\n"),
            [plain("a", "b"), plain("c", "d")]
        );
        assert_eq!(of("\"a\"\"b\" \"c\"\"d\"\"\"\n"), [plain("a\"b", "c\"d\"")]);
        assert_eq!(of("\"a\" \"\""), [plain("a", "")]);
        assert_eq!(of("\"a\" \"old\"\n\"a\" \"new\""), [plain("a", "new")], "the last one counts");
    }

    #[test]
    fn kinds_of_secret() {
        let md5 = format!("md5{}", "0123456789abcdef".repeat(2));
        assert!(matches!(of(&format!("\"a\" \"{md5}\""))[0].1, Secret::Md5(_)));
        let key = "A".repeat(43);
        let scram = format!("\"a\" \"SCRAM-SHA-256$4096:c2FsdA==${key}=:{key}=\"");
        assert!(matches!(of(&scram)[0].1, Secret::Scram(_)));
    }

    #[test]
    fn entries_before_a_bad_one_count() {
        for (bad, fault) in [
            ("plain text", Fault::Quote),
            ("\"a", Fault::Quote),
            ("\"a\"", Fault::Quote),
            ("\"a\" secret", Fault::Quote),
            ("\"a\" \"b", Fault::Quote),
            ("\"a\"\n\"b\" \"c", Fault::Quote),
            (&format!("\"{}\" \"b\"", "n".repeat(NAME_BYTES + 1)), Fault::NameTooLong),
            (&format!("\"a\" \"{}\"", "s".repeat(SECRET_BYTES + 1)), Fault::SecretTooLong),
        ] {
            let text = format!("\n\"good\" \"secret\"\n{bad}\n");
            let (secrets, broken) = parse(text.as_bytes());
            assert_eq!(broken, Some(Broken { line: 3, fault }), "{bad:.20}");
            assert!(secrets.secret("good").is_some());
            assert_eq!(secrets.len(), 1);
        }
        let longest = format!("\"{}\" \"{}\"", "n".repeat(NAME_BYTES), "s".repeat(SECRET_BYTES));
        assert_eq!(of(&longest).len(), 1);
    }

    #[test]
    fn names_need_not_be_utf8() {
        let (secrets, broken) = parse(b"\"caf\xe9\" \"x\"");
        assert_eq!(broken, None);
        assert!(secrets.secret(b"caf\xe9").is_some());
    }

    #[test]
    fn any_prefix_is_safe() {
        let text = b"\"a\"\"b\" \"c\"\n; x\n\"d\" \"e\"";
        for end in 0..text.len() {
            let (secrets, _) = parse(&text[..end]);
            assert!(secrets.len() <= 2);
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let (secrets, _) = parse(b"\"a\" \"hunter2\"");
        let shown = format!("{secrets:?} {:?}", secrets.secret("a"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
