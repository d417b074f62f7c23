//! The field names that mean something here: one table, and a look-up without allocation.
//!
//! Every name of a message is looked up once, when its head is read; afterwards names are compared as numbers. What the
//! gateway does with a field (drop it, never let Connection take it, keep it out of trailers) is a column of the table.

/// What is special about a field, as a set of bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traits(u8);

impl Traits {
    /// Nothing: forwarded as it came.
    pub const PLAIN: Self = Self(0);
    /// Belongs to one connection and is never forwarded (RFC 9110 §7.6.1).
    pub const HOP: Self = Self(1);
    /// A Connection field that nominates it does not remove it.
    pub const KEPT: Self = Self(2);
    /// Must not come in a trailer section (RFC 9110 §6.5.1): framing, routing, credentials, content, control.
    pub const HEAD_ONLY: Self = Self(4);
    /// This gateway writes it itself on the way to an origin; a request must not bring a look-alike spelled with `_`.
    pub const OURS: Self = Self(8);

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

const PLAIN: Traits = Traits::PLAIN;
const HEAD: Traits = Traits::HEAD_ONLY;
const HOP: Traits = Traits::HOP.and(Traits::HEAD_ONLY).and(Traits::OURS);
const KEPT: Traits = Traits::KEPT.and(Traits::HEAD_ONLY);
const OURS: Traits = Traits::KEPT.and(Traits::HEAD_ONLY).and(Traits::OURS);

macro_rules! names {
    ($($variant:ident $text:literal $traits:ident;)*) => {
        /// A field name.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Name {
            $(#[doc = $text] $variant,)*
            /// Any other name: compare its text.
            Other,
        }

        /// The names in the order of their numbers.
        const TABLE: &[(Name, &str, Traits)] = &[$((Name::$variant, $text, $traits)),*];
    };
}

names! {
    // Framing and the connection.
    Host "host" OURS;
    ContentLength "content-length" OURS;
    TransferEncoding "transfer-encoding" HOP;
    Connection "connection" HOP;
    KeepAlive "keep-alive" HOP;
    ProxyConnection "proxy-connection" HOP;
    Te "te" HOP;
    Upgrade "upgrade" HOP;
    Http2Settings "http2-settings" HOP;
    Trailer "trailer" HEAD;
    Expect "expect" OURS;
    MaxForwards "max-forwards" OURS;
    // Who asked, and by which way.
    Via "via" OURS;
    Forwarded "forwarded" OURS;
    XForwardedFor "x-forwarded-for" OURS;
    XForwardedHost "x-forwarded-host" OURS;
    XForwardedProto "x-forwarded-proto" OURS;
    XForwardedPort "x-forwarded-port" OURS;
    XForwardedPrefix "x-forwarded-prefix" OURS;
    XForwardedServer "x-forwarded-server" OURS;
    XForwardedSsl "x-forwarded-ssl" OURS;
    XRealIp "x-real-ip" OURS;
    SluiceProbe "sluice-probe" OURS;
    // Credentials.
    Authorization "authorization" KEPT;
    ProxyAuthorization "proxy-authorization" HEAD;
    ProxyAuthenticate "proxy-authenticate" HEAD;
    WwwAuthenticate "www-authenticate" HEAD;
    Cookie "cookie" KEPT;
    SetCookie "set-cookie" HEAD;
    // Content.
    ContentType "content-type" HEAD;
    ContentEncoding "content-encoding" HEAD;
    ContentRange "content-range" HEAD;
    ContentLanguage "content-language" HEAD;
    ContentLocation "content-location" HEAD;
    // Caching and conditions.
    CacheControl "cache-control" KEPT;
    Pragma "pragma" HEAD;
    Expires "expires" HEAD;
    Age "age" HEAD;
    Date "date" HEAD;
    Vary "vary" HEAD;
    Etag "etag" PLAIN;
    LastModified "last-modified" HEAD;
    IfMatch "if-match" HEAD;
    IfNoneMatch "if-none-match" HEAD;
    IfModifiedSince "if-modified-since" HEAD;
    IfUnmodifiedSince "if-unmodified-since" HEAD;
    IfRange "if-range" HEAD;
    Range "range" HEAD;
    CacheStatus "cache-status" HEAD;
    ProxyStatus "proxy-status" HEAD;
    // Control of requests and responses.
    Accept "accept" HEAD;
    Allow "allow" HEAD;
    Location "location" HEAD;
    Origin "origin" HEAD;
    Prefer "prefer" HEAD;
    Priority "priority" HEAD;
    RetryAfter "retry-after" HEAD;
    Server "server" HEAD;
    UserAgent "user-agent" HEAD;
    AccessControlRequestMethod "access-control-request-method" HEAD;
    AccessControlRequestHeaders "access-control-request-headers" HEAD;
}

const COUNT: usize = TABLE.len();
const BUCKETS: usize = 128;

/// First entry of a bucket's chain, plus one; zero ends a chain.
const FIRST: [u8; BUCKETS] = CHAINS.0;
const NEXT: [u8; COUNT] = CHAINS.1;
const CHAINS: ([u8; BUCKETS], [u8; COUNT]) = chains();

const fn chains() -> ([u8; BUCKETS], [u8; COUNT]) {
    let (mut first, mut next) = ([0; BUCKETS], [0; COUNT]);
    let mut at = 0;
    while at < COUNT {
        let bucket = bucket(TABLE[at].1.as_bytes());
        next[at] = first[bucket];
        first[bucket] = at as u8 + 1;
        at += 1;
    }
    (first, next)
}

/// A name's bucket: its length, its first and its last letter tell most names apart.
const fn bucket(text: &[u8]) -> usize {
    let (Some(&first), Some(&last)) = (text.first(), text.last()) else { return 0 };
    let (first, last) = ((first | 0x20) as usize, (last | 0x20) as usize);
    (text.len() * 7 + first * 3 + last * 17) % BUCKETS
}

impl Name {
    /// The name spelled `text`, in letters of any case.
    pub fn of(text: &[u8]) -> Self {
        let mut link = FIRST[bucket(text)];
        while let Some(at) = usize::from(link).checked_sub(1) {
            let (name, spelled, _) = TABLE[at];
            if spelled.as_bytes().eq_ignore_ascii_case(text) {
                return name;
            }
            link = NEXT[at];
        }
        Self::Other
    }

