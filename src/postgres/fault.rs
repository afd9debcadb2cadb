//! PostgreSQL's errors, in words that name the store and what would help.

use postgres::error::{DbError, SqlState};

use crate::base::{Error, Kind};

/// Turns an error met while `doing` something with `store` into one of ours.
pub(super) fn fault<'a>(store: &'a str, doing: &'a str) -> impl Fn(postgres::Error) -> Error + 'a {
    move |error| {
        let Some(found) = error.as_db_error() else {
            return lost(store, doing, error);
        };
        let (kind, trouble, hint) = of_server(found);
        let fault = Error::new(kind, format!("{store}: {trouble}, {doing}"));
        let fault = match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        };
        fault.because(error)
    }
}

fn lost(store: &str, doing: &str, error: postgres::Error) -> Error {
    if error.to_string().contains("TLS") {
        return Error::connect(format!("{store}: TLS could not be agreed on, {doing}"))
            .hint("see sslmode and sslrootcert of the URL: the certificate must be one they trust")
            .because(error);
    }
    let message = if error.is_closed() {
        format!("{store}: the server ended the connection, {doing}")
    } else {
        format!("{store}: the server cannot be reached, {doing}")
    };
    let fault = Error::connect(message);
    let fault = match error.is_closed() {
        true => fault.hint("run the command again once the server is back: it goes on from what was committed"),
        false => fault.hint("check that it runs, and host, port and sslmode of the URL"),
    };
    fault.because(error)
}

fn of_server(error: &DbError) -> (Kind, String, Option<String>) {
    let code = error.code();
    let with = |kind: Kind, trouble: &str, hint: &str| (kind, trouble.to_owned(), Some(hint.to_owned()));
    if [&SqlState::INVALID_PASSWORD, &SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(&code) {
        return with(
            Kind::Connect,
            "the login was refused",
            "check user and password: a password file, or the variable for it",
        );
    }
    if *code == SqlState::INVALID_CATALOG_NAME {
        return with(Kind::Connect, "there is no such database", "check the database in the URL");
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        let help = "GRANT USAGE on the schema and SELECT on its mapped tables to the role (a projection's role owns its schema)";
        return (Kind::Connect, error.message().to_owned(), Some(help.to_owned()));
    }
    if *code == SqlState::QUERY_CANCELED {
        return with(
            Kind::Failed,
            "a query took longer than it may",
            "raise legacy.statement_timeout_ms, or see what slows the server down; what was committed stays",
        );
    }
    if *code == SqlState::LOCK_NOT_AVAILABLE {
        return with(
            Kind::Fenced,
            "another session holds a lock on what is needed",
            "run the command again when it has ended",
        );
    }
    if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::UNDEFINED_COLUMN {
        return (
            Kind::Refused,
            error.message().to_owned(),
            Some(
                "the tables changed under the mapping: mend it, then copy anew with `crossfade replay --recopy`"
                    .to_owned(),
            ),
        );
    }
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return with(Kind::Connect, "it may only be read", "name the primary server, not a standby");
    }
    if *code == SqlState::TOO_MANY_CONNECTIONS {
        return with(Kind::Connect, "the server has no connection left", "close some, or raise max_connections");
    }
    if [&SqlState::DISK_FULL, &SqlState::OUT_OF_MEMORY].contains(&code) {
        return with(
            Kind::Full,
            "there is no room left",
            "make room and run the command again: what was committed stays",
        );
    }
    match &code.code()[..2] {
        "08" | "57" => with(
            Kind::Connect,
            "the server is going down or coming up",
            "run the command again once the server is back: it goes on from what was committed",
        ),
        "22" => (Kind::Row, format!("a value does not fit: {}", error.message()), None),
        _ => (Kind::Failed, format!("the server refused ({}): {}", code.code(), error.message()), None),
    }
}
