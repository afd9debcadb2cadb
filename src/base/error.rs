//! One error for the whole library: a flat kind someone acts on, and the context a person needs.

use std::error::Error as StdError;
use std::fmt;

/// What a caller may do about an [`Error`]; exit codes are derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file a person wrote is wrong: usage, config or mapping.
    Config,
    /// A store or log could not be reached or opened.
    Connect,
    /// Stored bytes are damaged, or not what they should be.
    Corrupt,
    /// A row breaks a rule and may not become an event.
    Row,
    /// Unsafe or impossible; nothing was changed.
    Refused,
    /// Prepared for another state: mapping hash, position or epoch.
    Stale,
    /// Another run holds the lock, or a newer writer of the same name took over.
    Fenced,
    /// A commit whose outcome is not known: probe, then decide.
    Unknown,
    /// No room left on a device; what was committed stays.
    Full,
    /// The run was asked to stop; its state is saved.
    Interrupted,
    /// Everything else that stopped us.
    Failed,
}

/// What happened, to which thing, what would help, and why.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    /// Adds what would help, as a sentence for the operator.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn help(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Shorthand for the kinds used everywhere.
macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        impl Error {
            $(#[doc = concat!("An error of [`Kind::", stringify!($kind), "`].")]
            pub fn $name(message: impl Into<String>) -> Self { Self::new(Kind::$kind, message) })*
        }
    };
}

constructors! {
    config => Config, connect => Connect, corrupt => Corrupt, row => Row, refused => Refused, stale => Stale,
    fenced => Fenced, unknown => Unknown, full => Full, interrupted => Interrupted, failed => Failed,
}
