//! What changes do not say themselves, out of the rows as they stand: record keys through parents, and large values.

use std::collections::{HashMap, HashSet};

use postgres::Client;
use postgres::types::ToSql;

use super::super::catalog::Catalog;
use super::super::fault::fault;
use super::super::form::quote;
use super::super::plan::Plan;
use super::super::read::Reader;
use super::super::server::Login;
use super::super::source::text;
use crate::base::Result;
use crate::event::Op;
use crate::mapping::{Key, KeyText, Mapping, Row, Rows, Table, Through, Value};

/// Parents that are remembered after they went; more than that, and all are forgotten.
const REMEMBERED: usize = 200_000;

/// Looks rows up on a connection of its own, whose snapshots are later than the changes.
pub(super) struct Lookup {
    catalog: Catalog,
    plans: HashMap<usize, Plan>,
    reader: Reader,
    /// Record keys of parents that went, by table and the values that children refer to.
    gone: HashMap<(usize, Vec<u8>), Vec<u8>>,
    /// Tables of which a row was told without its parent.
    orphans: HashSet<usize>,
}

fn image<'a>(values: impl Iterator<Item = Value<'a>>) -> Vec<u8> {
    let mut image = Vec::new();
    values.for_each(|value| value.write_image(&mut image));
    image
}

fn cells(table: &Table, names: &[String]) -> Vec<usize> {
    names.iter().filter_map(|name| table.column(name)).collect()
}

impl Lookup {
    pub(super) fn new(catalog: Catalog) -> Self {
        Self {
            catalog,
            plans: HashMap::new(),
            reader: Reader::default(),
            gone: HashMap::new(),
            orphans: HashSet::new(),
        }
    }

    /// Notes the tables that have rows without the parent their key comes from: such a parent may come yet.
    pub(super) fn find_orphans(&mut self, client: &mut Client, login: &Login, mapping: &Mapping) -> Result<()> {
        let store = login.describe();
        let of = |table: &str| format!("{}.{}", quote(&login.place.schema), quote(table));
        for table in &mapping.tables {
            let Key::Through(through) = &table.key else { continue };
            let pairs = through.columns.iter().zip(&through.referenced);
            let equal: Vec<String> =
                pairs.map(|(column, referenced)| format!("p.{} = t.{}", quote(referenced), quote(column))).collect();
            let there: Vec<String> =
                through.columns.iter().map(|column| format!("t.{} IS NOT NULL", quote(column))).collect();
            let sql = format!(
                "SELECT EXISTS (SELECT 1 FROM {} AS t WHERE {} AND NOT EXISTS (SELECT 1 FROM {} AS p WHERE {}))",
                of(&table.name),
                there.join(" AND "),
                of(&through.parent),
                equal.join(" AND ")
            );
            let doing = format!("looking for rows of '{}' without a parent", table.name);
            if client.query_one(&sql, &[]).map_err(fault(&store, &doing))?.get(0) {
                self.orphans.insert(table.index);
            }
        }
        Ok(())
    }

