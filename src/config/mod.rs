//! crossfade.yaml: what a migration is made of, read strictly, with environment and defaults laid over it.

mod effective;
mod kafka;
pub mod properties;
mod raw;
mod registry;
mod wishes;

pub use effective::{Config, Effective, Home, Lookup, Origin, ReplayLimits, Store};
pub use kafka::{KafkaHome, Security};
pub use raw::RawConfig;
pub use registry::Registry;
pub use wishes::{Planned, Wishes};
