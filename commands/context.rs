//! The only file that names adapters: environment, files, signals, and wiring.

use std::borrow::Borrow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crossfade::acc;
use crossfade::base::{Error, Kind, Millis, Result};
use crossfade::capture::{ScreenedChanges, ScreenedSource};
use crossfade::config::{Config, Home, KafkaHome, PostgresStore as PostgresStoreAt, Store};
use crossfade::control::{Holder, Lock, Process, missing_topics};
use crossfade::demo::{self, Sizes};
use crossfade::embedded::{EmbeddedLog, nothing_yet};
use crossfade::files::FilesSource;
use crossfade::http::{Export, HttpSource};
use crossfade::journal::{SqliteJournal, contains};
use crossfade::kafka::{KafkaAdmin, KafkaLog, KafkaSettings, Secret, Security};
pub(crate) use crossfade::mapping::fit::Unmapped;
use crossfade::mapping::init::Schema;
use crossfade::mapping::{Carried, Mapping, Types};
use crossfade::plan::{Desired, DesiredSchemas, Step};
use crossfade::port::boundary::boundary;
use crossfade::port::change_source::{Capture, ChangeSource};
use crossfade::port::event_log::{EventLog, own_topics};
use crossfade::port::journal::{Entry, Journal, Stage};
use crossfade::port::legacy_sink::LegacySink;
use crossfade::port::legacy_source::LegacySource;
use crossfade::port::memory_admin::MemoryAdmin;
use crossfade::port::memory_log::MemoryLog;
use crossfade::port::registry::Registry;
use crossfade::port::row_store::RowStore;
use crossfade::port::topic_admin::TopicAdmin;
use crossfade::postgres::decoding::{Limits, PostgresDecoding};
use crossfade::postgres::outbox::PostgresOutbox;
use crossfade::postgres::sink::PostgresSink;
use crossfade::postgres::store::PostgresStore;
use crossfade::postgres::{Login, PostgresSource};
use crossfade::provision::Record;
use crossfade::registry::{FolderRegistry, HttpRegistry, Password, RegistrySettings};
use crossfade::scan::{Mode, Screen};
use crossfade::sqlite::outbox::SqliteOutbox;
use crossfade::sqlite::scratch;
use crossfade::sqlite::sink::SqliteSink;
use crossfade::sqlite::source::SqliteSource;
use crossfade::sqlite::store::SqliteStore;

use crate::ui::{Reporter, Stop, Ui};

pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(crate) fn now() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Millis)
}

pub(crate) fn today() -> String {
    crossfade::base::rfc3339(now())[..10].to_owned()
}

/// First signal: finish the step and say how to resume; second: now.
pub(crate) fn catch_signals() -> Result<Stop> {
    let stop = Stop::default();
    for (signal, code) in [(signal_hook::consts::SIGINT, 130), (signal_hook::consts::SIGTERM, 143)] {
        let armed = Arc::new(AtomicBool::new(false));
        let failed = |error| Error::failed("signals cannot be caught").because(error);
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&armed)).map_err(failed)?;
        signal_hook::flag::register(signal, armed).map_err(failed)?;
        let failed = |error| Error::failed("signals cannot be caught").because(error);
        signal_hook::flag::register_usize(signal, Arc::clone(&stop.signal), signal as usize).map_err(failed)?;
    }
    Ok(stop)
}

pub(crate) fn terminated(signal: &AtomicUsize) -> bool {
    signal.load(Ordering::Relaxed) == signal_hook::consts::SIGTERM as usize
}

/// Reads a file a person named.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::config(format!("{} cannot be read", path.display())).because(error))
}

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

/// One migration, wired.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) mapping: Arc<Mapping>,
    /// What legacy rows pass on their way into events and comparisons.
    pub(crate) screen: Arc<Screen>,
    pub(crate) ui: Ui,
    pub(crate) stop: Stop,
    pub(crate) process: Process,
}

