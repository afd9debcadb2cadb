//! The renderers: what each form says about one outcome of every verdict, and that no stored value can break one.

use std::path::Path;

use crossfade::base::Verdict;
use crossfade::diff::{
    Column, Difference, Event, Finding, Ignored, Kind, Outcome, Sample, Severity, TableCoverage, verdict,
};
use crossfade::report::{Format, render, table};
use proptest::prelude::*;

fn coverage(table: &str, rows: u64) -> TableCoverage {
    let state = "mapped".into();
    TableCoverage {
        table: table.into(),
        state,
        legacy_rows: rows,
        projected_rows: rows,
        compared: rows,
        ..Default::default()
    }
}

fn left_out(table: &str, state: &str, rows: u64) -> TableCoverage {
    TableCoverage { table: table.into(), state: state.into(), legacy_rows: rows, ..Default::default() }
}

fn event(offset: i64) -> Event {
    Event {
        topic: "session.events".into(),
        partition: 3,
        offset,
        event_type: "acc.session.updated".into(),
        id: "7f1c5e0a-2b64-5d0e-9c3e-0d5a4f6b8c21".into(),
    }
}

fn column(name: &str, values: [Option<&str>; 3]) -> Column {
    let [legacy, fold, projection] = values.map(|value| value.map(str::to_owned));
    Column { name: name.into(), legacy, fold, projection, last_agreed: None }
}

fn sample(table: &str, key: &str, kind: Kind, difference: Difference, columns: Vec<Column>) -> Sample {
    let event = (kind != Kind::RowProjection).then(|| event(1841));
    Sample { table: table.into(), key: key.into(), kind, difference, columns, event, explained_by: None }
}

pub(crate) fn outcome(tables: Vec<TableCoverage>, findings: Vec<Finding>) -> Outcome {
    let (verdict, reason) = verdict(&tables, &findings);
    let facts = [
        ("legacy", "sqlite:data/dual-agent-monitor.db, read at change 48211"),
        ("events", "embedded:.crossfade/log.db, session.events to 48,211 over 6 partitions"),
        ("projection", "sqlite:.crossfade/projection.db, at the end of every partition"),
        ("replay", "done 2026-03-01T01:58:12.000Z, generation 1"),
    ];
    Outcome {
        title: "diff".into(),
        migration: "acc".into(),
        verdict,
        reason,
        taken_at: "2026-03-01T02:14:07.250Z".into(),
        tool: "crossfade 0.1.0".into(),
        mapping_hash: "b3:5f0c9a1d7e".into(),
        facts: facts.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        tables,
        findings,
        ignored: vec![],
        samples: vec![],
        checks: Vec::new(),
        keys_file: None,
        steps: vec![],
        next: Some("crossfade phase 3 complete".into()),
    }
}

fn pass() -> Outcome {
    let mut tables = vec![coverage("sessions", 1_204), coverage("messages", 1_248_310), coverage("tool_usages", 88)];
    tables[0].explained = 2;
    tables.push(left_out("users", "never to be read", 14));
    let text = "users is never to be read: it holds credentials".into();
    let mut outcome = outcome(tables, vec![Finding { code: "table-excluded", severity: Severity::Note, text }]);
    outcome.ignored = vec![Ignored {
        table: "sessions".into(),
        column: "last_seen".into(),
        reason: "touched by every read of the old server".into(),
        owner: "platform".into(),
        expires: "2026-04-30".into(),
    }];
    let seen = column("last_seen", [Some("1709258400"), Some("1709258399"), Some("1709258399")]);
    let mut explained = sample("sessions", "\"s-0007\"", Kind::RowFold, Difference::Changed, vec![seen]);
    explained.explained_by = Some("touched by every read of the old server".into());
    outcome.samples = vec![explained];
    outcome
}

