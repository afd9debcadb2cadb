//! Identities that rows pass to each other, where the store checks that they are unique at the end of a statement or a
//! transaction only: until then two rows may have the same one.

use std::collections::HashMap;

use super::{Change, Changes};
use crate::event::Op;
use crate::mapping::{Mapping, Value};

/// An image, and its row in the table's chunk.
type Imaged = (Vec<u8>, usize);

/// What one change does to one identity.
struct Half {
    /// Its place among all of them.
    place: usize,
    old: Option<Imaged>,
    new: Option<Imaged>,
}

impl Changes {
    /// Has the changes from `from` on, which must be those of whole transactions, end in what these ended in: the last
    /// change of an identity need not be the one that left it its row. Of the tables marked in `late` alone.
    ///
    /// | changes of one identity | become |
    /// | --- | --- |
    /// | each goes on from the row the one before left | as they are |
    /// | a row came, and the one that was there before went | their sum, in place of the last of them |
    /// | a row came and went again, perhaps beside another | nothing: whatever was there before still is |
    ///
    /// Gives a table whose changes have no sum; those of whole transactions always have one.
    pub fn settle_identities(&mut self, from: usize, mapping: &Mapping, late: &[bool]) -> Option<usize> {
        if !self.changes[from..].iter().any(|change| late[change.table]) {
            return None;
        }
        let mut all = self.halves(from, mapping, late);
        let mut unsettled = None;
        for ((table, _), halves) in self.by_identity(&all, mapping, late) {
            if flows(&halves) {
                continue;
            }
            let last = halves.iter().fold(None, |_, half| all[half.place].take());
            let (Some(last), Some(end)) = (last, halves.last()) else { continue };
            match sum(&halves) {
                Some((None, None)) => {}
                Some((Some(lost), None)) => {
                    all[end.place] = Some(Change { op: Op::Delete, row: lost, before: None, ..last });
                }
                Some((before, Some(gained))) => {
                    let op = if before.is_some() { Op::Update } else { Op::Insert };
                    all[end.place] = Some(Change { op, row: gained, before, ..last });
                }
                None => unsettled = Some(table),
            }
        }
        self.changes.extend(all.into_iter().flatten());
        unsettled
    }

    /// Takes the changes from `from` on out, a row that moved to another identity as one that went and one that came.
    fn halves(&mut self, from: usize, mapping: &Mapping, late: &[bool]) -> Vec<Option<Change>> {
        let mut all = Vec::with_capacity(self.changes.len() - from);
        for change in self.changes.split_off(from) {
            let rows = &self.tables[change.table];
            let moved = |before: &usize| {
                let identity = &mapping.tables[change.table].identity;
                identity.iter().any(|cell| rows.row(*before).get(*cell) != rows.row(change.row).get(*cell))
            };
            match change.before.filter(|before| late[change.table] && moved(before)) {
                Some(before) => {
                    all.push(Some(Change { op: Op::Delete, row: before, before: None, ..change.clone() }));
                    all.push(Some(Change { op: Op::Insert, before: None, ..change }));
                }
                None => all.push(Some(change)),
            }
        }
        all
    }

    fn by_identity(
        &self,
        all: &[Option<Change>],
        mapping: &Mapping,
        late: &[bool],
    ) -> HashMap<(usize, Vec<u8>), Vec<Half>> {
        let mut identities: HashMap<(usize, Vec<u8>), Vec<Half>> = HashMap::new();
        for (place, change) in all.iter().enumerate() {
            let Some(change) = change.as_ref().filter(|change| late[change.table]) else { continue };
            let (rows, table) = (&self.tables[change.table], &mapping.tables[change.table]);
            // A record key that comes through a parent is no part of the row.
            let imaged = |row: usize| (image(rows.row(row).values().take(table.columns.len())), row);
            let (old, new) = match change.op {
                Op::Delete => (Some(change.row), None),
                _ => (change.before, Some(change.row)),
            };
            let row = rows.row(change.row);
            let identity = image(table.identity.iter().map(|cell| row.get(*cell)));
            let half = Half { place, old: old.map(imaged), new: new.map(imaged) };
            identities.entry((change.table, identity)).or_default().push(half);
        }
        identities
    }
}

fn image<'a>(values: impl Iterator<Item = Value<'a>>) -> Vec<u8> {
    let mut image = Vec::new();
    values.for_each(|value| value.write_image(&mut image));
    image
}

/// Whether an identity was held by one row at a time, as far as its changes tell.
fn flows(halves: &[Half]) -> bool {
    let image = |imaged: &Option<Imaged>| imaged.as_ref().map(|(image, _)| image.clone());
    let mut held = None;
    for half in halves {
        if held.is_some_and(|held| held != image(&half.old)) {
            return false;
        }
        held = Some(image(&half.new));
    }
    // What came and went may have done so beside a row that did not change, and is still there.
    !(halves.first().is_some_and(|first| first.old.is_none()) && held == Some(None))
}

