//! Provisioning: a home of the log brought to its plan, and never further.

mod brokers;
mod copies;
mod disks;
mod engine;
mod imported;
mod kills;
mod plans;
mod refusals;
