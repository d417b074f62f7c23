//! poolerd: the command.

fn main() {}
