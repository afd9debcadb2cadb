//! stdout is the result, stderr the rest, in the form asked for.

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use super::shop::{moved, shop};
use crate::support::cli::{Migration, Ran};

/// Every command that has a result, in an order that works.
const ALL: [&[&str]; 13] = [
    &["-c", "new/crossfade.yaml", "init", "--from", "sqlite:legacy.db"],
    &["config"],
    &["status"],
    &["replay", "--dry-run"],
    &["provision", "apply"],
    &["replay"],
    &["project", "--snapshot", "fold.snap"],
    &["diff"],
    &["diff", "--from-log"],
    &["project", "--rebuild"],
    &["journal", "show"],
    &["journal", "verify"],
    &["status"],
];

fn each(output: &str, mut look: impl FnMut(&[&str], &str)) {
    let shop = shop(5, "");
    for args in ALL {
        let ran = shop.run(&[args, &["-q", "--output", output]].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
        look(args, &ran.stdout);
    }
}

#[test]
fn json_is_one_document_with_its_version() {
    each("json", |args, stdout| {
        let document: Value =
            serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{args:?}: {error}\n{stdout}"));
        assert_eq!(document["schema_version"], 1, "{args:?}");
    });
}

#[test]
fn ndjson_is_a_document_a_line_with_its_version() {
    each("ndjson", |args, stdout| {
        assert!(!stdout.is_empty(), "{args:?}");
        for line in stdout.lines() {
            let document: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{args:?}: {error}\n{line}"));
            assert_eq!(document["schema_version"], 1, "{args:?}: {line}");
        }
    });
}

#[test]
fn quiet_leaves_the_result() {
    each("table", |args, stdout| assert!(!stdout.trim().is_empty(), "{args:?}"));
}

#[test]
fn a_pipe_has_neither_colour_nor_blanks_at_line_ends() {
    each("table", |args, stdout| {
        assert!(!stdout.contains('\x1b'), "{args:?}: {stdout}");
        let blank: Vec<_> = stdout.lines().filter(|line| line.ends_with(' ')).collect();
        assert!(blank.is_empty(), "{args:?}: {blank:?}");
    });
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let shop = moved(2_000);
    for args in [&["diff"][..], &["journal", "show"], &["journal", "export"], &["config"], &["status"], &["--help"]] {
        let mut child = shop.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("error") && !ran.stderr.contains("panicked"), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn every_result_on_a_terminal_form_ends_with_the_next_command() {
    let shop = shop(3, "");
    let next = |args: &[&str]| {
        let ran = shop.run(args);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        told.lines().rfind(|line| line.starts_with("next: ")).unwrap_or_else(|| panic!("{args:?}\n{told}")).to_owned()
    };
    assert_eq!(next(&["replay", "--dry-run"]), "next: crossfade provision apply");
    assert_eq!(next(&["status"]), "next: crossfade provision apply");
    assert_eq!(next(&["provision", "apply"]), "next: crossfade replay");
    assert_eq!(next(&["replay", "--dry-run"]), "next: crossfade replay");
    assert_eq!(next(&["replay"]), "next: crossfade project");
    assert_eq!(next(&["project"]), "next: crossfade diff");
    assert_eq!(next(&["diff"]), "next: crossfade status");
    assert_eq!(next(&["status"]), "next: nothing to do; crossfade replay once the legacy has changed");
    let elsewhere = tempfile::tempdir().unwrap();
    let config = shop.path("crossfade.yaml");
    let ran =
        crate::support::cli::command(elsewhere.path(), &["-c", config.to_str().unwrap(), "project"]).output().unwrap();
    let told = Ran::of(ran).stderr;
    assert!(told.contains(&format!("next: crossfade --config {} diff", config.display())), "{told}");
}

#[test]
fn i07_a_dry_run_gives_no_verdict_and_its_steps_and_changes_nothing() {
    let shop = shop(3, "");
    let told = shop.expect(&["replay", "--dry-run"], 0);
    assert!(told.contains("DRY RUN: 6 rows would be written as events; nothing was changed"), "{told}");
    assert!(!told.contains("FAIL") && !told.contains("PASS"), "{told}");
    assert!(told.contains("create topic shop.rows (2 partitions)"), "{told}");
    assert!(told.contains("copy table orders to shop.rows (3 rows)"), "{told}");
    assert!(!shop.path(".crossfade").exists());
}

#[test]
fn a_long_run_without_a_terminal_tells_its_progress_in_lines() {
    let shop = shop(600, "");
    shop.expect(&["provision", "apply"], 0);
    let ran = shop.run(&["replay", "--throttle", "80"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("throttled by --throttle 80 rows/s"), "{}", ran.stderr);
    let line = ran.stderr.lines().find(|line| line.starts_with("replay: ") && line.contains(" of 603 rows, "));
    assert!(line.is_some_and(|line| line.contains("rows/s, eta ")), "{}", ran.stderr);
    assert!(!ran.stderr.contains('\r') && !ran.stderr.contains('\x1b'), "{}", ran.stderr);
}

#[test]
fn config_shows_every_value_with_its_origin_and_no_secret() {
    let more = "log:\n  kafka:\n    bootstrap: [a:1]\n    security: {protocol: SASL_SSL, mechanism: PLAIN, username: u, password_file: f, certificate_file: c, key_file: k}\n    properties: {linger.ms: '5'}\n";
    let shop = shop(1, more);
    let mut command = shop.command(&["config", "--output", "json"]);
    command.env("CROSSFADE_LOG_KAFKA_PASSWORD", "hush1").env("CROSSFADE_LOG_KAFKA_KEY_PASSWORD", "hush2");
    command.env("CROSSFADE_PROJECTION", "sqlite:elsewhere.db");
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!ran.stdout.contains("hush"), "{}", ran.stdout);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let of = |name: &str| {
        let found = document["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == name);
        let found = found.unwrap_or_else(|| panic!("no {name}"));
        format!("{} from {}", found["value"].as_str().unwrap(), found["origin"].as_str().unwrap())
    };
    assert_eq!(of("projection"), "sqlite:elsewhere.db from environment CROSSFADE_PROJECTION");
    assert_eq!(of("log.kafka.security.password"), "*** from environment CROSSFADE_LOG_KAFKA_PASSWORD");
    assert_eq!(of("log.kafka.security.key_password"), "*** from environment CROSSFADE_LOG_KAFKA_KEY_PASSWORD");
    assert_eq!(of("log.kafka.security.mechanism"), "PLAIN from crossfade.yaml");
    assert_eq!(of("log.kafka.properties"), "linger.ms=5 from crossfade.yaml");
    assert_eq!(of("legacy.store"), "sqlite:legacy.db from crossfade.yaml");
    assert_eq!(of("replay.transaction_ms"), "1000 from default");
}

#[test]
fn every_report_is_written_with_the_same_verdict() {
    let shop: Migration = moved(3);
    let kinds = ["junit", "md", "html", "json", "ndjson", "table"];
    let reports: Vec<String> = kinds.iter().map(|kind| format!("{kind}=out.{kind}")).collect();
    let mut args = vec!["diff"];
    args.extend(reports.iter().flat_map(|report| ["--report", report.as_str()]));
    shop.expect(&args, 0);
    for kind in kinds {
        let mut text = String::new();
        std::fs::File::open(shop.path(&format!("out.{kind}"))).unwrap().read_to_string(&mut text).unwrap();
        let sign = if kind == "junit" { "failures=\"0\"" } else { "PASS" };
        assert!(text.contains(sign), "{kind}: {text}");
    }
}