fn fail() -> Outcome {
    let mut tables = vec![coverage("sessions", 1_204), coverage("messages", 1_248_310), coverage("tool_usages", 88)];
    tables[0].changed = 2;
    tables[1].missing = 31;
    tables[1].extra = 1;
    tables[1].projected_rows -= 30;
    let text = "rule sessions.last_seen expired on 2026-02-28".into();
    let mut outcome = outcome(tables, vec![Finding { code: "ignore-rule-expired", severity: Severity::Failure, text }]);
    let mut status = column("status", [Some("\"completed\""), Some("\"active\""), Some("\"active\"")]);
    status.last_agreed = Some(event(1840));
    let count = column("message_count", [Some("41"), Some("41"), Some("40.0")]);
    let text = [Some("\"Deploy <b>now</b> | then `rm`\\u0000\""), None, None];
    let row = vec![column("content", text), column("session_id", [Some("\"s-0042\""), None, None])];
    let unread = column("name", [None, None, Some("\"Bash\"")]);
    outcome.samples = vec![
        sample("sessions", "\"s-0042\"", Kind::RowFold, Difference::Changed, vec![status]),
        sample("sessions", "\"s-0043\"", Kind::ProjectionFold, Difference::Changed, vec![count]),
        sample("messages", "\"m-90112\"", Kind::RowFold, Difference::Missing, row),
        sample("messages", "\"m-90113\"", Kind::RowProjection, Difference::Extra, vec![unread]),
    ];
    outcome.keys_file = Some(".crossfade/diff/2026-03-01T02-14-07.keys".into());
    outcome.next = Some("crossfade explain session:s-0042".into());
    outcome
}

fn inconclusive() -> Outcome {
    let mut tables = vec![coverage("sessions", 1_204), coverage("messages", 900), coverage("tool_usages", 0)];
    tables[1].skipped = 12;
    tables.push(left_out("scratch", "unmapped", 3));
    let behind = "the projection stands 311 events before the end of session.events".into();
    let unmapped = "table scratch is not in the mapping".into();
    let findings = vec![
        Finding { code: "unmapped-table", severity: Severity::Warning, text: unmapped },
        Finding { code: "projection-behind", severity: Severity::Gap, text: behind },
    ];
    let mut outcome = outcome(tables, findings);
    outcome.next = Some("crossfade project".into());
    outcome
}

fn nothing() -> Outcome {
    let mut outcome = outcome(vec![], vec![]);
    outcome.facts.clear();
    outcome.next = Some("crossfade replay".into());
    outcome
}

fn dry_run() -> Outcome {
    let mut outcome = inconclusive();
    outcome.title = "replay --dry-run".into();
    outcome.steps = [
        "open the writer acc/replay; this fences older writers of that name",
        "read sessions, messages and tool_usages in one read snapshot of the legacy store",
        "commit 2,116 records to session.events in transactions of at most 50,000 rows",
        "mark the checkpoint of acc/replay as done, generation 1",
    ]
    .map(str::to_owned)
    .to_vec();
    outcome.next = Some("crossfade replay".into());
    outcome
}

/// Forty samples, huge values, odd bytes.
fn large() -> Outcome {
    let mut outcome = fail();
    let (left, right) = ("lorem ipsum ".repeat(3_000), "dolor sit amet ".repeat(3_000));
    let (old, new) = (format!("\"{left}OLD{right}\""), format!("\"{left}NEW WORDS{right}\""));
    let huge = column("content", [Some(&old), Some(&new), Some(&new)]);
    let odd = "\"\u{1b}[31mred\u{0}\u{202e}gnp.exe\u{feff}\n<script>alert(1)</script>&amp; 漢字 🦀\"";
    let odd = column("content", [Some(odd), Some("\"plain\""), Some("{\"$blob\":\"AAECAwQF\"}")]);
    outcome.samples.push(sample("messages", "\"m-1\"", Kind::RowFold, Difference::Changed, vec![huge]));
    outcome.samples.push(sample("messages", "\"m-\u{0}2\"", Kind::Both, Difference::Changed, vec![odd]));
    outcome.samples.extend((0..34).map(|number| {
        let columns = vec![
            column("id", [Some(&format!("{number}")), None, None]),
            column("role", [Some("\"assistant\""), None, None]),
            column("content", [Some("\"I moved the handler and ran the tests.\""), None, None]),
            column("created_at", [Some("\"2026-02-28T23:10:00Z\""), None, None]),
        ];
        sample("messages", &format!("\"m-{number:05}\""), Kind::RowFold, Difference::Missing, columns)
    }));
    outcome
}

fn text(outcome: &Outcome, format: Format) -> String {
    String::from_utf8(render(outcome, format)).expect("a report is UTF-8")
}

