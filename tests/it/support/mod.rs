//! Helpers of the integration tests.

pub mod acc;
pub mod cli;
pub mod schemas;
pub mod store;
