//! crossfade.yaml: what a migration is made of, read strictly, with environment and defaults laid over it.

mod effective;
mod kafka;
mod place;
pub mod properties;
mod raw;
mod registry;
mod scan;
mod stores;
mod wishes;

pub use effective::{Config, Effective, Home, Lookup, Origin, ReplayLimits};
pub use kafka::{KafkaHome, Security};
pub use place::{Postgres, SslMode};
pub use raw::RawConfig;
pub use registry::Registry;
pub use scan::Scan;
pub use stores::{PostgresStore, Store};
pub use wishes::{Planned, Wishes};
