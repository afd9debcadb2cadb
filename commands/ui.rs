//! The only file that writes to the terminal: stdout is the result, stderr everything else.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use crossfade::base::{Error, Millis, Result};
use crossfade::port::change_source::Lag;
use crossfade::port::progress::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How the result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    #[default]
    Table,
    Json,
    Ndjson,
}

/// What the operator wants to see.
#[derive(Clone, Debug)]
pub(crate) struct Ui {
    pub(crate) output: Output,
    pub(crate) quiet: bool,
    pub(crate) color: bool,
    /// Columns to write for where stdout is no terminal.
    pub(crate) columns: Option<u16>,
}

impl Ui {
    /// The result itself. A closed pipe is no error of ours.
    pub(crate) fn result(&self, bytes: &[u8]) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::failed("the result could not be written").because(error))
            }
            _ => Ok(()),
        }
    }

    /// Columns of the terminal, where stdout is one, else those of the environment.
    pub(crate) fn width(&self) -> Option<u16> {
        console::Term::stdout().size_checked().map(|(_, columns)| columns).or(self.columns)
    }

    pub(crate) fn line(&self, text: impl AsRef<str>) -> Result<()> {
        self.result(format!("{}\n", text.as_ref()).as_bytes())
    }

    pub(crate) fn json(&self, value: &serde_json::Value) -> Result<()> {
        let text = match self.output {
            Output::Ndjson => value.to_string(),
            _ => format!("{value:#}"),
        };
        self.line(text)
    }

    /// Chatter, left out with `--quiet`.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            say(text.as_ref());
        }
    }

    pub(crate) fn error(&self, text: &str) {
        say(text);
    }
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// What ends a run from outside: a signal's number, or the loss of the lock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    pub(crate) signal: Arc<AtomicUsize>,
    pub(crate) lost: Arc<Mutex<Option<Arc<AtomicBool>>>>,
}

impl Stop {
    pub(crate) fn check(&self) -> Result<()> {
        if self.signal.load(Ordering::Relaxed) != 0 {
            return Err(Error::interrupted("stopped as asked; what was committed stays")
                .hint("run the same command again to go on"));
        }
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.as_ref().is_some_and(|lost| lost.load(Ordering::Relaxed)) {
            return Err(
                Error::fenced("another run took the lock over; this one stops").hint("see who: crossfade status")
            );
        }
        Ok(())
    }
}

/// Progress of one command: a bar on a terminal, a line every few seconds elsewhere.
pub(crate) struct Reporter {
    ui: Ui,
    stop: Stop,
    bar: Mutex<Option<ProgressBar>>,
    work: Mutex<Work>,
    rows: AtomicU64,
}

struct Work {
    what: String,
    expected: Option<u64>,
    began: Instant,
    told: Instant,
    throttle: Option<String>,
}

const INTERVAL: Duration = Duration::from_secs(5);

impl Reporter {
    pub(crate) fn new(ui: &Ui, stop: &Stop) -> Self {
        let now = Instant::now();
        let work = Work { what: String::new(), expected: None, began: now, told: now, throttle: None };
        Self {
            ui: ui.clone(),
            stop: stop.clone(),
            bar: Mutex::default(),
            work: Mutex::new(work),
            rows: AtomicU64::new(0),
        }
    }
}

impl Progress for Reporter {
    fn begin(&self, what: &str, expected: Option<u64>) {
        self.rows.store(0, Ordering::Relaxed);
        let now = Instant::now();
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        *work = Work { what: what.to_owned(), expected, began: now, told: now, throttle: None };
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        *bar = None;
        if std::io::stderr().is_terminal() && !self.ui.quiet {
            let new = ProgressBar::with_draw_target(expected, ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template(
                "{prefix:>9} [{wide_bar}] {human_pos}/{human_len} {per_sec} eta {eta} {msg}",
            );
            if let Ok(style) = style {
                new.set_style(style.progress_chars("=> "));
            }
            new.set_prefix(what.to_owned());
            *bar = Some(new);
        }
    }

    fn advance(&self, rows: u64) {
        let total = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            bar.set_position(total);
            return;
        }
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        // What goes on for ever tells how much is left instead.
        if work.told.elapsed() >= INTERVAL && work.what != "follow" {
            work.told = Instant::now();
            let seconds = work.began.elapsed().as_secs_f64();
            let rate = total as f64 / seconds.max(0.001);
            let left = work.expected.map(|expected| expected.saturating_sub(total));
            let eta = left.map_or(String::new(), |left| format!(", eta {:.0} s", left as f64 / rate.max(1.0)));
            let of = work.expected.map_or(String::new(), |expected| format!(" of {expected}"));
            let throttle = work.throttle.as_ref().map_or(String::new(), |reason| format!(", throttled by {reason}"));
            self.ui.note(format!("{}: {total}{of} rows, {rate:.0} rows/s{eta}{throttle}", work.what));
        }
    }

    fn throttled(&self, reason: Option<&str>) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.throttle = reason.map(str::to_owned);
        match self.bar.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(bar) => bar.set_message(reason.map_or(String::new(), |reason| format!("throttled by {reason}"))),
            None => {
                if let Some(reason) = reason {
                    self.ui.note(format!("{}: throttled by {reason}", work.what));
                }
            }
        }
    }

    fn lag(&self, lag: Lag, age: Millis) {
        let total = self.rows.load(Ordering::Relaxed);
        let lag = match (lag.changes, lag.bytes) {
            (0, 0) => "caught up".to_owned(),
            (changes, 0) => format!("behind by {changes} changes, {:.1} s", age as f64 / 1000.0),
            (_, bytes) => format!("behind by {:.1} MB of its log, {:.1} s", bytes as f64 / 1e6, age as f64 / 1000.0),
        };
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            bar.set_message(lag);
            return;
        }
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        if work.told.elapsed() >= INTERVAL {
            work.told = Instant::now();
            self.ui.note(format!("{}: {total} events, {lag}", work.what));
        }
    }

    fn note(&self, text: &str) {
        match self.bar.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(bar) => bar.suspend(|| self.ui.note(text)),
            None => self.ui.note(text),
        }
    }

    fn end(&self) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }

    fn check(&self) -> Result<()> {
        self.stop.check()
    }
}
