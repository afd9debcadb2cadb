//! Credentials in text: what looks like one, by which rule, and the same text without it.

mod find;
mod labelled;
mod rules;
mod screen;
mod shapes;
mod tally;
mod text;

pub use find::{mask, masked, redacted};
pub use rules::{RULES, Rule};
pub use screen::{Accepted, Mode, Scratch, Screen};
pub use tally::{Found, Tally};

#[cfg(test)]
mod tests;
