//! The nearest name in a table, for errors that suggest what was meant. Pure.

/// The candidate closest to `name` by edit distance, where one is close enough to be worth suggesting.
///
/// An insertion, deletion, substitution or swap of neighbours costs one; letter case and `-` against `_` cost
/// nothing. At most a third of the name (and always one) may differ. The first of equals wins.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = fold(name);
    let limit = (wanted.len() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let distance = distance(&wanted, &fold(candidate));
        if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn fold(name: &str) -> Vec<char> {
    name.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Optimal string alignment distance, three rows at a time.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut row = last.clone();
    for (i, &from) in a.iter().enumerate() {
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let substituted = last[j] + usize::from(from != to);
            let mut least = substituted.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1] && a[i - 1] == to {
                least = least.min(before[j - 1] + 1);
            }
            row[j + 1] = least;
        }
        (before, last, row) = (last, row, before);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(a: &str, b: &str) -> usize {
        distance(&fold(a), &fold(b))
    }

    #[test]
    fn distances() {
        assert_eq!(between("", ""), 0);
        assert_eq!(between("", "abc"), 3);
        assert_eq!(between("abc", ""), 3);
        assert_eq!(between("pool_mode", "pool_mode"), 0);
        assert_eq!(between("pool-mode", "Pool_Mode"), 0);
        assert_eq!(between("pol_mode", "pool_mode"), 1);
        assert_eq!(between("poolmode", "pool_mode"), 1);
        assert_eq!(between("pool_moed", "pool_mode"), 1);
        assert_eq!(between("kitten", "sitting"), 3);
    }

    #[test]
    fn suggests_only_what_is_close() {
        let names = ["pool_mode", "max_client_conn", "user"];
        assert_eq!(nearest("pool_mod", names), Some("pool_mode"));
        assert_eq!(nearest("max_client_connections", names), Some("max_client_conn"));
        assert_eq!(nearest("usr", names), Some("user"));
        assert_eq!(nearest("us", names), None);
        assert_eq!(nearest("shared_buffers", names), None);
        assert_eq!(nearest("", names), None);
    }
}
