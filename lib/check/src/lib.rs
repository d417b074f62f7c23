//! For tests only: a seeded generator, exhaustive small inputs, split points.
