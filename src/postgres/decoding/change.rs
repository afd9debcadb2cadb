//! Changes as the log has them, into images; and images into changes of the mapping's layout.

use super::super::capture::passed_on;
use super::lookup::Lookup;
use super::pgoutput::{Message, Tuple};
use super::read::DecodingReader;
use super::transaction::{Entry, Transaction};
use crate::base::{Error, Result};
use crate::event::Op;
use crate::mapping::{Rows, Value};
use crate::port::change_source::Changes;

impl DecodingReader {
    /// Takes one change of the transaction in hand.
    pub(super) fn change(&mut self, message: Message<'_>) -> Result<()> {
        let Some(mut transaction) = self.transaction.take() else {
            return Err(Error::corrupt("a change came without its transaction"));
        };
        if !transaction.skip {
            transaction.count += 1;
            if transaction.count > transaction.told {
                self.entry(&mut transaction, message)?;
            }
        }
        self.transaction = Some(transaction);
        Ok(())
    }

    fn entry(&mut self, transaction: &mut Transaction, message: Message<'_>) -> Result<()> {
        let (relation, op, old, new) = match message {
            Message::Insert { relation, new } => (relation, Op::Insert, None, Some(new)),
            Message::Update { relation, old, new } => (relation, Op::Update, old, Some(new)),
            Message::Delete { relation, old } => (relation, Op::Delete, Some(old), None),
            Message::Truncate { relations } => {
                for relation in relations {
                    let table = self.shape(relation)?.table;
                    let name = &self.source.mapping.tables[table].name;
                    transaction.reconcile.get_or_insert(format!("table '{name}' was emptied by TRUNCATE"));
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let shape = self.shape(relation)?.clone();
        let mapping = std::sync::Arc::clone(&self.source.mapping);
        let table = &mapping.tables[shape.table];
        let (whole, old) = old.map_or((false, None), |old| (old.whole, Some(old.tuple)));
        let rows = &mut transaction.images[table.index];
        let odd = || Error::corrupt(format!("a value of table '{}' came that is none of its type", table.name));
        let mut add = |tuple: &Tuple<'_>, from: Option<&Tuple<'_>>, rows: &mut Rows| {
            shape.image(table, tuple, from, rows, &mut scratch).ok_or_else(odd)
        };
        let mut before = match &old {
            Some(tuple) => {
                add(tuple, None, rows)?;
                Some(rows.len() - 1)
            }
            None => None,
        };
        let row = match (&new, before) {
            (Some(tuple), _) => {
                let missing = add(tuple, old.as_ref().filter(|_| whole), rows)?;
                if !missing.is_empty() && !self.large(table, &missing, rows)? {
                    // The row is gone by now, or has another identity: what comes later tells of it.
                    self.scratch = scratch;
                    rows.pop_row();
                    return Ok(());
                }
                rows.len() - 1
            }
            (None, Some(before)) => before,
            (None, None) => return Err(odd()),
        };
        let late = self.late[table.index];
        if op != Op::Insert && !whole && late {
            let reason = format!(
                "a row of '{}' changed without its old row, by which rows of one key are told apart",
                table.name
            );
            transaction.reconcile.get_or_insert(reason);
        }
        if op == Op::Update && !whole {
            if self.expects_whole(table) {
                let reason = format!("an update of '{}' came without its old row", table.name);
                transaction.reconcile.get_or_insert(reason);
            }
            // The key alone came, because it changed: the rest is as in the new row.
            before = before.map(|key| {
                let rows = &mut transaction.images[table.index];
                let mut made = Rows::new(rows.width());
                for cell in 0..rows.width() {
                    let identity = table.identity.contains(&cell);
                    made.push(rows.row(if identity { key } else { row }).get(cell));
                }
                rows.push_row(made.row(0));
                rows.len() - 1
            });
        }
        self.scratch = scratch;
        let before = before.filter(|_| op == Op::Update);
        if late {
            let rows = &transaction.images[table.index];
            transaction.passing.note(table, op, rows.row(row), before.map(|before| rows.row(before)));
        }
        transaction.entries.push(Entry { table: table.index, op, row, before, count: transaction.count });
        Ok(())
    }

    /// A table whose columns are all sent has its old rows in the log.
    fn expects_whole(&self, table: &crate::mapping::Table) -> bool {
        table.never.is_empty()
    }

    /// Fills values that were not sent from the row as it stands; whether it is there.
    fn large(&mut self, table: &crate::mapping::Table, missing: &[usize], rows: &mut Rows) -> Result<bool> {
        let last = rows.row(rows.len() - 1);
        let identity: Vec<Value<'_>> = table.identity.iter().map(|cell| last.get(*cell)).collect();
        let (source, client) = (&self.source, &mut self.client);
        let found = self.lookup.find(client, &source.login, &source.mapping, table, &table.identity, &identity)?;
        let Some(found) = found else { return Ok(false) };
        for cell in missing {
            rows.replace_last(*cell, found.row(0).get(*cell));
        }
        Ok(true)
    }

    /// Puts a transaction's changes into the batch.
    pub(super) fn settle(&mut self, transaction: &Transaction, changes: &mut Changes) -> Result<()> {
        let (source, client) = (&self.source, &mut self.client);
        let mapping = &source.mapping;
        let lookup: &mut Lookup = &mut self.lookup;
        let mut reconcile = transaction.reconcile.clone();
        let from = changes.len();
        let through = mapping.tables.iter().any(|table| table.key_cell().is_some());
        for entry in transaction.entries.iter().filter(|_| through) {
            let table = &mapping.tables[entry.table];
            let old = if entry.op == Op::Delete { Some(entry.row) } else { entry.before };
            if let Some(old) = old {
                let row = transaction.images[entry.table].row(old);
                let whole = lookup.whole(client, &source.login, mapping, table, row)?;
                lookup.remember(mapping, table, whole.row(0));
            }
        }
        for entry in &transaction.entries {
            let table = &mapping.tables[entry.table];
            let images = &transaction.images[entry.table];
            let row = images.row(entry.row);
            let before = entry.before.map(|before| images.row(before));
            // A column never to be read may have changed, or nothing at all.
            if before.is_some_and(|before| before.values().eq(row.values())) {
                continue;
            }
            let at = (transaction.commit, entry.count);
            let place = (entry.table, entry.op);
            if !through {
                changes.push(place, at, Some(transaction.made_at), row, before);
                continue;
            }
            let mut whole = |row| lookup.whole(client, &source.login, mapping, table, row);
            let row = whole(row)?;
            let before = before.map(&mut whole).transpose()?;
            let (row, before) = (row.row(0), before.as_ref().map(|rows| rows.row(0)));
            if let Some(reason) = lookup.parent(client, &source.login, mapping, table, (entry.op, row, before))? {
                reconcile.get_or_insert(reason);
            }
            changes.push(place, at, Some(transaction.made_at), row, before);
        }
        let passed = match transaction.whole() {
            true => changes.settle_identities(from, mapping, &self.late).map(|table| passed_on(&mapping.tables[table])),
            false => transaction.passing.trouble(mapping),
        };
        if let Some(reason) = reconcile.or(passed) {
            changes.reconcile.get_or_insert(reason);
        }
        Ok(())
    }
}
