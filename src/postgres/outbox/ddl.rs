//! The statements that make an outbox: a table of changes, and triggers that fill it.
//!
//! They run inside the legacy's own writes, so nothing in them depends on what its columns are called or hold: a row is
//! kept as its text, whatever its table was altered to.

use super::super::capture::Names;
use super::super::form::quote;
use super::super::mark;
use super::rest;
use crate::port::change_source::Step;

/// Settings under which the text of every value reads the same, whatever the session that writes has set.
const FORMS: &str = "SET search_path = pg_catalog, pg_temp SET DateStyle = 'ISO, YMD' SET TimeZone = 'UTC' \
    SET IntervalStyle = 'iso_8601' SET extra_float_digits = 1 SET bytea_output = 'hex' SET xmlbinary = 'base64'";

/// An object of the outbox, in the migration's own schema.
pub(super) fn own(names: &Names, what: &str) -> String {
    format!("{}.{}", quote(&names.own), quote(what))
}

/// Triggers of one moment run in the order of their names: ours is to tell a change before what another one makes of it.
pub(super) fn trigger(names: &Names, what: &str) -> String {
    format!("!{}_{what}", names.own)
}

/// The kinds of trigger on each table: every row, a table that is emptied, and a call once a statement is through.
pub(super) const TRIGGERS: [&str; 3] = ["row", "truncate", "wake"];

/// The statements of the changes' own objects.
pub(super) fn objects(names: &Names) -> Vec<Step> {
    let (changes, number, function) = (own(names, "changes"), own(names, "number"), own(names, "changed"));
    let made = |kind: &str, name: &str, sql: String| Step { sql, back: format!("DROP {kind} {name}") };
    vec![
        made("SEQUENCE", &number, format!("CREATE SEQUENCE {number}")),
        made(
            "TABLE",
            &changes,
            format!(
                "CREATE TABLE {changes} (number bigint PRIMARY KEY DEFAULT nextval('{number}'), \
                 xid xid8 NOT NULL DEFAULT pg_current_xact_id(), made timestamptz NOT NULL DEFAULT clock_timestamp(), \
                 rel oid NOT NULL, op \"char\" NOT NULL, old text, new text) \
                 WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000)"
            ),
        ),
        made("INDEX", &own(names, "xid"), format!("CREATE INDEX xid ON {changes} (xid)")),
        made("FUNCTION", &format!("{function}()"), body(names)),
    ]
}

/// Row triggers give the columns that are never to be read as nulls of one JSON object; `jsonb_populate_record` leaves
/// alone what the row does not have.
fn body(names: &Names) -> String {
    let (function, changes, channel) = (own(names, "changed"), own(names, "changes"), &names.own);
    let lock = rest::lock(names);
    format!(
        "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER {FORMS} AS $crossfade$\n\
         DECLARE was text; becomes text;\n\
         BEGIN\n\
         \x20 IF TG_LEVEL = 'STATEMENT' THEN\n\
         \x20   IF TG_OP = 'TRUNCATE' THEN INSERT INTO {changes} (rel, op) VALUES (TG_RELID, 't'); END IF;\n\
         \x20   IF NOT pg_try_advisory_xact_lock_shared({lock}) THEN PERFORM pg_notify('{channel}', ''); END IF;\n\
         \x20   RETURN NULL;\n\
         \x20 END IF;\n\
         \x20 IF TG_OP <> 'INSERT' THEN\n\
         \x20   IF TG_NARGS = 0 THEN was := OLD::text; ELSE was := jsonb_populate_record(OLD, TG_ARGV[0]::jsonb)::text; END IF;\n\
         \x20 END IF;\n\
         \x20 IF TG_OP <> 'DELETE' THEN\n\
         \x20   IF TG_NARGS = 0 THEN becomes := NEW::text; ELSE becomes := jsonb_populate_record(NEW, TG_ARGV[0]::jsonb)::text; END IF;\n\
         \x20 END IF;\n\
         \x20 INSERT INTO {changes} (rel, op, old, new) VALUES (TG_RELID, lower(left(TG_OP, 1))::\"char\", was, becomes);\n\
         \x20 RETURN NULL;\n\
         END $crossfade$"
    )
}

/// The triggers of one table. They run whatever `session_replication_role` says, but not for what reverse writes.
pub(super) fn triggers(names: &Names, schema: &str, table: &str, never: &[String]) -> Vec<Step> {
    let place = format!("{}.{}", quote(schema), quote(table));
    let function = own(names, "changed");
    let unmarked =
        format!("WHEN (pg_catalog.current_setting('{}', true) IS DISTINCT FROM '{}')", mark::SETTING, mark::REVERSE);
    let nulls = match never {
        [] => String::new(),
        never => {
            let nulls: serde_json::Map<String, serde_json::Value> =
                never.iter().map(|column| (column.clone(), serde_json::Value::Null)).collect();
            format!("'{}'", serde_json::Value::Object(nulls).to_string().replace('\'', "''"))
        }
    };
    let of = |what: &str, when: &str, level: &str, argument: &str| {
        let name = quote(&trigger(names, what));
        let condition = if what == "row" { &unmarked } else { "" };
        Step {
            sql: format!(
                "CREATE TRIGGER {name} AFTER {when} ON {place} FOR EACH {level} {condition} EXECUTE FUNCTION {function}({argument})"
            ),
            back: format!("DROP TRIGGER {name} ON {place}"),
        }
    };
    vec![
        of("row", "INSERT OR UPDATE OR DELETE", "ROW", &nulls),
        of("truncate", "TRUNCATE", "STATEMENT", ""),
        of("wake", "INSERT OR UPDATE OR DELETE", "STATEMENT", ""),
    ]
}
