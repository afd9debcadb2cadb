//! Runs that are killed, paused, cut off or out of room, and what the next run makes of it.

mod beside_writer;
mod boundaries;
mod brokers;
mod campaign;
mod chains;
mod full_disk;
mod outage;
mod paused;
mod resumes;