/// The row an identity lost and the one it gained, by places in the chunk; `None` where it lost or gained several.
fn sum(halves: &[Half]) -> Option<(Option<usize>, Option<usize>)> {
    let mut counts: HashMap<&[u8], (i64, usize)> = HashMap::new();
    for half in halves {
        for (imaged, by) in [(&half.old, -1), (&half.new, 1)] {
            if let Some((image, row)) = imaged {
                counts.entry(image).or_insert((0, *row)).0 += by;
            }
        }
    }
    let of = |sign: i64| {
        let mut found = counts.values().filter(move |(count, _)| count * sign > 0);
        match (found.next(), found.next()) {
            (None, _) => Some(None),
            (Some((count, row)), None) if count.abs() == 1 => Some(Some(*row)),
            _ => None,
        }
    };
    Some((of(-1)?, of(1)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::Rows;
    use std::collections::BTreeMap;

    const MAPPING: &str = "version: 1\ntypes: postgres\ntopics: {rows: {partitions: 1}}\ntables:\n  t:\n    topic: rows\n    \
        identity: [id]\n    columns: {id: integer, v: text}\n";

    type Stored = (i64, u8);

    /// A table in which rows may share an identity until a transaction ends.
    #[derive(Clone, Default)]
    struct Store {
        rows: Vec<Stored>,
        changes: Vec<(Op, Option<Stored>, Option<Stored>)>,
    }

    impl Store {
        fn step(&mut self, (act, at, id, v): (u8, usize, i64, u8)) {
            let at = if self.rows.is_empty() { 0 } else { at % self.rows.len() };
            match act {
                0 => {
                    self.rows.push((id, v));
                    self.changes.push((Op::Insert, None, Some((id, v))));
                }
                _ if self.rows.is_empty() => {}
                1 => {
                    let old = self.rows.remove(at);
                    self.changes.push((Op::Delete, Some(old), None));
                }
                _ => {
                    let v = if act == 2 { self.rows[at].1 } else { v };
                    let old = std::mem::replace(&mut self.rows[at], (id, v));
                    let new = self.rows[at];
                    if old != new {
                        self.changes.push((Op::Update, Some(old), Some(new)));
                    }
                }
            }
        }

        fn unique(&self) -> bool {
            let ids: std::collections::BTreeSet<i64> = self.rows.iter().map(|row| row.0).collect();
            ids.len() == self.rows.len()
        }
    }

    fn rows((id, v): (i64, u8)) -> Rows {
        let mut rows = Rows::new(2);
        rows.push(Value::Integer(id));
        rows.push(Value::Text(&[b'a' + v]));
        rows
    }

    fn cells(row: crate::mapping::Row<'_>) -> (i64, Vec<u8>) {
        match (row.get(0), row.get(1)) {
            (Value::Integer(id), Value::Text(text)) => (id, text.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
        #[test]
        fn the_changes_of_a_transaction_end_in_its_rows(
            start in proptest::collection::btree_map(0_i64..4, 0_u8..3, 0..4),
            steps in proptest::collection::vec((0_u8..5, 0_usize..8, 0_i64..4, 0_u8..3), 0..9),
        ) {
            let mapping = Mapping::parse("mapping.yaml", MAPPING).unwrap();
            let mut store = Store { rows: start.into_iter().collect(), ..Store::default() };
            let mut fold: BTreeMap<i64, Vec<u8>> = store.rows.iter().map(|(id, v)| (*id, vec![b'a' + v])).collect();
            for step in steps {
                store.step(step);
            }
            prop_assume!(store.unique());
            let mut changes = Changes::default();
            changes.reset(&mapping);
            for (count, (op, old, new)) in store.changes.iter().enumerate() {
                let (old, new) = (old.map(rows), new.map(rows));
                let (row, before) = match op {
                    Op::Delete => (old.as_ref(), None),
                    _ => (new.as_ref(), old.as_ref()),
                };
                let before = before.map(|rows| rows.row(0));
                changes.push((0, *op), (7, count as u64), None, row.unwrap().row(0), before);
            }
            prop_assert_eq!(changes.settle_identities(0, &mapping, &[true]), None);
            let mut ids = std::collections::BTreeSet::new();
            for (change, row, before) in changes.iter() {
                let (id, v) = cells(row);
                prop_assert!(ids.insert((id, change.op.word(), change.count)), "two events of one id");
                prop_assert!(before.is_none_or(|before| cells(before).0 == id));
                if change.op == Op::Delete { fold.remove(&id) } else { fold.insert(id, v) };
            }
            let end: BTreeMap<i64, Vec<u8>> = store.rows.iter().map(|(id, v)| (*id, vec![b'a' + v])).collect();
            prop_assert_eq!(fold, end);
        }
    }
}
