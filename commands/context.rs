//! The only files that name adapters, this one and those in its folder: environment, files, signals, and wiring.

mod acts;
mod logs;
mod stores;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crossfade::acc;
use crossfade::base::{Error, Millis, Result};
use crossfade::config::{Config, Home, Store};
use crossfade::control::Process;
use crossfade::mapping::Mapping;
use crossfade::scan::{Mode, Screen};

use crate::ui::{Reporter, Stop, Ui};

pub(crate) use self::acts::{FOLLOW_STEP, LACKS, REVERSE_STEP, STEP};
pub(crate) use self::logs::open_embedded;
pub(crate) use self::stores::{Capturing, describe_file, describe_server, execute, make_demo_store, unsafe_live};
pub(crate) use crossfade::mapping::fit::Unmapped;

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
        let mapping = mapping.with_prefix(&config.wishes.prefix)?;
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

/// A password of the environment, or else of its file.
fn password(variable: &str, file: Option<&Path>) -> Result<Option<String>> {
    match (env(variable), file) {
        (Some(password), _) => Ok(Some(password)),
        (None, Some(file)) => Ok(Some(read_text(file)?.trim_end_matches(['\r', '\n']).to_owned())),
        (None, None) => Ok(None),
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

/// Writes a file that must not exist yet, and its folder.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    make_folder_of(path)?;
    let failed = |error| Error::config(format!("{} cannot be written", path.display())).because(error);
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
