//! Errors as the operator meets them, and the exit codes, which are an API.

use crossfade::base::{Error, Kind, Verdict};

/// Exit codes of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Good, or nothing to do.
    Good = 0,
    /// The honest negative: differs, or a check failed.
    Negative = 1,
    /// Could not run: usage, config, connection.
    CouldNot = 2,
    /// Refused as unsafe or impossible; nothing changed.
    Refused = 3,
    /// Plan stale, or another run holds the lock.
    Stale = 4,
    /// Nothing, too little or stale compared.
    Inconclusive = 5,
    Interrupted = 130,
    Terminated = 143,
}

impl Exit {
    pub(crate) fn of_verdict(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Good,
            Verdict::Fail => Self::Negative,
            Verdict::Inconclusive => Self::Inconclusive,
        }
    }

    /// `terminated` tells a SIGTERM from a Ctrl-C.
    pub(crate) fn of_error(error: &Error, terminated: bool) -> Self {
        match error.kind() {
            Kind::Config | Kind::Connect | Kind::Corrupt | Kind::Full | Kind::Unknown | Kind::Failed => Self::CouldNot,
            Kind::Row => Self::Negative,
            Kind::Refused => Self::Refused,
            Kind::Stale | Kind::Fenced => Self::Stale,
            Kind::Interrupted if terminated => Self::Terminated,
            Kind::Interrupted => Self::Interrupted,
        }
    }
}

/// The text of an error: message, causes, and after a blank line what would help.
pub(crate) fn words(error: &Error) -> String {
    let mut text = if error.kind() == Kind::Interrupted { format!("{error}") } else { format!("error: {error}") };
    let mut source = std::error::Error::source(error);
    let mut depth = 0;
    while let Some(cause) = source.filter(|_| depth < 8) {
        let cause_text = cause.to_string();
        // SQLite's causes say the same twice, the second time behind a number.
        let told = cause_text.rsplit_once(": ").map_or(cause_text.as_str(), |(_, told)| told);
        if !text.contains(told) {
            text.push_str(&format!("\n  because: {cause_text}"));
        }
        source = cause.source();
        depth += 1;
    }
    if let Some(hint) = error.help() {
        text.push_str(&format!("\n\nhelp: {hint}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let inner = Error::failed("Error code 26: file is not a database");
        let error =
            Error::connect("'x.db' is no store").because(Error::failed("file is not a database").because(inner));
        assert_eq!(words(&error), "error: 'x.db' is no store\n  because: file is not a database");
    }

    #[test]
    fn the_exit_table() {
        let cases = [
            (Kind::Config, 2),
            (Kind::Connect, 2),
            (Kind::Corrupt, 2),
            (Kind::Row, 1),
            (Kind::Refused, 3),
            (Kind::Stale, 4),
            (Kind::Fenced, 4),
            (Kind::Unknown, 2),
            (Kind::Full, 2),
            (Kind::Interrupted, 130),
            (Kind::Failed, 2),
        ];
        for (kind, code) in cases {
            assert_eq!(Exit::of_error(&Error::new(kind, "x"), false) as u8, code, "{kind:?}");
        }
        assert_eq!(Exit::of_error(&Error::interrupted("x"), true) as u8, 143);
        assert_eq!(Exit::of_verdict(Verdict::Pass) as u8, 0);
        assert_eq!(Exit::of_verdict(Verdict::Fail) as u8, 1);
        assert_eq!(Exit::of_verdict(Verdict::Inconclusive) as u8, 5);
    }
}
