//! Making the slot and its publication, and taking them away.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use postgres::Client;
use postgres::error::SqlState;

use super::super::capture::{Holders, Installed, at_once, holds_only, settle};
use super::super::fault::fault;
use super::super::form::quote;
use super::PostgresDecoding;
use super::slot::Slot;
use crate::base::{Error, Result};
use crate::mapping::{Key, Mapping, Table};
use crate::port::boundary::boundary;
use crate::port::change_source::{Capture, Installation, Step};
use crate::port::progress::{Progress, Silent};

/// Between two words on who keeps the slot from being made.
const TELL: Duration = Duration::from_secs(5);

/// A mapped table, or one of its partitions, as the server has it.
struct Member {
    table: usize,
    name: String,
    /// As `pg_class` has it: `d`, `n`, `f`, `i`.
    identity: String,
    /// The index of `i`.
    index: Option<String>,
    unlogged: bool,
    owned: bool,
    partitioned: bool,
    /// The columns by which rows are known without a whole old row.
    key: Vec<String>,
}

const MEMBERS: &str = "SELECT m.relname::text, quote_ident(s.nspname) || '.' || quote_ident(c.relname), c.relreplident::text, \
        (SELECT quote_ident(x.relname) FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid \
            WHERE i.indrelid = c.oid AND i.indisreplident), \
        c.relpersistence = 'u', pg_has_role(c.relowner, 'USAGE'), c.relkind = 'p', \
        coalesce((SELECT array_agg(a.attname::text) FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = c.oid \
            AND a.attnum = ANY(i.indkey::int2[]) WHERE i.indrelid = c.oid AND i.indimmediate AND \
            CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END), '{}') \
    FROM pg_class AS m JOIN pg_namespace AS n ON n.oid = m.relnamespace \
    CROSS JOIN LATERAL (SELECT relid FROM pg_partition_tree(m.oid) UNION SELECT m.oid) AS t \
    JOIN pg_class AS c ON c.oid = t.relid JOIN pg_namespace AS s ON s.oid = c.relnamespace \
    WHERE n.nspname::text = $1 AND m.relname::text = ANY($2) ORDER BY 1, 2";

/// What the role may do, and what the server has room for.
const ABLE: &str = "SELECT current_setting('wal_level'), \
    (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user), \
    has_database_privilege(current_database(), 'CREATE'), current_user::text, current_database()::text, \
    current_setting('max_replication_slots')::bigint - (SELECT count(*) FROM pg_replication_slots), \
    current_setting('server_version_num')::int, current_setting('max_slot_wal_keep_size')";

impl PostgresDecoding {
    fn members(&self, client: &mut Client) -> Result<Vec<Member>> {
        let names: Vec<&str> = self.mapping.tables.iter().map(|table| table.name.as_str()).collect();
        let store = self.store();
        let found = client.query(MEMBERS, &[&self.login.place.schema, &names]);
        let found = found.map_err(fault(&store, "looking at its tables"))?;
        let of = |row: &postgres::Row| {
            let name: String = row.get(0);
            let table = self.mapping.table(&name).map(|table| table.index)?;
            Some(Member {
                table,
                name: row.get(1),
                identity: row.get(2),
                index: row.get(3),
                unlogged: row.get(4),
                owned: row.get(5),
                partitioned: row.get(6),
                key: row.get(7),
            })
        };
        Ok(found.iter().filter_map(of).collect())
    }

