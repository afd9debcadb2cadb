//! The contract of a projection store and of the journal: exact rows, the fold's rule, fencing, crashes.

mod claims;
mod files;
mod journal;
mod rules;
mod shared;
mod values;
