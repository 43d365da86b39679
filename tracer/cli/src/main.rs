//! The `pktwalk` command.

fn main() {}
