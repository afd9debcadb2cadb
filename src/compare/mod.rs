//! Comparing legacy rows with the fold of their events.
