//! The built binary as its users meet it: help, output, exit codes, bad input, journal, signals.

mod bad_config;
mod bad_files;
mod bad_security;
mod bad_stores;
mod exits;
mod help;
mod journal;
mod output;
mod shop;
mod signals;
mod status;
