//! Names a topic may have, and names that get in each other's way.

use std::collections::{BTreeMap, BTreeSet};

/// Why Kafka would not take a topic's name, if so.
pub fn illegal(name: &str) -> Option<String> {
    const LONGEST: usize = 249;
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() {
        Some("a topic's name may not be empty".to_owned())
    } else if name == "." || name == ".." {
        Some(format!("'{name}' is no topic's name"))
    } else if name.len() > LONGEST {
        Some(format!("a topic's name has at most {LONGEST} characters, this one {}", name.chars().count()))
    } else if let Some(found) = name.chars().find(|c| !legal(*c)) {
        Some(format!("a topic's name is made of letters, digits, '.', '_' and '-'; '{name}' has {found:?}"))
    } else if name.starts_with("__") {
        Some(format!("names that begin with two underscores, as '{name}', are the brokers' own"))
    } else {
        None
    }
}

/// Kafka's metrics write '.' as '_', so it refuses a topic whose name differs from another's by these only.
fn folded(name: &str) -> String {
    name.replace('.', "_")
}

/// Names by their folded form, to ask which of them a name would collide with.
#[derive(Debug, Default)]
pub(super) struct Collisions(BTreeMap<String, BTreeSet<String>>);

impl Collisions {
    pub(super) fn among<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut found = Self::default();
        for name in names {
            found.0.entry(folded(name)).or_default().insert(name.to_owned());
        }
        found
    }

    pub(super) fn with(&self, name: &str) -> Option<&str> {
        self.0.get(&folded(name))?.iter().map(String::as_str).find(|other| *other != name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn illegal_names_are_told_by_what_is_wrong() {
        for (name, told) in [
            ("", "empty"),
            (".", "no topic's name"),
            ("..", "no topic's name"),
            ("a b", "' '"),
            ("sitzung.größe", "'ö'"),
            ("a/b", "'/'"),
            ("__consumer_offsets", "brokers' own"),
        ] {
            let found = illegal(name).unwrap();
            assert!(found.contains(told), "{name}: {found}");
        }
        assert!(illegal(&"x".repeat(250)).unwrap().contains("250"));
        assert_eq!(illegal(&"x".repeat(249)), None);
        assert_eq!(illegal("session.events"), None);
    }

    #[test]
    fn a_point_and_an_underscore_collide() {
        let names = Collisions::among(["a.b", "a_c", "x"]);
        assert_eq!(names.with("a_b"), Some("a.b"));
        assert_eq!(names.with("a.b"), None);
        assert_eq!(names.with("a.c"), Some("a_c"));
        assert_eq!(names.with("y"), None);
    }
}
