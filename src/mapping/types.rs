//! What the declared types of columns mean, by the store whose names they are.

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};

/// Whose type names a mapping's columns are declared by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Types {
    /// A type is a hint: a column may hold any value.
    #[default]
    Sqlite,
    /// A type decides the storage class of every value.
    Postgres,
}

impl Types {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub fn name(self) -> &'static str {
        match self {
            Types::Sqlite => "SQLite",
            Types::Postgres => "PostgreSQL",
        }
    }

    /// Refuses a mapping whose types are another kind of store's.
    pub fn require(self, wanted: Self) -> Result<()> {
        if self == wanted {
            return Ok(());
        }
        let message =
            format!("the mapping's types are those of {}, the legacy store is {}", self.name(), wanted.name());
        Err(Error::refused(message).hint(
            "write 'types: postgres' and PostgreSQL's types into a mapping of PostgreSQL tables: crossfade init does",
        ))
    }
}

/// The storage class of every value of a PostgreSQL column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    Integer,
    Real,
    Text,
    Blob,
}

/// A type of PostgreSQL as declared: one of its own that needs nothing but the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The type's name without size and brackets, as `format_type` writes it.
    pub base: &'static str,
    pub carried: Carried,
    pub array: bool,
}

/// Names and aliases of the types every PostgreSQL has.
const NAMES: &[(&str, &[&str])] = &[
    ("smallint", &["int2"]),
    ("integer", &["int", "int4"]),
    ("bigint", &["int8"]),
    ("oid", &[]),
    ("boolean", &["bool"]),
    ("real", &["float4"]),
    ("double precision", &["float8"]),
    ("bytea", &[]),
    ("text", &[]),
    ("character varying", &["varchar"]),
    ("character", &["char", "bpchar"]),
    ("\"char\"", &[]),
    ("name", &[]),
    ("json", &[]),
    ("jsonb", &[]),
    ("xml", &[]),
    ("numeric", &["decimal"]),
    ("date", &[]),
    ("time without time zone", &["time"]),
    ("time with time zone", &["timetz"]),
    ("timestamp without time zone", &["timestamp"]),
    ("timestamp with time zone", &["timestamptz"]),
    ("interval", &[]),
    ("uuid", &[]),
    ("inet", &[]),
    ("cidr", &[]),
    ("macaddr", &[]),
    ("macaddr8", &[]),
    ("bit", &[]),
    ("bit varying", &["varbit"]),
    ("point", &[]),
    ("line", &[]),
    ("lseg", &[]),
    ("box", &[]),
    ("path", &[]),
    ("polygon", &[]),
    ("circle", &[]),
    ("tsvector", &[]),
    ("tsquery", &[]),
    ("jsonpath", &[]),
    ("pg_lsn", &[]),
    ("int4range", &[]),
    ("int8range", &[]),
    ("numrange", &[]),
    ("tsrange", &[]),
    ("tstzrange", &[]),
    ("daterange", &[]),
    ("int4multirange", &[]),
    ("int8multirange", &[]),
    ("nummultirange", &[]),
    ("tsmultirange", &[]),
    ("tstzmultirange", &[]),
    ("datemultirange", &[]),
];

impl Declared {
    /// Reads a type; `None` for one that is not PostgreSQL's own, or is more than a type.
    pub fn parse(declared: &str) -> Option<Self> {
        let mut name = declared.trim().to_ascii_lowercase();
        let mut array = false;
        while let Some(element) = name.strip_suffix("[]") {
            name = element.trim_end().to_owned();
            array = true;
        }
        if let Some((before, rest)) = name.split_once('(') {
            let (size, after) = rest.split_once(')')?;
            let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let parts: Vec<&str> = size.split(',').map(|part| part.trim().trim_start_matches('-')).collect();
            if parts.len() > 2 || !parts.iter().all(|part| digits(part)) {
                return None;
            }
            name = format!("{before} {after}");
        }
        let name = name.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let (base, _) = NAMES.iter().find(|(base, aliases)| *base == name || aliases.contains(&name.as_str()))?;
        Some(Self { base, carried: if array { Carried::Text } else { carried(base) }, array })
    }
}

/// The storage class of a type of PostgreSQL, its own or not: what it does not know is text.
fn carried(base: &str) -> Carried {
    match base {
        "smallint" | "integer" | "bigint" | "oid" | "boolean" => Carried::Integer,
        "real" | "double precision" => Carried::Real,
        "bytea" => Carried::Blob,
        _ => Carried::Text,
    }
}

impl Carried {
    pub fn of(declared: &str) -> Self {
        Declared::parse(declared).map_or(Carried::Text, |declared| declared.carried)
    }

    pub fn name(self) -> &'static str {
        match self {
            Carried::Integer => "integer",
            Carried::Real => "real",
            Carried::Text => "text",
            Carried::Blob => "blob",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_with_size_array_and_alias_and_nothing_hides_in_them() {
        for (declared, base, carried, array) in [
            ("integer", "integer", Carried::Integer, false),
            ("INT", "integer", Carried::Integer, false),
            ("DECIMAL(10,4)", "numeric", Carried::Text, false),
            ("numeric(3,-2)", "numeric", Carried::Text, false),
            ("timestamp(3) with time zone", "timestamp with time zone", Carried::Text, false),
            ("TIMESTAMPTZ", "timestamp with time zone", Carried::Text, false),
            ("double precision", "double precision", Carried::Real, false),
            ("integer[]", "integer", Carried::Text, true),
            ("character varying(20)[]", "character varying", Carried::Text, true),
            ("bytea", "bytea", Carried::Blob, false),
        ] {
            assert_eq!(Declared::parse(declared), Some(Declared { base, carried, array }), "{declared}");
        }
        for other in ["mood", "public.mood[]", "text NOT NULL", "text(1) CHECK (false)", "integer); --", "", "money"] {
            assert_eq!(Declared::parse(other), None, "{other}");
            assert_eq!(Carried::of(other), Carried::Text);
        }
    }
}
