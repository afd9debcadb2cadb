//! The integration tests, one file per area.

#![allow(unreachable_pub, reason = "a helper is public to all areas, whichever of them use it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells on the terminal"
)]

mod admin_contract;
mod cli;
mod compat;
mod contract;
mod crash;
mod documents;
mod events;
mod flow;
mod follow;
mod generator;
mod init_schemas;
mod log_contract;
mod ours;
mod placement;
mod postgres;
mod provision;
mod registry_contract;
mod report;
mod reverse;
mod rights;
mod secure;
mod source;
mod store_contract;
mod support;
mod tidy;
