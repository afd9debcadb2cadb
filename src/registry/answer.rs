//! What registries answer. Confluent's and Apicurio's differ here and there; both are read.

use serde_json::Value as Json;

use crate::base::{Error, Result};
use crate::plan::{Judgement, Level};
use crate::port::registry::Registered;

/// A status and what came with it.
pub(super) struct Answer {
    pub(super) status: u16,
    /// `None` where it is no JSON.
    pub(super) body: Option<Json>,
}

/// A thing of the registry that is not there.
pub(super) const NO_SUBJECT: i64 = 40401;
pub(super) const NO_VERSION: i64 = 40402;
pub(super) const NO_SCHEMA: i64 = 40403;
pub(super) const NO_LEVEL: i64 = 40408;

impl Answer {
    /// The registry's own code of a refusal.
    pub(super) fn code(&self) -> Option<i64> {
        self.body.as_ref()?.get("error_code")?.as_i64()
    }

    pub(super) fn message(&self) -> Option<&str> {
        self.body.as_ref()?.get("message")?.as_str()
    }

    /// The content of a good answer; `None` where the thing asked for is not there, which one of `codes` tells.
    pub(super) fn found(self, registry: &str, codes: &[i64]) -> Result<Option<Json>> {
        if self.status == 404 && self.code().is_some_and(|code| codes.contains(&code)) {
            return Ok(None);
        }
        self.good(registry).map(Some)
    }

    /// The content of a good answer, or why it is none.
    pub(super) fn good(self, registry: &str) -> Result<Json> {
        let told = self.message().map(short);
        let code = self.code().unwrap_or(0);
        let because = |error: Error| match &told {
            Some(told) => error.because(told.clone()),
            None => error,
        };
        match (self.status, self.body) {
            (200..=299, Some(body)) => Ok(body),
            (401, _) => Err(Error::connect(format!("{registry} refused the log-in"))
                .hint("check `registry.username` and the password (`registry.password_file`)")),
            (403, _) => Err(because(Error::refused(format!("{registry} does not allow this user to do it")))),
            (409, Some(_)) => Err(because(Error::refused(format!("{registry} says the schema is not compatible")))),
            (422, Some(_)) => Err(because(Error::refused(format!("{registry} does not take what was sent")))),
            (404 | 405, Some(_)) if code >= 1_000 => {
                Err(because(Error::failed(format!("{registry} does not have what was asked for"))))
            }
            (status @ 500..=599, _) => Err(because(Error::connect(format!("{registry} failed with status {status}")))),
            (status @ 429, _) => Err(because(Error::connect(format!("{registry} is too busy (status {status})")))),
            (status, _) => Err(Error::config(format!("{registry} does not answer as a schema registry (status {status})"))
                .hint("`registry.url` goes up to where /subjects begins: http://HOST:8081, or http://HOST:8080/apis/ccompat/v7 of Apicurio")),
        }
    }
}

