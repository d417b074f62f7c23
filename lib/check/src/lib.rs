//! Parts for tests only: a seeded generator, all small inputs, split points, and a byte mutator.
//!
//! Every test of the workspace may use this crate and no program does. It depends on nothing, reads no clock and no
//! environment: the same seed gives the same run on every machine, so a failing seed is a complete bug report.

mod exhaustive;
mod mutate;
mod rng;
mod split;

pub use exhaustive::{Exhaustive, exhaustive};
pub use mutate::{mutate, mutate_words};
pub use rng::Rng;
pub use split::{pieces, prefixes};
