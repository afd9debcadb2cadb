//! A PostgreSQL database under decoding, or with an outbox.

use std::path::Path;
use std::sync::Arc;

use crossfade::mapping::Mapping;
use crossfade::mapping::init::init;
use crossfade::port::legacy_source::LegacySource;
use crossfade::port::row_store::RowStore;
use crossfade::postgres::decoding::{Limits, PostgresDecoding};
use crossfade::postgres::outbox::PostgresOutbox;
use crossfade::postgres::store::PostgresStore;
use crossfade::postgres::{Login, PostgresSource, describe};

use super::followed::{self, Legacy, MIGRATION};
use super::postgres::Database;

pub type Bench = followed::Bench<Decoded>;

pub struct Decoded {
    pub database: Database,
}

impl Legacy for Decoded {
    type Capture = PostgresDecoding;

    fn capture(&self, mapping: &Arc<Mapping>) -> PostgresDecoding {
        PostgresDecoding::new(self.database.login(), MIGRATION, Arc::clone(mapping), Limits { warn: 0, drop: 0 })
    }

    fn source(&self, mapping: &Arc<Mapping>) -> Box<dyn LegacySource> {
        source(&self.database, mapping)
    }

    fn projection(&self, _: &Path) -> Box<dyn RowStore> {
        projection(&self.database)
    }
}

/// The same with an outbox.
pub struct Boxed {
    pub database: Database,
}

impl Legacy for Boxed {
    type Capture = PostgresOutbox;

    fn capture(&self, mapping: &Arc<Mapping>) -> PostgresOutbox {
        PostgresOutbox::new(self.database.login(), MIGRATION, Arc::clone(mapping))
    }

    fn source(&self, mapping: &Arc<Mapping>) -> Box<dyn LegacySource> {
        source(&self.database, mapping)
    }

    fn projection(&self, _: &Path) -> Box<dyn RowStore> {
        projection(&self.database)
    }
}

fn source(database: &Database, mapping: &Arc<Mapping>) -> Box<dyn LegacySource> {
    Box::new(PostgresSource::open(database.login(), Arc::clone(mapping)).unwrap().followed(MIGRATION))
}

fn projection(database: &Database) -> Box<dyn RowStore> {
    let mut projected = database.login();
    projected.place.schema = "projected".to_owned();
    Box::new(PostgresStore::new(Login { statement_timeout_ms: 0, ..projected }))
}

impl Decoded {
    #[track_caller]
    pub fn run(&self, sql: &str) {
        self.database.execute(sql);
    }
}

impl Bench {
    /// A database made by a script, with the mapping that init writes for it.
    pub fn of(script: &str) -> Self {
        let database = Database::with(script);
        let (text, _) = init(&describe(&database.login()).unwrap().schema, MIGRATION);
        Self::mapped(Decoded { database }, &text)
    }
}
