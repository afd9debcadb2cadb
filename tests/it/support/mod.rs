//! Helpers of the integration tests.

pub mod acc;
pub mod cli;
pub mod crash;
pub mod decoding;
pub mod ended;
pub mod ends;
pub mod export_server;
pub mod flow;
pub mod flow_faults;
pub mod follow;
pub mod followed;
pub mod gateway;
pub mod habits;
pub mod postgres;
pub mod program;
pub mod provision;
pub mod schemas;
pub mod scrape;
pub mod secure;
pub mod store;
