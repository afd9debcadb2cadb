//! A deterministic generator of legacy stores.