#[test]
fn every_form_of_every_verdict() {
    for (name, outcome) in [("pass", pass()), ("fail", fail()), ("inconclusive", inconclusive())] {
        for format in [Format::Table, Format::Json, Format::Ndjson, Format::Junit, Format::Md] {
            insta::assert_snapshot!(format!("{name}_{format}"), text(&outcome, format));
        }
    }
    insta::assert_snapshot!("dry_run_table", text(&dry_run(), Format::Table));
}

#[test]
fn names_of_formats_are_read_back_and_a_wrong_one_gets_a_hint() {
    for format in Format::ALL {
        assert_eq!(format.name().parse::<Format>().unwrap(), format);
    }
    let error = "junt".parse::<Format>().unwrap_err();
    assert_eq!(error.help(), Some("did you mean 'junit'?"));
}

#[test]
fn the_table_fits_80_columns_and_says_the_same_without_colour() {
    for outcome in [pass(), fail(), inconclusive(), nothing(), dry_run(), large()] {
        let plain = String::from_utf8(table::render(&outcome, table::Style { color: false, width: Some(80) })).unwrap();
        for line in plain.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
        assert!(!plain.contains('\x1b'));
        let colored =
            String::from_utf8(table::render(&outcome, table::Style { color: true, width: Some(80) })).unwrap();
        let mut stripped = String::new();
        for (index, piece) in colored.split("\x1b[").enumerate() {
            stripped += if index == 0 { piece } else { piece.split_once('m').unwrap().1 };
        }
        assert_eq!(stripped, plain);
    }
}

#[test]
fn the_stream_ends_with_the_verdict_and_every_line_has_a_type() {
    let stream = text(&large(), Format::Ndjson);
    let lines: Vec<serde_json::Value> = stream.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["type"].is_string() && line["schema_version"] == 1));
    assert_eq!(lines.last().unwrap()["verdict"], "FAIL");
    assert_eq!(lines.iter().filter(|line| line["type"] == "sample").count(), large().samples.len());
}

/// A CI tool must not see green where nothing, or not everything, was compared.
#[test]
fn i05_junit_is_green_for_pass_only() {
    for outcome in [pass(), fail(), inconclusive(), nothing(), dry_run(), large()] {
        let report = quick_junit::Report::deserialize_from_str(&text(&outcome, Format::Junit)).unwrap();
        let red = report.failures + report.errors;
        assert_eq!(red == 0, outcome.verdict == Verdict::Pass, "{}", outcome.reason);
        let last = report.test_suites[0].test_cases.last().unwrap();
        assert_eq!(last.name.as_str(), "verdict");
    }
}

#[test]
fn markdown_counts_the_samples_it_leaves_out() {
    let mut outcome = large();
    let many = outcome.samples.clone();
    (0..20).for_each(|_| outcome.samples.extend(many.iter().cloned()));
    let page = text(&outcome, Format::Md);
    assert!(page.len() < 75_000, "{} bytes", page.len());
    assert!(page.contains("samples left out to keep this page short"));
}

#[test]
fn html_is_one_file_without_outside_references() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    std::fs::create_dir_all(&folder).unwrap();
    let examples = [
        ("pass", pass()),
        ("fail", fail()),
        ("inconclusive", inconclusive()),
        ("nothing", nothing()),
        ("dry-run", dry_run()),
        ("large", large()),
    ];
    for (name, outcome) in examples {
        let page = text(&outcome, Format::Html);
        // To be looked at in a browser.
        std::fs::write(folder.join(format!("{name}.html")), &page).unwrap();
        for outward in ["http://", "https://", "src=", "href=", "url(", "@import", "<script"] {
            assert!(!page.contains(outward), "{name}: {outward}");
        }
        let word = if outcome.steps.is_empty() { outcome.verdict.word() } else { "DRY RUN" };
        assert!(page.contains(word));
        well_formed(&page);
    }
}

/// Tags the page is made of.
const TAGS: &str = "html head meta title style body main header p b time div span h1 h2 h3 dl dt dd section ul ol li code \
    small table thead tbody tfoot tr th td i details summary article em mark pre footer";

