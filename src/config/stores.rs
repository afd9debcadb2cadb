//! The stores crossfade.yaml names: the legacy's and the projection's.

use std::path::{Path, PathBuf};

use super::Origin;
use super::effective::Loader;
use super::place::Postgres;
use super::raw::RawLegacy;
use crate::base::Result;
use crate::base::yaml::{self, Spanned};

/// Counting a large table takes a while; nothing else takes long.
const STATEMENT_TIMEOUT_MS: u64 = 300_000;

/// What a server may keep for the slot: 1 GB until it is said, 10 GB until it is dropped.
const SLOT_MB: (u64, u64) = (1_000, 10_000);

/// A store by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    Sqlite(PathBuf),
    Postgres(PostgresStore),
    /// A folder of session files.
    Files(PathBuf),
    /// The address of a server that exports sessions.
    Http(String),
}

/// A PostgreSQL store and what a connection to it needs; files are read by whoever connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresStore {
    pub place: Postgres,
    pub password_file: Option<PathBuf>,
    /// The variable that holds the password, before the file.
    pub password_variable: &'static str,
    /// No query may take longer.
    pub statement_timeout_ms: u64,
    /// Megabytes of its log a legacy may keep for the slot until it is said, and until the slot is dropped; 0 is without
    /// end.
    pub slot_mb: (u64, u64),
}

impl Store {
    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Store::Sqlite(path) => Some(path),
            _ => None,
        }
    }
}

impl Loader<'_> {
    pub(super) fn store(
        &mut self,
        name: &'static str,
        text: &str,
        at: Option<&Spanned<String>>,
        variable: &'static str,
        password: Option<&Spanned<String>>,
    ) -> Result<Store> {
        let key = if name == "projection" { "projection_password_file" } else { "legacy.password_file" };
        let refuse = |message: String| self.refuse(at, &message);
        let store = match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Store::Sqlite(self.folder.join(path)),
            Some(("postgres" | "postgresql", _)) => {
                let given = Postgres::parse(text, &self.folder, &format!("'{key}' or the variable {variable}"));
                let place = given.map_err(|(message, hint)| {
                    let error = refuse(format!("'{name}': {message}"));
                    match hint {
                        Some(hint) => error.hint(hint),
                        None => error,
                    }
                })?;
                Store::Postgres(PostgresStore {
                    place,
                    password_file: password.map(|file| self.folder.join(&file.value)),
                    password_variable: variable,
                    statement_timeout_ms: STATEMENT_TIMEOUT_MS,
                    slot_mb: SLOT_MB,
                })
            }
            Some(("files", path)) if !path.is_empty() && name != "projection" => Store::Files(self.folder.join(path)),
            Some(("http" | "https", rest)) if name != "projection" => {
                let host = rest.strip_prefix("//").unwrap_or_default();
                let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'@' | b'?' | b'#');
                if host.is_empty() || host.starts_with('/') || !host.bytes().all(plain) {
                    let message =
                        format!("'{name}' is the address of the server alone, without user, password or query");
                    return Err(refuse(message).hint("write http://127.0.0.1:4001"));
                }
                Store::Http(text.trim_end_matches('/').to_owned())
            }
            Some((kind @ ("files" | "http" | "https"), _)) => {
                let message = format!("'{name}' cannot be a '{kind}' store: nothing is written there");
                return Err(refuse(message).hint("write sqlite:FILE or postgres://user@host/database"));
            }
            _ => {
                let more = if name == "projection" { "" } else { ", files:FOLDER or http://host:port" };
                return Err(refuse(format!(
                    "'{name}' is sqlite:FILE or postgres://user@host/database{more}, found '{text}'"
                )));
            }
        };
        match (&store, password) {
            (Store::Postgres(_), file) => {
                let origin = match (self.env)(variable) {
                    Some(_) => Some(Origin::Environment(variable.to_owned())),
                    None => file.map(|_| Origin::File),
                };
                if let Some(origin) = origin {
                    let name = if name == "projection" { "projection.password" } else { "legacy.password" };
                    self.note(name, "***", origin);
                }
            }
            (_, Some(file)) => {
                let message = format!("'{key}' belongs to a PostgreSQL store; no other has a password");
                return Err(yaml::refuse_at(&self.name, file, message));
            }
            (_, None) => {}
        }
        Ok(store)
    }

    pub(super) fn limited(&mut self, store: Store, raw: &RawLegacy) -> Result<Store> {
        let given = [
            ("legacy.statement_timeout_ms", raw.statement_timeout_ms.as_ref(), STATEMENT_TIMEOUT_MS),
            ("legacy.slot_warn_mb", raw.slot_warn_mb.as_ref(), SLOT_MB.0),
            ("legacy.slot_drop_mb", raw.slot_drop_mb.as_ref(), SLOT_MB.1),
        ];
        let Store::Postgres(store) = store else {
            return match given.iter().find_map(|(name, at, _)| at.map(|at| (name, at))) {
                Some((name, at)) => {
                    Err(yaml::refuse_at(&self.name, at, format!("'{name}' belongs to a PostgreSQL store")))
                }
                None => Ok(store),
            };
        };
        let [timeout, warn, drop] = given;
        let statement_timeout_ms = self.number(timeout.0, timeout.1, timeout.2)?;
        let slot_mb = (self.limit(warn.0, warn.1, warn.2), self.limit(drop.0, drop.1, drop.2));
        if let Some(at) = raw.slot_drop_mb.as_ref().filter(|_| slot_mb.1 > 0 && slot_mb.1 <= slot_mb.0) {
            let message =
                "'legacy.slot_drop_mb' is 0 or more than 'legacy.slot_warn_mb', or nothing would be said before";
            return Err(yaml::refuse_at(&self.name, at, message));
        }
        Ok(Store::Postgres(PostgresStore { statement_timeout_ms, slot_mb, ..store }))
    }

    /// A number that may be 0.
    fn limit(&mut self, name: &'static str, at: Option<&Spanned<u64>>, default: u64) -> u64 {
        let (value, origin) = at.map_or((default, Origin::Default), |at| (at.value, Origin::File));
        self.note(name, &value.to_string(), origin);
        value
    }
}
