//! Turning committed legacy rows into events.
