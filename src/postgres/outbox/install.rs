//! Making an outbox and taking it away, without holding up the legacy's writers.

use std::time::Duration;

use postgres::Client;

use super::super::capture::{Installed, at_once, holds_only};
use super::super::fault::fault;
use super::super::form::quote;
use super::super::mark;
use super::{PostgresOutbox, ddl};
use crate::base::{Error, Kind, Result};
use crate::mapping::Table;
use crate::port::boundary::boundary;
use crate::port::change_source::{Capture, ChangeSource, Installation, Step};
use crate::port::progress::Progress;

impl PostgresOutbox {
    /// The triggers of one table. Whoever owns it can have them run for every session.
    fn table_steps(&self, client: &mut Client, table: &Table) -> Result<Vec<Step>> {
        let failed = fault(&self.store, "looking at its tables");
        let schema = &self.login.place.schema;
        let row = client
            .query_opt(
                "SELECT pg_has_role(c.relowner, 'USAGE'), has_table_privilege(c.oid, 'TRIGGER'), c.relkind = 'p', \
                 coalesce((SELECT min(a.attname::text) FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid \
                    WHERE a.attrelid = c.oid AND a.attname::text = ANY($3) AND t.typtype = 'd'), '') \
                 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
                 WHERE n.nspname::text = $1 AND c.relname::text = $2 AND c.relkind IN ('r', 'p')",
                &[schema, &table.name, &table.never],
            )
            .map_err(&failed)?;
        let missing = || Error::refused(format!("{} has no table '{}', which is mapped", self.store, table.name));
        let row = row.ok_or_else(missing)?;
        let (owner, may, domain): (bool, bool, String) = (row.get(0), row.get(1), row.get(3));
        if !may {
            let (user, place) = (&self.login.place.user, format!("{}.{}", quote(schema), quote(&table.name)));
            return Err(Error::new(
                Kind::Connect,
                format!(
                    "{}: role '{user}' may not make a trigger on table '{}'; nothing was changed",
                    self.store, table.name
                ),
            )
            .hint(format!("GRANT TRIGGER ON {place} TO {}; or compare in passes: --mode reconcile", quote(user))));
        }
        if !domain.is_empty() {
            return Err(Error::refused(format!(
                "column '{domain}' of table '{}' is never to be read, and its type is a domain, which may not take the null kept in its place",
                table.name
            ))
            .hint("follow by decoding, which leaves the column out: --mode decoding; or --mode reconcile"));
        }
        let mut steps = ddl::triggers(&self.names, schema, &table.name, &table.never);
        if owner {
            let place = format!("{}.{}", quote(schema), quote(&table.name));
            for what in ddl::TRIGGERS {
                let name = quote(&ddl::trigger(&self.names, what));
                steps.push(Step {
                    sql: format!("ALTER TABLE {place} ENABLE ALWAYS TRIGGER {name}"),
                    back: format!("ALTER TABLE {place} ENABLE TRIGGER {name}"),
                });
            }
        }
        Ok(steps)
    }

    /// Every step: the migration's schema, the outbox's objects, the triggers of each table.
    fn expected(&self, client: &mut Client) -> Result<(Vec<Step>, Vec<Vec<Step>>)> {
        let mut objects = Installed::steps(&self.names);
        objects.extend(ddl::objects(&self.names));
        let tables = self.mapping.tables.iter().map(|table| self.table_steps(client, table));
        Ok((objects, tables.collect::<Result<_>>()?))
    }

    fn removal(&self, client: &mut Client) -> Result<Vec<String>> {
        let failed = fault(&self.store, "looking for an outbox");
        let own = &self.names.own;
        let triggers = client
            .query(
                "SELECT format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass) FROM pg_trigger AS t \
                 JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_namespace AS n ON n.oid = p.pronamespace \
                 WHERE n.nspname::text = $1 AND t.tgparentid = 0 ORDER BY t.tgrelid, t.tgname",
                &[own],
            )
            .map_err(&failed)?;
        let mut all: Vec<String> = triggers.iter().map(|row| row.get(0)).collect();
        let row = client
            .query_one("SELECT to_regprocedure($1 || '()') IS NOT NULL", &[&ddl::own(&self.names, "changed")])
            .map_err(&failed)?;
        if row.get(0) {
            all.push(format!("DROP FUNCTION {}()", ddl::own(&self.names, "changed")));
        }
        for (kind, name) in [("TABLE", "changes"), ("SEQUENCE", "number"), ("TABLE", "capture")] {
            let place = ddl::own(&self.names, name);
            if client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&place]).map_err(&failed)?.get(0) {
                all.push(format!("DROP {kind} {place}"));
            }
        }
        // Reverse keeps its table there, too.
        if holds_only(client, &self.names, &["changes", "number", "capture"]).map_err(&failed)? {
            all.push(format!("DROP SCHEMA {}", quote(own)));
        }
        Ok(all)
    }

    /// Runs the statements of one table; gives how long they held it.
    fn at_once(&self, client: &mut Client, statements: &[&str], progress: &dyn Progress) -> Result<Duration> {
        let done = at_once(client, &self.store, &statements.join("; "), progress)?;
        done.map_err(fault(&self.store, "making the outbox"))
    }
}

