//! Enums whose variants are words that people write.

/// Makes an enum of words: its variants in order, with `WORDS` for a [`Kind::Enum`](crate::settings::Kind::Enum), `word()`
/// and `from_word()`.
#[macro_export]
macro_rules! words {
    ($(#[doc = $doc:literal])+ $vis:vis $name:ident, $($(#[doc = $about:literal])+ $variant:ident = $word:literal,)+) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[doc = $about])+ $variant,)+ }

        impl $name {
            /// The words, in the order of the variants.
            $vis const WORDS: &'static [&'static str] = &[$($word),+];
            /// The variants, in order.
            $vis const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As people write it.
            #[must_use]
            $vis fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The variant of `word`, in any letter case.
            #[must_use]
            $vis fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.word().eq_ignore_ascii_case(word))
            }
        }
    };
}

#[cfg(test)]
mod tests {
    words! {
        /// Ways a gate can stand.
        Gate,
        /// Nobody passes.
        Shut = "shut",
        /// All pass.
        Open = "open",
    }

    #[test]
    fn words_and_variants_belong_together() {
        assert_eq!(Gate::WORDS, ["shut", "open"]);
        for (variant, word) in Gate::ALL.iter().zip(Gate::WORDS) {
            assert_eq!(variant.word(), *word);
            assert_eq!(Gate::from_word(&word.to_uppercase()), Some(*variant));
        }
        assert_eq!(Gate::from_word("ajar"), None);
    }
}
