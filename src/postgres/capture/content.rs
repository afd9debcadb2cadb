//! What the rows of the mapped tables hang on besides their own changes: columns, types, partitions, and what captures
//! them. DDL changes rows through these, and no event tells of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use postgres::{Client, Statement};

use super::super::catalog::Catalog;
use super::super::fault::fault;
use super::super::form::quote;
use super::super::server::Login;
use super::installed::Names;
use crate::base::{Error, Result, hex};
use crate::mapping::{Carried, Declared, Mapping, Table};

/// Between two looks while nothing changes.
const EVERY: Duration = Duration::from_secs(1);

/// What is known of one table, by a letter for its kind and what it is about:
///
/// | fact | of | changes with |
/// | --- | --- | --- |
/// | `m` | the table and each of its partitions | attach, detach, drop, persistence, row security, replica identity |
/// | `c` | a column | its name, type, size, collation, generation |
/// | `x` | the columns of a relation | whatever is done to one, also a conversion to the same type |
/// | `f` | the file of a relation | a conversion, TRUNCATE; but also VACUUM FULL, CLUSTER, another tablespace |
/// | `e` | a label of an enum | its name |
/// | `t` | a trigger of the outbox | being switched off or on |
/// | `u` | a unique index that is checked row by row | its columns |
type Facts = BTreeMap<String, String>;

/// The facts of all mapped tables, in the mapping's order, and those of the publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    tables: Vec<Facts>,
    publication: Facts,
}

const FACTS: &str = "WITH RECURSIVE r AS MATERIALIZED ( \
    SELECT m.oid, m.relname::text AS name FROM pg_class AS m JOIN pg_namespace AS n ON n.oid = m.relnamespace \
        WHERE n.nspname::text = $1 AND m.relname::text = ANY($2) AND m.relkind IN ('r', 'p')), \
    t AS MATERIALIZED (SELECT r.name, c.* FROM r CROSS JOIN LATERAL ( \
            SELECT relid::oid AS relid FROM pg_partition_tree(r.oid) UNION SELECT r.oid) AS p \
        JOIN (SELECT oid, relkind, relpersistence, relrowsecurity, relforcerowsecurity, relreplident, relfilenode FROM pg_class) AS c \
            ON c.oid = p.relid), \
    k(name, oid) AS (SELECT r.name, a.atttypid FROM r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped \
        UNION SELECT k.name, i.oid FROM k JOIN pg_type AS y ON y.oid = k.oid LEFT JOIN pg_range AS g ON g.rngtypid = y.oid \
            LEFT JOIN pg_range AS h ON h.rngmultitypid = y.oid \
            CROSS JOIN LATERAL (VALUES (y.typelem), (y.typbasetype), (g.rngsubtype), (h.rngtypid)) AS i(oid) WHERE i.oid <> 0) \
    SELECT name, 'm ' || oid, concat_ws(' ', relkind, relpersistence, relrowsecurity, relforcerowsecurity, relreplident) FROM t \
    UNION ALL SELECT name, 'f ' || oid, relfilenode::text FROM t \
    UNION ALL SELECT t.name, 'x ' || t.oid, md5(string_agg(a.xmin::text, ',' ORDER BY a.attnum)) FROM t \
        JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 GROUP BY t.name, t.oid \
    UNION ALL SELECT r.name, 'c ' || a.attnum, concat_ws(' ', a.attname, a.atttypid, a.atttypmod, a.attgenerated, a.attcollation) FROM r \
        JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped \
    UNION ALL SELECT k.name, 'e ' || e.oid, e.enumlabel::text FROM k JOIN pg_enum AS e ON e.enumtypid = k.oid \
    UNION ALL SELECT t.name, 't ' || g.oid, concat_ws(' ', g.tgenabled, g.xmin) FROM t JOIN pg_trigger AS g ON g.tgrelid = t.oid \
        WHERE g.tgfoid = to_regprocedure($3) \
    UNION ALL SELECT r.name, 'u ' || i.indexrelid, (SELECT json_agg(a.attname)::text FROM pg_attribute AS a \
            WHERE a.attrelid = r.oid AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1])) \
        FROM r JOIN pg_index AS i ON i.indrelid = r.oid AND i.indisunique AND i.indimmediate AND i.indisvalid \
            AND i.indpred IS NULL AND i.indexprs IS NULL \
    UNION ALL SELECT '', 'p', p.xmin::text FROM pg_publication AS p WHERE p.pubname::text = $4 \
    UNION ALL SELECT '', 'p ' || l.oid, concat_ws(' ', l.prrelid, l.xmin) FROM pg_publication_rel AS l \
        JOIN pg_publication AS p ON p.oid = l.prpubid WHERE p.pubname::text = $4";