impl Capture for PostgresOutbox {
    fn plan(&self) -> Result<Installation> {
        let mut client = self.login.reader()?;
        let failed = fault(&self.store, "looking what it allows");
        let row = client
            .query_one(
                "SELECT pg_is_in_recovery(), has_database_privilege(current_database(), 'CREATE'), \
                 to_regnamespace($1) IS NOT NULL",
                &[&quote(&self.names.own)],
            )
            .map_err(&failed)?;
        if row.get(0) {
            return Err(Error::refused(format!("{} is a standby, which takes no triggers", self.store))
                .hint("name the primary server"));
        }
        if !row.get::<_, bool>(1) && !row.get::<_, bool>(2) {
            let (user, database) = (&self.login.place.user, &self.login.place.database);
            return Err(Error::new(
                Kind::Connect,
                format!("{}: role '{user}' may not make a schema of its own; nothing was changed", self.store),
            )
            .hint(format!(
                "GRANT CREATE ON DATABASE {} TO {}; or compare in passes: --mode reconcile",
                quote(database),
                quote(user)
            )));
        }
        let (objects, tables) = self.expected(&mut client)?;
        let installed = Installed::read(&mut client, &self.login, &self.names)?;
        let whole = match installed {
            Some(installed)
                if installed.kind == self.mode() && installed.ready && installed.mapping == self.mapping.hash =>
            {
                self.trouble(&mut client)?.is_none() && self.require_layout(&mut client).is_ok()
            }
            _ => false,
        };
        for table in &self.mapping.tables {
            let rows = client
                .query(super::TRIGGERS, &[&self.login.place.schema, &table.name, &ddl::own(&self.names, "changed")])
                .map_err(&failed)?;
            let others = rows.iter().filter(|row| !row.get::<_, Option<bool>>(2).unwrap_or(false));
            let mut others = others.map(|row| row.get::<_, String>(0));
            if let Some(other) = others.find(|other| *other < ddl::trigger(&self.names, "row")) {
                return Err(Error::refused(format!(
                    "trigger {} of table '{}' would run before the outbox's, and what it changes be told before what led to it",
                    quote(&other),
                    table.name
                ))
                .hint("rename it (ALTER TRIGGER … RENAME TO …), or follow by decoding: --mode decoding"));
            }
        }
        let remove = self.removal(&mut client)?;
        let notes = vec![
            "the triggers run inside the legacy's own writes: an insert costs about a tenth of a millisecond more or less".to_owned(),
            format!("what reverse writes passes them by ({} = {})", mark::SETTING, mark::REVERSE),
        ];
        let make = objects.into_iter().chain(tables.into_iter().flatten()).collect();
        Ok(Installation { remove, make, whole, keeps: false, notes })
    }

    fn install(&self, _: &Installation, incarnation: &str, progress: &dyn Progress) -> Result<Duration> {
        self.remove()?;
        let mut client = self.login.installer()?;
        let (objects, tables) = self.expected(&mut client)?;
        let failed = fault(&self.store, "making the outbox");
        let names: Vec<&String> = self.mapping.tables.iter().map(|table| &table.name).collect();
        let layout = self.layout(&mut client, &names)?;
        let mut transaction = client.transaction().map_err(&failed)?;
        for step in &objects {
            transaction.batch_execute(&step.sql).map_err(&failed)?;
        }
        let comment = format!("COMMENT ON TABLE {} IS '{}'", self.changes(), layout.replace('\'', "''"));
        transaction.batch_execute(&comment).map_err(&failed)?;
        let row = Installed {
            kind: self.mode().to_owned(),
            incarnation: incarnation.to_owned(),
            mapping: self.mapping.hash.clone(),
            back: Vec::new(),
            ready: false,
        };
        row.write(&mut transaction, &self.names).map_err(&failed)?;
        transaction.commit().map_err(&failed)?;
        let mut held = Duration::ZERO;
        for steps in &tables {
            let statements: Vec<&str> = steps.iter().map(|step| step.sql.as_str()).collect();
            held = held.max(self.at_once(&mut client, &statements, progress)?);
        }
        // Each trigger waited for the transactions that had written to its table.
        Installed::make_ready(&mut client, &self.names).map_err(&failed)?;
        boundary("follow.installed");
        Ok(held)
    }

    fn planned_removal(&self) -> Result<Vec<String>> {
        self.removal(&mut self.login.reader()?)
    }

    fn remove(&self) -> Result<()> {
        let statements = self.planned_removal()?;
        if statements.is_empty() {
            return Ok(());
        }
        let mut client = self.login.installer()?;
        for statement in &statements {
            self.at_once(&mut client, &[statement], &crate::port::progress::Silent)?;
            boundary("follow.triggers-gone");
        }
        Ok(())
    }
}
