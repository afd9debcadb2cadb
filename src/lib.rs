//! The library of crossfade: rules, ports, engines and adapters. It never prints, prompts, reads the environment or exits.

pub mod base;
pub mod diff;
pub mod mapping;
pub mod port;
