//! The log in memory: the fake of the log port, and what a dry run writes to.