impl Context {
    pub(crate) fn load(file: &Path, ui: Ui, stop: Stop) -> Result<Self> {
        let config = load_config(file)?;
        let mapping = match &config.mapping {
            Some(path) => Mapping::parse(&path.display().to_string(), &read_text(path)?)?,
            None => match config.legacy {
                Store::Sqlite(_) => acc::mapping()?,
                Store::Postgres(_) => acc::postgres_mapping()?,
                Store::Files(_) => acc::files_mapping()?,
                Store::Http(_) => acc::http_mapping()?,
            },
        };
        let wished = config.wishes.topics.iter();
        let mapping =
            mapping.with_partitions(wished.filter_map(|topic| Some((topic.name.as_str(), topic.partitions?))))?;
        let tables: Vec<_> =
            mapping.tables.iter().map(|table| (table.name.as_str(), table.fields().collect())).collect();
        config.check(&tables)?;
        let screen = Arc::new(Screen::new(&mapping, config.scan.mode, &config.scan.ignore, &today()));
        // Events made under two modes must not be folded together.
        let mapping = match config.scan.mode {
            Mode::Report => mapping,
            mode => mapping.bound_to(&format!("scan {}", mode.word())),
        };
        Ok(Self { config, mapping: Arc::new(mapping), screen, ui, stop, process: process() })
    }

