//! The trigger outbox of a PostgreSQL legacy: triggers write each change down, and a reader takes them from there.

mod ddl;
mod install;
mod read;
mod rest;
mod strands;

use std::sync::Arc;
use std::time::Duration;

use postgres::Client;

use super::capture::{Installed, Names, settle_within};
use super::fault::fault;
use super::form::quote;
use super::server::Login;
use crate::base::{Error, Result};
use crate::mapping::Mapping;
use crate::port::change_source::{ChangeReader, ChangeSource, Position};

/// The outbox of one migration.
#[derive(Clone, Debug)]
pub struct PostgresOutbox {
    login: Login,
    mapping: Arc<Mapping>,
    names: Names,
    store: String,
}

/// What a position says besides its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mark {
    /// The snapshot whose changes are all told.
    from: String,
    /// A later one whose changes are being told, up to the position's number.
    until: Option<String>,
    /// Tells the change with the position's number from another that was given the same one.
    tag: String,
}

impl Mark {
    fn of(position: &Position) -> Result<Self> {
        if position.count == 0 {
            return Ok(Self { from: position.seen.clone(), ..Self::default() });
        }
        let parts: Vec<&str> = position.mark.split(' ').collect();
        let mark = match parts[..] {
            [tag, from] => Self { from: from.to_owned(), until: None, tag: tag.to_owned() },
            [tag, from, until] => Self { from: from.to_owned(), until: Some(until.to_owned()), tag: tag.to_owned() },
            _ => {
                return Err(Error::refused("the follow's position has a form this tool does not know")
                    .hint("it was written by a newer crossfade: use that one"));
            }
        };
        Ok(mark)
    }

    fn text(&self) -> String {
        let until = self.until.as_ref().map_or(String::new(), |until| format!(" {until}"));
        format!("{} {}{until}", self.tag, self.from)
    }
}

impl PostgresOutbox {
    pub fn new(login: Login, migration: &str, mapping: Arc<Mapping>) -> Self {
        let store = login.describe();
        Self { login, mapping, names: Names::new(migration), store }
    }

    fn changes(&self) -> String {
        ddl::own(&self.names, "changes")
    }

    /// An error where the outbox is missing or no longer what it was.
    fn require_whole(&self, client: &mut Client) -> Result<Installed> {
        let installed = Installed::read(client, &self.login, &self.names)?;
        let installed = installed.filter(|installed| installed.kind == "outbox" && installed.ready);
        let Some(installed) = installed else {
            return Err(Error::refused(format!("{} has no outbox of this migration", self.store)).hint(INSTALL));
        };
        match self.trouble(client)? {
            None => Ok(installed),
            Some(why) => Err(Error::refused(format!(
                "the outbox in {} is no longer whole, and changes may have passed it by: {why}",
                self.store
            ))
            .hint(INSTALL)),
        }
    }

    /// Refuses a database that was put back to an older state than the position knows.
    fn require_same(&self, client: &mut Client, from: &Position) -> Result<()> {
        let failed = fault(&self.store, "looking whether it is still the same");
        let older = |what: String| {
            Err(Error::refused(format!("{} was put back to an older state: {what}", self.store)).hint(
                "if that is what it should be, make the outbox anew (crossfade follow --uninstall, then --install): follow reconciles first",
            ))
        };
        let mark = Mark::of(from)?;
        let last = mark.until.as_ref().unwrap_or(&mark.from);
        // A position that comes from a snapshot says how far the log went then.
        let at = match from.count {
            0 => from.mark.parse::<super::capture::Mark>().unwrap_or_default().flushed,
            _ => from.at,
        };
        let row = client
            .query_one(
                "SELECT pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax($1::text::pg_snapshot), \
                 pg_current_wal_insert_lsn() < '0/0'::pg_lsn + $2::bigint",
                &[last, &(at as i64)],
            )
            .map_err(&failed)?;
        if row.get::<_, bool>(0) || row.get::<_, bool>(1) {
            return older("it has not come as far as the log has".to_owned());
        }
        if from.count == 0 {
            return Ok(());
        }
        let sql = format!("SELECT xid::text FROM {} WHERE number = $1", self.changes());
        let found = client.query_opt(&sql, &[&(from.count as i64)]).map_err(&failed)?;
        match found.map(|row| row.get::<_, String>(0)) {
            Some(tag) if tag == mark.tag => Ok(()),
            Some(_) => older(format!("another change has number {}, up to which the log has them", from.count)),
            None => older(format!("no change has number {}, up to which the log has them", from.count)),
        }
    }

