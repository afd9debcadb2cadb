//! A server of our own that answers as ACC's with its in-memory store does, and fails as it is told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};
use serde_json::{Value, json};

/// What is done to one request instead of answering it.
#[derive(Clone, Debug)]
pub enum Fault {
    Status(u16),
    /// With `Retry-After: 1`.
    Busy,
    /// The first half of the body, under the length of the whole.
    Cut,
    /// The first half of the body, as if it were all.
    Half,
    Slow(Duration),
    /// Answers, and then a session has come and the oldest has gone.
    Changed,
}

#[derive(Debug, Default)]
pub struct State {
    /// Exports, in the order their sessions were made.
    pub exports: Vec<Value>,
    /// One for each request to come.
    pub faults: VecDeque<Fault>,
    /// All requests fail so.
    pub down: Option<u16>,
    /// Listed, and not exported.
    pub hidden: Option<String>,
    pub asked: Vec<String>,
}

pub struct ExportServer {
    pub url: String,
    state: Arc<Mutex<State>>,
    at_once: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    address: std::net::SocketAddr,
}

impl ExportServer {
    pub fn start() -> Self {
        Self::behind("http", Ok)
    }

    /// One that shows a certificate.
    pub fn secure(certificate: &Path, key: &Path) -> Self {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_certificate_chain_file(certificate).unwrap();
        acceptor.set_private_key_file(key, SslFiletype::PEM).unwrap();
        let acceptor = acceptor.build();
        Self::behind("https", move |stream| acceptor.accept(stream).map_err(std::io::Error::other))
    }

