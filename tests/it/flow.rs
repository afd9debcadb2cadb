//! The main job from end to end: legacy rows become events, events become rows again, and a diff proves it.

mod changes;
mod codecs;
mod conserved;
mod coverage;
mod credentials;
mod demo;
mod differing;
mod generated;
mod grown;
mod identity;
mod inert;
mod lock;
mod mapping_change;
mod mass_delete;
mod open_transaction;
mod probes;
mod quarantine;
mod real_data;
mod secrets;
mod settling;
mod snapshots;
mod story;
mod writers;
