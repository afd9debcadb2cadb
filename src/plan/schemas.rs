//! The schemas a registry should have against those it has. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::change::{Change, Kind, Op, Risk, WayBack};
use super::compat::{Judgement, Level, judge};
use crate::base::hex;
use crate::event::schema::schema;
use crate::mapping::{Mapping, Table};

/// The schemas of a mapping, and the level its subjects are to have; `None` leaves the level as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredSchemas {
    pub schemas: Vec<DesiredSchema>,
    pub level: Option<Level>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredSchema {
    pub subject: String,
    pub topic: String,
    pub table: String,
    pub schema: Json,
}

/// What a registry has of the subjects asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSchemas {
    /// The registry's name for people.
    pub registry: String,
    /// The level of subjects that have none of their own.
    pub default: Level,
    pub subjects: BTreeMap<String, FoundSubject>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSubject {
    /// Its own level.
    pub level: Option<Level>,
    /// Those looked at, the latest last: all of them where the wanted level is transitive. Empty for a new subject.
    pub versions: Vec<FoundVersion>,
    /// The version that is the desired schema.
    pub same: Option<i32>,
    /// What the registry says to the desired schema under the level now in force.
    pub judgement: Judgement,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundVersion {
    pub id: i64,
    pub version: i32,
    pub schema: Json,
}

/// One call that changes a registry; a step of `apply`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum SchemaStep {
    SetCompatibility { subject: String, level: Level },
    Register { subject: String, schema: Json },
}

/// The subject of a table's events: topic and record name, because one topic carries the events of several tables.
/// It is what Confluent's clients name it by their `TopicRecordNameStrategy`, where the schema's title is the record name.
pub fn subject(table: &Table) -> String {
    format!("{}-{}", table.topic, table.name)
}

impl DesiredSchemas {
    pub fn of(migration: &str, mapping: &Mapping, level: Option<Level>) -> Self {
        let schemas = mapping.tables.iter().map(|table| DesiredSchema {
            subject: subject(table),
            topic: table.topic.clone(),
            table: table.name.clone(),
            schema: schema(migration, table),
        });
        Self { schemas: schemas.collect(), level }
    }
}

/// Both sides of the schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schemas {
    pub desired: DesiredSchemas,
    pub found: FoundSchemas,
}

impl Schemas {
    /// None wished and none looked at.
    pub fn none() -> Self {
        let found = FoundSchemas { registry: String::new(), default: Level::None, subjects: BTreeMap::new() };
        Self { desired: DesiredSchemas { schemas: Vec::new(), level: None }, found }
    }
}

impl DesiredSchemas {
    /// Tells two wishes apart.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.level.map_or("", Level::word).as_bytes());
        for wanted in &self.schemas {
            hasher.update(format!("\n{}\n{}", wanted.subject, wanted.schema).as_bytes());
        }
        hex(hasher.finalize().as_bytes())
    }
}

impl FoundSchemas {
    /// What a plan is bound to, by subject: level, version, id and content. The same for the same state, always.
    pub fn fingerprints(&self) -> BTreeMap<String, String> {
        self.subjects.iter().map(|(name, subject)| (name.clone(), self.fingerprint(subject))).collect()
    }

    fn fingerprint(&self, subject: &FoundSubject) -> String {
        let level = subject.level.unwrap_or(self.default).word();
        let Some(latest) = subject.versions.last() else { return format!("{level} absent") };
        let hash = blake3::hash(latest.schema.to_string().as_bytes()).to_hex();
        format!("{level} version {} id {} {}", latest.version, latest.id, &hash[..32])
    }
}