/// The first of a long text, on one line.
fn short(text: &str) -> String {
    const MOST: usize = 600;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // Apicurio names the class of its exception first.
    let line = line.rsplit_once("Exception: ").map_or(line.as_str(), |(_, told)| told);
    let mut short: String = line.chars().take(MOST).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

fn odd(registry: &str, what: &str) -> Error {
    Error::corrupt(format!("{registry} gave an answer without {what}"))
}

pub(super) fn registered(registry: &str, body: &Json) -> Result<Registered> {
    let id = body.get("id").and_then(Json::as_i64).ok_or_else(|| odd(registry, "an id"))?;
    let version = body.get("version").and_then(Json::as_i64).and_then(|version| i32::try_from(version).ok());
    let version = version.ok_or_else(|| odd(registry, "a version"))?;
    let text = body.get("schema").and_then(Json::as_str).ok_or_else(|| odd(registry, "a schema"))?;
    // A schema of another kind than JSON stays what it is: a text.
    let schema = serde_json::from_str(text).unwrap_or_else(|_| Json::from(text));
    Ok(Registered { id, version, schema })
}

pub(super) fn subjects(registry: &str, body: &Json) -> Result<Vec<String>> {
    let names = body.as_array().ok_or_else(|| odd(registry, "a list of subjects"))?;
    let mut names: Vec<String> = names.iter().filter_map(Json::as_str).map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

pub(super) fn versions(registry: &str, body: &Json) -> Result<Vec<i32>> {
    let numbers = body.as_array().ok_or_else(|| odd(registry, "a list of versions"))?;
    let mut numbers: Vec<i32> = numbers.iter().filter_map(|number| i32::try_from(number.as_i64()?).ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

pub(super) fn level(registry: &str, body: &Json) -> Result<Level> {
    let word = body.get("compatibilityLevel").or_else(|| body.get("compatibility")).and_then(Json::as_str);
    word.and_then(Level::parse).ok_or_else(|| odd(registry, "a compatibility level"))
}

/// Confluent's answer has a list `messages`, Apicurio's a text `reason`.
pub(super) fn judgement(registry: &str, body: &Json) -> Result<Judgement> {
    let compatible = body.get("is_compatible").and_then(Json::as_bool);
    if compatible.ok_or_else(|| odd(registry, "a verdict on compatibility"))? {
        return Ok(Judgement::Compatible);
    }
    let messages = body.get("messages").and_then(Json::as_array).into_iter().flatten();
    let mut reasons: Vec<String> = messages.filter_map(Json::as_str).map(short).collect();
    reasons.extend(body.get("reason").and_then(Json::as_str).map(short));
    if reasons.is_empty() {
        reasons.push(format!("{registry} gives no reason"));
    }
    Ok(Judgement::Incompatible(reasons))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::Kind;

    #[test]
    fn both_ways_to_say_incompatible_are_read() {
        let of = |body: Json| judgement("r", &body).unwrap();
        assert_eq!(of(json!({"is_compatible": true, "messages": []})), Judgement::Compatible);
        let confluent = json!({"is_compatible": false, "messages": ["{errorType:\"X\"}", "{oldSchema: …}"]});
        assert_eq!(of(confluent), Judgement::Incompatible(vec!["{errorType:\"X\"}".into(), "{oldSchema: …}".into()]));
        let apicurio = json!({"is_compatible": false, "reason": "Incompatible artifact: s"});
        assert_eq!(of(apicurio), Judgement::Incompatible(vec!["Incompatible artifact: s".into()]));
        assert_eq!(of(json!({"is_compatible": false})), Judgement::Incompatible(vec!["r gives no reason".into()]));
        assert_eq!(judgement("r", &json!({})).unwrap_err().kind(), Kind::Corrupt);
    }

    #[test]
    fn a_schema_without_its_kind_is_read() {
        let body = json!({"id": 3, "version": 2, "subject": "s", "schema": "{\"type\":\"null\"}", "references": []});
        let registered = registered("r", &body).unwrap();
        assert_eq!((registered.id, registered.version, registered.schema), (3, 2, json!({"type": "null"})));
    }

    #[test]
    fn both_names_of_the_level_are_read() {
        assert_eq!(level("r", &json!({"compatibilityLevel": "FULL"})).unwrap(), Level::Full);
        assert_eq!(level("r", &json!({"compatibility": "NONE"})).unwrap(), Level::None);
        assert!(level("r", &json!({"compatibility": "SOME"})).is_err());
    }

    #[test]
    fn each_refusal_is_told_apart() {
        let coded = |code: i64| Some(json!({"error_code": code, "message": "told"}));
        let cases = [
            (401, coded(40101), Kind::Connect, "refused the log-in"),
            (401, None, Kind::Connect, "refused the log-in"),
            (403, None, Kind::Refused, "does not allow"),
            (404, coded(40402), Kind::Failed, "does not have"),
            (404, coded(404), Kind::Config, "as a schema registry (status 404)"),
            (404, None, Kind::Config, "as a schema registry"),
            (200, None, Kind::Config, "as a schema registry (status 200)"),
            (302, None, Kind::Config, "as a schema registry"),
            (409, coded(409), Kind::Refused, "not compatible"),
            (422, coded(42201), Kind::Refused, "does not take"),
            (503, None, Kind::Connect, "failed with status 503"),
        ];
        for (status, body, kind, says) in cases {
            let error = Answer { status, body }.good("r").unwrap_err();
            assert_eq!(error.kind(), kind, "{status} {error}");
            assert!(error.message().contains(says), "{status} {error}");
        }
        let missing = |code| Answer { status: 404, body: coded(code) }.found("r", &[NO_SUBJECT]);
        assert!(missing(40401).unwrap().is_none());
        assert!(missing(40403).is_err());
    }

    #[test]
    fn a_long_message_becomes_one_short_line() {
        let told = short("io.x.RuleViolationException: first\n  second");
        assert_eq!(told, "first second");
        assert_eq!(short(&"x".repeat(5_000)).chars().count(), 601);
    }
}
