//! Reverse: rows of sessions that events own, back in the legacy's own tables; and who may write them.

mod contract;
mod crash;
mod foreign;
mod lost;
mod paused;
mod postgres;
mod refused;
pub mod sqlite;
