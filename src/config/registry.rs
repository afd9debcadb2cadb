//! The section `registry`.

use std::path::PathBuf;

use super::effective::{Loader, Origin};
use super::raw::RawRegistry;
use crate::base::Result;
use crate::base::yaml::{self, Spanned};
use crate::plan::Level;

/// Where the schemas are kept; files are read by whoever connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// Without one they are kept as files beside `crossfade.yaml`.
    pub url: Option<String>,
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    /// The level every subject of the migration is to have; without one it stays as it is.
    pub level: Option<Level>,
}

const URL: &str = "CROSSFADE_REGISTRY_URL";
const PASSWORD: &str = "CROSSFADE_REGISTRY_PASSWORD";

impl Loader<'_> {
    pub(super) fn registry(&mut self, raw: &RawRegistry) -> Result<Registry> {
        let url = match (raw.url.is_some(), (self.env)(URL)) {
            (false, None) => None,
            _ => Some(self.registry_url(raw.url.as_ref())?),
        };
        let login = [("username", &raw.username), ("password_file", &raw.password_file), ("ca_file", &raw.ca_file)];
        if let Some((name, at)) =
            login.iter().find_map(|(name, at)| at.as_ref().filter(|_| url.is_none()).map(|at| (name, at)))
        {
            let error =
                yaml::refuse_at(&self.name, at, format!("'registry.{name}' is of no use without 'registry.url'"));
            return Err(error.hint("without a registry the schemas are kept as files in the folder 'schemas'"));
        }
        if let (None, Some(at)) = (&raw.username, &raw.password_file) {
            return Err(yaml::refuse_at(&self.name, at, "a password needs 'registry.username'"));
        }
        if let Some(username) = &raw.username {
            self.note("registry.username", &username.value, Origin::File);
            let origin = match (self.env)(PASSWORD) {
                Some(_) => Origin::Environment(PASSWORD.into()),
                None => Origin::File,
            };
            self.note("registry.password", "***", origin);
        }
        let level = raw.compatibility.as_ref().map(|at| self.level(at)).transpose()?;
        if let Some(level) = level {
            self.note("registry.compatibility", level.word(), Origin::File);
        }
        let path = |file: &Option<Spanned<String>>| file.as_ref().map(|file| self.folder.join(&file.value));
        Ok(Registry {
            url,
            username: raw.username.as_ref().map(|username| username.value.clone()),
            password_file: path(&raw.password_file),
            ca_file: path(&raw.ca_file),
            level,
        })
    }

    fn registry_url(&mut self, at: Option<&Spanned<String>>) -> Result<String> {
        let url = (self.env)(URL).or_else(|| at.map(|at| at.value.clone())).unwrap_or_default();
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
        // Never the text itself in a message: it may hold a password.
        let at = at.filter(|_| (self.env)(URL).is_none());
        if host.contains('@') {
            let error = self.refuse(at, "'registry.url' may not hold credentials");
            return Err(error.hint("use 'registry.username' and 'registry.password_file'"));
        }
        let legal = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
        if host.is_empty() || host.starts_with(':') || !url.bytes().all(legal) {
            let error = self.refuse(at, "'registry.url' is no address of a registry");
            return Err(error.hint("write it as http://HOST:8081 or https://HOST/PATH"));
        }
        let (url, _) = self.setting("registry.url", URL, at, "");
        Ok(url)
    }

    fn level(&self, at: &Spanned<String>) -> Result<Level> {
        Level::parse(&at.value).ok_or_else(|| {
            let words = Level::ALL.map(Level::word);
            let message = format!("'{}' is no compatibility level: {}", at.value, words.join(", "));
            let error = yaml::refuse_at(&self.name, at, message);
            match yaml::nearest(&at.value.to_uppercase(), words) {
                Some(word) => error.hint(format!("did you mean '{word}'?")),
                None => error,
            }
        })
    }
}