/// The changes from found to desired, each with its step where there is one; a level is set before its schema is
/// registered. What is as it should be has no entry, and no subject is ever removed.
pub fn plan_schemas(desired: &DesiredSchemas, found: &FoundSchemas) -> Vec<(Change, Option<SchemaStep>)> {
    let nothing = FoundSubject { level: None, versions: Vec::new(), same: None, judgement: Judgement::Compatible };
    let mut changes = Vec::new();
    for wanted in &desired.schemas {
        let subject = found.subjects.get(&wanted.subject).unwrap_or(&nothing);
        let now = subject.level.unwrap_or(found.default);
        let level = desired.level.unwrap_or(now);
        if level != now {
            let step = SchemaStep::SetCompatibility { subject: wanted.subject.clone(), level };
            changes.push((level_change(wanted, subject, now, level), Some(step)));
        }
        if subject.same.is_none() {
            let change = schema_change(wanted, subject, now, level);
            let step = SchemaStep::Register { subject: wanted.subject.clone(), schema: wanted.schema.clone() };
            let step = (change.risk != Risk::Impossible).then_some(step);
            changes.push((change, step));
        }
    }
    changes
}

fn level_change(wanted: &DesiredSchema, subject: &FoundSubject, from: Level, to: Level) -> Change {
    let new = subject.versions.is_empty() && subject.level.is_none();
    Change {
        kind: Kind::Compatibility,
        op: if new { Op::Add } else { Op::Alter },
        name: wanted.subject.clone(),
        field: "compatibility".to_owned(),
        from: Some(from.word().to_owned()),
        to: Some(to.word().to_owned()),
        reason: if new { "compatibility-set" } else { "compatibility-changed" }.to_owned(),
        risk: if new { Risk::Safe } else { Risk::NeedsFlag },
        way_back: WayBack::Reversible,
        note: if new {
            String::new()
        } else {
            "it decides which later schemas are taken, for everybody who writes this subject".to_owned()
        },
    }
}

