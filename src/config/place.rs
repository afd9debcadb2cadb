//! Where a PostgreSQL store lies: the URL in crossfade.yaml, without a password.

use std::path::{Path, PathBuf};

use crate::base::yaml::nearest;

/// How a connection is protected, by libpq's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    #[default]
    Prefer,
    Require,
    /// The server's certificate is one of `ca_file`, or of the system's where there is none.
    VerifyCa,
    /// And names the host.
    VerifyFull,
}

const MODES: [(&str, SslMode); 5] = [
    ("disable", SslMode::Disable),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

const PARAMETERS: [&str; 3] = ["schema", "sslmode", "sslrootcert"];

/// A schema of a database on a server. The password is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgres {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub database: String,
    pub schema: String,
    pub ssl: SslMode,
    pub ca_file: Option<PathBuf>,
}

impl Postgres {
    /// Reads `postgres://user@host:port/database?sslmode=…&sslrootcert=…&schema=…`; files are resolved against `folder`.
    /// `password_at` says where the password belongs, for a URL that has one. The error is what is wrong and what helps.
    pub fn parse(text: &str, folder: &Path, password_at: &str) -> Result<Self, (String, Option<String>)> {
        let wrong =
            |what: &str| (what.to_owned(), Some("postgres://user@host:5432/database?sslmode=require".to_owned()));
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let rest = rest.ok_or_else(|| wrong("a PostgreSQL store is a URL"))?;
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = place.split_once('/').ok_or_else(|| wrong("the URL names no database"))?;
        let (user, address) = authority.rsplit_once('@').ok_or_else(|| wrong("the URL names no user"))?;
        if user.contains(':') {
            // Never the URL itself in the message: it holds the password.
            return Err((
                "a password stands in the URL".to_owned(),
                Some(format!("take it out, and give it by {password_at}")),
            ));
        }
        let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(5432), str::parse).map_err(|_| wrong("the URL's port is no number"))?;
        let decode = |text: &str, what: &str| match decoded(text) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(wrong(&format!("the URL names no {what}"))),
        };
        let mut found = Self {
            host: decode(host, "host")?,
            port,
            user: decode(user, "user")?,
            database: decode(database, "database")?,
            schema: "public".to_owned(),
            ssl: SslMode::default(),
            ca_file: None,
        };
        for (name, value) in
            parameters.split('&').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")))
        {
            let value = decoded(value).ok_or_else(|| wrong("the URL is not well-formed"))?;
            match name {
                "schema" if !value.is_empty() => found.schema = value,
                "sslrootcert" if !value.is_empty() => found.ca_file = Some(folder.join(value)),
                "sslmode" => {
                    let mode = MODES.iter().find(|(word, _)| *word == value);
                    let words = MODES.map(|(word, _)| word).join(", ");
                    found.ssl = mode.ok_or_else(|| (format!("'sslmode' is one of {words}"), None))?.1;
                }
                "password" => {
                    return Err((
                        "a password stands in the URL".to_owned(),
                        Some(format!("take it out, and give it by {password_at}")),
                    ));
                }
                _ => {
                    let help = match nearest(name, PARAMETERS) {
                        Some(word) => format!("did you mean '{word}'?"),
                        None => format!("known are {}", PARAMETERS.join(", ")),
                    };
                    return Err((format!("the URL's parameter '{name}' is not known"), Some(help)));
                }
            }
        }
        Ok(found)
    }

    /// For people: the URL without what only says how to connect.
    pub fn describe(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let schema = if self.schema == "public" { String::new() } else { format!("?schema={}", self.schema) };
        format!("postgres://{}@{host}:{}/{}{schema}", self.user, self.port, self.database)
    }

    /// Whether both name one schema of one database, as far as names can tell.
    pub fn same_place(&self, other: &Self) -> bool {
        let place = |one: &Self| (one.host.clone(), one.port, one.database.clone(), one.schema.clone());
        place(self) == place(other)
    }
}

/// A part of a URL with its %xx read.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (hex, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Postgres, (String, Option<String>)> {
        Postgres::parse(text, Path::new("/etc"), "CROSSFADE_LEGACY_PASSWORD")
    }

    #[test]
    fn a_url_is_read_whole_or_refused_with_what_helps() {
        let found =
            parse("postgresql://an%40na@[::1]:6000/my%20db?sslmode=verify-full&sslrootcert=ca.pem&schema=Own").unwrap();
        assert_eq!(found.user, "an@na");
        assert_eq!((found.host.as_str(), found.port, found.database.as_str()), ("::1", 6000, "my db"));
        assert_eq!((found.schema.as_str(), found.ssl), ("Own", SslMode::VerifyFull));
        assert_eq!(found.ca_file, Some(PathBuf::from("/etc/ca.pem")));
        assert_eq!(found.describe(), "postgres://an@na@[::1]:6000/my db?schema=Own");
        assert_eq!(parse("postgres://u@h/d").unwrap().port, 5432);
        for (text, what, help) in [
            ("postgres://u:pa55word@h/d", "a password", "CROSSFADE_LEGACY_PASSWORD"),
            ("postgres://u@h/d?password=pa55word", "a password", "CROSSFADE_LEGACY_PASSWORD"),
            ("postgres://h/d", "no user", "postgres://user@host"),
            ("postgres://u@h", "no database", "postgres://user@host"),
            ("postgres://u@h:x/d", "port", "postgres://user@host"),
            ("postgres://u@h/d?sslmod=require", "'sslmod'", "'sslmode'"),
            ("postgres://u@h/d?sslmode=on", "verify-full", ""),
        ] {
            let (message, hint) = parse(text).unwrap_err();
            assert!(message.contains(what) && hint.as_deref().unwrap_or("").contains(help), "{message} {hint:?}");
            assert!(!message.contains("pa55word") && !hint.unwrap_or_default().contains("pa55word"));
        }
    }
}
