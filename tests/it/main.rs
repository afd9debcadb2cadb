//! The integration tests, one file per area.

mod cli;
mod crash;
mod events;
mod flow;
mod generator;
mod init_schemas;
mod log_contract;
mod report;
mod source;
mod store_contract;
mod support;
mod tidy;