    fn behind<S: Read + Write>(
        scheme: &str,
        accept: impl Fn(TcpStream) -> std::io::Result<S> + Send + Sync + 'static,
    ) -> Self {
        let accept = Arc::new(accept);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self {
            url: format!("{scheme}://{address}"),
            state: Arc::default(),
            at_once: Arc::default(),
            most: Arc::default(),
            stop: Arc::default(),
            address,
        };
        let (state, at_once, most, stop) = (
            Arc::clone(&server.state),
            Arc::clone(&server.at_once),
            Arc::clone(&server.most),
            Arc::clone(&server.stop),
        );
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (state, at_once, most) = (Arc::clone(&state), Arc::clone(&at_once), Arc::clone(&most));
                let accept = Arc::clone(&accept);
                std::thread::spawn(move || {
                    let timed = stream.and_then(|stream| {
                        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                        accept(stream)
                    });
                    let _ = timed.map(|stream| serve(stream, &state, &at_once, &most));
                });
            }
        });
        server
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The most requests that were under way at one time.
    pub fn most_at_once(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for ExportServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// An export as the in-memory store gives it.
pub fn export(id: &str, number: usize, messages: usize) -> Value {
    let minute = format!("2026-11-{:02}T{:02}:{:02}", 1 + number / 1440, number / 60 % 24, number % 60);
    let message = |place: usize| {
        json!({"id": format!("{id}-m{place}"), "sessionId": id, "agentType": "manager", "messageType": "coordination_event",
            "content": format!("step {place}"), "timestamp": format!("{minute}:{:02}.000Z", place % 60),
            "metadata": {"cost": 0.01 * place as f64, "exitCode": 0, "nested": {"a": [1, 2.5, null, "x"]}}})
    };
    let messages: Vec<Value> = (1..=messages).map(message).collect();
    json!({
        "session": {"id": id, "startTime": format!("{minute}:00.000Z"), "status": "running", "initialTask": "a task", "workDir": "/w",
            "summary": {"totalMessages": messages.len(), "managerMessages": messages.len(), "workerMessages": 0,
                "totalDuration": 0, "filesModified": [], "commandsExecuted": ["ls"], "toolsUsed": [], "successRate": 1},
            "messages": messages},
        "communications": [],
        "events": [{"id": format!("{id}-e"), "sessionId": id, "eventType": "session_start", "details": "began", "timestamp": format!("{minute}:00.000Z")}],
        "metrics": [{"sessionId": id, "agentType": "worker", "responseTime": 99.5, "errorRate": 0, "timestamp": "2026-11-01T00:00:00.000Z"}],
    })
}

fn serve(
    stream: impl Read + Write,
    state: &Mutex<State>,
    at_once: &AtomicUsize,
    most: &AtomicUsize,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut header = String::new();
        while reader.read_line(&mut header)? > 2 {
            header.clear();
        }
        most.fetch_max(at_once.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let answered = answer(&path, state);
        if let Some(Fault::Slow(long)) = &answered.2 {
            std::thread::sleep(*long);
        }
        at_once.fetch_sub(1, Ordering::Relaxed);
        let (status, body, fault) = answered;
        let more = if matches!(fault, Some(Fault::Busy)) { "retry-after: 1\r\n" } else { "" };
        let (length, sent) = match fault {
            Some(Fault::Cut) => (body.len(), body.len() / 2),
            Some(Fault::Half) => (body.len() / 2, body.len() / 2),
            _ => (body.len(), body.len()),
        };
        let stream = reader.get_mut();
        write!(
            stream,
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n"
        )?;
        stream.write_all(&body.as_bytes()[..sent])?;
        stream.flush()?;
        if sent < length {
            return Ok(());
        }
    }
}

fn answer(path: &str, state: &Mutex<State>) -> (u16, String, Option<Fault>) {
    let mut state = state.lock().unwrap();
    state.asked.push(path.to_owned());
    if let Some(status) = state.down {
        return (status, json!({"error": "down"}).to_string(), None);
    }
    let fault = state.faults.pop_front();
    match fault {
        Some(Fault::Status(status)) => return (status, json!({"error": "asked for"}).to_string(), fault),
        Some(Fault::Busy) => return (429, json!({"error": "busy"}).to_string(), fault),
        _ => {}
    }
    let (route, query) = path.split_once('?').unwrap_or((path, ""));
    let (status, body) = match route.strip_prefix("/api/sessions") {
        Some("") => (200, list(&state.exports, query)),
        Some(rest) => {
            let id = rest.trim_start_matches('/').strip_suffix("/export").map(decoded);
            let hidden = state.hidden.clone();
            let named = |export: &&Value| export["session"]["id"].as_str() == id.as_deref();
            let found = state.exports.iter().find(named).filter(|_| hidden.is_none() || hidden != id);
            found.map_or((404, json!({"error": "Session not found"})), |export| (200, export.clone()))
        }
        None => (404, json!("no such route")),
    };
    if matches!(fault, Some(Fault::Changed)) {
        let number = state.asked.len();
        state.exports.push(export(&format!("came-{number}"), 2000 + number, 1));
        state.exports.remove(0);
    }
    (status, body.to_string(), fault)
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, more @ ..] = rest {
        let escaped =
            (*first == b'%').then(|| u8::from_str_radix(std::str::from_utf8(&more[..2]).unwrap(), 16).unwrap());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &more[2..] } else { more };
    }
    String::from_utf8(bytes).unwrap()
}

/// Sorted and paged as the server does it: newest first unless asked otherwise, 50 a page, an empty page behind the last.
fn list(exports: &[Value], query: &str) -> Value {
    let parameter = |name: &str| query.split('&').find_map(|part| part.strip_prefix(&format!("{name}=")));
    let (page, limit) = (
        parameter("page").map_or(1, |text| text.parse().unwrap()),
        parameter("limit").map_or(50, |text| text.parse().unwrap()),
    );
    let mut sessions: Vec<&Value> = exports.iter().map(|export| &export["session"]).collect();
    sessions.sort_by_key(|session| session["startTime"].as_str().unwrap());
    if parameter("sortOrder") != Some("asc") {
        sessions.reverse();
    }
    let total = sessions.len();
    let page: Vec<&Value> = sessions.into_iter().skip((page - 1) * limit).take(limit).collect();
    json!({"sessions": page, "total": total, "page": 1, "limit": limit})
}
