//! Follow: what the legacy's own program does becomes events, in order, once.

mod decoding;
mod generated;
mod live_diff;
mod outbox;
mod statements;
mod writer;
