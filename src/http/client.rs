//! Asking politely: one question at a time, and slower where the server asks for it.

use std::time::{Duration, Instant};

use serde_json::Value as Json;
use ureq::tls::RootCerts;
use ureq::{Agent, Body, Error as Fault, http};

use super::agent::agent;
use crate::base::{Error, Result};
use crate::document::parse;

/// Of one answer: a server short of connections takes half a minute to say so.
const PATIENCE: Duration = Duration::from_secs(40);
/// The whole list with all messages may come in one answer.
const LARGEST: u64 = 512 << 20;
/// How often a question is asked, and the pause before the second time, doubled before each further one.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// No server is waited for longer at its word.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Client {
    agent: Agent,
    pub(super) url: String,
}

/// Why one attempt gave no document.
struct Failed {
    again: bool,
    wait: Option<Duration>,
    why: String,
}

impl Client {
    pub(super) fn new(url: &str) -> Self {
        Self { agent: agent(RootCerts::PlatformVerifier, PATIENCE), url: url.trim_end_matches('/').to_owned() }
    }

    /// The document at a path, `None` where there is none. Too many requests, a server's own failure and a broken answer
    /// are asked about again; after the last attempt it is an error, and never taken for an absent document.
    pub(super) fn get(&self, path: &str) -> Result<Option<Json>> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let failed = match self.once(path) {
                Ok(document) => return Ok(document),
                Err(failed) => failed,
            };
            if !failed.again || attempt == ATTEMPTS {
                let message = format!("{}{path} {}", self.url, failed.why);
                return Err(Error::connect(message).hint(
                    "nothing was taken from the server: what it does not answer for would count as deleted. A server with a \
                     PostgreSQL store fails so once it has messages: read its database",
                ));
            }
            let wait = failed.wait.unwrap_or(pause).min(LONGEST_PAUSE);
            let began = Instant::now();
            while began.elapsed() < wait {
                std::thread::sleep(Duration::from_millis(50).min(wait));
            }
            pause *= 2;
        }
        Ok(None)
    }

    fn once(&self, path: &str) -> std::result::Result<Option<Json>, Failed> {
        let failed = |again: bool, why: String| Failed { again, wait: None, why };
        let request = http::Request::builder()
            .method("GET")
            .uri(format!("{}{path}", self.url))
            .header("accept", "application/json");
        let request = request.body(()).map_err(|error| failed(false, format!("is no address: {error}")))?;
        let mut answer: http::Response<Body> = self.agent.run(request).map_err(|error| match error {
            Fault::Tls(_) | Fault::NativeTls(_) => failed(false, format!("is not who it should be: {error}")),
            _ => failed(true, format!("does not answer: {error}")),
        })?;
        let status = answer.status().as_u16();
        match status {
            200 => {}
            404 => return Ok(None),
            429 | 500..=599 => {
                let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
                return Err(Failed {
                    again: true,
                    wait: header.map(Duration::from_secs),
                    why: format!("answers {status}"),
                });
            }
            _ => return Err(failed(false, format!("answers {status}"))),
        }
        let bytes = answer.body_mut().with_config().limit(LARGEST).read_to_vec();
        let bytes = bytes.map_err(|error| failed(true, format!("breaks off: {error}")))?;
        // Where, and not what: the text may be secret.
        parse(&bytes)
            .map(Some)
            .map_err(|error| failed(true, format!("answers no whole JSON (column {})", error.column())))
    }
}
