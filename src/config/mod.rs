//! crossfade.yaml: what a migration is made of, read strictly, with environment and defaults laid over it.

mod effective;
mod raw;
mod registry;
mod wishes;

pub use effective::{Config, Effective, Home, KafkaHome, Lookup, Origin, ReplayLimits, Security, Store};
pub use raw::RawConfig;
pub use registry::Registry;
pub use wishes::{Planned, Wishes};
