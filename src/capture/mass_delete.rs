//! A legacy that was restored, restarted or emptied looks like one whose rows were deleted: whoever reconciles asks first.

use crate::base::words::number;
use crate::base::{Error, Result};
use crate::compare::{Pair, Sides};
use crate::mapping::{KeyText, Mapping};
use crate::port::legacy_source::Snapshot;
use crate::port::owners::Sessions;
use crate::port::progress::Progress;
use crate::port::row_store::RowView;

/// How many rows of a table may be gone in one pass before an operator is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MassDelete {
    /// More than this share of a table's rows …
    pub percent: u64,
    /// … and more than so many of them; or all of them.
    pub rows: u64,
    /// The operator has been asked.
    pub allowed: bool,
}

impl Default for MassDelete {
    fn default() -> Self {
        Self { percent: 10, rows: 100, allowed: false }
    }
}

impl MassDelete {
    fn is(self, gone: u64, (left, before): (u64, u64)) -> bool {
        let share = u128::from(gone) * 100 > u128::from(self.percent) * u128::from(before);
        gone > 0 && (left == 0 || (share && gone > self.rows))
    }

    /// Refuses a pass that would write too many deletes; rows of sessions that events own are left out.
    pub(super) fn check(
        self,
        mapping: &Mapping,
        sides: &Sides<'_>,
        sessions: &Sessions,
        (snapshot, view): (&mut dyn Snapshot, &mut dyn RowView),
        progress: &dyn Progress,
    ) -> Result<()> {
        let may = |table| self.is(sides.most_gone(table), sides.rows(table));
        if self.allowed || !mapping.tables.iter().any(may) {
            return Ok(());
        }
        let mut gone = vec![0; mapping.tables.len()];
        let mut key = KeyText::default();
        sides.differences(snapshot, view, progress, &mut |pairs: &[Pair<'_>]| {
            for pair in pairs {
                if let (None, Some((row, _))) = (pair.legacy, pair.projected)
                    && !sessions.owned(pair.table, row, &mut key)
                {
                    gone[pair.table.index] += 1;
                }
            }
            progress.check()
        })?;
        let many = mapping.tables.iter().filter(|table| self.is(gone[table.index], sides.rows(table)));
        let many: Vec<String> = many
            .map(|table| {
                let (left, before) = sides.rows(table);
                let (gone, before, left) = (number(gone[table.index]), number(before), number(left));
                format!("table '{}': {gone} of {before} rows are gone, {left} are there", table.name)
            })
            .collect();
        if many.is_empty() {
            return Ok(());
        }
        Err(Error::refused(format!("the legacy has lost many rows, and no delete was written. {}", many.join("; "))).hint(
            "was it restored, restarted or pointed elsewhere? If the rows are meant to be gone, run the same command with \
             --allow mass-delete",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_more_than_the_share_and_the_number_or_all() {
        let limits = MassDelete::default();
        for (gone, rows, many) in [
            (0, (0, 0), false),
            (1, (0, 1), true),
            (100, (50, 150), false),
            (101, (909, 1_010), false),
            (101, (908, 1_009), true),
            (150, (1_400, 1_550), false),
            (5, (0, 5), true),
        ] {
            assert_eq!(limits.is(gone, rows), many, "{gone} of {rows:?}");
        }
        assert!(MassDelete { percent: 1, rows: 1, ..limits }.is(2, (100, 102)));
    }
}
