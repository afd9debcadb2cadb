//! The mapping as engines use it: resolved, checked, hashed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Types;

/// All tables of a migration in dependency order, parents first.
#[derive(Clone, Debug, Serialize)]
pub struct Mapping {
    /// Whose type names the columns are declared by.
    #[serde(skip_serializing_if = "Types::is_default")]
    pub types: Types,
    pub topics: Vec<Topic>,
    pub tables: Vec<Table>,
    /// Tables never to be read; they may exist.
    pub never: Vec<String>,
    /// What the topics without tables are for. No part of the hash: it decides who may use a topic, not what lies in it.
    #[serde(skip)]
    pub uses: BTreeMap<String, Use>,
    /// BLAKE3 of the canonical form; checkpoints, snapshots and projections carry it.
    #[serde(skip)]
    pub hash: String,
}

/// A topic as wanted or as found. `configs` are the topic's own settings, by Kafka's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    #[serde(default)]
    pub configs: BTreeMap<String, String>,
}

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Row events of the tables that name it.
    Rows,
    Commands,
    Replies,
    Monitoring,
    Analytics,
    Gates,
}

impl Use {
    pub const ALL: [Self; 6] =
        [Self::Rows, Self::Commands, Self::Replies, Self::Monitoring, Self::Analytics, Self::Gates];
}

/// One legacy table and its events.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// Place in [`Mapping::tables`].
    pub index: usize,
    pub name: String,
    pub topic: String,
    /// Columns read, in order. Columns never to be read are not among them.
    pub columns: Vec<Column>,
    /// The store's row number is the identity, under this name (`rowid`, `_rowid_` or `oid`), because the table has no key.
    pub rowid: Option<String>,
    /// Cells of the layout that make the identity.
    pub identity: Vec<usize>,
    pub key: Key,
    /// Tables whose rows come first.
    pub parents: Vec<String>,
    /// Column that orders rows where the store itself has no order.
    pub order: Option<usize>,
    /// Column with the legacy's own time of the row.
    pub time: Option<usize>,
    pub events: EventTypes,
    /// Columns never to be read.
    pub never: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Column {
    pub name: String,
    /// The declared type, by the mapping's [`Types`]; decides the type in a projection.
    pub declared: String,
    /// Computed by the legacy store: compared, never written back.
    pub generated: bool,
    /// Set by a trigger of the legacy store.
    pub set_by_trigger: bool,
    pub rules: Vec<Rule>,
}

/// What decides the record key, and so the partition, of a row's events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Key {
    /// The text of these cells; of the identity when one of them is null.
    Cells(Vec<usize>),
    /// The key of the parent row; the source reads it into the layout's last cell.
    Through(Through),
}

/// A reference to the row whose key is taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Through {
    pub columns: Vec<String>,
    pub parent: String,
    pub referenced: Vec<String>,
}

/// The type of the records a probe writes to see that they come back. No row event has it, and every reader drops it.
pub const PROBE: &str = "crossfade.probe";

/// The type of a transfer of ownership: it says who may write a session, and no row.
pub const OWNERSHIP: &str = "crossfade.ownership";

/// The type of a change somebody made in the legacy to a session that events own. Recorded, never folded.
pub const FOREIGN_WRITE: &str = "crossfade.foreign-write";

/// The type of the operator's word on a foreign write; the row event beside it is what the row is from then on.
pub const FOREIGN_SETTLED: &str = "crossfade.foreign-settled";

/// Types of events that are no row events, whatever is in them.
pub const OWN_TYPES: [&str; 4] = [PROBE, OWNERSHIP, FOREIGN_WRITE, FOREIGN_SETTLED];

/// Event types by operation.
#[derive(Clone, Debug, Serialize)]
pub struct EventTypes {
    pub insert: String,
    pub update: String,
    /// Tried in order before `update`.
    pub updates: Vec<UpdateType>,
    pub delete: String,
}

/// An update that changed only these columns (and columns set by triggers) has a type of its own.
#[derive(Clone, Debug, Serialize)]
pub struct UpdateType {
    pub columns: Vec<usize>,
    pub name: String,
}

/// A value rule the user set; its JSON Schema keyword means the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Rule {
    NotNull,
    /// Text must be one of these; null passes.
    OneOf(Vec<String>),
    /// Numbers must not be smaller; other classes pass.
    Min(f64),
    Max(f64),
    /// Unicode characters of a text; other classes pass.
    MaxLength(usize),
}

impl Mapping {
    /// The topics for one use, in the order written.
    pub fn topics_for(&self, wanted: Use) -> impl Iterator<Item = &str> {
        let names = self.topics.iter().map(|topic| topic.name.as_str());
        names.filter(move |name| match wanted {
            Use::Rows => self.tables.iter().any(|table| table.topic == *name),
            wanted => self.uses.get(*name) == Some(&wanted),
        })
    }

    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}

impl Table {
    /// Cells of a row as sources and stores lend it: the columns, then the rowid if it is the identity, then the key if
    /// it comes through a parent.
    pub fn width(&self) -> usize {
        self.columns.len() + usize::from(self.rowid.is_some()) + usize::from(self.key_cell().is_some())
    }

    /// The cell that holds the rowid.
    pub fn rowid_cell(&self) -> Option<usize> {
        self.rowid.as_ref().map(|_| self.columns.len())
    }

    /// The cell that holds a key taken through a parent.
    pub fn key_cell(&self) -> Option<usize> {
        matches!(self.key, Key::Through(_)).then(|| self.columns.len() + usize::from(self.rowid.is_some()))
    }

    /// Names of the cells that are part of an event's row: the columns and the rowid.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str()).chain(self.rowid.as_deref())
    }

    /// How many cells are part of an event's row.
    pub fn field_count(&self) -> usize {
        self.columns.len() + usize::from(self.rowid.is_some())
    }

    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The event type of an update that changed these columns.
    pub fn update_type(&self, changed: &[usize]) -> &str {
        let fits = |rule: &&UpdateType| {
            changed.iter().any(|column| rule.columns.contains(column))
                && changed.iter().all(|column| rule.columns.contains(column) || self.columns[*column].set_by_trigger)
        };
        self.events.updates.iter().find(fits).map_or(&self.events.update, |rule| &rule.name)
    }
}
