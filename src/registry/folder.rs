//! A registry as files, to be kept under version control: `<subject>/<version>.json` and `<subject>/compatibility`.
//!
//! It judges by itself, and its ids are its versions. Files of other names are nobody's business here.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::{decoded, encoded};
use crate::base::{Error, Result};
use crate::plan::{Judgement, Level, judge};
use crate::port::registry::{Registered, Registry};

const DEFAULT: Level = Level::Backward;
const LEVEL: &str = "compatibility";

pub struct FolderRegistry {
    folder: PathBuf,
}

impl FolderRegistry {
    /// The folder is made by the first registration.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    fn of(&self, subject: &str) -> PathBuf {
        self.folder.join(encoded(subject))
    }

    fn all(&self, subject: &str) -> Result<Vec<Registered>> {
        let versions = self.versions(subject)?.into_iter();
        versions.filter_map(|version| self.version(subject, version).transpose()).collect()
    }
}

fn cannot(path: &Path, what: &str) -> impl Fn(std::io::Error) -> Error {
    let text = format!("{} cannot be {what}", path.display());
    move |error| Error::failed(text.clone()).because(error)
}

/// The names in a folder; of one that is not there none.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(cannot(folder, "read"))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(cannot(folder, "read"))?.file_name().into_string());
    }
    Ok(names)
}

fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        text => text.map(Some).map_err(cannot(path, "read")),
    }
}

/// Whole or not at all.
fn write(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(cannot(folder, "made"))?;
    }
    std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path)).map_err(cannot(path, "written"))
}

fn number(name: &str) -> Option<i32> {
    let version = name.strip_suffix(".json")?.parse().ok()?;
    (version > 0 && name == format!("{version}.json")).then_some(version)
}

impl Registry for FolderRegistry {
    fn describe(&self) -> String {
        format!("the schemas in {}", self.folder.display())
    }

    fn subjects(&self) -> Result<Vec<String>> {
        let mut subjects = Vec::new();
        for subject in names(&self.folder)?.iter().filter_map(|name| decoded(name)) {
            if !self.versions(&subject)?.is_empty() {
                subjects.push(subject);
            }
        }
        subjects.sort();
        Ok(subjects)
    }

    fn versions(&self, subject: &str) -> Result<Vec<i32>> {
        let folder = self.of(subject);
        let mut versions: Vec<i32> = match folder.is_file() {
            true => Vec::new(),
            false => names(&folder)?.iter().filter_map(|name| number(name)).collect(),
        };
        versions.sort_unstable();
        Ok(versions)
    }

    fn version(&self, subject: &str, version: i32) -> Result<Option<Registered>> {
        let path = self.of(subject).join(format!("{version}.json"));
        let Some(text) = read(&path)? else { return Ok(None) };
        let schema = serde_json::from_str(&text).map_err(|error| {
            Error::corrupt(format!("{} is no JSON", path.display()))
                .hint("restore it from version control")
                .because(error)
        })?;
        Ok(Some(Registered { id: version.into(), version, schema }))
    }

    fn latest(&self, subject: &str) -> Result<Option<Registered>> {
        match self.versions(subject)?.last() {
            Some(version) => self.version(subject, *version),
            None => Ok(None),
        }
    }

    fn look_up(&self, subject: &str, schema: &Json) -> Result<Option<Registered>> {
        Ok(self.all(subject)?.into_iter().rfind(|registered| registered.schema == *schema))
    }

    fn default_level(&self) -> Result<Level> {
        Ok(DEFAULT)
    }

    fn level(&self, subject: &str) -> Result<Option<Level>> {
        let path = self.of(subject).join(LEVEL);
        let Some(text) = read(&path)? else { return Ok(None) };
        let wrong = || Error::corrupt(format!("{} holds no compatibility level", path.display()));
        Level::parse(text.trim()).map(Some).ok_or_else(wrong)
    }

    fn check(&self, subject: &str, schema: &Json) -> Result<Judgement> {
        let older = self.all(subject)?;
        let level = self.level(subject)?.unwrap_or(DEFAULT);
        Ok(judge(level, schema, &older.iter().map(|older| &older.schema).collect::<Vec<_>>()))
    }

    fn register(&self, subject: &str, schema: &Json) -> Result<()> {
        if self.look_up(subject, schema)?.is_some() {
            return Ok(());
        }
        if let Judgement::Incompatible(reasons) = self.check(subject, schema)? {
            return Err(
                Error::refused(format!("the schema of '{subject}' is not compatible")).because(reasons.join("; "))
            );
        }
        let next = self.versions(subject)?.last().map_or(1, |version| version + 1);
        write(&self.of(subject).join(format!("{next}.json")), &format!("{schema:#}\n"))
    }

    fn set_level(&self, subject: &str, level: Level) -> Result<()> {
        write(&self.of(subject).join(LEVEL), &format!("{}\n", level.word()))
    }
}
