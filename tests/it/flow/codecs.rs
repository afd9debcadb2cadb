//! A replay that loses something on the way is found out, whatever it loses.

use crossfade::capture::{Phase, Replay, Settings};
use crossfade::demo::Sizes;
use crossfade::event::codec::{Codec, Exact};
use crossfade::mapping::Value;
use crossfade::port::progress::Silent;
use crossfade::sqlite::source::SqliteSource;
use serde_json::Value as Json;

use crate::support::acc::{TABLES, differences};
use crate::support::cli::{Log, Migration};
use crate::support::flow::{confirmed_pass, diff, generated, mapping, now, on_both_logs, open_log};

on_both_logs!(
    i04_the_exact_codec_passes,
    i04_zero_as_null_is_caught,
    i04_integers_through_floating_point_are_caught,
    i04_text_cut_at_nul_is_caught,
    i04_lossy_utf8_is_caught,
    i04_integers_as_reals_are_caught,
);

/// A codec that writes something else for some values.
struct Lossy(fn(Value<'_>, &mut dyn FnMut(Value<'_>)));

impl Codec for Lossy {
    fn write(&self, value: Value<'_>, out: &mut Vec<u8>) {
        (self.0)(value, &mut |value| Exact.write(value, out));
    }
}

/// A generated store, replayed by `codec` and projected.
fn replayed_by(log: Log, codec: &dyn Codec) -> Migration {
    let migration = generated(log, Sizes::LEAST, "");
    migration.expect(&["provision", "apply"], 0);
    let mapping = mapping(&migration);
    let source = SqliteSource::open(migration.legacy(), mapping.clone(), false).unwrap();
    let events = open_log(&migration);
    let settings = Settings::new(&migration.name, "lossy");
    let replay = Replay {
        source: &source,
        log: events.as_ref(),
        mapping: &mapping,
        codec,
        settings: &settings,
        progress: &Silent,
        now: &now,
    };
    assert_eq!(replay.copy(None).unwrap().state.phase, Phase::Done);
    migration.expect(&["project"], 0);
    migration
}

fn i04_the_exact_codec_passes(log: Log) {
    confirmed_pass(&replayed_by(log, &Exact));
}

/// The diff fails, and every differing column named is one the sqlite3 command sees differ too.
fn caught(log: Log, lossy: Lossy, column: &str) {
    let migration = replayed_by(log, &lossy);
    assert!(!differences(&migration.legacy(), &migration.projection(), &TABLES).is_empty());
    let report = diff(&migration, &["--samples", "10000"], 1);
    assert_eq!(report["verdict"], "FAIL");
    let samples = report["samples"].as_array().unwrap();
    assert_eq!(report["totals"]["differing"], samples.len());
    // `both` where the projection's column holds yet another value than the event.
    let row_differs = |sample: &Json| sample["kind"] == "row-fold" || sample["kind"] == "both";
    let kinds = |sample: &Json| row_differs(sample) && sample["difference"] == "changed";
    assert!(samples.iter().all(kinds), "{report:#}");
    let names = |sample: &Json| sample["columns"].as_array().unwrap().iter().any(|named| named["name"] == column);
    assert!(samples.iter().any(names), "no difference in {column}: {report:#}");
    diff(&migration, &["--from-log"], 1);
}

fn i04_zero_as_null_is_caught(log: Log) {
    let zero_as_null = |value: Value<'_>, write: &mut dyn FnMut(Value<'_>)| {
        write(match value {
            Value::Integer(0) => Value::Null,
            Value::Real(0.0) => Value::Null,
            value => value,
        });
    };
    caught(log, Lossy(zero_as_null), "exit_code");
}

fn i04_integers_through_floating_point_are_caught(log: Log) {
    let through_floating_point = |value: Value<'_>, write: &mut dyn FnMut(Value<'_>)| {
        write(match value {
            Value::Integer(number) => Value::Integer(number as f64 as i64),
            value => value,
        });
    };
    caught(log, Lossy(through_floating_point), "duration");
}

fn i04_text_cut_at_nul_is_caught(log: Log) {
    let cut_at_nul = |value: Value<'_>, write: &mut dyn FnMut(Value<'_>)| {
        write(match value {
            Value::Text(text) => Value::Text(text.split(|byte| *byte == 0).next().unwrap_or_default()),
            value => value,
        });
    };
    caught(log, Lossy(cut_at_nul), "content");
}

fn i04_lossy_utf8_is_caught(log: Log) {
    let lossy_utf8 = |value: Value<'_>, write: &mut dyn FnMut(Value<'_>)| match value {
        Value::Text(text) => write(Value::text(&String::from_utf8_lossy(text))),
        value => write(value),
    };
    caught(log, Lossy(lossy_utf8), "content");
}

fn i04_integers_as_reals_are_caught(log: Log) {
    let integers_as_reals = |value: Value<'_>, write: &mut dyn FnMut(Value<'_>)| {
        write(match value {
            Value::Integer(number) => Value::Real(number as f64),
            value => value,
        });
    };
    caught(log, Lossy(integers_as_reals), "duration");
}
