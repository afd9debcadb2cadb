//! One transaction of the legacy on its way from the log.

use super::super::capture::Passing;
use crate::base::Millis;
use crate::event::Op;
use crate::mapping::{Mapping, Rows};

/// Between the epochs of Unix and of PostgreSQL.
const EPOCH_MILLIS: i64 = 946_684_800_000;

/// A time of the server's log.
pub(super) fn millis(micros: i64) -> Millis {
    micros.div_euclid(1000).saturating_add(EPOCH_MILLIS)
}

/// A change by the places of its images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) table: usize,
    pub(super) op: Op,
    pub(super) row: usize,
    pub(super) before: Option<usize>,
    /// Which of the transaction's changes it is, from 1.
    pub(super) count: u64,
}

/// What has come of a transaction and is not told yet.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) commit: u64,
    pub(super) xid: u64,
    pub(super) made_at: Millis,
    /// Its changes are in the rows that were read, or told, or none of the legacy's own.
    pub(super) skip: bool,
    /// Changes of it that were told before.
    pub(super) told: u64,
    /// Changes that have come.
    pub(super) count: u64,
    pub(super) entries: Vec<Entry>,
    /// By table, the columns alone.
    pub(super) images: Vec<Rows>,
    /// Why the fold cannot be kept equal by these changes.
    pub(super) reconcile: Option<String>,
    /// Where it ends in the log, once all of it has come.
    pub(super) end: Option<u64>,
    pub(super) passing: Passing,
    /// A part of it was told by this run.
    pub(super) cut: bool,
}

impl Transaction {
    pub(super) fn begin(mapping: &Mapping, commit: u64, xid: u64, made_at: Millis) -> Self {
        Self {
            commit,
            xid,
            made_at,
            skip: false,
            told: 0,
            count: 0,
            entries: Vec::new(),
            images: mapping.tables.iter().map(|table| Rows::new(table.columns.len())).collect(),
            reconcile: None,
            end: None,
            passing: Passing::new(mapping, false),
            cut: false,
        }
    }

    /// All of it is here.
    pub(super) fn whole(&self) -> bool {
        self.end.is_some() && !self.cut && !self.passing.begun
    }

    pub(super) fn bytes(&self) -> usize {
        self.images.iter().map(Rows::byte_len).sum()
    }

    /// Forgets what was told; more may come.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        for rows in &mut self.images {
            rows.reset(rows.width());
        }
    }

    /// Nothing of it is to be told.
    pub(super) fn is_empty(&self) -> bool {
        self.skip || (self.entries.is_empty() && self.reconcile.is_none())
    }
}
