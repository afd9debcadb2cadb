//! The settings in force, and where each came from.

use std::path::{Component, Path, PathBuf};

use super::kafka::{BOOTSTRAP, KafkaHome};
use super::raw::RawConfig;
use super::registry::Registry;
use super::scan::Scan;
use super::stores::Store;
use super::wishes::Wishes;
use crate::base::yaml::{self, Spanned};
use crate::base::{Error, Result};
use crate::diff::Ignored;

/// Where a value comes from, by rising precedence (a command's own flag comes above all).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File,
    Environment(String),
}

/// One setting as it is in force; secrets are shown as `***`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    pub name: &'static str,
    pub value: String,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    Embedded(PathBuf),
    Kafka(Box<KafkaHome>),
}

/// When a replay's transaction ends, and what it may cost the legacy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayLimits {
    pub transaction_rows: u64,
    pub transaction_ms: u64,
    /// Growth of the legacy's write-ahead log, in MB, at which the snapshot is taken anew.
    pub retained_mb: u64,
    /// A reconcile asks before it writes deletes for more than this share of a table's rows …
    pub mass_delete_percent: u64,
    /// … and more than so many.
    pub mass_delete_rows: u64,
}

/// A migration's settings, all paths resolved against the file's folder.
#[derive(Clone, Debug)]
pub struct Config {
    pub file: PathBuf,
    pub migration: String,
    pub preset: Option<String>,
    pub mapping: Option<PathBuf>,
    pub legacy: Store,
    pub log: Home,
    pub projection: Store,
    pub wishes: Wishes,
    pub replay: ReplayLimits,
    /// Changes that an outbox in a SQLite file keeps; by their size unless said.
    pub keep_changes: Option<u64>,
    pub ignore: Vec<Ignored>,
    pub registry: Registry,
    pub scan: Scan,
    /// Where the file names table and column of each ignore rule.
    ignore_places: Vec<(Spanned<String>, Spanned<String>)>,
    pub effective: Vec<Effective>,
}

/// Looks a variable up; the binary passes the real environment.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

const STATE: &str = ".crossfade";

impl Config {
    /// Reads the file's text and lays the environment over it.
    pub fn load(file: &Path, text: &str, env: Lookup<'_>) -> Result<Self> {
        let name = file.display().to_string();
        let raw: RawConfig = yaml::parse(&name, text).map_err(of_a_later_version)?;
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        Loader { name, folder, env, effective: Vec::new() }.load(file, raw)
    }

    /// Refuses an ignore rule for a table or column that is not among the mapped `tables`: it would hide nothing, and a
    /// typo in it would stay.
    pub fn check(&self, tables: &[(&str, Vec<&str>)]) -> Result<()> {
        let name = self.file.display().to_string();
        let refuse = |at: &Spanned<String>, what: &str, valid: &[&str]| {
            let error = yaml::refuse_at(&name, at, format!("the mapping has no {what} '{}'", at.value));
            match yaml::nearest(&at.value, valid.iter().copied()) {
                Some(word) => error.hint(format!("did you mean '{word}'?")),
                None => error,
            }
        };
        for (table, column) in &self.ignore_places {
            let Some((_, columns)) = tables.iter().find(|(name, _)| *name == table.value) else {
                let names: Vec<&str> = tables.iter().map(|(name, _)| *name).collect();
                return Err(refuse(table, "table", &names));
            };
            if !columns.contains(&column.value.as_str()) {
                return Err(refuse(column, &format!("column of table '{}' named", table.value), columns));
            }
        }
        Ok(())
    }

    /// The folder of the journal and of what else the tool keeps.
    pub fn state_folder(&self) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(STATE)
    }
}

/// Keys that the design has and this version does not read.
const LATER: [&str; 3] = ["api", "dual", "rollout"];

fn of_a_later_version(error: Error) -> Error {
    let later = LATER.iter().find(|key| error.message().contains(&format!("unknown field `{key}`")));
    match later {
        Some(key) => error.hint(format!("'{key}' comes with a later version of crossfade: leave it out until then")),
        None => error,
    }
}

pub(super) struct Loader<'a> {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) env: Lookup<'a>,
    effective: Vec<Effective>,
}

