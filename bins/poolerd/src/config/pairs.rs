//! Values of `[databases]`, `[users]` and `[peers]`: `key=value` pairs separated by blanks, values bare or in single
//! quotes with a doubled quote for one. An empty value is an error, no pair at all is not.

/// The next pairs of `text`, in order; the first error ends them. Errors never quote the text: it may hold a password.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = Result<(&str, String), &'static str>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let left = rest.take()?.trim_start_matches(BLANK);
        if left.is_empty() {
            return None;
        }
        Some(pair(left).map(|(key, value, after)| {
            rest = Some(after);
            (key, value)
        }))
    })
}

const BLANK: [char; 2] = [' ', '\t'];

fn pair(text: &str) -> Result<(&str, String, &str), &'static str> {
    let end = text.find(|c| c == '=' || BLANK.contains(&c)).ok_or("no = after a key")?;
    let (key, rest) = text.split_at(end);
    let rest = rest.trim_start_matches(BLANK).strip_prefix('=').ok_or("no = after a key")?;
    if key.is_empty() {
        return Err("no key before =");
    }
    let rest = rest.trim_start_matches(BLANK);
    let (value, rest) = match rest.strip_prefix('\'') {
        Some(quoted) => unquote(quoted)?,
        None => {
            let end = rest.find(BLANK).unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        }
    };
    if value.is_empty() { Err("an empty value") } else { Ok((key, value, rest)) }
}

fn unquote(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('\'').ok_or("no closing quote")?;
        value.push_str(part);
        match after.strip_prefix('\'') {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            None => return Ok((value, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<(&str, String)>, &'static str> {
        pairs(text).collect()
    }

    fn of(text: &str) -> String {
        all(text).unwrap().into_iter().map(|(key, value)| format!("{key}<{value}>")).collect()
    }

    #[test]
    fn what_pairs_are() {
        assert_eq!(of(""), "");
        assert_eq!(of(" \t "), "");
        assert_eq!(of("host=a port=1"), "host<a>port<1>");
        assert_eq!(of("  host = a\tport =1  "), "host<a>port<1>");
        assert_eq!(of("q='a b' p='it''s'"), "q<a b>p<it's>");
        assert_eq!(of("p='''' q=''''''"), "p<'>q<''>");
        assert_eq!(of("p=a'b=c"), "p<a'b=c>");
        assert_eq!(of("p='a'q=b"), "p<a>q<b>", "as PgBouncer, which needs no blank behind a quote");
    }

    #[test]
    fn what_pairs_are_not() {
        for text in
            ["host", "host a", "=a", "host=", "host=''", "host= ", "p='a", "p='a''", "a=1 b", "a=1 =2", "'"]
        {
            assert!(all(text).is_err(), "{text:?}");
        }
        assert_eq!(pairs("a=1 b c=2").count(), 2, "nothing follows an error");
    }
}
