//! Strict reading of files a person wrote: every refusal has file, line and column, and the nearest valid word.

use serde::de::DeserializeOwned;
pub use serde_saphyr::Spanned;

use super::{Error, Result};

/// Reads one YAML document. Unknown fields, doubled keys and wrong types are refused.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T> {
    serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location().map(|at| (at.line(), at.column()));
        let full = error.without_snippet().to_string();
        let message = full.split(" at line ").next().unwrap_or(&full);
        let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or(message);
        let refusal = refuse(file, place, &in_words(message));
        match nearest_of_message(message) {
            Some(word) => refusal.hint(format!("did you mean '{word}'?")),
            None => refusal,
        }
    })
}

/// A refusal of the value at `at`.
pub fn refuse_at<T>(file: &str, at: &Spanned<T>, message: impl AsRef<str>) -> Error {
    refuse(file, Some((at.referenced.line(), at.referenced.column())), message.as_ref())
}

fn refuse(file: &str, place: Option<(u64, u64)>, message: &str) -> Error {
    match place {
        Some((line, column)) => Error::config(format!("{file}:{line}:{column}: {message}")),
        None => Error::config(format!("{file}: {message}")),
    }
}

/// The parser's names of types, as the person who wrote the file would say them.
fn in_words(message: &str) -> String {
    match message {
        "invalid u64" | "invalid u32" => "a whole number from 0 on is expected".to_owned(),
        "invalid i64" | "invalid i32" => "a whole number is expected".to_owned(),
        "invalid f64" => "a number is expected".to_owned(),
        "invalid bool" => "true or false is expected".to_owned(),
        _ => message
            .replace("expected sequence start", "a list is expected")
            .replace("expected mapping start", "keys with values are expected")
            .replace("expected string scalar", "a text is expected"),
    }
}

/// The valid word nearest to `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    valid
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Finds the nearest word in serde's "unknown field `x`, expected one of a, b".
fn nearest_of_message(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once('`')?;
    let (word, rest) = rest.split_once('`')?;
    let (_, valid) = rest.split_once("expected ")?;
    let valid = valid.strip_prefix("one of ").unwrap_or(valid);
    nearest(word, valid.split(", ").map(|name| name.trim_matches('`')))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only parsed")]
        version: u32,
        #[expect(dead_code, reason = "only parsed")]
        #[serde(default)]
        tables: std::collections::BTreeMap<String, u32>,
    }

    #[test]
    fn refusals_name_line_column_and_nearest_word() {
        let cases = [
            ("version: 1\ntabels: {}\n", "f.yaml:2:1: unknown field `tabels`", Some("did you mean 'tables'?")),
            ("version: x\n", "f.yaml:1:10: a whole number from 0 on is expected", None),
            ("version: 1\ntables: []\n", "f.yaml:2:9: keys with values are expected", None),
            ("version: 1\ntables:\n  a: 1\n  a: 2\n", "f.yaml:4:3: duplicate mapping key: a", None),
            ("", "f.yaml:1:1: ", None),
        ];
        for (text, message, hint) in cases {
            let error = parse::<Sample>("f.yaml", text).unwrap_err();
            assert!(error.message().starts_with(message), "{error}");
            assert_eq!(error.help(), hint);
        }
    }
}
