//! What a migration has installed in the legacy's database: one row in a schema of its own.

use postgres::{Client, GenericClient};

use super::super::fault::fault;
use super::super::form::quote;
use super::super::server::Login;
use super::content::Content;
use super::mark::Mark;
use super::seen::Seen;
use crate::base::{Error, Result};
use crate::mapping::Mapping;
use crate::port::change_source::{Position, Step};

/// Names of what a migration makes in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Of the schema, and the publication.
    pub own: String,
}

/// Bytes of a name that are the migration's own, where not all fit.
const KEPT: usize = 30;

impl Names {
    /// Slots may have small letters, digits and `_` only, and 63 of them, of which the incarnation takes nine.
    pub fn new(migration: &str) -> Self {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if migration.len() <= KEPT && migration.bytes().all(plain) {
            return Self { own: format!("crossfade_{migration}") };
        }
        let mapped = migration.bytes().map(|byte| match byte.to_ascii_lowercase() {
            byte if plain(byte) => char::from(byte),
            _ => '_',
        });
        let mapped: String = mapped.take(KEPT).collect();
        let hash = crate::base::hex(&blake3::hash(migration.as_bytes()).as_bytes()[..4]);
        Self { own: format!("crossfade_{mapped}_{hash}") }
    }

    /// The table of the one row.
    pub fn table(&self) -> String {
        format!("{}.capture", quote(&self.own))
    }

    /// The slot of an incarnation. Slots belong to the server: two of its databases may have migrations of one name.
    pub fn slot(&self, incarnation: &str) -> String {
        let short: String = incarnation.bytes().filter(u8::is_ascii_hexdigit).take(8).map(char::from).collect();
        format!("{}_{}", self.own, short.to_ascii_lowercase())
    }

    /// Whether a slot is one of this migration, of whatever incarnation.
    pub fn own_slot(&self, slot: &str) -> bool {
        let rest = slot.strip_prefix(&self.own).and_then(|rest| rest.strip_prefix('_'));
        rest.is_some_and(|rest| rest.len() == 8 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }
}

/// Whether a migration's schema holds nothing but these tables and sequences; `false` where there is no such schema.
pub(in crate::postgres) fn holds_only(
    client: &mut impl GenericClient,
    names: &Names,
    known: &[&str],
) -> Result<bool, postgres::Error> {
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM pg_class AS c WHERE c.relnamespace = n.oid AND c.relkind <> 'i' \
        AND NOT c.relname::text = ANY($2)) FROM pg_namespace AS n WHERE n.nspname::text = $1";
    Ok(client.query_opt(sql, &[&names.own, &known])?.is_some_and(|row| row.get(0)))
}

/// The row: which capture there is, and what it takes to find out that it is still the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// `decoding` or `outbox`.
    pub kind: String,
    pub incarnation: String,
    /// Hash of the mapping it was made for.
    pub mapping: String,
    /// Statements that put back what was changed in the legacy's own tables, in order.
    pub back: Vec<String>,
    /// Whatever commits from now on is captured. Until then it is not there.
    pub ready: bool,
}

impl Installed {
    /// The schema and its table, without a row. Everybody may read: it names a migration and no secret, and the role that
    /// replays may be another one than that which installs.
    pub fn steps(names: &Names) -> Vec<Step> {
        let (schema, table) = (quote(&names.own), names.table());
        let step = |sql: String, back: String| Step { sql, back };
        vec![
            step(format!("CREATE SCHEMA IF NOT EXISTS {schema}"), format!("DROP SCHEMA {schema}")),
            step(
                format!(
                    "CREATE TABLE {table} (kind text NOT NULL, incarnation text NOT NULL, mapping text NOT NULL, \
                     back text[] NOT NULL, ready boolean NOT NULL)"
                ),
                format!("DROP TABLE {table}"),
            ),
            step(
                format!("GRANT USAGE ON SCHEMA {schema} TO PUBLIC"),
                format!("REVOKE USAGE ON SCHEMA {schema} FROM PUBLIC"),
            ),
            step(format!("GRANT SELECT ON {table} TO PUBLIC"), format!("REVOKE SELECT ON {table} FROM PUBLIC")),
        ]
    }

