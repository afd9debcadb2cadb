//! A mapping against the store, before anything starts.

use super::error::explain;
use super::introspect;
use super::plan::{Plan, range};
use super::source::SqliteSource;
use crate::base::{Error, Result};
use crate::mapping::Types;
use crate::mapping::fit::{Unmapped, find, fits, unmapped};

impl SqliteSource {
    /// Refuses a mapping the store does not fit: a mapped table or column that is missing, a column that is neither
    /// mapped nor on its table's never list, a statement the store cannot run. Gives the tables left out.
    pub fn check(&self) -> Result<Vec<Unmapped>> {
        let connection = self.connect()?;
        let failed = |error| explain(self.path(), error);
        let schema = introspect::schema(&connection).map_err(failed)?;
        let file = self.path().display().to_string();
        let mapping = self.mapping();
        mapping.types.require(Types::Sqlite)?;
        for table in &mapping.tables {
            let found = find(&schema, &file, table)?;
            fits(mapping, &schema, table, found)?;
            let refused =
                |why: &str| Error::refused(format!("table '{}' of '{file}' cannot be read: {why}", table.name));
            let range = range(&connection, found).map_err(failed)?.map_err(refused)?;
            let plan = Plan::new(mapping, table, &range)?;
            for sql in [&plan.first].into_iter().chain(plan.next.iter().map(|next| &next.sql)) {
                connection.prepare(sql).map_err(|error| refused("SQLite refuses to").because(error))?;
            }
        }
        Ok(unmapped(mapping, &schema))
    }
}