    pub(crate) fn progress(&self) -> Reporter {
        Reporter::new(&self.ui, &self.stop)
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
        match (&self.config.legacy, mode) {
            (Store::Sqlite(path), None | Some(Capturing::Outbox)) => {
                Ok(Box::new(SqliteOutbox::new(path, &self.config.migration, Arc::clone(&self.mapping))))
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
        let migration = &self.config.migration;
        Ok(match &self.config.legacy {
            Store::Sqlite(path) => Box::new(SqliteSink::new(path, migration, Arc::clone(&self.mapping))),
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

    /// Says so where the log has not been made yet.
    pub(crate) fn log_missing(&self) -> Option<String> {
        match &self.config.log {
            Home::Embedded(path) if !path.exists() => {
                Some(format!("the embedded log {} does not exist yet", path.display()))
            }
            _ => None,
        }
    }

    /// The log of the migration; `create` makes the embedded one when it is not there yet.
    pub(crate) fn log(&self, create: bool) -> Result<Box<dyn EventLog>> {
        match &self.config.log {
            Home::Embedded(path) => Ok(Box::new(self.embedded(path, create)?)),
            Home::Kafka(home) => Ok(Box::new(KafkaLog::open(&kafka(home, &self.config.migration)?)?)),
        }
    }

    /// The management of the same. An embedded log that is not made yet can be looked at: it has nothing.
    pub(crate) fn admin(&self, create: bool) -> Result<Box<dyn TopicAdmin>> {
        match &self.config.log {
            Home::Embedded(path) if !create && !path.exists() => Ok(Box::new(MemoryAdmin::of(nothing_yet(path)))),
            Home::Embedded(path) => Ok(Box::new(self.embedded(path, create)?)),
            Home::Kafka(home) => Ok(Box::new(KafkaAdmin::open(&kafka(home, &self.config.migration)?)?)),
        }
    }

    fn embedded(&self, path: &Path, create: bool) -> Result<EmbeddedLog> {
        if create {
            make_folder_of(path)?;
        } else if let Some(missing) = self.log_missing() {
            return Err(Error::refused(missing).hint("create it and its topics: crossfade provision apply"));
        }
        EmbeddedLog::open(path, create)
    }

    /// Everything wished of the log's home.
    pub(crate) fn desired(&self) -> Result<Desired> {
        let wishes = &self.config.wishes;
        let own = own_topics(&self.config.migration);
        Desired::new(&self.config.migration, &self.mapping, own, wishes.copies, &wishes.topics, wishes.actors.clone())
    }

    /// How clients log in, where they do.
    pub(crate) fn mechanism(&self) -> Option<&str> {
        match &self.config.log {
            Home::Kafka(home) => home.security.as_ref()?.mechanism.as_deref(),
            Home::Embedded(_) => None,
        }
    }

    /// Keeps the steps of an act in this machine's journal.
    pub(crate) fn recorder(&self) -> Result<Recorder> {
        Ok(Recorder { journal: self.journal()? })
    }

    /// The schemas of the mapping's events.
    pub(crate) fn desired_schemas(&self) -> DesiredSchemas {
        DesiredSchemas::of(&self.config.migration, &self.mapping, self.config.registry.level)
    }

    /// Where the schemas are kept: a registry, or without one the folder beside the config.
    pub(crate) fn registry(&self) -> Result<Box<dyn Registry>> {
        let registry = &self.config.registry;
        let Some(url) = &registry.url else {
            let folder = self.config.file.parent().unwrap_or(Path::new("")).join("schemas");
            return Ok(Box::new(FolderRegistry::new(folder)));
        };
        let password = password("CROSSFADE_REGISTRY_PASSWORD", registry.password_file.as_deref())?;
        let settings = RegistrySettings {
            url: url.clone(),
            username: registry.username.clone(),
            password: password.map(Password::new),
            ca_file: registry.ca_file.clone(),
        };
        Ok(Box::new(HttpRegistry::new(&settings)?))
    }

    /// A log in memory with this migration's topics, for dry runs before the real one exists.
    pub(crate) fn empty_log(&self) -> Result<MemoryLog> {
        let log = MemoryLog::default();
        log.create_topics(&missing_topics(&log, &self.mapping, &self.config.migration)?)?;
        Ok(log)
    }

    /// Opens a file for a result, before the work begins, so that a bad path fails in the first second.
    pub(crate) fn create_output(&self, path: &Path) -> Result<std::fs::File> {
        let mut taken = vec![self.journal_path(), self.config.file.clone()];
        taken.extend(
            [&self.config.legacy, &self.config.projection].iter().filter_map(|store| store.file()).map(Path::to_owned),
        );
        taken.extend(self.config.mapping.clone());
        if let Home::Embedded(log) = &self.config.log {
            taken.push(log.clone());
        }
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        if real(path).is_some_and(|path| taken.iter().any(|taken| real(taken).as_ref() == Some(&path))) {
            let message = format!("{} belongs to the migration and is not overwritten", path.display());
            return Err(Error::refused(message).hint("name another file"));
        }
        std::fs::File::create(path).map_err(|error| {
            Error::config(format!("{} cannot be written", path.display()))
                .hint("nothing was done; name a file in a folder that exists and may be written")
                .because(error)
        })
    }

    /// A command line of this migration, for the operator to copy.
    pub(crate) fn command(&self, command: &str) -> String {
        command_of(&self.config.file, command)
    }

    /// Whether the holder of the lock may still run.
    pub(crate) fn may_run(&self, holder: &Holder) -> bool {
        holder.process.host != self.process.host || process_alive(holder.process.pid)
    }

    pub(crate) fn journal_path(&self) -> PathBuf {
        self.config.state_folder().join("journal.db")
    }

    /// What the journal of this machine holds; makes nothing.
    pub(crate) fn journal_entries(&self) -> Result<Vec<Entry>> {
        SqliteJournal::open_read_only(self.journal_path())?.entries()
    }

    pub(crate) fn journal(&self) -> Result<SqliteJournal> {
        let path = self.journal_path();
        make_folder_of(&path)?;
        SqliteJournal::open(&path)
    }

    /// Runs one act that needs no run lock, announced and told in this machine's journal only.
    pub(crate) fn act_here<T>(
        &self,
        act: &str,
        detail: &serde_json::Value,
        work: impl FnOnce() -> Result<(T, serde_json::Value)>,
    ) -> Result<T> {
        let journal = self.journal()?;
        let announced = journal.append(now(), Stage::Announced, 0, act, detail)?;
        boundary("journal.announced");
        let result = work();
        let (stage, told) = ending(&result);
        let journalled = journal.append(now(), stage, announced.seq, act, &told);
        boundary("journal.done");
        let (value, _) = result?;
        journalled?;
        Ok(value)
    }

    /// Runs one mutating act under the run lock, announced in the journal before and told after; the journal's head
    /// goes into the log with the lock's release.
    pub(crate) fn act<T>(
        &self,
        log: &dyn EventLog,
        act: &str,
        detail: &serde_json::Value,
        work: impl FnOnce() -> Result<(T, serde_json::Value)>,
    ) -> Result<T> {
        let journal = self.journal()?;
        let lock = Lock::acquire(
            log,
            &self.config.migration,
            &self.mapping.hash,
            &self.process,
            act,
            Arc::new(now),
            &process_alive,
        )?;
        if let Ok(mut lost) = self.stop.lost.lock() {
            *lost = Some(lock.lost());
        }
        if let Some(head) = lock.journal_in_log.as_ref().filter(|head| head.seq > 0)
            && !contains(&journal.entries()?, head)
        {
            let text = format!("the log knows entry {} of a journal, which this one lacks", head.seq);
            self.ui.note(format!("{text}: it was cut or removed, or another machine keeps it"));
            let detail = serde_json::json!({ "lacks": head.seq, "hash": head.hash });
            journal.append(now(), Stage::Noted, 0, LACKS, &detail)?;
        }
        let announced = journal.append(now(), Stage::Announced, 0, act, detail)?;
        boundary("journal.announced");
        let result = work();
        let (stage, told) = ending(&result);
        let journalled = journal.append(now(), stage, announced.seq, act, &told).and_then(|_| {
            boundary("journal.done");
            lock.release(journal.head()?)?;
            boundary("lock.released");
            Ok(())
        });
        // The act's own error says more than a failure to tell of it.
        let (value, _) = result?;
        journalled?;
        Ok(value)
    }
}

/// What a step of an act is called in the journal.
pub(crate) const STEP: &str = "provision step";

/// What a statement on the legacy store is called in the journal.
pub(crate) const FOLLOW_STEP: &str = "follow step";

/// What a statement for reverse is called in the journal.
pub(crate) const REVERSE_STEP: &str = "reverse step";

/// The steps of an act, announced and told.
pub(crate) struct Recorder {
    journal: SqliteJournal,
}

impl Record for Recorder {
    fn announce(&self, step: &Step) -> Result<u64> {
        let detail = serde_json::json!({ "item": step.item, "changes": step.changes, "before": step.before });
        let entry = self.journal.append(now(), Stage::Announced, 0, STEP, &detail)?;
        boundary("journal.announced");
        Ok(entry.seq)
    }

    fn ended(&self, entry: u64, step: &Step, result: &Result<()>) -> Result<()> {
        let told = match result {
            Ok(()) => Ok(((), serde_json::json!({ "item": step.item, "after": step.after }))),
            Err(error) => Err(error),
        };
        let (stage, detail) = ending(&told);
        self.journal.append(now(), stage, entry, STEP, &detail)?;
        boundary("journal.done");
        Ok(())
    }
}

/// Notes in a journal that the log knew an entry it does not have.
pub(crate) const LACKS: &str = "journal lacks";

/// How an act ended, for the journal.
fn ending<T, E: Borrow<Error>>(result: &Result<(T, serde_json::Value), E>) -> (Stage, serde_json::Value) {
    let (stage, error) = match result.as_ref().map_err(Borrow::borrow) {
        Ok((_, told)) => return (Stage::Done, told.clone()),
        Err(error) if error.kind() == Kind::Unknown => (Stage::Unknown, error),
        Err(error) => (Stage::Failed, error),
    };
    let interrupted = error.kind() == Kind::Interrupted;
    (stage, serde_json::json!({ "error": error.to_string(), "interrupted": interrupted }))
}

/// `crossfade COMMAND`, with the config file where it is not the one found by itself.
pub(crate) fn command_of(config: &Path, command: &str) -> String {
    if config == Path::new(crate::DEFAULT_CONFIG) {
        return format!("crossfade {command}");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let file = config.display().to_string();
    let file = if file.bytes().all(plain) { file } else { format!("'{}'", file.replace('\'', "'\\''")) };
    format!("crossfade --config {file} {command}")
}

pub(crate) fn load_config(file: &Path) -> Result<Config> {
    let text = read_text(file)
        .map_err(|error| error.hint("make one: crossfade init --from sqlite:FILE (or name it with --config)"))?;
    Config::load(file, &text, &env)
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

pub(crate) fn make_folder_of(path: &Path) -> Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder)
        .map_err(|error| Error::failed(format!("folder {} cannot be made", folder.display())).because(error))
}

fn process() -> Process {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned());
    Process { instance: uuid::Uuid::new_v4().to_string(), host, pid: std::process::id() }
}

/// Whether a process of this host lives; where that cannot be known, yes.
fn process_alive(pid: u32) -> bool {
    !Path::new("/proc/self").exists() || Path::new(&format!("/proc/{pid}")).exists()
}

fn kafka(home: &KafkaHome, migration: &str) -> Result<KafkaSettings> {
    let mut settings = KafkaSettings { bootstrap: home.bootstrap.clone(), ..KafkaSettings::default() };
    settings.migration = Some(migration.to_owned());
    settings.properties.clone_from(&home.properties);
    settings.security = home.security.as_ref().map(security).transpose()?;
    Ok(settings)
}

/// A password of the environment, or else of its file.
fn password(variable: &str, file: Option<&Path>) -> Result<Option<String>> {
    match (env(variable), file) {
        (Some(password), _) => Ok(Some(password)),
        (None, Some(file)) => Ok(Some(read_text(file)?.trim_end_matches(['\r', '\n']).to_owned())),
        (None, None) => Ok(None),
    }
}

fn security(security: &crossfade::config::Security) -> Result<Security> {
    let files = [
        ("ca_file", &security.ca_file),
        ("certificate_file", &security.certificate_file),
        ("key_file", &security.key_file),
    ];
    for (key, file) in files {
        if let Some(file) = file {
            named(key, read_text(file))?;
        }
    }
    let secret = |variable: &str, key: &str, file: &Option<PathBuf>| -> Result<Option<Secret>> {
        let text = match (env(variable), file) {
            (Some(text), _) => text,
            (None, Some(file)) => named(key, read_text(file))?.trim_end_matches(['\r', '\n']).to_owned(),
            (None, None) => return Ok(None),
        };
        if text.is_empty() {
            return named(key, Err(Error::config("the file is empty")));
        }
        Ok(Some(Secret::new(text)))
    };
    let password = match &security.username {
        Some(_) => secret("CROSSFADE_LOG_KAFKA_PASSWORD", "password_file", &security.password_file)?,
        None => None,
    };
    Ok(Security {
        protocol: security.protocol.clone(),
        mechanism: security.mechanism.clone(),
        username: security.username.clone(),
        password,
        ca_file: security.ca_file.clone(),
        certificate_file: security.certificate_file.clone(),
        key_file: security.key_file.clone(),
        key_password: secret("CROSSFADE_LOG_KAFKA_KEY_PASSWORD", "key_password_file", &security.key_password_file)?,
    })
}

/// The key of `log.kafka.security` whose file could not be had.
fn named<T>(key: &str, result: Result<T>) -> Result<T> {
    result.map_err(|error| Error::config(format!("'log.kafka.security.{key}' is of no use")).because(error))
}

/// A password from the variable of its store, else from its file.
fn login(store: &PostgresStoreAt) -> Result<Login> {
    let password = match (env(store.password_variable), &store.password_file) {
        (Some(password), _) => Some(password),
        (None, Some(file)) => Some(read_text(file)?.trim_end_matches(['\r', '\n']).to_owned()),
        (None, None) => None,
    };
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

pub(crate) fn open_embedded(path: &Path) -> Result<Box<dyn EventLog>> {
    Ok(Box::new(EmbeddedLog::open(path, false)?))
}

/// Writes a file that must not exist yet, and its folder.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    make_folder_of(path)?;
    let failed = |error| Error::config(format!("{} cannot be written", path.display())).because(error);
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
