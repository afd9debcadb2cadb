//! A registry over HTTP. Made with Confluent's, and Apicurio's of the same interface, in mind.

use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};
use ureq::{Agent, Error as Fault, http};

use super::answer::{self, Answer, NO_LEVEL, NO_SCHEMA, NO_SUBJECT, NO_VERSION};
use super::{RegistrySettings, encoded};
use crate::base::{Error, Result};
use crate::http::agent;
use crate::plan::{Judgement, Level};
use crate::port::registry::{Registered, Registry};

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Of a whole call.
const PATIENCE: Duration = Duration::from_secs(9);

pub struct HttpRegistry {
    agent: Agent,
    url: String,
    name: String,
    authorization: Option<String>,
    /// Whether a level of NONE means that the subject has none of its own, as with Apicurio.
    none_is_unset: OnceLock<bool>,
}

impl HttpRegistry {
    /// Reads the CA file; nothing is asked yet.
    pub fn new(settings: &RegistrySettings) -> Result<Self> {
        let roots = match &settings.ca_file {
            None => RootCerts::PlatformVerifier,
            Some(file) => {
                let failed = || Error::config(format!("{} holds no certificate", file.display()));
                let text = std::fs::read(file)
                    .map_err(|error| Error::config(format!("{} cannot be read", file.display())).because(error))?;
                let found: std::result::Result<Vec<PemItem<'_>>, _> = parse_pem(&text).collect();
                let certificates = found.map_err(|error| failed().because(error))?.into_iter();
                let certificates: Vec<Certificate<'static>> = certificates
                    .filter_map(|item| match item {
                        PemItem::Certificate(certificate) => Some(certificate),
                        _ => None,
                    })
                    .collect();
                if certificates.is_empty() {
                    return Err(failed().hint("a CA file is PEM, with one or more certificates"));
                }
                RootCerts::new_with_certs(&certificates)
            }
        };
        let url = settings.url.trim_end_matches('/').to_owned();
        let authorization = settings.username.as_ref().map(|username| {
            let password = settings.password.as_ref().map_or("", |password| password.0.as_str());
            format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
        });
        let name = format!("the schema registry at {url}");
        Ok(Self { agent: agent(roots, PATIENCE), url, name, authorization, none_is_unset: OnceLock::new() })
    }

    fn call(&self, method: &str, path: &str, body: Option<&Json>) -> Result<Answer> {
        let mut request =
            http::Request::builder().method(method).uri(format!("{}{path}", self.url)).header("accept", MEDIA_TYPE);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let text = body.map(Json::to_string);
        let sent = match text {
            Some(text) => request
                .header("content-type", MEDIA_TYPE)
                .body(text)
                .map_err(Fault::from)
                .and_then(|request| self.agent.run(request)),
            None => request.body(()).map_err(Fault::from).and_then(|request| self.agent.run(request)),
        };
        let read = sent.and_then(|mut answer| Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?)));
        match read {
            Ok((status, text)) => Ok(Answer { status, body: serde_json::from_str(&text).ok() }),
            Err(fault) => Err(self.fault(&fault)),
        }
    }

    fn fault(&self, fault: &Fault) -> Error {
        let hint = "check `registry.url`, and whether the registry runs";
        let (what, hint) = match fault {
            Fault::Tls(_) | Fault::NativeTls(_) | Fault::Der(_) | Fault::Pem(_) => (
                "and this client cannot agree on an encrypted connection",
                "check that the URL's https is meant, and `registry.ca_file`",
            ),
            Fault::BadUri(_) | Fault::Http(_) => ("cannot be asked", hint),
            Fault::Protocol(_) => ("does not speak HTTP", hint),
            _ => ("does not answer", hint),
        };
        // An address may not be told by its cause; the credentials are in none of them.
        Error::connect(format!("{} {what}", self.name)).because(fault.to_string()).hint(hint)
    }

    fn get(&self, path: &str, missing: &[i64]) -> Result<Option<Json>> {
        self.call("GET", path, None)?.found(&self.name, missing)
    }

    fn one(&self, path: &str) -> Result<Option<Registered>> {
        let found = self.get(path, &[NO_SUBJECT, NO_VERSION])?;
        found.map(|body| answer::registered(&self.name, &body)).transpose()
    }

    /// Apicurio answers NONE for a subject without a level, and has no modes.
    fn none_is_unset(&self) -> Result<bool> {
        if let Some(known) = self.none_is_unset.get() {
            return Ok(*known);
        }
        let unset = self.call("GET", "/mode", None)?.status == 404;
        Ok(*self.none_is_unset.get_or_init(|| unset))
    }
}

