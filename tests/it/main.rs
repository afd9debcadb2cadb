//! The integration tests, one file per area.

mod generator;
mod init_schemas;
mod log_contract;
mod report;
mod source;
mod store_contract;
mod support;
