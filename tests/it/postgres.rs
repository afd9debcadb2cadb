//! PostgreSQL as legacy store and as projection, on a real server.

mod acc;
mod across;
mod capture;
mod content;
mod credentials;
mod faults;
mod init;
mod live_diff;
mod outbox;
mod passing;
mod reading;
mod resumes;
mod store;
mod transfers;
mod values;
