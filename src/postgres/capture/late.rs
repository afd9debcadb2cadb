//! Rows that may have passed their identities to each other, where two may have one until a statement or a transaction ends.

use crate::event::Op;
use crate::mapping::{Mapping, Row, Table};

/// Where changes of such tables come, this many of what they lie in are held at once, and this many bytes: a part does not
/// tell which row has an identity in the end.
pub const WHOLE: (usize, usize) = (50_000, 32 << 20);

/// Whether rows may have passed identities to each other in what is being read, whose parts are told one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passing {
    /// By table, whether rows came to an identity, and went from one.
    tables: Vec<(bool, bool)>,
    /// The beginning was told by an earlier run.
    pub begun: bool,
}

impl Passing {
    pub fn new(mapping: &Mapping, begun: bool) -> Self {
        Self { tables: vec![(false, false); mapping.tables.len()], begun }
    }

    /// Takes a change of a table whose identity is checked late.
    pub fn note(&mut self, table: &Table, op: Op, row: Row<'_>, before: Option<Row<'_>>) {
        let moved = op == Op::Update
            && before.is_none_or(|before| table.identity.iter().any(|cell| before.get(*cell) != row.get(*cell)));
        let (came, went) = &mut self.tables[table.index];
        *came |= moved || op == Op::Insert;
        *went |= moved || op == Op::Delete;
    }

    /// Whether there was any such change.
    pub fn any(&self) -> bool {
        self.tables.iter().any(|(came, went)| *came || *went)
    }

    /// Why a part cannot be told by changes alone, if so.
    pub fn trouble(&self, mapping: &Mapping) -> Option<String> {
        let passed = |(came, went): &(bool, bool)| (*came && *went) || (self.begun && (*came || *went));
        self.tables.iter().position(passed).map(|table| passed_on(&mapping.tables[table]))
    }
}

/// The reason of a reconcile.
pub fn passed_on(table: &Table) -> String {
    format!("rows of '{}' may have passed their keys to each other in more changes than are held at once", table.name)
}