/// Where a file that is new may be one that TRUNCATE made empty, which no event tells of a partition.
fn partitioned(facts: &Facts) -> bool {
    facts.keys().filter(|fact| fact.starts_with('m')).count() > 1
}

/// What differs from an earlier look.
enum Changed {
    /// By the table's place in the mapping.
    Table(usize, &'static str),
    Publication,
}

impl Content {
    fn of(
        client: &mut Client,
        statement: &Statement,
        schema: &str,
        names: &Names,
        mapping: &Mapping,
    ) -> std::result::Result<Self, postgres::Error> {
        let tables: Vec<&str> = mapping.tables.iter().map(|table| table.name.as_str()).collect();
        let function = format!("{}.changed()", quote(&names.own));
        let mut content = Self { tables: vec![Facts::new(); mapping.tables.len()], publication: Facts::new() };
        for row in client.query(statement, &[&schema, &tables, &function, &names.own])? {
            let (name, fact): (String, String) = (row.get(0), row.get(1));
            let facts = match mapping.table(&name) {
                Some(table) => &mut content.tables[table.index],
                None => &mut content.publication,
            };
            facts.insert(fact, row.get::<_, Option<String>>(2).unwrap_or_default());
        }
        Ok(content)
    }

    pub fn read(client: &mut Client, login: &Login, names: &Names, mapping: &Mapping) -> Result<Self> {
        let store = login.describe();
        let failed = fault(&store, "looking what its rows hang on");
        let statement = client.prepare(FACTS).map_err(&failed)?;
        Self::of(client, &statement, &login.place.schema, names, mapping).map_err(&failed)
    }

    /// By table, whether two rows may have one identity until a statement or a transaction ends: no unique index that is
    /// checked row by row lies within it.
    pub fn late(&self, mapping: &Mapping) -> Vec<bool> {
        let late = |(table, facts): (&Table, &Facts)| {
            let within = |columns: &String| {
                let columns: Vec<String> = serde_json::from_str(columns).unwrap_or_default();
                let identity = |name: &String| table.identity.iter().any(|cell| table.columns[*cell].name == *name);
                !columns.is_empty() && columns.iter().all(identity)
            };
            !facts.iter().any(|(fact, columns)| fact.starts_with('u') && within(columns))
        };
        mapping.tables.iter().zip(&self.tables).map(late).collect()
    }

    /// What a position keeps of it: of each table three short hashes, the publication first.
    pub fn note(&self, mapping: &Mapping) -> String {
        let hash = |facts: &Facts, kinds: &str, more: &str| {
            let mut hasher = blake3::Hasher::new();
            for (fact, value) in facts.iter().filter(|(fact, _)| fact.starts_with(|kind| kinds.contains(kind))) {
                hasher.update(format!("{fact}\n{value}\n").as_bytes());
            }
            hasher.update(more.as_bytes());
            hex(&hasher.finalize().as_bytes()[..5])
        };
        let mut note = hash(&self.publication, "p", "");
        for (facts, late) in self.tables.iter().zip(self.late(mapping)) {
            let meaning = hash(facts, "mcet", if late { "late" } else { "" });
            note.push_str(&format!(" {meaning}.{}.{}", hash(facts, "f", ""), hash(facts, "x", "")));
        }
        note
    }

    /// Compared with the note of a look that is not remembered.
    fn since_note(&self, note: &str, mapping: &Mapping) -> Option<Changed> {
        let now = self.note(mapping);
        let mut pairs = note.split(' ').zip(now.split(' '));
        if pairs.next().is_some_and(|(then, now)| then != now) {
            return Some(Changed::Publication);
        }
        let table = self.tables.iter().zip(pairs).position(|(facts, (then, now))| {
            let (then, now): (Vec<&str>, Vec<&str>) = (then.split('.').collect(), now.split('.').collect());
            let differs = |at: usize| then.get(at) != now.get(at);
            differs(0) || (differs(1) && (differs(2) || partitioned(facts)))
        });
        table.map(|table| Changed::Table(table, "or its partitions or types were altered"))
    }

