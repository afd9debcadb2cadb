//! Reverse: rows of sessions that events own, back in the legacy's own tables; and who may write them.

mod foreign;
mod paused;
mod refused;
mod sqlite;