    /// The name in small letters; empty for [`Name::Other`].
    pub fn text(self) -> &'static str {
        TABLE.get(self as usize).map_or("", |row| row.1)
    }

    /// Whether it has any of `traits`.
    pub fn is(self, traits: Traits) -> bool {
        TABLE.get(self as usize).is_some_and(|row| row.2.has(traits))
    }

    /// Whether it says something about the client that only a trusted peer may say.
    pub fn tells_of_client(self) -> bool {
        (Self::Forwarded..=Self::SluiceProbe).contains(&self)
    }
}

/// A set of known names.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NameSet(u128);

impl NameSet {
    /// Puts `name` in.
    pub fn insert(&mut self, name: Name) {
        self.0 |= 1 << name as u8;
    }

    /// Whether `name` is in.
    pub fn contains(self, name: Name) -> bool {
        self.0 & (1 << name as u8) != 0
    }
}

/// Whether `text`, once its underscores read as hyphens, is a name this gateway writes itself: servers that turn names
/// into variables (RFC 3875 §4.1.18) cannot tell the two apart.
pub fn is_lookalike(text: &[u8]) -> bool {
    const LONGEST: usize = 32;
    let mut plain = [0; LONGEST];
    let Some(plain) = plain.get_mut(..text.len()).filter(|_| text.contains(&b'_')) else { return false };
    plain.copy_from_slice(text);
    plain.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = b'-');
    let name = Name::of(plain);
    name.is(Traits::OURS) || plain.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"sluice-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_finds_itself_in_any_case() {
        for &(name, text, _) in TABLE {
            assert_eq!(Name::of(text.as_bytes()), name);
            assert_eq!(Name::of(text.to_ascii_uppercase().as_bytes()), name);
            assert_eq!(name.text(), text);
            assert!(text.len() <= 32 && text == text.to_ascii_lowercase());
        }
        const { assert!(COUNT < 128, "a NameSet has 128 places") };
        assert_eq!(TABLE.iter().map(|row| row.1).collect::<BTreeSet<_>>().len(), COUNT);
    }

    #[test]
    fn other_names_are_other() {
        for text in
            [&b""[..], b"h", b"hosts", b"hos", b"x-request-id", b"content_length", b"\xff", b"h\x4fst\0"]
        {
            assert_eq!(Name::of(text), Name::Other, "{text:?}");
        }
        assert_eq!(Name::Other.text(), "");
        assert!(!Name::Other.is(Traits::HOP));
    }

    #[test]
    fn chains_are_short() {
        let longest = FIRST.iter().map(|&link| {
            let mut link = link;
            std::iter::from_fn(|| {
                let at = usize::from(link).checked_sub(1)?;
                link = NEXT[at];
                Some(())
            })
            .count()
        });
        assert!(longest.max() <= Some(3));
    }

    #[test]
    fn lookalikes_of_what_we_write() {
        for text in [
            &b"X_Forwarded_For"[..],
            b"x-forwarded_for",
            b"Content_Length",
            b"transfer_encoding",
            b"Sluice_Anything",
        ] {
            assert!(is_lookalike(text), "{text:?}");
        }
        for text in [&b"X-Forwarded-For"[..], b"x_request_id", b"host", b"", b"_", &[b'_'; 40]] {
            assert!(!is_lookalike(text), "{text:?}");
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut set = NameSet::default();
        set.insert(Name::Host);
        set.insert(Name::Other);
        assert!(set.contains(Name::Host) && set.contains(Name::Other) && !set.contains(Name::Te));
    }
}
