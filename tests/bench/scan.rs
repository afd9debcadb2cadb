//! What the scan of message text costs: reads a generated ACC store with and without it, in turn: `scan PATH [ROUNDS]`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool of the benchmarks, not the library")]
#![expect(clippy::expect_used, reason = "what fails here ends the benchmark")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crossfade::acc;
use crossfade::capture::ScreenedSource;
use crossfade::mapping::{Mapping, Rows};
use crossfade::port::legacy_source::{Cursor, LegacySource};
use crossfade::scan::{Mode, Screen};
use crossfade::sqlite::source::SqliteSource;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(path) = arguments.first() else {
        eprintln!("usage: scan PATH [ROUNDS]");
        std::process::exit(2);
    };
    let rounds = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    let mapping = Arc::new(acc::mapping().expect("the preset"));
    for _ in 0..rounds {
        for mode in [None, Some(Mode::Report), Some(Mode::Redact)] {
            let plain: Box<dyn LegacySource> =
                Box::new(SqliteSource::open(Path::new(path), Arc::clone(&mapping), false).expect("a store"));
            let source = match mode {
                None => plain,
                Some(mode) => {
                    let screen = Screen::new(&mapping, mode, &[], "2026-01-01");
                    Box::new(ScreenedSource::new(plain, Arc::new(screen)))
                }
            };
            let (began, busy) = (Instant::now(), on_processor());
            let (rows, bytes, found) = read(source.as_ref(), &mapping);
            let name = mode.map_or("unscanned", Mode::word);
            let (busy, took) = (on_processor() - busy, began.elapsed().as_secs_f64());
            println!("{name:>9}: {rows} rows, {bytes} bytes in {took:.3} s, {busy:.3} s of processor, {found} found");
        }
    }
}

/// Seconds this thread has had a processor.
fn on_processor() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default() / 1e9
}

fn read(source: &dyn LegacySource, mapping: &Mapping) -> (usize, usize, u64) {
    let mut snapshot = source.snapshot().expect("a snapshot");
    let (mut seen, mut bytes, mut rows) = (0, 0, Rows::default());
    for table in &mapping.tables {
        let mut cursor = Cursor::default();
        loop {
            snapshot.read(table, &mut cursor, 2_000, &mut rows).expect("rows");
            if rows.is_empty() {
                break;
            }
            (seen, bytes) = (seen + rows.len(), bytes + rows.byte_len());
        }
    }
    let found = snapshot.found().found.iter().map(|found| found.values).sum();
    (seen, bytes, found)
}
