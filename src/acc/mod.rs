//! The only room that knows ACC: its mappings, and the shapes of its documents.

mod documents;

use std::collections::BTreeMap;

use crate::base::Result;
use crate::mapping::{Mapping, Raw, Types};

pub use documents::{FILES, FILES_MAPPING, HTTP, HTTP_MAPPING, INVENTED, files_mapping, http_mapping};

/// The preset's mapping file.
pub const MAPPING: &str = include_str!("mapping.yaml");

/// Reads the preset's mapping.
pub fn mapping() -> Result<Mapping> {
    Mapping::parse("acc/mapping.yaml", MAPPING)
}

/// What columns have another type in ACC's PostgreSQL schema than in its SQLite schema, by name; `id`s are all UUIDs.
const POSTGRES_TYPES: &[(&str, &str)] = &[
    ("id", "uuid"),
    ("session_id", "uuid"),
    ("parent_message_id", "uuid"),
    ("related_message_id", "uuid"),
    ("status", "character varying(20)"),
    ("agent_type", "character varying(20)"),
    ("from_agent", "character varying(20)"),
    ("to_agent", "character varying(20)"),
    ("message_type", "character varying(20)"),
    ("event_type", "character varying(20)"),
    ("cost", "numeric(10,4)"),
    ("total_cost", "numeric(10,4)"),
    ("error_rate", "numeric(5,4)"),
    ("success_rate", "numeric(5,4)"),
    ("tools_used", "jsonb"),
    ("files_modified", "jsonb"),
    ("commands_executed", "jsonb"),
];

/// The preset's mapping for a PostgreSQL store.
pub fn postgres_mapping() -> Result<Mapping> {
    Mapping::resolve("acc/mapping.yaml", postgres_raw()?)
}

/// The preset's mapping file by PostgreSQL's types.
pub fn postgres_raw() -> Result<Raw> {
    let mut raw: Raw = crate::base::yaml::parse("acc/mapping.yaml", MAPPING)?;
    raw.types = Types::Postgres;
    for (column, declared) in raw.tables.values_mut().flat_map(|table| table.columns.iter_mut()) {
        let own = POSTGRES_TYPES.iter().find(|(name, _)| name == column).map(|(_, declared)| *declared);
        *declared = match (own, declared.as_str()) {
            (Some(own), _) => own,
            (None, "DATETIME") => "timestamp with time zone",
            (None, "INTEGER") => "integer",
            (None, _) => "text",
        }
        .to_owned();
    }
    Ok(raw)
}

/// Which of the two object sets a PostgreSQL schema of ACC has (quirk 30): its script stops at its first error, unless
/// it was told to go on.
pub fn object_set(views: &[String], functions: &[String]) -> &'static str {
    let whole = views.iter().any(|view| view == "session_activity_with_users")
        || functions.iter().any(|function| function == "refresh_materialized_views");
    if whole {
        "its schema script ran to the end: session_activity_with_users and refresh_materialized_views are there, and broken"
    } else {
        "its schema script stopped at its first error: session_activity_with_users and refresh_materialized_views are missing"
    }
}

/// Whether a store with these tables and columns is one of ACC: it has every mapped table with every mapped column, so
/// the preset can be used on it. Further tables do not matter.
pub fn recognises(tables: &BTreeMap<String, Vec<String>>) -> bool {
    mapping().is_ok_and(|mapping| {
        mapping.tables.iter().all(|table| {
            let found = tables.get(&table.name);
            found.is_some_and(|found| table.columns.iter().all(|column| found.contains(&column.name)))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preset_has_the_six_topics_and_the_events_of_sessions() {
        let mapping = mapping().unwrap();
        let topics: Vec<_> = mapping.topics.iter().map(|topic| (topic.name.as_str(), topic.partitions)).collect();
        assert_eq!(
            topics,
            [
                ("agent.tasks.manager", 3),
                ("agent.tasks.worker", 3),
                ("session.events", 6),
                ("monitoring.events", 12),
                ("quality.gates", 2),
                ("analytics.aggregated", 6),
            ]
        );
        assert_eq!(mapping.topics[2].configs["retention.ms"], "-1");
        assert_eq!(mapping.never.len(), 6);

        let sessions = mapping.table("sessions").unwrap();
        let update = |columns: &[&str]| {
            let changed: Vec<_> = columns.iter().map(|name| sessions.column(name).unwrap()).collect();
            sessions.update_type(&changed)
        };
        assert_eq!(update(&["status"]), "SessionStatusChanged");
        assert_eq!(update(&["end_time", "updated_at"]), "SessionStatusChanged");
        assert_eq!(update(&["status", "work_dir"]), "SessionRowCorrected");
        assert_eq!(update(&["updated_at"]), "SessionRowCorrected");
    }

    #[test]
    fn the_preset_for_postgresql_differs_in_types_alone() {
        let (sqlite, postgres) = (mapping().unwrap(), postgres_mapping().unwrap());
        assert_ne!(sqlite.hash, postgres.hash);
        let declared = |table: &str, column: &str| {
            let table = postgres.table(table).unwrap();
            table.columns[table.column(column).unwrap()].declared.clone()
        };
        assert_eq!(declared("sessions", "start_time"), "timestamp with time zone");
        assert_eq!(declared("sessions", "initial_task"), "text");
        assert_eq!(declared("messages", "cost"), "numeric(10,4)");
        assert_eq!(declared("messages", "duration"), "integer");
        assert_eq!(declared("session_summaries", "tools_used"), "jsonb");
        for (one, two) in sqlite.tables.iter().zip(&postgres.tables) {
            assert_eq!((&one.name, &one.identity, &one.key), (&two.name, &two.identity, &two.key));
            assert!(one.fields().eq(two.fields()));
        }
    }

    #[test]
    fn only_a_store_with_every_mapped_column_is_recognised() {
        let columns = |table: &crate::mapping::Table| table.columns.iter().map(|column| column.name.clone()).collect();
        let mut tables: BTreeMap<String, Vec<String>> =
            mapping().unwrap().tables.iter().map(|table| (table.name.clone(), columns(table))).collect();
        tables.insert("migrations".into(), vec!["version".into()]);
        assert!(recognises(&tables));
        tables.get_mut("messages").unwrap().retain(|column| column != "exit_code");
        assert!(!recognises(&tables));
        assert!(!recognises(&BTreeMap::new()));
    }
}
