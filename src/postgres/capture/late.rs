//! Tables of which two rows may have one identity until a statement or a transaction ends.

use postgres::Client;

use super::super::fault::fault;
use super::super::server::Login;
use crate::base::Result;
use crate::event::Op;
use crate::mapping::{Mapping, Row, Table};

/// Where changes of such tables come, this many of what they lie in are held at once, and this many bytes: a part does not
/// tell which row has an identity in the end.
pub const WHOLE: (usize, usize) = (50_000, 32 << 20);

/// A unique index that is checked row by row, of columns that are all in the identity, keeps two rows apart at any time.
const CHECKED: &str = "SELECT EXISTS (SELECT FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid \
    JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname::text = $1 AND c.relname::text = $2 \
    AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL \
    AND NOT EXISTS (SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(n, o) WHERE k.o <= i.indnkeyatts AND NOT EXISTS \
        (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum = k.n AND a.attname::text = ANY($3))))";

/// By table, whether its identity is checked late, or not at all.
pub fn late(client: &mut Client, login: &Login, mapping: &Mapping) -> Result<Vec<bool>> {
    let store = login.describe();
    let checked = |table: &Table| {
        let identity: Vec<&str> = table.identity.iter().map(|cell| table.columns[*cell].name.as_str()).collect();
        client.query_one(CHECKED, &[&login.place.schema, &table.name, &identity]).map(|row| !row.get::<_, bool>(0))
    };
    let late: std::result::Result<_, postgres::Error> = mapping.tables.iter().map(checked).collect();
    late.map_err(fault(&store, "looking how identities are checked"))
}

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
