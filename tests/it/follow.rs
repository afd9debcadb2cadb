//! Follow: what the legacy's own program does becomes events, in order, once.

mod beside;
mod clock;
mod decoding;
mod decoding_cli;
mod decoding_more;
mod decoding_server;
mod figures;
mod generated;
mod late;
mod live_diff;
mod outbox;
mod passing;
mod replaced;
mod ring;
mod sharers;
mod statements;
pub mod writer;