    /// Tells the change with this number from another of the same number.
    fn tag(&self, client: &mut Client, number: u64) -> Result<String> {
        let sql = format!("SELECT xid::text FROM {} WHERE number = $1", self.changes());
        let row = client.query_one(&sql, &[&(number as i64)]);
        Ok(row.map_err(fault(&self.store, "reading the outbox"))?.get(0))
    }

    /// Refuses tables that were altered since the outbox was made: what was kept reads differently before and after, and a
    /// column that is dropped or converted changes rows without a trigger.
    fn require_layout(&self, client: &mut Client) -> Result<()> {
        let failed = fault(&self.store, "looking at its tables");
        let names: Vec<&String> = self.mapping.tables.iter().map(|table| &table.name).collect();
        let now = self.layout(client, &names)?;
        let sql = "SELECT obj_description(to_regclass($1), 'pg_class')";
        let kept: Option<String> = client.query_one(sql, &[&self.changes()]).map_err(&failed)?.get(0);
        let Some(kept) = kept else {
            return Err(
                Error::refused(format!("{} has no outbox of this migration any more", self.store)).hint(INSTALL)
            );
        };
        let altered = now.lines().find(|line| !kept.lines().any(|known| known == *line));
        let gone = kept.lines().find(|line| !now.lines().any(|known| known == *line));
        let Some(line) = altered.or(gone) else { return Ok(()) };
        let table = line.split(' ').next().unwrap_or_default();
        Err(Error::refused(format!(
            "table {table} of {} was altered since the outbox was made; what it kept of it cannot be read for certain",
            self.store
        ))
        .hint("mend the mapping, then: crossfade follow --install, crossfade replay --recopy, crossfade follow"))
    }

    /// The columns of the mapped tables, a line each.
    fn layout(&self, client: &mut Client, names: &[&String]) -> Result<String> {
        let sql = "SELECT coalesce(string_agg(line, E'\\n' ORDER BY line), '') FROM ( \
            SELECT quote_ident(c.relname) || ' ' || c.oid || ' ' || md5(string_agg(concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)) AS line \
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
            JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
            WHERE n.nspname::text = $1 AND c.relname::text = ANY($2) AND c.relkind IN ('r', 'p') GROUP BY c.oid, c.relname) AS l";
        let row = client.query_one(sql, &[&self.login.place.schema, &names]);
        Ok(row.map_err(fault(&self.store, "looking at its tables"))?.get(0))
    }

    /// Why the outbox is not as expected; `None` when it is whole.
    fn trouble(&self, client: &mut Client) -> Result<Option<String>> {
        let failed = fault(&self.store, "looking at the outbox");
        let objects: i64 = client
            .query_one(
                "SELECT (to_regclass($1) IS NOT NULL)::int::bigint + (to_regclass($2) IS NOT NULL)::int::bigint \
                 + (to_regprocedure($3 || '()') IS NOT NULL)::int::bigint",
                &[&self.changes(), &ddl::own(&self.names, "number"), &ddl::own(&self.names, "changed")],
            )
            .map_err(&failed)?
            .get(0);
        if objects < 3 {
            return Ok(Some("a part of it is gone".to_owned()));
        }
        for table in &self.mapping.tables {
            let rows = client
                .query(TRIGGERS, &[&self.login.place.schema, &table.name, &ddl::own(&self.names, "changed")])
                .map_err(&failed)?;
            for what in ddl::TRIGGERS {
                let name = ddl::trigger(&self.names, what);
                match rows.iter().find(|row| row.get::<_, String>(0) == name) {
                    Some(row) if row.get::<_, bool>(2) && row.get::<_, bool>(1) => {}
                    Some(row) if row.get::<_, bool>(2) => {
                        return Ok(Some(format!("trigger {} of table '{}' is switched off", quote(&name), table.name)));
                    }
                    _ => return Ok(Some(format!("trigger {} of table '{}' is gone", quote(&name), table.name))),
                }
            }
            let first = rows.iter().find(|row| !row.get::<_, bool>(2)).map(|row| row.get::<_, String>(0));
            if let Some(other) = first.filter(|other| *other < ddl::trigger(&self.names, "row")) {
                // What it changes would be told before what led to it.
                return Ok(Some(format!(
                    "trigger {} of table '{}' runs before the outbox's",
                    quote(&other),
                    table.name
                )));
            }
        }
        Ok(None)
    }
}