impl Loader<'_> {
    fn load(mut self, file: &Path, raw: RawConfig) -> Result<Config> {
        if raw.version.value != 1 {
            let message = format!("version {} is not known to this tool, which reads version 1", raw.version.value);
            return Err(yaml::refuse_at(&self.name, &raw.version, message));
        }
        let migration = raw.migration.value.clone();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if migration.is_empty() || migration.len() > 60 || !migration.bytes().all(legal) {
            let message = "a migration's name is 1 to 60 letters, digits, '-' or '_' (it becomes part of topic names)";
            return Err(yaml::refuse_at(&self.name, &raw.migration, message));
        }
        self.note("migration", &migration, Origin::File);
        let (preset, mapping) = self.mapping(&raw)?;
        let (text, at) = self.setting("legacy.store", "CROSSFADE_LEGACY_STORE", Some(&raw.legacy.store), "");
        let password = raw.legacy.password_file.as_ref();
        let legacy = self.store("legacy.store", &text, at, "CROSSFADE_LEGACY_PASSWORD", password)?;
        let legacy = self.limited(legacy, &raw.legacy)?;
        let log = self.log(&raw)?;
        let default = format!("sqlite:{STATE}/projection.db");
        let (text, at) = self.setting("projection", "CROSSFADE_PROJECTION", raw.projection.as_ref(), &default);
        let password = raw.projection_password_file.as_ref();
        let projection = self.store("projection", &text, at, "CROSSFADE_PROJECTION_PASSWORD", password)?;
        let same = match (&projection, &legacy) {
            (Store::Sqlite(kept), Store::Sqlite(read)) => plain(kept) == plain(read),
            (Store::Postgres(kept), Store::Postgres(read)) => kept.place.same_place(&read.place),
            _ => false,
        };
        if same {
            let message = "'projection' and 'legacy.store' are the same store";
            return Err(self.refuse(at, message).hint("give the projection a file, database or schema of its own"));
        }
        if let Home::Embedded(log) = &log
            && [&projection, &legacy].iter().filter_map(|store| store.file()).any(|store| plain(store) == plain(log))
        {
            let message = "'log.embedded' is the file of another store";
            return Err(self.refuse(raw.log.embedded.as_ref(), message).hint("give the log a file of its own"));
        }
        let wishes = self.wishes(&raw)?;
        let replay = ReplayLimits {
            transaction_rows: self.number("replay.transaction_rows", raw.replay.transaction_rows.as_ref(), 50_000)?,
            transaction_ms: self.number("replay.transaction_ms", raw.replay.transaction_ms.as_ref(), 1_000)?,
            retained_mb: self.number("replay.retained_mb", raw.replay.retained_mb.as_ref(), 512)?,
            mass_delete_percent: self.number(
                "replay.mass_delete_percent",
                raw.replay.mass_delete_percent.as_ref(),
                10,
            )?,
            mass_delete_rows: self.number("replay.mass_delete_rows", raw.replay.mass_delete_rows.as_ref(), 100)?,
        };
        let keep_changes = match &raw.follow.keep_changes {
            Some(at) => Some(self.number("follow.keep_changes", Some(at), 0)?),
            None => {
                self.note("follow.keep_changes", "by their size", Origin::Default);
                None
            }
        };
        let ignore = self.ignore(&raw)?;
        let registry = self.registry(&raw.registry)?;
        let scan = self.scan(&raw.scan)?;
        Ok(Config {
            file: file.to_owned(),
            migration,
            preset,
            mapping,
            legacy,
            log,
            projection,
            wishes,
            replay,
            keep_changes,
            ignore,
            registry,
            scan,
            ignore_places: raw
                .diff
                .ignore
                .iter()
                .map(|rule| (rule.value.table.clone(), rule.value.column.clone()))
                .chain(raw.scan.ignore.iter().map(|rule| (rule.value.table.clone(), rule.value.column.clone())))
                .collect(),
            effective: self.effective,
        })
    }

    fn mapping(&mut self, raw: &RawConfig) -> Result<(Option<String>, Option<PathBuf>)> {
        match (&raw.legacy.preset, &raw.legacy.mapping) {
            (Some(preset), None) if preset.value == "acc" => {
                self.note("legacy.preset", "acc", Origin::File);
                Ok((Some(preset.value.clone()), None))
            }
            (Some(preset), None) => {
                let error = yaml::refuse_at(&self.name, preset, format!("there is no preset '{}'", preset.value));
                Err(error
                    .hint("the presets are: acc. For other tables write 'mapping: FILE' (crossfade init makes one)"))
            }
            (None, Some(mapping)) => {
                self.note("legacy.mapping", &mapping.value, Origin::File);
                Ok((None, Some(self.folder.join(&mapping.value))))
            }
            (Some(_), Some(mapping)) => {
                Err(yaml::refuse_at(&self.name, mapping, "give either 'preset' or 'mapping', not both"))
            }
            (None, None) => Err(yaml::refuse_at(&self.name, &raw.legacy.store, "'legacy' needs 'preset' or 'mapping'")),
        }
    }

    fn log(&mut self, raw: &RawConfig) -> Result<Home> {
        if let (Some(_), Some(kafka)) = (&raw.log.embedded, &raw.log.kafka) {
            return Err(yaml::refuse_at(&self.name, kafka, "give either 'embedded' or 'kafka', not both"));
        }
        let bootstrap = (self.env)(BOOTSTRAP);
        if bootstrap.is_none() && raw.log.kafka.is_none() {
            let default = format!("{STATE}/log.db");
            let (text, _) = self.setting("log.embedded", "CROSSFADE_LOG_EMBEDDED", raw.log.embedded.as_ref(), &default);
            return Ok(Home::Embedded(self.folder.join(text)));
        }
        self.kafka(bootstrap, raw.log.kafka.as_ref()).map(|home| Home::Kafka(Box::new(home)))
    }

    fn ignore(&mut self, raw: &RawConfig) -> Result<Vec<Ignored>> {
        let mut rules = Vec::with_capacity(raw.diff.ignore.len());
        for Spanned { value: rule, .. } in &raw.diff.ignore {
            self.answered(&rule.reason, &rule.owner, &rule.expires)?;
            self.note(
                "diff.ignore",
                &format!("{}.{} until {}", rule.table.value, rule.column.value, rule.expires.value),
                Origin::File,
            );
            rules.push(Ignored {
                table: rule.table.value.clone(),
                column: rule.column.value.clone(),
                reason: rule.reason.value.clone(),
                owner: rule.owner.value.clone(),
                expires: rule.expires.value.clone(),
            });
        }
        Ok(rules)
    }

    /// Refuses an ignore rule that nobody answers for, or for no time.
    pub(super) fn answered(
        &self,
        reason: &Spanned<String>,
        owner: &Spanned<String>,
        expires: &Spanned<String>,
    ) -> Result<()> {
        for (name, text) in [("reason", reason), ("owner", owner)] {
            if text.value.trim().is_empty() {
                return Err(yaml::refuse_at(&self.name, text, format!("an ignore rule needs a '{name}'")));
            }
        }
        if expires.value.parse::<jiff::civil::Date>().is_err() || expires.value.len() != 10 {
            return Err(yaml::refuse_at(&self.name, expires, "'expires' is a day, as 2026-12-31"));
        }
        Ok(())
    }

    /// The value in force, its origin noted; with the place in the file when it came from there.
    pub(super) fn setting<'r>(
        &mut self,
        name: &'static str,
        variable: &str,
        file: Option<&'r Spanned<String>>,
        default: &str,
    ) -> (String, Option<&'r Spanned<String>>) {
        let (value, origin, at) = match ((self.env)(variable), file) {
            (Some(value), _) => (value, Origin::Environment(variable.to_owned()), None),
            (None, Some(spanned)) => (spanned.value.clone(), Origin::File, Some(spanned)),
            (None, None) => (default.to_owned(), Origin::Default, None),
        };
        self.note(name, &value, origin);
        (value, at)
    }

    pub(super) fn number(&mut self, name: &'static str, file: Option<&Spanned<u64>>, default: u64) -> Result<u64> {
        let Some(at) = file else {
            self.note(name, &default.to_string(), Origin::Default);
            return Ok(default);
        };
        if at.value == 0 {
            return Err(yaml::refuse_at(&self.name, at, format!("'{name}' must be at least 1")));
        }
        self.note(name, &at.value.to_string(), Origin::File);
        Ok(at.value)
    }

    /// A refusal with the place in the file, where the value came from there.
    pub(super) fn refuse<T>(&self, at: Option<&Spanned<T>>, message: &str) -> Error {
        match at {
            Some(at) => yaml::refuse_at(&self.name, at, message),
            None => Error::config(format!("{}: {message}", self.name)),
        }
    }

    pub(super) fn note(&mut self, name: &'static str, value: &str, origin: Origin) {
        self.effective.push(Effective { name, value: value.to_owned(), origin });
    }
}

/// The path without what leads nowhere, so that two spellings of one file compare equal.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}
