//! What the engines need from the world, one trait a file, with a memory fake where one serves.

pub mod admin_rules;
pub mod boundary;
pub mod buffered;
pub mod change_source;
pub mod claims;
pub mod event_log;
pub mod group;
pub mod held_rows;
pub mod identity;
pub mod journal;
pub mod legacy_sink;
pub mod legacy_source;
pub mod memory_admin;
pub mod memory_log;
pub mod memory_registry;
pub mod memory_sink;
pub mod owners;
pub mod progress;
pub mod registry;
pub mod roster;
pub mod row_store;
pub mod settled;
pub mod topic_admin;
