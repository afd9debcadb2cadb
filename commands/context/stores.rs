//! The stores of rows: the legacy, what records its changes, and projections.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossfade::acc;
use crossfade::base::{Error, Result};
use crossfade::capture::{ScreenedChanges, ScreenedSource};
use crossfade::config::{PostgresStore as PostgresStoreAt, Store};
use crossfade::demo::{self, Sizes};
use crossfade::files::FilesSource;
use crossfade::http::{Export, HttpSource};
use crossfade::mapping::init::Schema;
use crossfade::mapping::{Carried, Mapping, Types};
use crossfade::port::change_source::{Capture, ChangeSource};
use crossfade::port::legacy_sink::LegacySink;
use crossfade::port::legacy_source::LegacySource;
use crossfade::port::row_store::RowStore;
use crossfade::postgres::decoding::{Limits, PostgresDecoding};
use crossfade::postgres::outbox::PostgresOutbox;
use crossfade::postgres::sink::PostgresSink;
use crossfade::postgres::store::PostgresStore;
use crossfade::postgres::{Login, PostgresSource};
use crossfade::sqlite::gate::Patience;
use crossfade::sqlite::outbox::SqliteOutbox;
use crossfade::sqlite::scratch;
use crossfade::sqlite::sink::SqliteSink;
use crossfade::sqlite::source::SqliteSource;
use crossfade::sqlite::store::SqliteStore;

use super::{Context, make_folder_of, password};

/// How changes are recorded in the legacy store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capturing {
    Outbox,
    Decoding,
}

/// How ACC's server lists its sessions: oldest first, so that new ones come last.
const EXPORT: Export = Export {
    list: "/api/sessions",
    order: "&sortBy=startTime&sortOrder=asc",
    items: "sessions",
    total: "total",
    id: "id",
    document: "/export",
    invented: acc::INVENTED,
    cut: (50, "endTime"),
};

impl Context {
    /// Waits for the programs of a SQLite legacy for so many seconds, or for ever, and says for whom.
    pub(crate) fn patience(&self, seconds: Option<u64>) -> Patience {
        Patience { at_most: seconds.map(Duration::from_secs), progress: Arc::new(self.progress()) }
    }

    pub(crate) fn source(&self, legacy_stopped: bool) -> Result<Box<dyn LegacySource>> {
        let source: Box<dyn LegacySource> = match &self.config.legacy {
            Store::Sqlite(_) => Box::new(self.sqlite_source(legacy_stopped)?),
            Store::Postgres(store) => {
                let source = PostgresSource::open(login(store)?, Arc::clone(&self.mapping))?;
                Box::new(source.followed(&self.config.migration))
            }
            Store::Files(folder) => Box::new(FilesSource::open(folder, Arc::clone(&self.mapping), acc::FILES)?),
            Store::Http(url) => Box::new(HttpSource::open(url, Arc::clone(&self.mapping), acc::HTTP, EXPORT)?),
        };
        Ok(Box::new(ScreenedSource::new(source, Arc::clone(&self.screen))))
    }

