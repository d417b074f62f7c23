//! /proc/self/mountinfo: where file systems are mounted.

use super::root::Root;

/// A line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// `major:minor` of the device.
    pub(super) device: String,
    /// The directory of the file system that is mounted.
    pub(super) top: String,
    /// Where.
    pub(super) at: String,
    /// Type of file system.
    pub(super) kind: String,
    /// What is mounted.
    pub(super) source: String,
    /// Options of the file system, separated by commas.
    pub(super) options: String,
}

/// The mounts, in the kernel's order; lines that do not read are passed over.
pub(super) fn read(root: &Root) -> Vec<Mount> {
    let text = root.read("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(parse).collect()
}

/// `id parent major:minor top at options [optional fields] - kind source options` (proc_pid_mountinfo(5)).
fn parse(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(2);
    let mut right = right.split(' ');
    Some(Mount {
        device: left.next()?.to_owned(),
        top: unescape(left.next()?),
        at: unescape(left.next()?),
        kind: right.next()?.to_owned(),
        source: unescape(right.next()?),
        options: right.next().unwrap_or_default().to_owned(),
    })
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_optional_fields_and_escapes() {
        let line = r"36 35 98:0 /a\040b /mnt\134c rw,noatime master:1 shared:2 - cgroup2 none rw,nsdelegate";
        let mount = parse(line).unwrap();
        assert_eq!(
            (mount.device.as_str(), mount.top.as_str(), mount.at.as_str()),
            ("98:0", "/a b", r"/mnt\c")
        );
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("cgroup2", "none"));
        assert_eq!(mount.options, "rw,nsdelegate");
    }

    #[test]
    fn what_is_no_line() {
        for line in ["", "36 35 98:0 / /mnt rw", "36 35 - x", " - ", r"1 2 3:4 \9 \04 rw - a b"] {
            let _ = parse(line);
        }
        assert_eq!(parse("36 35 98:0 / /mnt rw"), None);
        assert_eq!(unescape(r"a\04"), r"a\04");
        assert_eq!(unescape(r"\400"), r"\400");
    }
}
