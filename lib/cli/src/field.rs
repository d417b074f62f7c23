//! From values of settings to typed fields.
//!
//! A program's types of fields are its own and those of libraries that know nothing of settings, so the trait that makes
//! them has to be the program's own too: [`field_trait`] declares it, with the types every program needs.

use crate::settings::{Kind, Value};

/// A number of things.
pub const COUNT: Kind = Kind::Int { min: 0, max: i32::MAX as i64 };
/// A number of bytes.
pub const SIZE: Kind = Kind::Bytes { min: 0, max: i32::MAX as i64 };
/// A time of at least a millisecond.
pub const TIME: Kind = Kind::PositiveMilliseconds;
/// A time that 0 turns off.
pub const TIME_OFF: Kind = Kind::Milliseconds;

/// Declares the trait `Field` and what it means for common types.
#[macro_export]
macro_rules! field_trait {
    () => {
        /// A field type of the settings, made from the value of its key.
        ///
        /// Total on purpose: the row's kind has bounded the value before, and a test holds every row of the table against
        /// its field. A value of another kind gives the type's zero.
        pub(crate) trait Field {
            fn from_value(value: &$crate::settings::Value) -> Self;
        }

        impl Field for bool {
            fn from_value(value: &$crate::settings::Value) -> Self {
                matches!(value, $crate::settings::Value::Bool(true))
            }
        }

        /// Negative numbers, which PgBouncer takes for some limits, mean the same as 0: no limit.
        impl Field for u32 {
            fn from_value(value: &$crate::settings::Value) -> Self {
                $crate::field::whole(value)
            }
        }

        impl Field for u8 {
            fn from_value(value: &$crate::settings::Value) -> Self {
                $crate::field::whole(value)
            }
        }

        impl Field for u16 {
            fn from_value(value: &$crate::settings::Value) -> Self {
                $crate::field::whole(value)
            }
        }

        impl Field for usize {
            fn from_value(value: &$crate::settings::Value) -> Self {
                $crate::field::whole(value)
            }
        }

        impl Field for u64 {
            fn from_value(value: &$crate::settings::Value) -> Self {
                $crate::field::whole(value)
            }
        }

        /// A plain number is seconds.
        impl Field for ::std::time::Duration {
            fn from_value(value: &$crate::settings::Value) -> Self {
                match value {
                    $crate::settings::Value::Seconds(time) | $crate::settings::Value::Milliseconds(time) => {
                        *time
                    }
                    $crate::settings::Value::Int(_) => Self::from_secs(u32::from_value(value).into()),
                    _ => Self::ZERO,
                }
            }
        }

        /// For times where 0 means off.
        impl Field for Option<::std::time::Duration> {
            fn from_value(value: &$crate::settings::Value) -> Self {
                Some(::std::time::Duration::from_value(value)).filter(|time| !time.is_zero())
            }
        }

        impl Field for String {
            fn from_value(value: &$crate::settings::Value) -> Self {
                match value {
                    $crate::settings::Value::Text(text) | $crate::settings::Value::List(text) => text.clone(),
                    $crate::settings::Value::Word(word) => (*word).to_owned(),
                    _ => Self::new(),
                }
            }
        }

        /// For texts where empty and unset mean the same.
        impl Field for Option<String> {
            fn from_value(value: &$crate::settings::Value) -> Self {
                Some(String::from_value(value)).filter(|text| !text.is_empty())
            }
        }

        impl Field for Vec<String> {
            fn from_value(value: &$crate::settings::Value) -> Self {
                value.words().map(str::to_owned).collect()
            }
        }
    };
}

/// Makes the settings of a program from their rows: `Global`, which has a field for each key, and `SETTINGS`, the table of
/// the keys. Expands where the program's `Field` is in scope (see [`field_trait`]).
///
/// A row gives the field's type, the kind of value, the default as shown (`-`: unset), whether a running program takes a
/// change, whether this version acts on it, the other sections the key may stand in, and a line of text:
///
/// ```text
/// head_max: usize, (Kind::Bytes { min: 0, max: 65_536 }), "32768", Yes, Yes, ["route"], "Bytes of a head.";
/// ```
#[macro_export]
macro_rules! settings_table {
    ($($name:ident: $field:ty, $kind:expr, $default:tt, $reload:ident, $acted:ident, [$($also:literal)*],
        $doc:literal;)+) => {
        /// The settings, one field a key, under the key's own name. Times are `Option<Duration>` where 0 turns them off.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Global { $(#[doc = $doc] pub $name: $field,)+ }

        /// Every key, in the order in which they are described.
        pub const SETTINGS: $crate::settings::Table = $crate::settings::Table(&[$($crate::settings::Setting {
            name: stringify!($name),
            kind: $kind,
            default: $crate::settings_table!(@default $default),
            reload: $crate::settings::Reload::$reload,
            acted: $crate::settings::Acted::$acted,
            also_in: &[$($also),*],
            doc: $doc,
        }),+]);

        impl Global {
            /// The typed form of `values`, which are of [`SETTINGS`].
            #[must_use]
            pub fn from_values(values: &$crate::settings::Values) -> Self {
                Self { $($name: <$field as Field>::from_value(values.value(stringify!($name))),)+ }
            }
        }

        impl Default for Global {
            fn default() -> Self {
                Self::from_values(&$crate::settings::Values::new(SETTINGS))
            }
        }
    };
    (@default -) => {
        None
    };
    (@default $text:expr) => {
        Some($text)
    };
}

/// An enum whose variants are words of the configuration file. Expands where [`field_trait`] has been.
#[macro_export]
macro_rules! setting_words {
    ($(#[doc = $doc:literal])+ $name:ident, $($(#[doc = $about:literal])+ $variant:ident = $word:literal,)+) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $about])+ $variant,)+ }

        impl $name {
            /// The words, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As written in the file.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The variant of `word`, in any letter case.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.word().eq_ignore_ascii_case(word))
            }
        }

        impl Field for $name {
            fn from_value(value: &$crate::settings::Value) -> Self {
                let word = if let $crate::settings::Value::Word(word) = value { Self::from_word(word) } else { None };
                word.unwrap_or(Self::ALL[0])
            }
        }
    };
}

/// The number of an integer setting. Negative ones, which PgBouncer takes for some limits, mean the same as 0: no limit.
#[must_use]
pub fn whole<N: TryFrom<i64> + Bounded>(value: &Value) -> N {
    match value {
        Value::Int(n) => N::try_from((*n).max(0)).unwrap_or(N::MOST),
        Value::Mode(mode) => N::try_from(i64::from(*mode)).unwrap_or(N::MOST),
        _ => N::NONE,
    }
}

/// Numbers [`whole`] makes.
pub trait Bounded {
    /// Zero.
    const NONE: Self;
    /// The greatest.
    const MOST: Self;
}

macro_rules! bounded {
    ($($number:ty)*) => { $(impl Bounded for $number {
        const NONE: Self = 0;
        const MOST: Self = Self::MAX;
    })* };
}
bounded!(u8 u16 u32 u64 usize);