    /// A store's changes as they pass the scan.
    pub(crate) fn screened<'s>(&self, source: &'s dyn ChangeSource) -> ScreenedChanges<'s> {
        ScreenedChanges::new(source, Arc::clone(&self.screen), Arc::clone(&self.mapping))
    }

    fn sqlite_source(&self, legacy_stopped: bool) -> Result<SqliteSource> {
        let path = self.config.legacy.file().unwrap_or(Path::new(""));
        let source = SqliteSource::open(path, Arc::clone(&self.mapping), legacy_stopped)?;
        Ok(source.followed(&self.config.migration))
    }

    /// What records the legacy's changes, whether or not it is installed; without a mode the one that is, or that suits
    /// the store.
    pub(crate) fn capture(&self, mode: Option<Capturing>) -> Result<Box<dyn Capture>> {
        self.capture_waiting(mode, Patience::default())
    }

    /// The same, and how long it waits for the programs of a SQLite legacy before it changes anything there.
    pub(crate) fn capture_waiting(&self, mode: Option<Capturing>, patience: Patience) -> Result<Box<dyn Capture>> {
        match (&self.config.legacy, mode) {
            (Store::Sqlite(path), None | Some(Capturing::Outbox)) => {
                let outbox = SqliteOutbox::new(path, &self.config.migration, Arc::clone(&self.mapping));
                Ok(Box::new(outbox.patient(patience).keeping(self.config.keep_changes)))
            }
            (Store::Sqlite(_), Some(Capturing::Decoding)) => {
                Err(Error::config("a SQLite file has no log of changes to decode").hint("--mode outbox"))
            }
            (Store::Postgres(store), mode) => {
                let (login, migration) = (login(store)?, &self.config.migration);
                let installed = match crossfade::postgres::capture::installed(&login, migration)?.as_deref() {
                    Some("outbox") => Some(Capturing::Outbox),
                    Some(_) => Some(Capturing::Decoding),
                    None => None,
                };
                if let (Some(wanted), Some(installed)) = (mode, installed)
                    && wanted != installed
                {
                    return Err(Error::refused("this migration's changes are captured in another way already")
                        .hint("take that away first: crossfade follow --uninstall"));
                }
                let mapping = Arc::clone(&self.mapping);
                match mode.or(installed) {
                    Some(Capturing::Outbox) => Ok(Box::new(PostgresOutbox::new(login, migration, mapping))),
                    _ => {
                        let limits = Limits { warn: store.slot_mb.0 * 1_000_000, drop: store.slot_mb.1 * 1_000_000 };
                        Ok(Box::new(PostgresDecoding::new(login, migration, mapping, limits)))
                    }
                }
            }
            (Store::Files(_) | Store::Http(_), _) => {
                Err(Error::refused("nothing records this legacy's changes: it is no database")
                    .hint("follow it by comparing: crossfade follow --mode reconcile"))
            }
        }
    }

    pub(crate) fn legacy_name(&self) -> String {
        match &self.config.legacy {
            Store::Sqlite(path) => path.display().to_string(),
            Store::Postgres(store) => store.place.describe(),
            Store::Files(folder) => folder.display().to_string(),
            Store::Http(url) => url.clone(),
        }
    }

    /// The legacy's own tables, to be written back to.
    pub(crate) fn sink(&self) -> Result<Box<dyn LegacySink>> {
        self.sink_waiting(Patience::default())
    }

    /// The same, and how long it waits for the programs of a SQLite legacy before each of its transactions.
    pub(crate) fn sink_waiting(&self, patience: Patience) -> Result<Box<dyn LegacySink>> {
        let migration = &self.config.migration;
        Ok(match &self.config.legacy {
            Store::Sqlite(path) => {
                Box::new(SqliteSink::new(path, migration, Arc::clone(&self.mapping)).patient(patience))
            }
            Store::Postgres(store) => Box::new(PostgresSink::new(login(store)?, migration, Arc::clone(&self.mapping))),
            Store::Files(_) | Store::Http(_) => {
                return Err(Error::refused("this legacy has no tables to write back to: it is no database")
                    .hint("give it a SQL store before events own anything of it"));
            }
        })
    }

    pub(crate) fn store(&self) -> Result<Box<dyn RowStore>> {
        Ok(match &self.config.projection {
            Store::Sqlite(path) => Box::new(SqliteStore::new(path)),
            // A projection is this tool's own: no query on it is too long.
            Store::Postgres(store) => Box::new(PostgresStore::new(Login { statement_timeout_ms: 0, ..login(store)? })),
            Store::Files(_) | Store::Http(_) => return Err(Error::config("no projection can be kept there")),
        })
    }

    /// The same, with its folder made.
    pub(crate) fn make_store(&self) -> Result<Box<dyn RowStore>> {
        if let Some(path) = self.config.projection.file() {
            make_folder_of(path)?;
        }
        self.store()
    }

    /// What a projection of another kind than the legacy cannot show as it is, before it is made.
    pub(crate) fn across_kinds(&self) -> Vec<String> {
        let columns = |wanted: &dyn Fn(&str) -> bool| {
            let of = |table: &crossfade::mapping::Table| {
                let found = table.columns.iter().filter(|column| wanted(&column.declared));
                found.map(|column| format!("{}.{}", table.name, column.name)).collect::<Vec<_>>()
            };
            self.mapping.tables.iter().flat_map(of).collect::<Vec<String>>()
        };
        let mut lines = Vec::new();
        match (self.mapping.types, &self.config.projection) {
            (Types::Postgres, Store::Sqlite(_)) => {
                let reals = columns(&|declared| Carried::of(declared) == Carried::Real);
                if !reals.is_empty() {
                    let reals = reals.join(", ");
                    lines.push(format!("SQLite has no NaN: an event with one in {reals} ends the projection"));
                }
                lines.push("SQLite has fewer types: numerics, times, UUIDs and JSON are kept as their exact text".to_owned());
            }
            (Types::Sqlite, Store::Postgres(_)) => lines.push(
                "PostgreSQL columns have one type: a value of another class (or text with NUL) is NULL in its column and exact in _cf_exact"
                    .to_owned(),
            ),
            _ => {}
        }
        lines
    }

    /// A projection for this run only.
    pub(crate) fn scratch_store(&self) -> Result<Scratch> {
        let folder = std::env::temp_dir().join(format!("crossfade-scratch-{}", self.process.instance));
        std::fs::create_dir_all(&folder)
            .map_err(|error| Error::failed("no scratch folder can be made").because(error))?;
        let store = Box::new(SqliteStore::new(folder.join("projection.db")));
        Ok(Scratch { store, folder })
    }
}

/// A projection that goes away with its folder.
pub(crate) struct Scratch {
    pub(crate) store: Box<dyn RowStore>,
    folder: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn login(store: &PostgresStoreAt) -> Result<Login> {
    let password = password(store.password_variable, store.password_file.as_deref())?;
    Ok(Login { place: store.place.clone(), password, statement_timeout_ms: store.statement_timeout_ms })
}

/// Describes a file for `init`.
pub(crate) fn describe_file(path: &Path) -> Result<Schema> {
    crossfade::sqlite::introspect::describe(path)
}

/// Describes a schema of a server for `init`, and names its functions.
pub(crate) fn describe_server(store: &PostgresStoreAt) -> Result<(Schema, Vec<String>)> {
    let described = crossfade::postgres::describe(&login(store)?)?;
    Ok((described.schema, described.functions))
}

/// Why `replay` would not read the store while its writers run, if so.
pub(crate) fn unsafe_live(path: &Path) -> Option<String> {
    let nothing = Mapping {
        types: Types::Sqlite,
        topics: Vec::new(),
        tables: Vec::new(),
        never: Vec::new(),
        uses: std::collections::BTreeMap::new(),
        hash: String::new(),
    };
    let error = SqliteSource::open(path, Arc::new(nothing), false).err()?;
    Some(error.help().map_or(error.to_string(), |help| format!("{error}: {help}")))
}

/// Makes a generated legacy store.
pub(crate) fn make_demo_store(path: &Path, sizes: Sizes) -> Result<()> {
    scratch::make(path, demo::schema(), |load| demo::rows(sizes, load))
}

/// Runs SQL on a store of the demo, behind everybody's back.
pub(crate) fn execute(path: &Path, sql: &str) -> Result<u64> {
    scratch::execute(path, sql)
}