/// Checks that every `<` opens a tag of ours and that all but `meta` are closed in order.
fn well_formed(page: &str) {
    let mut open = Vec::new();
    for piece in page.trim_start_matches("<!doctype html>").split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        let name = tag.split([' ', '\n']).next().unwrap();
        assert!(!text.contains('>') || name == "style", "stray > in {text}");
        if let Some(closed) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed));
        } else {
            assert!(TAGS.split_whitespace().any(|known| known == name), "tag {name}");
            if name != "meta" {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

/// Cells of a markdown table's line; a bar in a value would add one.
fn cells(line: &str) -> usize {
    line.matches('|').count() - 1
}

fn hostile() -> impl Strategy<Value = String> {
    let markup = prop::sample::select(vec![
        "<script>alert(1)</script>",
        "</style></title></pre><img onerror=x>",
        "]]>--><!-- &lt; &#124;",
        "| a | b |\n| - | - |\n",
        "`` ` ``` ~~~\n# h\n- l\n> [!NOTE]\n",
        "\u{1b}]0;t\u{7}\u{1b}[2J\r\0\u{b}\u{ffff}\u{fffe}\u{85}\u{9b}31m\u{2028}\u{202e}",
        "\" onload=\"x\" 'y' \\| \\",
    ]);
    prop_oneof![
        any::<String>(),
        markup.clone().prop_map(str::to_owned),
        (any::<String>(), markup, any::<String>()).prop_map(|(before, markup, after)| before + markup + &after)
    ]
}

fn hostile_outcome() -> impl Strategy<Value = Outcome> {
    let kind = prop::sample::select(vec![Kind::RowFold, Kind::ProjectionFold, Kind::Both, Kind::RowProjection]);
    let values = prop::array::uniform3(prop::option::of(hostile()));
    (prop::collection::vec(hostile(), 12), values, kind, any::<bool>()).prop_map(|(texts, values, kind, explained)| {
        let mut outcome = pass();
        let [title, reason, fact, table, key, name, topic, owner, step, finding, next, state] = &texts[..] else {
            unreachable!("twelve texts");
        };
        let mut place = event(7);
        place.topic.clone_from(topic);
        place.event_type.clone_from(owner);
        place.id.clone_from(step);
        let [legacy, fold, projection] = values;
        let column = Column { name: name.clone(), legacy, fold, projection, last_agreed: Some(place.clone()) };
        let mut found = sample(table, key, kind, Difference::Changed, vec![column]);
        found.event = Some(place);
        found.explained_by = explained.then(|| reason.clone());
        outcome.title.clone_from(title);
        outcome.migration.clone_from(owner);
        outcome.reason.clone_from(reason);
        outcome.taken_at.clone_from(name);
        outcome.tool.clone_from(topic);
        outcome.mapping_hash.clone_from(key);
        outcome.facts = vec![(name.clone(), fact.clone())];
        outcome.tables.push(left_out(table, state, 1));
        outcome.tables.push(TableCoverage { changed: 1, ..coverage(table, 3) });
        outcome.findings.push(Finding { code: "text", severity: Severity::Failure, text: finding.clone() });
        outcome.ignored[0].owner.clone_from(owner);
        outcome.ignored[0].reason.clone_from(reason);
        outcome.steps = vec![step.clone(), finding.clone()];
        outcome.next = Some(next.clone());
        outcome.keys_file = Some(fact.clone());
        outcome.samples = vec![found.clone(), found];
        outcome
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_value_breaks_a_form(outcome in hostile_outcome()) {
        let page = text(&outcome, Format::Html);
        prop_assert!(!page.to_lowercase().contains("<script"));
        well_formed(&page);

        let page = text(&outcome, Format::Md);
        prop_assert!(!page.to_lowercase().contains("<script"));
        let mut width = None;
        for line in page.lines() {
            if line.starts_with('|') {
                prop_assert_eq!(*width.get_or_insert(cells(line)), cells(line), "{}", line);
            } else {
                prop_assert!(!line.contains('|'), "{}", line);
                width = None;
            }
        }

        let xml = text(&outcome, Format::Junit);
        let illegal = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{fffe}' | '\u{ffff}');
        prop_assert!(!xml.contains(illegal));
        let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
        prop_assert!(report.failures > 0);

        let json: serde_json::Value = serde_json::from_str(&text(&outcome, Format::Json)).unwrap();
        prop_assert_eq!(json["samples"][0]["key"].as_str(), Some(outcome.samples[0].key.as_str()));

        for style in [table::Style::default(), table::Style { color: false, width: Some(80) }] {
            let plain = String::from_utf8(table::render(&outcome, style)).unwrap();
            prop_assert!(!plain.contains(|c: char| c.is_control() && c != '\n'));
        }
    }
}