    pub fn write(&self, client: &mut impl GenericClient, names: &Names) -> Result<(), postgres::Error> {
        let sql = format!("INSERT INTO {} VALUES ($1, $2, $3, $4, $5)", names.table());
        client.execute(&sql, &[&self.kind, &self.incarnation, &self.mapping, &self.back, &self.ready]).map(drop)
    }

    /// Says that everything that commits from now on is captured.
    pub fn make_ready(client: &mut impl GenericClient, names: &Names) -> Result<(), postgres::Error> {
        client.execute(&format!("UPDATE {} SET ready = true", names.table()), &[]).map(drop)
    }

    /// The row, ready or not; `None` where there is none. What the role may not read is named, never taken for missing.
    pub fn read(client: &mut Client, login: &Login, names: &Names) -> Result<Option<Self>> {
        let store = login.describe();
        let failed = fault(&store, "looking for a capture");
        let found = client
            .query_opt(
                "SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') FROM pg_class AS c \
                 JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname::text = $1 AND c.relname = 'capture'",
                &[&names.own],
            )
            .map_err(&failed)?;
        let Some(may) = found.map(|row| row.get::<_, bool>(0)) else { return Ok(None) };
        if !may {
            let (schema, user) = (quote(&names.own), quote(&login.place.user));
            let message = format!("{store}: role '{}' may not read what is installed there", login.place.user);
            return Err(Error::new(crate::base::Kind::Connect, message).hint(format!(
                "GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT ON {} TO {user}",
                names.table()
            )));
        }
        let sql = format!("SELECT kind, incarnation, mapping, back, ready FROM {} LIMIT 1", names.table());
        let row = client.query_opt(&sql, &[]).map_err(&failed)?;
        Ok(row.map(|row| Self {
            kind: row.get(0),
            incarnation: row.get(1),
            mapping: row.get(2),
            back: row.get(3),
            ready: row.get(4),
        }))
    }
}

/// Where the capture stands in the snapshot of the transaction `client` is in: the snapshot itself says what is in its
/// rows, and the mark how far the server's log went.
pub fn position(client: &mut Client, login: &Login, names: &Names, mapping: &Mapping) -> Result<Option<Position>> {
    let Some(installed) = Installed::read(client, login, names)?.filter(|installed| installed.ready) else {
        return Ok(None);
    };
    let store = login.describe();
    let failed = fault(&store, "asking where the capture stands");
    let standby: bool = client.query_one("SELECT pg_is_in_recovery()", &[]).map_err(&failed)?.get(0);
    if standby {
        return Err(Error::refused(format!(
            "{store} is a standby, whose snapshots do not say what the capture will tell"
        ))
        .hint("name the primary server"));
    }
    let seen = Seen::read(client).map_err(&failed)?.to_string();
    // An outbox tells by its snapshots what is in it.
    let mark = if installed.kind == "outbox" { Mark::read(client) } else { Mark::settled(client) };
    let mark = mark.map_err(&failed)?.to_string();
    let content = Content::read(client, login, names, mapping)?.note(mapping);
    Ok(Some(Position { incarnation: installed.incarnation, seen, mark, content, ..Position::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        for migration in ["acc", "a-b", "a_b", "A_b", &"x".repeat(60), &"x".repeat(59), "crossfade", "acc_0123abcd"] {
            let names = Names::new(migration);
            let slot = names.slot("0123ABCD-4567-89ab-cdef-0123456789ab");
            assert!(
                slot.len() <= 63 && slot.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
                "{slot}"
            );
            assert!(!slot.bytes().any(|byte| byte.is_ascii_uppercase()), "{slot}");
            assert!(names.own_slot(&slot), "{slot}");
            for other in ["acc", "a-b", "a_b", "A_b", &"x".repeat(60), &"x".repeat(59), "crossfade", "acc_0123abcd"] {
                assert_eq!(Names::new(other).own_slot(&slot), other == migration, "{slot} and {other}");
                assert_eq!(Names::new(other) == names, other == migration);
            }
        }
        assert!(!Names::new("acc").own_slot("crossfade_acc") && !Names::new("acc").own_slot("crossfade_acc_zzzzzzzz"));
    }
}
