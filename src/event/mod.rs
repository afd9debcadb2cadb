//! Events: envelope, identity, exact row images.
pub mod partition;