fn content(schema: &Json) -> Json {
    json!({"schemaType": "JSON", "schema": schema.to_string()})
}

impl Registry for HttpRegistry {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn subjects(&self) -> Result<Vec<String>> {
        let body = self.call("GET", "/subjects", None)?.good(&self.name)?;
        answer::subjects(&self.name, &body)
    }

    fn versions(&self, subject: &str) -> Result<Vec<i32>> {
        match self.get(&format!("/subjects/{}/versions", encoded(subject)), &[NO_SUBJECT])? {
            Some(body) => answer::versions(&self.name, &body),
            None => Ok(Vec::new()),
        }
    }

    fn version(&self, subject: &str, version: i32) -> Result<Option<Registered>> {
        self.one(&format!("/subjects/{}/versions/{version}", encoded(subject)))
    }

    fn latest(&self, subject: &str) -> Result<Option<Registered>> {
        self.one(&format!("/subjects/{}/versions/latest", encoded(subject)))
    }

    fn look_up(&self, subject: &str, schema: &Json) -> Result<Option<Registered>> {
        let answer = self.call("POST", &format!("/subjects/{}", encoded(subject)), Some(&content(schema)))?;
        let found = answer.found(&self.name, &[NO_SUBJECT, NO_SCHEMA])?;
        found.map(|body| answer::registered(&self.name, &body)).transpose()
    }

    fn default_level(&self) -> Result<Level> {
        let body = self.call("GET", "/config", None)?.good(&self.name)?;
        answer::level(&self.name, &body)
    }

    fn level(&self, subject: &str) -> Result<Option<Level>> {
        let Some(body) = self.get(&format!("/config/{}", encoded(subject)), &[NO_SUBJECT, NO_LEVEL])? else {
            return Ok(None);
        };
        let level = answer::level(&self.name, &body)?;
        Ok(if level == Level::None && self.none_is_unset()? { None } else { Some(level) })
    }

    fn check(&self, subject: &str, schema: &Json) -> Result<Judgement> {
        let ask = |versions: &str| {
            let path = format!("/compatibility/subjects/{}/{versions}?verbose=true", encoded(subject));
            self.call("POST", &path, Some(&content(schema)))
        };
        let missing = [NO_SUBJECT, NO_VERSION];
        let mut answer = ask("versions")?;
        // Registries of an older interface judge against one version only.
        if matches!(answer.status, 404 | 405) && !answer.code().is_some_and(|code| missing.contains(&code)) {
            answer = ask("versions/latest")?;
        }
        match answer.found(&self.name, &missing)? {
            Some(body) => answer::judgement(&self.name, &body),
            None => Ok(Judgement::Compatible),
        }
    }

    fn register(&self, subject: &str, schema: &Json) -> Result<()> {
        let answer = self.call("POST", &format!("/subjects/{}/versions", encoded(subject)), Some(&content(schema)))?;
        answer.good(&self.name).map(drop)
    }

    fn set_level(&self, subject: &str, level: Level) -> Result<()> {
        let body = json!({"compatibility": level.word()});
        let answer = self.call("PUT", &format!("/config/{}", encoded(subject)), Some(&body))?;
        answer.good(&self.name).map(drop)
    }
}