    /// Compared with an earlier look. A partition that came with rows is asked for by `filled`.
    fn since(
        &self,
        then: &Self,
        mapping: &Mapping,
        filled: &mut dyn FnMut(&str) -> Result<bool>,
    ) -> Result<Option<Changed>> {
        if self.publication != then.publication {
            return Ok(Some(Changed::Publication));
        }
        let (late, was) = (self.late(mapping), then.late(mapping));
        for (table, (now, then)) in self.tables.iter().zip(&then.tables).enumerate() {
            let changed = |what: &'static str| Ok(Some(Changed::Table(table, what)));
            if late[table] != was[table] {
                return changed("has its identity checked at another moment");
            }
            let partitioned = partitioned(then);
            for (fact, before) in then {
                let Some(after) = now.get(fact) else {
                    match &fact[..1] {
                        "m" => return changed("has lost a partition"),
                        "c" | "e" => return changed("was altered"),
                        "t" => return changed("has lost a trigger of the outbox"),
                        _ => continue,
                    }
                };
                let (kind, of) = fact.split_at(1);
                let columns = || then.get(&format!("x{of}")) != now.get(&format!("x{of}"));
                match kind {
                    _ if before == after => {}
                    "m" | "c" => return changed("was altered"),
                    "e" => return changed("has a type whose labels were renamed"),
                    "t" => return changed("had a trigger of the outbox switched"),
                    "f" if columns() => return changed("was converted"),
                    "f" if partitioned => return changed("has a partition that was written anew, or emptied"),
                    _ => {}
                }
            }
            for fact in now.keys().filter(|fact| !then.contains_key(*fact)) {
                match fact.split_at(1) {
                    ("c", _) => return changed("was altered"),
                    ("m", oid) if filled(oid.trim())? => return changed("has a partition that came with rows"),
                    _ => {}
                }
            }
        }
        Ok(None)
    }
}

/// Looks at the content while a follow reads.
#[derive(Default)]
pub struct ContentWatch {
    statement: Option<Statement>,
    last: Option<Content>,
    looked: Option<Instant>,
}

/// What a look found other than the last one.
pub struct News {
    pub note: String,
    pub late: Vec<bool>,
    /// Why rows may have changed without an event.
    pub reason: Option<String>,
}

impl ContentWatch {
    /// `None` where all is as it was when `note` was made, and where a look that is not `due` came just before. Refuses
    /// what the mapping no longer fits.
    pub fn look(
        &mut self,
        client: &mut Client,
        login: &Login,
        names: &Names,
        mapping: &Mapping,
        (note, due): (&str, bool),
    ) -> Result<Option<News>> {
        if !due && self.looked.is_some_and(|looked| looked.elapsed() < EVERY) {
            return Ok(None);
        }
        let store = login.describe();
        let failed = fault(&store, "looking what its rows hang on");
        let statement = match &self.statement {
            Some(statement) => statement,
            None => self.statement.insert(client.prepare(FACTS).map_err(&failed)?),
        };
        let now = Content::of(client, statement, &login.place.schema, names, mapping).map_err(&failed)?;
        self.looked = Some(Instant::now());
        if self.last.as_ref() == Some(&now) {
            return Ok(None);
        }
        let text = now.note(mapping);
        let mut filled = |oid: &str| -> Result<bool> {
            let found = client.query_opt(
                "SELECT oid::regclass::text FROM pg_class WHERE oid = $1::text::oid AND relkind <> 'p'",
                &[&oid],
            );
            let Some(name) = found.map_err(&failed)?.map(|row| row.get::<_, String>(0)) else { return Ok(false) };
            let sql = format!("SELECT EXISTS (SELECT FROM {name})");
            Ok(client.query_one(&sql, &[]).map_err(&failed)?.get(0))
        };
        let unnoted = self.last.is_none() && note.is_empty();
        let changed = match &self.last {
            Some(then) => now.since(then, mapping, &mut filled)?,
            None if unnoted => None,
            None => now.since_note(note, mapping),
        };
        let late = now.late(mapping);
        self.last = Some(now);
        let reason = match changed {
            None if unnoted => Some("what the rows hang on besides their changes was not noted yet".to_owned()),
            None => None,
            Some(Changed::Publication) => {
                return Err(Error::refused(format!(
                    "{store}: the publication {} was altered, and changes may have passed it by",
                    names.own
                ))
                .hint("crossfade follow --uninstall, then --install; the next follow reconciles first"));
            }
            Some(Changed::Table(table, what)) => {
                fits(client, login, mapping)?;
                Some(format!("table '{}' {what}", mapping.tables[table].name))
            }
        };
        Ok((reason.is_some() || text != note).then_some(News { note: text, late, reason }))
    }
}

/// Refuses tables that are no longer what the mapping says.
fn fits(client: &mut Client, login: &Login, mapping: &Mapping) -> Result<()> {
    let store = login.describe();
    let catalog = Catalog::read(client, &login.place.schema).map_err(fault(&store, "looking at its tables"))?;
    match mapping.tables.iter().find_map(|table| unfit(table, &catalog)) {
        None => Ok(()),
        Some(why) => Err(Error::refused(format!("{store}: {why}")).hint(
            "mend the mapping, then: crossfade follow --install, and replay --recopy; or put the table back, then: crossfade replay",
        )),
    }
}

fn unfit(table: &Table, catalog: &Catalog) -> Option<String> {
    let name = &table.name;
    let Some((described, found)) = catalog.found(name) else {
        return Some(format!("table '{name}' is gone, or can no longer be read"));
    };
    for column in &table.columns {
        let Some(there) = found.columns.get(&column.name) else {
            return Some(format!("table '{name}' has no column '{}', which is mapped", column.name));
        };
        if !holds(&column.declared, &there.declared) {
            let (mapped, there) = (&column.declared, &there.declared);
            return Some(format!("column '{}' of table '{name}' is mapped as {mapped}, and is {there}", column.name));
        }
    }
    let known = |column: &str| table.column(column).is_some() || table.never.iter().any(|never| never == column);
    let other = described.columns.iter().find(|column| !known(&column.name))?;
    Some(format!("column '{}' of table '{name}' is neither mapped nor on the table's never list", other.name))
}

/// Whether a projection whose column has the mapped type keeps what a column of the other one holds.
fn holds(mapped: &str, there: &str) -> bool {
    let size = |declared: &str| {
        let inner = declared.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
        inner.map(|(size, _)| size.split_whitespace().collect::<String>())
    };
    let of = |declared: &str| Declared::parse(declared).map(|declared| (declared.base, declared.array));
    let same = of(mapped).zip(of(there)).is_none_or(|((mapped, of), (there, also))| {
        let text = |base: &str| matches!(base, "text" | "character varying");
        of == also && (mapped == there || (text(mapped) && text(there)) || Carried::of(mapped) == Carried::Integer)
    });
    Carried::of(mapped) == Carried::of(there) && same && size(mapped).is_none_or(|size_of| size(there) == Some(size_of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_type_holds_what_loses_nothing_in_it() {
        for (mapped, there, holds_it) in [
            ("numeric(5,1)", "numeric(5,1)", true),
            ("numeric(5, 1)", "numeric(5,1)", true),
            ("numeric(5,1)", "numeric(9,3)", false),
            ("numeric(5,1)", "numeric", false),
            ("numeric", "numeric(9,3)", true),
            ("text", "character varying(9)", true),
            ("varchar", "text", true),
            ("varchar(9)", "character varying(9)", true),
            ("character varying(9)", "character varying(20)", false),
            ("real", "double precision", false),
            ("int", "bigint", true),
            ("int", "integer", true),
            ("integer", "text", false),
            ("timestamp without time zone", "timestamp with time zone", false),
            ("timestamp(3) without time zone", "timestamp(6) without time zone", false),
            ("text", "text[]", false),
            ("mood", "mood", true),
        ] {
            assert_eq!(holds(mapped, there), holds_it, "{mapped} and {there}");
        }
    }
}