    /// Refuses what would fail half way; gives notes, and the server's version.
    fn able(&self, client: &mut Client, members: &[Member], own_slots: usize) -> Result<(Vec<String>, i32)> {
        let store = self.store();
        let failed = fault(&store, "asking what the role may do");
        let refused = |message: String, hint: &str| Err(Error::refused(message).hint(hint));
        if client.query_one("SELECT pg_is_in_recovery()", &[]).map_err(&failed)?.get(0) {
            return refused(
                format!("{store} is a standby, which cannot have a publication"),
                "name the primary server",
            );
        }
        let row = client.query_one(ABLE, &[]).map_err(&failed)?;
        let level: String = row.get(0);
        if level != "logical" {
            let message = format!("{store} has wal_level {level}: its log does not tell changes");
            let hint = "ALTER SYSTEM SET wal_level = logical, and restart it; or: --mode outbox, or --mode reconcile";
            return refused(message, hint);
        }
        let (user, database): (String, String) = (row.get(3), row.get(4));
        if !row.get::<_, bool>(1) {
            let message = format!("{store}: role '{user}' may not read its log");
            let hint = format!("ALTER ROLE {} REPLICATION; or: --mode outbox, or --mode reconcile", quote(&user));
            return refused(message, &hint);
        }
        if !row.get::<_, bool>(2) {
            let message = format!("{store}: role '{user}' may not make a schema and a publication there");
            let hint = format!("GRANT CREATE ON DATABASE {} TO {}", quote(&database), quote(&user));
            return refused(message, &hint);
        }
        if let Some(member) = members.iter().find(|member| !member.owned) {
            let message = format!("{store}: role '{user}' does not own {}, and may not publish it", member.name);
            let hint =
                format!("install as its owner, or GRANT the owner's role to {}; or: --mode outbox", quote(&user));
            return refused(message, &hint);
        }
        if row.get::<_, i64>(5) + own_slots as i64 <= 0 {
            let message = format!("{store} has no free replication slot");
            return refused(message, "raise max_replication_slots (and restart it), or drop a slot nobody reads");
        }
        if let Some(member) = members.iter().find(|member| member.unlogged) {
            let message = format!("{store}: {} is unlogged: its changes are in no log", member.name);
            return refused(message, "ALTER TABLE … SET LOGGED, or leave it out of the mapping; or: --mode outbox");
        }
        for table in &self.mapping.tables {
            if let Some(column) = table.columns.iter().find(|column| column.generated) {
                let message = format!(
                    "column '{}' of table '{}' is computed, and the server's log leaves it out",
                    column.name, table.name
                );
                return refused(message, "put it on the table's never list; or: --mode outbox");
            }
        }
        let keep: String = row.get(7);
        let mut notes = vec![
            "the server keeps its log for the slot until follow has read it: a slot that nobody reads fills the disk \
             (legacy.slot_warn_mb and legacy.slot_drop_mb are watched by a running follow alone)"
                .to_owned(),
            "with whole old rows in the log (REPLICA IDENTITY FULL) updates and deletes write more of it".to_owned(),
        ];
        if keep == "-1" {
            notes.push("the server itself has no limit either: see max_slot_wal_keep_size".to_owned());
        }
        Ok((notes, row.get(6)))
    }

    /// Whether the server may keep columns never to be read to itself: a list of columns allows no whole old rows.
    fn listed(&self, version: i32, table: &Table, members: &[Member]) -> bool {
        let needed = told_of_deleted(&self.mapping, table);
        version >= 150_000
            && !table.never.is_empty()
            && members.iter().filter(|member| member.table == table.index && !member.partitioned).all(|member| {
                member.identity != "f"
                    && member.key.iter().all(|name| table.column(name).is_some())
                    && needed.iter().all(|cell| member.key.contains(&table.columns[*cell].name))
            })
    }

    /// Statements on the legacy's own tables (of one in partitions the table and each of them), and what puts them back; `earlier` are those of an older capture, which is
    /// taken away before.
    fn identities(&self, version: i32, members: &[Member], earlier: &[String]) -> Vec<Step> {
        let mut steps = Vec::new();
        for member in members {
            let alter = |identity: &str| format!("ALTER TABLE ONLY {} REPLICA IDENTITY {identity}", member.name);
            if member.identity == "f" {
                let back = earlier.iter().find(|back| back.starts_with(&alter("")));
                steps.extend(back.map(|back| Step { sql: alter("FULL"), back: back.clone() }));
                continue;
            }
            if self.listed(version, &self.mapping.tables[member.table], members) {
                continue;
            }
            let back = match (member.identity.as_str(), &member.index) {
                ("n", _) => "NOTHING".to_owned(),
                ("i", Some(index)) => format!("USING INDEX {index}"),
                _ => "DEFAULT".to_owned(),
            };
            steps.push(Step { sql: alter("FULL"), back: alter(&back) });
        }
        steps
    }