fn schema_change(wanted: &DesiredSchema, subject: &FoundSubject, now: Level, level: Level) -> Change {
    let judgement = if level == now {
        subject.judgement.clone()
    } else {
        let older: Vec<&Json> = subject.versions.iter().map(|version| &version.schema).collect();
        judge(level, &wanted.schema, &older)
    };
    let latest = subject.versions.last();
    let (reason, risk, note) = match (latest, judgement) {
        (None, _) => ("schema-new", Risk::Safe, String::new()),
        (_, Judgement::Compatible) => ("schema-compatible", Risk::Safe, String::new()),
        (_, Judgement::Incompatible(reasons)) => {
            let way = "keep the table's columns and rules as they were, give the table a topic of its own, or set \
                       `registry.compatibility: NONE` if every reader of the topic can do with both";
            ("schema-incompatible", Risk::Impossible, format!("{} ({})\n{way}", reasons.join("; "), level.word()))
        }
        (_, Judgement::Unknown(reasons)) => {
            let note = format!("whether it is {} could not be told: {}", level.word(), reasons.join("; "));
            ("schema-not-judged", Risk::NeedsFlag, note)
        }
    };
    Change {
        kind: Kind::Schema,
        op: if latest.is_some() { Op::Alter } else { Op::Add },
        name: wanted.subject.clone(),
        field: String::new(),
        from: latest.map(|latest| format!("version {}", latest.version)),
        to: Some(format!("version {}", latest.map_or(1, |latest| latest.version + 1))),
        reason: reason.to_owned(),
        risk,
        way_back: WayBack::Compensable,
        note,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SUBJECT: &str = "shop.rows-orders";

    fn record(columns: &[&str]) -> Json {
        let properties: serde_json::Map<String, Json> =
            columns.iter().map(|column| ((*column).to_owned(), json!({"type": "integer"}))).collect();
        json!({"type": "object", "properties": properties, "required": columns, "additionalProperties": false})
    }

    fn desired(schema: Json, level: Option<Level>) -> DesiredSchemas {
        let schema =
            DesiredSchema { subject: SUBJECT.into(), topic: "shop.rows".into(), table: "orders".into(), schema };
        DesiredSchemas { schemas: vec![schema], level }
    }

    fn found(schemas: &[&Json], level: Option<Level>, judgement: Judgement) -> FoundSchemas {
        let versions = schemas.iter().zip(1..).map(|(schema, version)| FoundVersion {
            id: i64::from(version) + 10,
            version,
            schema: (*schema).clone(),
        });
        let subject = FoundSubject { level, versions: versions.collect(), same: None, judgement };
        FoundSchemas {
            registry: "here".into(),
            default: Level::Backward,
            subjects: BTreeMap::from([(SUBJECT.to_owned(), subject)]),
        }
    }

    fn told(desired: &DesiredSchemas, found: &FoundSchemas) -> Vec<(String, Risk, bool)> {
        let changes = plan_schemas(desired, found);
        changes.into_iter().map(|(change, step)| (change.reason, change.risk, step.is_some())).collect()
    }

    fn entry(reason: &str, risk: Risk) -> (String, Risk, bool) {
        (reason.to_owned(), risk, risk != Risk::Impossible)
    }

    #[test]
    fn each_state_has_its_entries() {
        let (old, new) = (record(&["a"]), record(&["a", "b"]));
        let no = || Judgement::Incompatible(vec!["the registry's words".into()]);
        let yes = Judgement::Compatible;
        let full = Some(Level::Full);
        let set = || entry("compatibility-set", Risk::Safe);
        let changed = || entry("compatibility-changed", Risk::NeedsFlag);
        let cases = [
            (None, found(&[], None, yes.clone()), vec![entry("schema-new", Risk::Safe)]),
            (full, found(&[], None, yes.clone()), vec![set(), entry("schema-new", Risk::Safe)]),
            (full, found(&[], Some(Level::None), yes.clone()), vec![changed(), entry("schema-new", Risk::Safe)]),
            (None, found(&[&old], None, yes.clone()), vec![entry("schema-compatible", Risk::Safe)]),
            (None, found(&[&old], None, no()), vec![entry("schema-incompatible", Risk::Impossible)]),
            // Under the level to come it is judged here.
            (full, found(&[&old], None, yes.clone()), vec![changed(), entry("schema-incompatible", Risk::Impossible)]),
            (Some(Level::None), found(&[&old], None, no()), vec![changed(), entry("schema-compatible", Risk::Safe)]),
            (
                None,
                found(&[&old], None, Judgement::Unknown(vec!["?".into()])),
                vec![entry("schema-not-judged", Risk::NeedsFlag)],
            ),
        ];
        for (level, found, expected) in cases {
            assert_eq!(told(&desired(new.clone(), level), &found), expected, "{level:?} {found:?}");
        }
    }

    #[test]
    fn what_is_as_it_should_be_has_no_entry() {
        let schema = record(&["a"]);
        let mut found = found(&[&schema], None, Judgement::Compatible);
        found.subjects.get_mut(SUBJECT).unwrap().same = Some(1);
        assert_eq!(told(&desired(schema.clone(), None), &found), []);
        assert_eq!(told(&desired(schema.clone(), Some(Level::Backward)), &found), []);
        assert_eq!(
            told(&desired(schema, Some(Level::Full)), &found),
            [entry("compatibility-changed", Risk::NeedsFlag)]
        );
    }

    #[test]
    fn the_registry_s_words_reach_the_note() {
        let found = found(&[&record(&["a"])], None, Judgement::Incompatible(vec!["at /b: no".into()]));
        let changes = plan_schemas(&desired(record(&["b"]), None), &found);
        assert!(changes[0].0.note.starts_with("at /b: no (BACKWARD)"), "{:?}", changes[0].0);
        assert_eq!((changes[0].0.from.as_deref(), changes[0].0.to.as_deref()), (Some("version 1"), Some("version 2")));
    }

    #[test]
    fn a_fingerprint_follows_level_version_and_content() {
        let of = |found: &FoundSchemas| found.fingerprints()[SUBJECT].clone();
        let (a, b) = (record(&["a"]), record(&["b"]));
        let states = [
            found(&[], None, Judgement::Compatible),
            found(&[], Some(Level::Full), Judgement::Compatible),
            found(&[&a], None, Judgement::Compatible),
            found(&[&a], Some(Level::Full), Judgement::Compatible),
            found(&[&a, &a], None, Judgement::Compatible),
            found(&[&b], None, Judgement::Compatible),
        ];
        let prints: std::collections::BTreeSet<String> = states.iter().map(of).collect();
        assert_eq!(prints.len(), states.len());
        assert_eq!(of(&states[2]), of(&found(&[&a], None, Judgement::Unknown(Vec::new()))));
    }
}
