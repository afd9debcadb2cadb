//! The only file that names adapters: environment, files, signals, and wiring.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crossfade::acc;
use crossfade::base::{Error, Kind, Millis, Result};
use crossfade::config::{Config, Home, Store};
use crossfade::control::{Lock, Process, missing_topics};
use crossfade::demo::{self, Sizes};
use crossfade::embedded::EmbeddedLog;
use crossfade::journal::SqliteJournal;
use crossfade::kafka::{KafkaLog, KafkaSettings, Secret, Security};
use crossfade::mapping::Mapping;
use crossfade::mapping::init::Schema;
use crossfade::port::boundary::boundary;
use crossfade::port::event_log::EventLog;
use crossfade::port::journal::{Journal, Stage};
use crossfade::port::memory_log::MemoryLog;
use crossfade::port::row_store::RowStore;
use crossfade::sqlite::scratch;
use crossfade::sqlite::source::{SqliteSource, Unmapped};
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

/// Opens a file for a result, before the work begins, so that a bad path fails in the first second.
pub(crate) fn create_output(path: &Path) -> Result<std::fs::File> {
    std::fs::File::create(path)
        .map_err(|error| Error::config(format!("{} cannot be written", path.display())).because(error))
}

/// One migration, wired.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) ui: Ui,
    pub(crate) stop: Stop,
    pub(crate) process: Process,
}

impl Context {
    pub(crate) fn load(file: &Path, ui: Ui, stop: Stop) -> Result<Self> {
        let config = load_config(file)?;
        let mapping = match &config.mapping {
            Some(path) => Mapping::parse(&path.display().to_string(), &read_text(path)?)?,
            None => acc::mapping()?,
        };
        config.check(&mapping)?;
        Ok(Self { config, mapping: Arc::new(mapping), ui, stop, process: process() })
    }

    pub(crate) fn progress(&self) -> Reporter {
        Reporter::new(&self.ui, &self.stop)
    }

    pub(crate) fn source(&self, legacy_stopped: bool) -> Result<SqliteSource> {
        let Store::Sqlite(path) = &self.config.legacy;
        SqliteSource::open(path, Arc::clone(&self.mapping), legacy_stopped)
    }

    pub(crate) fn store(&self) -> Result<Box<dyn RowStore>> {
        let Store::Sqlite(path) = &self.config.projection;
        Ok(Box::new(SqliteStore::new(path)))
    }

    /// A projection for this run only.
    pub(crate) fn scratch_store(&self) -> Result<Scratch> {
        let folder = std::env::temp_dir().join(format!("crossfade-scratch-{}", self.process.instance));
        std::fs::create_dir_all(&folder)
            .map_err(|error| Error::failed("no scratch folder can be made").because(error))?;
        let store = Box::new(SqliteStore::new(&folder.join("projection.db")));
        Ok(Scratch { store, folder })
    }

    /// The log of the migration; `create` makes the embedded one when it is not there yet.
    pub(crate) fn log(&self, create: bool) -> Result<Box<dyn EventLog>> {
        match &self.config.log {
            Home::Embedded(path) => {
                if create {
                    make_folder_of(path)?;
                } else if !path.exists() {
                    let message = format!("the embedded log {} does not exist yet", path.display());
                    return Err(Error::refused(message).hint("create it and its topics: crossfade provision apply"));
                }
                Ok(Box::new(EmbeddedLog::open(path, create)?))
            }
            Home::Kafka(home) => {
                let mut settings = KafkaSettings { bootstrap: home.bootstrap.clone(), ..KafkaSettings::default() };
                settings.properties.clone_from(&home.properties);
                settings.security = home.security.as_ref().map(security).transpose()?;
                Ok(Box::new(KafkaLog::open(&settings)?))
            }
        }
    }

    /// A log in memory with this migration's topics, for dry runs before the real one exists.
    pub(crate) fn empty_log(&self) -> Result<MemoryLog> {
        let log = MemoryLog::default();
        log.create_topics(&missing_topics(&log, &self.mapping, &self.config.migration)?)?;
        Ok(log)
    }

    pub(crate) fn journal_path(&self) -> PathBuf {
        self.config.state_folder().join("journal.db")
    }

    pub(crate) fn journal(&self) -> Result<SqliteJournal> {
        let path = self.journal_path();
        make_folder_of(&path)?;
        SqliteJournal::open(&path)
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
        let announced = journal.append(now(), Stage::Announced, 0, act, detail)?;
        boundary("journal.announced");
        let result = work();
        let (stage, told) = match &result {
            Ok((_, told)) => (Stage::Done, told.clone()),
            Err(error) if error.kind() == Kind::Unknown => {
                (Stage::Unknown, serde_json::json!({ "error": error.to_string() }))
            }
            Err(error) => (Stage::Failed, serde_json::json!({ "error": error.to_string() })),
        };
        let journalled = journal.append(now(), stage, announced.seq, act, &told).and_then(|_| {
            boundary("journal.done");
            lock.release(journal.head()?)
        });
        // The act's own error says more than a failure to tell of it.
        let (value, _) = result?;
        journalled?;
        Ok(value)
    }
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

fn security(security: &crossfade::config::Security) -> Result<Security> {
    let password = match (env("CROSSFADE_LOG_KAFKA_PASSWORD"), &security.password_file) {
        (Some(password), _) => Some(password),
        (None, Some(file)) => Some(read_text(file)?.trim_end_matches(['\r', '\n']).to_owned()),
        (None, None) => None,
    };
    Ok(Security {
        protocol: security.protocol.clone().unwrap_or_else(|| "PLAINTEXT".to_owned()),
        mechanism: security.mechanism.clone(),
        username: security.username.clone(),
        password: password.map(Secret::new),
        ca_file: security.ca_file.clone(),
        certificate_file: security.certificate_file.clone(),
        key_file: security.key_file.clone(),
        key_password: None,
    })
}

/// Describes a store for `init`.
pub(crate) fn describe_store(path: &Path) -> Result<Schema> {
    crossfade::sqlite::introspect::describe(path)
}

/// Unmapped tables of the legacy store, with the reason where they cannot be mapped; refuses when store and mapping do
/// not fit.
pub(crate) fn check_source(source: &SqliteSource) -> Result<Vec<String>> {
    let name = |unmapped: Unmapped| match unmapped.why {
        Some(why) => format!("{} ({why})", unmapped.table),
        None => unmapped.table,
    };
    Ok(source.check()?.into_iter().map(name).collect())
}

/// Makes a generated legacy store.
pub(crate) fn make_demo_store(path: &Path, sizes: Sizes) -> Result<()> {
    scratch::make(path, demo::schema(), |load| demo::rows(sizes, load))
}

/// Runs SQL on a store of the demo, behind everybody's back.
pub(crate) fn execute(path: &Path, sql: &str) -> Result<u64> {
    scratch::execute(path, sql)
}

pub(crate) fn open_embedded(path: &Path) -> Result<EmbeddedLog> {
    EmbeddedLog::open(path, false)
}

/// Writes a file that must not exist yet, and its folder.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    make_folder_of(path)?;
    let failed = |error| Error::config(format!("{} cannot be written", path.display())).because(error);
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
