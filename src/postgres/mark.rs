//! How a transaction of reverse is known, so that capture makes no events of it again.
//!
//! Each one begins with `pg_logical_emit_message(true, MESSAGE, …)`, which decoding sees before the transaction's rows, and
//! with `SET LOCAL "SETTING" = 'REVERSE'`, which a trigger can ask for by `current_setting(SETTING, true)`.

/// The prefix of the logical message a transaction of reverse begins with.
pub const MESSAGE: &str = "crossfade";

/// The setting that is [`REVERSE`] within a transaction of reverse.
pub const SETTING: &str = "crossfade.origin";

pub const REVERSE: &str = "reverse";
