//! Connections: login, TLS, and the settings every session has.

use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres::{Client, Config};
use postgres_openssl::MakeTlsConnector;

use super::catalog::{Catalog, Described};
use super::fault::fault;
use crate::base::{Error, Result};
use crate::config::{Postgres, SslMode};

/// How long a statement waits for a lock: legacy programs may lock tables, but not for long.
const LOCK_TIMEOUT: &str = "10s";

/// One place and the right to it.
#[derive(Clone)]
pub struct Login {
    pub place: Postgres,
    pub password: Option<String>,
    pub statement_timeout_ms: u64,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Text forms that do not depend on the server's settings, and no name that is found by a path.
const FORMS: &str = "SET search_path = ''; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; \
    SET IntervalStyle = 'iso_8601'; SET extra_float_digits = 1; SET bytea_output = 'hex'; SET xmlbinary = 'base64'; \
    SET xmloption = 'content'; SET standard_conforming_strings = on; SET idle_in_transaction_session_timeout = 0;";

/// A row a policy would hide must be an error, never a row that is missing.
const READER: &str = "SET default_transaction_read_only = on; SET row_security = off;";

impl Login {
    pub fn describe(&self) -> String {
        self.place.describe()
    }

    /// A session that changes what the legacy's database consists of, and may wait long only where nobody waits for it.
    pub(super) fn installer(&self) -> Result<Client> {
        self.connect(&format!("{FORMS} SET statement_timeout = 0; SET client_min_messages = warning;"))
    }

    /// A session that can only read.
    pub(super) fn reader(&self) -> Result<Client> {
        self.connect(&format!("{FORMS}{READER} SET statement_timeout = {};", self.statement_timeout_ms))
    }

    /// A session that writes a projection. Its last commits may be lost with a crash of the server, positions and rows
    /// together; a writer that stands still inside a transaction does not keep others out for ever.
    pub(super) fn writer(&self) -> Result<Client> {
        self.connect(&format!(
            "{FORMS} SET synchronous_commit = off; SET statement_timeout = 0; SET client_min_messages = warning; \
             SET idle_in_transaction_session_timeout = '5min';"
        ))
    }

    /// A session that makes and empties what captures changes in the legacy's database.
    pub(super) fn keeper(&self) -> Result<Client> {
        self.connect(&format!(
            "{FORMS} SET synchronous_commit = off; SET statement_timeout = 0; SET client_min_messages = warning;"
        ))
    }

    /// A session that writes into the legacy's own tables. One that stands still inside a transaction is ended.
    pub(super) fn legacy_writer(&self) -> Result<Client> {
        self.connect(&format!(
            "{FORMS} SET row_security = off; SET client_min_messages = warning; \
             SET statement_timeout = {}; SET idle_in_transaction_session_timeout = '1min';",
            self.statement_timeout_ms
        ))
    }

    fn connect(&self, settings: &str) -> Result<Client> {
        let store = self.describe();
        let mut config = Config::new();
        config
            .host(&self.place.host)
            .port(self.place.port)
            .user(&self.place.user)
            .dbname(&self.place.database)
            .application_name("crossfade")
            .connect_timeout(Duration::from_secs(10))
            .ssl_mode(match self.place.ssl {
                SslMode::Disable => postgres::config::SslMode::Disable,
                SslMode::Prefer => postgres::config::SslMode::Prefer,
                SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => postgres::config::SslMode::Require,
            });
        if let Some(password) = &self.password {
            config.password(password);
        }
        let mut client = config.connect(self.tls()?).map_err(|error| {
            if std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains("password missing")) {
                return Error::connect(format!("{store}: the server asks for a password, and none was given"))
                    .hint("give it by legacy.password_file or CROSSFADE_LEGACY_PASSWORD (a projection: projection_password_file, CROSSFADE_PROJECTION_PASSWORD)");
            }
            fault(&store, "logging in")(error)
        })?;
        client
            .batch_execute(&format!("{settings} SET lock_timeout = '{LOCK_TIMEOUT}';"))
            .map_err(fault(&store, "setting the session up"))?;
        Ok(client)
    }

    pub(super) fn tls(&self) -> Result<MakeTlsConnector> {
        let host = self.place.ssl == SslMode::VerifyFull;
        let mut connector = MakeTlsConnector::new(self.connector()?);
        connector.set_callback(move |configuration, _| {
            configuration.set_verify_hostname(host);
            Ok(())
        });
        Ok(connector)
    }

    /// What TLS trusts; whether the name is looked at is up to each connection.
    pub(super) fn connector(&self) -> Result<SslConnector> {
        let failed = |error| Error::failed("TLS cannot be set up").because(error);
        let mut builder = SslConnector::builder(SslMethod::tls()).map_err(failed)?;
        if let Some(file) = &self.place.ca_file {
            builder.set_ca_file(file).map_err(|error| {
                Error::config(format!("sslrootcert {} cannot be read", file.display())).because(error)
            })?;
        }
        let verify = matches!(self.place.ssl, SslMode::VerifyFull | SslMode::VerifyCa);
        builder.set_verify(if verify { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
        Ok(builder.build())
    }
}

/// Describes the tables of a schema, read only.
pub fn describe(login: &Login) -> Result<Described> {
    let mut client = login.reader()?;
    Catalog::read(&mut client, &login.place.schema)
        .map_err(fault(&login.describe(), "reading its tables"))
        .map(Catalog::into_described)
}
