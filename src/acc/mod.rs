//! The only room that knows ACC: its mapping.

use std::collections::BTreeMap;

use crate::base::Result;
use crate::mapping::Mapping;

/// The preset's mapping file.
pub const MAPPING: &str = include_str!("mapping.yaml");

/// Reads the preset's mapping.
pub fn mapping() -> Result<Mapping> {
    Mapping::parse("acc/mapping.yaml", MAPPING)
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
