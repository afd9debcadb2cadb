//! The library of crossfade: rules, ports, engines and adapters. It never prints, prompts, reads the environment or exits.

pub mod acc;
pub mod base;
pub mod capture;
pub mod compare;
pub mod config;
pub mod contract;
pub mod control;
pub mod demo;
pub mod diff;
pub mod embedded;
pub mod event;
pub mod fold;
pub mod journal;
pub mod kafka;
pub mod mapping;
pub mod ownership;
pub mod plan;
pub mod port;
pub mod postgres;
pub mod project;
pub mod provision;
pub mod registry;
pub mod report;
pub mod scan;
pub mod sqlite;
