//! Makes a generated ACC store for the benchmarks and prints what its messages are like:
//! `generate PATH SESSIONS MESSAGES [SEED]`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool of the benchmarks, not the library")]
#![expect(clippy::expect_used, reason = "what fails here ends the benchmark")]

use std::path::Path;

use crossfade::demo::{self, Sizes};
use crossfade::mapping::{Rows, Value};
use crossfade::sqlite::scratch;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<usize>().ok());
    let (Some(path), Some(sessions), Some(messages)) = (arguments.first(), number(1), number(2)) else {
        eprintln!("usage: generate PATH SESSIONS MESSAGES [SEED]");
        std::process::exit(2);
    };
    if Path::new(path).exists() {
        eprintln!("{path} exists already");
        std::process::exit(3);
    }
    let sizes = Sizes { sessions, messages, seed: number(3).unwrap_or(1) as u64 };
    scratch::make(Path::new(path), demo::schema(), |load| demo::rows(sizes, load)).expect("a store can be made");

    let (mut rows_seen, mut json_bytes, mut packed_bytes, mut json) = (0, 0, 0, Vec::new());
    demo::rows(sizes, &mut |table, columns, rows| {
        if table == "messages" {
            json.clear();
            write_json(columns, rows, &mut json);
            rows_seen += rows.len();
            json_bytes += json.len();
            packed_bytes += lz4_flex::compress(&json).len();
        }
        Ok(())
    })
    .expect("generated once already");
    let per_row = json_bytes as f64 / rows_seen as f64;
    let ratio = json_bytes as f64 / packed_bytes as f64;
    println!("{sessions} sessions, {rows_seen} messages of {per_row:.0} bytes as JSON, lz4 ratio {ratio:.2}");
}

/// Rows as JSON lines; what JSON cannot hold is written lossily, for its size only.
fn write_json(columns: &[&str], rows: &Rows, out: &mut Vec<u8>) {
    for row in rows.iter() {
        let cells = columns.iter().zip(row.values()).map(|(column, value)| {
            let value = match value {
                Value::Null => serde_json::Value::Null,
                Value::Integer(number) => number.into(),
                Value::Real(number) => number.into(),
                Value::Text(bytes) | Value::Blob(bytes) => String::from_utf8_lossy(bytes).into(),
            };
            ((*column).to_owned(), value)
        });
        let object: serde_json::Map<_, _> = cells.collect();
        serde_json::to_writer(&mut *out, &object).expect("writing to memory");
        out.push(b'\n');
    }
}
