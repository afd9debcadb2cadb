//! Follow: what the legacy's own program does becomes events, in order, once.

mod decoding;
mod generated;
mod live_diff;
mod outbox;
mod sharers;
mod statements;
mod writer;