    /// The row of a table whose `columns` have these values, in the layout of [`Table::width`].
    pub(super) fn find(
        &mut self,
        client: &mut Client,
        login: &Login,
        mapping: &Mapping,
        table: &Table,
        columns: &[usize],
        values: &[Value<'_>],
    ) -> Result<Option<Rows>> {
        if values.contains(&Value::Null) {
            return Ok(None);
        }
        let store = login.describe();
        let doing = format!("looking up a row of table '{}'", table.name);
        if !self.plans.contains_key(&table.index) {
            let plan = Plan::new(mapping, table, &self.catalog, &store, &login.place.schema)?;
            self.plans.insert(table.index, plan);
        }
        let Some((plan, (_, found))) = self.plans.get(&table.index).zip(self.catalog.found(&table.name)) else {
            return Ok(None);
        };
        let equal = columns.iter().enumerate().map(|(at, cell)| {
            let name = &table.columns[*cell].name;
            let declared = found.columns.get(name).map_or("text", |column| column.declared.as_str());
            format!("t.{} = ${}::text::{declared}", quote(name), at + 1)
        });
        let sql = format!("{} WHERE {} LIMIT 1", plan.all, equal.collect::<Vec<_>>().join(" AND "));
        let texts: Vec<String> = values.iter().map(|value| text(*value)).collect();
        let bound: Vec<&(dyn ToSql + Sync)> = texts.iter().map(|text| text as &(dyn ToSql + Sync)).collect();
        let failed = fault(&store, &doing);
        let Some(row) = client.query_opt(&sql, &bound).map_err(&failed)? else { return Ok(None) };
        let mut rows = Rows::new(table.width());
        self.reader.take(plan, table, &row, &mut rows)?;
        Ok(Some(rows))
    }

    /// A change's image in the layout of its table: with the key that comes through a parent.
    pub(super) fn whole(
        &mut self,
        client: &mut Client,
        login: &Login,
        mapping: &Mapping,
        table: &Table,
        row: Row<'_>,
    ) -> Result<Rows> {
        let mut whole = Rows::new(table.width());
        for cell in row.values() {
            whole.push(cell);
        }
        if let Key::Through(through) = &table.key {
            let key = match self.through(client, login, mapping, table, through, row)? {
                Some(key) => Some(key),
                None => KeyText::default().text(table.identity.iter().map(|cell| row.get(*cell))).map(<[u8]>::to_vec),
            };
            whole.push(key.as_deref().map_or(Value::Null, Value::Text));
        }
        Ok(whole)
    }

    fn through(
        &mut self,
        client: &mut Client,
        login: &Login,
        mapping: &Mapping,
        table: &Table,
        through: &Through,
        row: Row<'_>,
    ) -> Result<Option<Vec<u8>>> {
        let Some(parent) = mapping.table(&through.parent) else { return Ok(None) };
        let values: Vec<Value<'_>> = cells(table, &through.columns).iter().map(|cell| row.get(*cell)).collect();
        if values.contains(&Value::Null) {
            return Ok(None);
        }
        let referenced = cells(parent, &through.referenced);
        if let Some(found) = self.find(client, login, mapping, parent, &referenced, &values)? {
            return Ok(KeyText::default().write(parent, found.row(0)).map(<[u8]>::to_vec));
        }
        let gone = self.gone.get(&(parent.index, image(values.into_iter()))).cloned();
        if gone.is_none() {
            self.orphans.insert(table.index);
        }
        Ok(gone)
    }

    /// Remembers a parent as it was before it went or changed, for the children of it that come in the same transaction.
    pub(super) fn remember(&mut self, mapping: &Mapping, table: &Table, old: Row<'_>) {
        for child in &mapping.tables {
            let Key::Through(through) = &child.key else { continue };
            if through.parent != table.name {
                continue;
            }
            if self.gone.len() >= REMEMBERED {
                self.gone.clear();
            }
            let referenced = cells(table, &through.referenced);
            if let Some(key) = KeyText::default().write(table, old) {
                self.gone.insert((table.index, image(referenced.iter().map(|cell| old.get(*cell)))), key.to_vec());
            }
        }
    }

    /// Says whether rows that were not changed themselves have another record key now.
    /// Images are whole.
    pub(super) fn parent(
        &mut self,
        client: &mut Client,
        login: &Login,
        mapping: &Mapping,
        table: &Table,
        (op, row, before): (Op, Row<'_>, Option<Row<'_>>),
    ) -> Result<Option<String>> {
        for child in &mapping.tables {
            let Key::Through(through) = &child.key else { continue };
            if through.parent != table.name {
                continue;
            }
            let referenced = cells(table, &through.referenced);
            let of = |row: Row<'_>| image(referenced.iter().map(|cell| row.get(*cell)));
            let (mut keys, mut olds) = (KeyText::default(), KeyText::default());
            let old = match (op, before) {
                (Op::Delete, _) => row,
                (Op::Update, Some(before))
                    if of(before) != of(row) || keys.write(table, row) != olds.write(table, before) =>
                {
                    before
                }
                (Op::Insert, _) if self.orphans.contains(&child.index) => row,
                _ => continue,
            };
            let columns = cells(child, &through.columns);
            for side in [old, row] {
                let values: Vec<Value<'_>> = referenced.iter().map(|cell| side.get(*cell)).collect();
                if self.find(client, login, mapping, child, &columns, &values)?.is_some() {
                    let text = "rows of '{}' have another record key by a change of '{}'";
                    return Ok(Some(text.replacen("{}", &child.name, 1).replacen("{}", &table.name, 1)));
                }
            }
        }
        Ok(None)
    }
}