    fn publication(&self, version: i32, members: &[Member]) -> Step {
        let tables = self.mapping.tables.iter().map(|table| {
            let partitioned = members.iter().any(|member| member.table == table.index && member.partitioned);
            let only = if partitioned { "" } else { "ONLY " };
            let name = format!("{only}{}.{}", quote(&self.login.place.schema), quote(&table.name));
            if !self.listed(version, table, members) {
                return name;
            }
            let columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
            format!("{name} ({})", columns.join(", "))
        });
        let (own, tables) = (quote(&self.names.own), tables.collect::<Vec<_>>().join(", "));
        Step {
            sql: format!("CREATE PUBLICATION {own} FOR TABLE {tables} WITH (publish_via_partition_root = true)"),
            back: format!("DROP PUBLICATION {own}"),
        }
    }

    fn removal(&self, client: &mut Client) -> Result<Vec<String>> {
        let store = self.store();
        let failed = fault(&store, "looking for what is installed");
        let slots = Slot::all(client, &self.names).map_err(&failed)?;
        let mut all: Vec<String> =
            slots.iter().map(|slot| format!("SELECT pg_drop_replication_slot('{}')", slot.name)).collect();
        let there = |client: &mut Client, sql: &str| {
            client.query_one(sql, &[&self.names.own]).map(|row| row.get::<_, bool>(0)).map_err(&failed)
        };
        if there(client, "SELECT EXISTS (SELECT 1 FROM pg_publication WHERE pubname::text = $1)")? {
            all.push(format!("DROP PUBLICATION {}", quote(&self.names.own)));
        }
        if let Some(installed) = Installed::read(client, &self.login, &self.names)? {
            all.extend(installed.back);
        }
        let table = "SELECT EXISTS (SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
            WHERE n.nspname::text = $1 AND c.relname = 'capture')";
        if there(client, table)? {
            all.push(format!("DROP TABLE {}", self.names.table()));
        }
        // Reverse keeps its table there, too.
        if holds_only(client, &self.names, &["capture"]).map_err(&failed)? {
            all.push(format!("DROP SCHEMA {}", quote(&self.names.own)));
        }
        Ok(all)
    }

    /// Runs a statement on a table of the legacy's; gives how long it held others up at most.
    fn at_once(&self, client: &mut Client, sql: &str, progress: &dyn Progress) -> Result<Duration> {
        let (store, doing) = (self.store(), format!("running {}", sql.split(" FOR ").next().unwrap_or(sql)));
        at_once(client, &store, sql, progress)?.or_else(|error| {
            // A table that is gone needs nothing put back.
            let gone = error.code() == Some(&SqlState::UNDEFINED_TABLE) && sql.starts_with("ALTER TABLE");
            if gone { Ok(Duration::ZERO) } else { Err(fault(&store, &doing)(error)) }
        })
    }

    /// Makes the slot, which waits for every transaction that is running; whoever it waits for is named.
    fn make_slot(&self, name: &str, progress: &dyn Progress) -> Result<()> {
        let store = self.store();
        let failed = fault(&store, "making its slot");
        let mut making = self.login.installer()?;
        let cancel = making.cancel_token();
        let tls = self.login.tls()?;
        let (ended, end) = channel();
        let name = name.to_owned();
        let thread = std::thread::spawn(move || {
            let made = making.execute("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&name]);
            let _ = ended.send(made.map(drop));
        });
        let (mut client, mut told) = (self.login.reader()?, Instant::now());
        let made = loop {
            match end.recv_timeout(Duration::from_millis(50)) {
                Ok(made) => break made.map_err(&failed),
                Err(RecvTimeoutError::Disconnected) => {
                    break Err(Error::failed("the thread that makes the slot ended"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(stop) = progress.check() {
                let _ = cancel.cancel_query(tls);
                let _ = end.recv();
                break Err(stop);
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                let holders = Holders::read(&mut client).map_err(&failed)?;
                progress.note(&format!("the slot waits for transactions that were at work before: {holders}"));
            }
        };
        let _ = thread.join();
        made
    }
}

impl Capture for PostgresDecoding {
    fn plan(&self) -> Result<Installation> {
        let mut client = self.login.reader()?;
        let whole = self.require(&mut client).is_ok();
        let members = self.members(&mut client)?;
        let store = self.store();
        let slots = Slot::all(&mut client, &self.names).map_err(fault(&store, "looking for its slots"))?;
        let (notes, version) = self.able(&mut client, &members, slots.len())?;
        let back = Installed::read(&mut client, &self.login, &self.names)?.map_or_else(Vec::new, |row| row.back);
        let identities = self.identities(version, &members, &back);
        let altered = identities.iter().any(|step| !back.contains(&step.back));
        let mut make = Installed::steps(&self.names);
        make.extend(identities.iter().cloned());
        make.push(self.publication(version, &members));
        let slot = format!("{}_…", self.names.own);
        make.push(Step {
            sql: format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"),
            back: format!("SELECT pg_drop_replication_slot('{slot}')"),
        });
        let whole = whole && !altered;
        Ok(Installation { remove: self.removal(&mut client)?, make, whole, keeps: false, notes })
    }

    fn install(&self, _: &Installation, incarnation: &str, progress: &dyn Progress) -> Result<Duration> {
        self.remove()?;
        let store = self.store();
        let failed = fault(&store, "installing what captures its changes");
        let mut client = self.login.installer()?;
        // Looked at again: what was taken away may have put other identities back.
        let members = self.members(&mut client)?;
        let (_, version) = self.able(&mut client, &members, 0)?;
        let identities = self.identities(version, &members, &[]);
        let row = Installed {
            kind: "decoding".to_owned(),
            incarnation: incarnation.to_owned(),
            mapping: self.mapping.hash.clone(),
            back: identities.iter().map(|step| step.back.clone()).collect(),
            ready: false,
        };
        let mut transaction = client.transaction().map_err(&failed)?;
        for step in Installed::steps(&self.names) {
            transaction.batch_execute(&step.sql).map_err(&failed)?;
        }
        row.write(&mut transaction, &self.names).and_then(|()| transaction.commit()).map_err(&failed)?;
        let mut held = Duration::ZERO;
        for step in identities.iter().chain([&self.publication(version, &members)]) {
            held = held.max(self.at_once(&mut client, &step.sql, progress)?);
        }
        self.make_slot(&self.names.slot(incarnation), progress)?;
        settle(&mut client, &store, progress)?;
        Installed::make_ready(&mut client, &self.names).map_err(&failed)?;
        boundary("follow.installed");
        Ok(held)
    }

    fn planned_removal(&self) -> Result<Vec<String>> {
        self.removal(&mut self.login.reader()?)
    }

    fn remove(&self) -> Result<()> {
        let store = self.store();
        let mut client = self.login.installer()?;
        let slots = Slot::all(&mut client, &self.names).map_err(fault(&store, "looking for its slots"))?;
        for slot in slots {
            slot.drop(&mut client, &self.names, &store)?;
        }
        boundary("follow.triggers-gone");
        for sql in self.removal(&mut client)? {
            self.at_once(&mut client, &sql, &Silent)?;
        }
        Ok(())
    }
}

/// Cells of a deleted row that an event, its record key or the key of a child may need.
fn told_of_deleted(mapping: &Mapping, table: &Table) -> Vec<usize> {
    let mut cells: Vec<usize> = table.identity.iter().copied().chain(table.time).collect();
    match &table.key {
        Key::Cells(key) => cells.extend(key),
        Key::Through(through) => cells.extend(through.columns.iter().filter_map(|name| table.column(name))),
    }
    for child in &mapping.tables {
        if let Key::Through(through) = &child.key
            && through.parent == table.name
        {
            cells.extend(through.referenced.iter().filter_map(|name| table.column(name)));
        }
    }
    cells
}