const INSTALL: &str = "crossfade follow --install --mode outbox, then crossfade follow, which reconciles first";

/// The triggers of a table in the order they run in: name, whether it runs, whether it is the outbox's.
const TRIGGERS: &str = "SELECT t.tgname::text, t.tgenabled IN ('O', 'A'), t.tgfoid = to_regprocedure($3 || '()') \
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE n.nspname::text = $1 AND c.relname::text = $2 AND NOT t.tgisinternal \
        AND (t.tgfoid = to_regprocedure($3 || '()') OR t.tgtype & 1 = 1 AND t.tgtype & 66 = 0) ORDER BY t.tgname";

impl ChangeSource for PostgresOutbox {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn mode(&self) -> &'static str {
        "outbox"
    }

    fn incarnation(&self) -> Result<String> {
        Ok(self.require_whole(&mut self.login.reader()?)?.incarnation)
    }

    fn blind(&self) -> Result<Vec<String>> {
        let mut blind = vec![
            "where a transaction of the legacy begins and ends, when one batch does not hold it".to_owned(),
            "writes made while the triggers are switched off".to_owned(),
        ];
        let mut client = self.login.reader()?;
        for table in &self.mapping.tables {
            let rows = client.query(
                "SELECT 1 FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n \
                 ON n.oid = c.relnamespace WHERE n.nspname::text = $1 AND c.relname::text = $2 AND t.tgname::text = $3 AND t.tgenabled = 'O'",
                &[&self.login.place.schema, &table.name, &ddl::trigger(&self.names, "row")],
            );
            if !rows.map_err(fault(&self.store, "looking at the outbox"))?.is_empty() {
                blind.push(format!("writes to '{}' by sessions in the role of a replica", table.name));
            }
        }
        Ok(blind)
    }

    fn covers(&self, told: &Position, snapshot: &Position) -> Result<bool> {
        let mark = Mark::of(told)?;
        let store = self.login.describe();
        let failed = fault(&store, "looking at what the outbox holds");
        let open = mark.until.map_or(String::new(), |until| {
            format!("AND NOT (pg_visible_in_snapshot(xid, '{until}') AND number <= {})", told.count)
        });
        let sql = format!(
            "SELECT NOT EXISTS (SELECT FROM {} WHERE xid >= pg_snapshot_xmin('{from}') \
             AND NOT pg_visible_in_snapshot(xid, '{from}') AND pg_visible_in_snapshot(xid, '{}') {open})",
            self.changes(),
            snapshot.seen,
            from = mark.from,
        );
        Ok(self.login.reader()?.query_one(&sql, &[]).map_err(failed)?.get(0))
    }

    fn settled(&self, patience: Duration) -> Result<()> {
        settle_within(&mut self.login.reader()?, &self.login.describe(), patience)
    }

    fn open(&self, from: &Position) -> Result<Box<dyn ChangeReader>> {
        Ok(Box::new(read::OutboxReader::open(self.clone(), from)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_back() {
        for mark in [
            Mark { from: "7:9:7,8".into(), until: None, tag: "12".into() },
            Mark { from: "7:7:".into(), until: Some("8:10:9".into()), tag: "8".into() },
        ] {
            let position = Position { count: 5, mark: mark.text(), ..Position::default() };
            assert_eq!(Mark::of(&position).unwrap(), mark);
        }
        let fresh = Position { seen: "3:3:".into(), mark: "1 0/15A 0".into(), ..Position::default() };
        assert_eq!(Mark::of(&fresh).unwrap().from, "3:3:");
        for odd in ["", "1", "1 2 3 4"] {
            assert!(Mark::of(&Position { count: 1, mark: odd.into(), ..Position::default() }).is_err());
        }
    }
}
