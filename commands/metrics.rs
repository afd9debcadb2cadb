//! Figures of a run that goes on, served to Prometheus as text.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crossfade::base::{Error, Millis, Result};
use crossfade::port::change_source::Lag;
use crossfade::port::progress::Progress;

use crate::ui::Reporter;

/// A scrape that takes longer is let go.
const SCRAPE: Duration = Duration::from_secs(5);
/// Bytes of a request that are read at most.
const REQUEST: u64 = 16 * 1024;

#[derive(Debug, Default)]
struct Figures {
    events: AtomicU64,
    commits: AtomicU64,
    reconnects: AtomicU64,
    lag: AtomicU64,
    lag_bytes: AtomicU64,
    /// Follow: the age of the oldest change that is left. Project: the capture time of the newest event folded.
    lag_ms: AtomicI64,
}

/// One kind of run: its name in the figures' names, and what it lags by.
#[derive(Clone, Copy)]
struct Run {
    name: &'static str,
    unit: &'static str,
    events: &'static str,
    behind: &'static str,
    seconds: &'static str,
}

const FOLLOW: Run = Run {
    name: "follow",
    unit: "changes",
    events: "Changes of the legacy made into events.",
    behind: "Changes of the legacy that the log does not have yet.",
    seconds: "Age of the oldest change that the log does not have yet.",
};

const PROJECT: Run = Run {
    name: "project",
    unit: "events",
    events: "Events folded, repeats among them.",
    behind: "Offsets between where the fold stands and the log's end, in the partitions it reads.",
    seconds: "Time since the newest event folded was captured, while any is left; else 0.",
};

impl Figures {
    fn text(&self, run: Run, now: Millis) -> String {
        let get = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let (lag, bytes, ms) = (get(&self.lag), get(&self.lag_bytes), self.lag_ms.load(Ordering::Relaxed));
        let ms = match (lag + bytes, run.name) {
            (0, _) => 0,
            (_, "project") if ms > 0 => (now - ms).max(0),
            _ => ms,
        };
        let Run { name, unit, .. } = run;
        let mut text = String::new();
        let mut add = |figure: String, kind: &str, help: &str, value: String| {
            text.push_str(&format!("# HELP {figure} {help}\n# TYPE {figure} {kind}\n{figure}{value}\n"));
        };
        let version = format!("{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
        add("crossfade_build_info".to_owned(), "gauge", "The version at work.", version);
        for (figure, help, value) in [
            ("events", run.events, get(&self.events)),
            ("commits", "Transactions committed.", get(&self.commits)),
            ("reconnects", "Attempts after a log or a store went away.", get(&self.reconnects)),
        ] {
            add(format!("crossfade_{name}_{figure}_total"), "counter", help, format!(" {value}"));
        }
        add(format!("crossfade_{name}_lag_{unit}"), "gauge", run.behind, format!(" {lag}"));
        if name == FOLLOW.name {
            let help = "Bytes of the legacy's own log that are left, where it counts those.";
            add("crossfade_follow_lag_bytes".to_owned(), "gauge", help, format!(" {bytes}"));
        }
        let seconds = format!(" {}.{:03}", ms / 1000, ms % 1000);
        add(format!("crossfade_{name}_lag_seconds"), "gauge", run.seconds, seconds);
        text
    }
}

/// A run whose figures are kept, and served where asked for.
pub(crate) struct Metered {
    inner: Reporter,
    figures: Arc<Figures>,
}

impl Metered {
    /// Listens before anything is begun, so that an address in use stops nothing half way.
    pub(crate) fn new(inner: Reporter, name: &str, address: Option<SocketAddr>, now: fn() -> Millis) -> Result<Self> {
        let figures = Arc::new(Figures::default());
        if let Some(address) = address {
            let listener = TcpListener::bind(address).map_err(|error| {
                Error::refused(format!("figures cannot be served at {address}"))
                    .hint("name a free address under --metrics; nothing was done")
                    .because(error)
            })?;
            let run = if name == FOLLOW.name { FOLLOW } else { PROJECT };
            let shown = Arc::clone(&figures);
            // Ends with the process.
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let _ = answer(&stream, &shown.text(run, now()));
                }
            });
        }
        Ok(Self { inner, figures })
    }
}

fn answer(stream: &TcpStream, text: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(SCRAPE))?;
    stream.set_write_timeout(Some(SCRAPE))?;
    let mut request = BufReader::new(std::io::Read::take(stream, REQUEST));
    let mut line = String::new();
    request.read_line(&mut line)?;
    let mut rest = String::new();
    while request.read_line(&mut rest)? > 2 {
        rest.clear();
    }
    let path = line.split(' ').nth(1).unwrap_or_default();
    let (status, text) = match (line.starts_with("GET "), path) {
        (true, "/metrics" | "/") => ("200 OK", text),
        (true, _) => ("404 Not Found", "figures are at /metrics\n"),
        (false, _) => ("405 Method Not Allowed", "GET only\n"),
    };
    let mut stream = stream;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(format!("{head}{text}").as_bytes())
}

impl Progress for Metered {
    fn begin(&self, what: &str, expected: Option<u64>) {
        self.inner.begin(what, expected);
    }

    fn advance(&self, rows: u64) {
        self.figures.events.fetch_add(rows, Ordering::Relaxed);
        self.inner.advance(rows);
    }

    fn throttled(&self, reason: Option<&str>) {
        self.inner.throttled(reason);
    }

    fn lag(&self, lag: Lag, age: Millis) {
        self.figures.lag.store(lag.changes, Ordering::Relaxed);
        self.figures.lag_bytes.store(lag.bytes, Ordering::Relaxed);
        self.figures.lag_ms.store(age, Ordering::Relaxed);
        self.inner.lag(lag, age);
    }

    fn behind(&self, events: u64, newest: Millis) {
        self.figures.lag.store(events, Ordering::Relaxed);
        self.figures.lag_ms.store(newest, Ordering::Relaxed);
    }

    fn committed(&self) {
        self.figures.commits.fetch_add(1, Ordering::Relaxed);
    }

    fn reconnecting(&self) {
        self.figures.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    fn note(&self, text: &str) {
        self.inner.note(text);
    }

    fn end(&self) {
        self.inner.end();
    }

    fn check(&self) -> Result<()> {
        self.inner.check()
    }
}
