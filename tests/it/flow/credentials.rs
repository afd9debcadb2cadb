//! Credentials in message text: reported, refused or taken out, and then nowhere to be found.

use std::collections::BTreeSet;
use std::path::Path;

use crossfade::demo::Sizes;
use crossfade::event::Envelope;
use serde_json::Value;

use crate::support::cli::{Log, Migration, Ran};
use crate::support::flow::{
    FLOW, diff, each_record, execute, generated, has_finding, json, mapping, on_both_logs, open_log, run_all, table,
};

on_both_logs!(
    i11_what_is_redacted_is_nowhere_and_the_verdict_passes_without_it,
    i11_what_is_refused_becomes_no_event,
    i11_what_is_reported_is_in_the_log_and_nowhere_else,
    i11_another_mode_begins_another_fold,
    i11_what_follow_meets_is_redacted_too,
    i11_a_key_is_never_redacted_and_its_row_refused,
    i11_what_follow_meets_is_refused_too,
);

/// One credential of each rule, not written whole.
fn secrets() -> Vec<(&'static str, String)> {
    let random = "q8Zr2Lw9Xy4aB3kQ77mN1pT5vC6dE0fGh2Jk4LmN8pQrS6tUvWx";
    let of = |prefix: &str, length: usize| format!("{prefix}{}", &random.repeat(3)[..length]);
    vec![
        ("anthropic-key", of("sk-ant-api03-", 80)),
        ("openai-key", of("sk-proj-", 48)),
        ("github-token", of("ghp_", 36)),
        ("gitlab-token", of("glpat-", 20)),
        ("aws-key-id", format!("AKIA{}", "IOSFODNN7QWERTYU")),
        ("slack-token", of("xoxb-1234567890-", 24)),
        ("slack-webhook", of("hooks.slack.com/services/T0AB/B0CD/", 24)),
        ("google-key", of("AIza", 35)),
        ("google-oauth", of("ya29.", 60)),
        ("stripe-key", of("sk_live_", 24)),
        ("npm-token", of("npm_", 36)),
        ("pypi-token", of("pypi-AgEIcHlwaS5vcmc", 60)),
        ("sendgrid-key", format!("{}.{}", of("SG.", 22), &random[..43])),
        ("huggingface-token", of("hf_", 34)),
        ("digitalocean-token", format!("dop_v1_{}", "0123456789abcdef".repeat(4))),
        ("vault-token", of("hvs.", 30)),
        ("docker-token", of("dckr_pat_", 27)),
        ("shopify-token", of("shpat_", 32)),
        ("private-key", format!("-----BEGIN RSA PRIVATE KEY-----\nMIIE{random}\n-----END RSA PRIVATE KEY-----")),
        (
            "jwt",
            concat!("eyJhbGciOiJIUzI1NiJ9", ".eyJzdWIiOiIxMjM0NTY3ODkwIn0", ".dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P")
                .to_owned(),
        ),
        ("password-hash", format!("$2b$12${}", &random.repeat(2)[..53])),
        ("url-password", "postgres://app:s3cr3t-pw-93@db.internal/x".to_owned()),
        ("authorization", format!("Authorization: Bearer B{random}")),
        ("labelled-secret", "DB_PASSWORD=hunter2-9!xyz".to_owned()),
    ]
}

/// What of a credential may be found nowhere: its random part.
fn parts() -> Vec<String> {
    let part = |(rule, secret): (&str, String)| match rule {
        "url-password" => "s3cr3t-pw-93".to_owned(),
        "authorization" => "Bq8Zr2Lw9Xy4a".to_owned(),
        "labelled-secret" => "hunter2-9!xyz".to_owned(),
        "private-key" => "MIIEq8Zr2Lw9".to_owned(),
        _ => secret,
    };
    secrets().into_iter().map(part).chain(["q8Zr2Lw9Xy4a".to_owned()]).collect()
}

/// A message for each credential, one with it in a JSON column, and two clean ones.
fn plant(migration: &Migration) {
    let mut sql = String::new();
    for (number, (rule, secret)) in secrets().iter().enumerate() {
        sql += &format!(
            "INSERT INTO messages (id, session_id, agent_type, message_type, content)
             SELECT 'planted-{number}-{rule}', min(id), 'worker', 'response', 'use this: {secret} and go on' FROM sessions;\n"
        );
    }
    let token = &secrets()[2].1;
    sql += &format!(
        "INSERT INTO messages (id, session_id, agent_type, message_type, content, commands_executed)
         SELECT 'planted-json', min(id), 'worker', 'response', 'ran it', '[\"curl -H \\\"x: {token}\\\"\",\"ls\"]' FROM sessions;
         INSERT INTO messages (id, session_id, agent_type, message_type, content)
         SELECT 'clean', min(id), 'worker', 'response', 'commit 0033d1a4f6b7c8d9e0f1a2b3c4d5e6f708192a3b' FROM sessions;"
    );
    execute(&migration.legacy(), &sql);
}

fn planted() -> u64 {
    secrets().len() as u64 + 1
}

fn with_mode(log: Log, mode: &str) -> Migration {
    let migration = generated(log, Sizes::LEAST, &format!("scan: {{mode: {mode}}}\n"));
    plant(&migration);
    migration
}

/// Everything said and written in a migration.
struct Watched {
    migration: Migration,
    said: Vec<Ran>,
}

impl Watched {
    fn new(migration: Migration) -> Self {
        Self { migration, said: Vec::new() }
    }

    #[track_caller]
    fn run(&mut self, args: &[&str], code: i32) -> String {
        let ran = self.migration.run(args);
        assert_eq!(ran.code, Some(code), "{}\n{}{}", args.join(" "), ran.stdout, ran.stderr);
        let stdout = ran.stdout.clone();
        self.said.push(ran);
        stdout
    }

    /// Every kind of report, of a diff that ends with `code`.
    #[track_caller]
    fn reports(&mut self, code: i32) {
        let reports = ["html", "md", "json", "ndjson", "junit", "table"].map(|kind| format!("{kind}=report.{kind}"));
        let mut args = vec!["diff", "--keys", "keys.ndjson", "--samples", "1000"];
        reports.iter().for_each(|report| args.extend(["--report", report]));
        self.run(&args, code);
        for args in [&["status"][..], &["journal", "show"], &["journal", "export", "journal.ndjson"]] {
            self.run(args, 0);
        }
    }

    /// Where any of the planted lies, in the files that are not `left_out` and in what was said.
    fn found(&self, left_out: &[&str]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        search(self.migration.folder.path(), &parts(), &mut found);
        found.retain(|place| !left_out.iter().any(|file| place.contains(file)));
        for ran in &self.said {
            let hit = |part: &&String| ran.stdout.contains(*part) || ran.stderr.contains(*part);
            found.extend(parts().iter().filter(hit).map(|part| format!("said: {part}")));
        }
        found
    }

    /// Messages whose record holds any of the planted, in value, key or headers.
    fn in_the_log(&self) -> usize {
        let mut count = 0;
        each_record(open_log(&self.migration).as_ref(), &mapping(&self.migration), &mut |record| {
            let mut bytes = [record.key, record.value].concat();
            record.headers().for_each(|(name, value)| bytes.extend([name, value].concat()));
            count += usize::from(parts().iter().any(|part| contains(&bytes, &escaped(part))));
        });
        count
    }
}

fn escaped(part: &str) -> String {
    part.replace('\n', "\\n")
}

fn contains(bytes: &[u8], part: &str) -> bool {
    memchr::memmem::find(bytes, part.as_bytes()).is_some()
}

fn search(folder: &Path, parts: &[String], found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, parts, found);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let hit = parts.iter().any(|part| contains(&bytes, part));
        found.extend(hit.then(|| path.display().to_string()));
    }
}

fn i11_what_is_redacted_is_nowhere_and_the_verdict_passes_without_it(log: Log) {
    let mut run = Watched::new(with_mode(log, "redact"));
    run.run(&["replay", "--dry-run"], 0);
    run.run(FLOW[0], 0);
    let told = json(&run.run(&["replay", "--output", "json"], 0));
    assert_eq!(told["credentials"]["mode"], "redact");
    let rules: BTreeSet<&str> =
        told["credentials"]["found"].as_array().unwrap().iter().map(|found| found["rule"].as_str().unwrap()).collect();
    for (rule, _) in secrets() {
        assert!(rules.contains(rule), "{rule} is not in {rules:?}");
    }
    run.run(FLOW[2], 0);
    run.reports(0);
    let report = json(&run.run(&["diff", "--from-log", "--output", "json"], 0));
    assert_eq!(report["verdict"], "PASS");
    assert!(report["reason"].as_str().unwrap().contains(&format!("{} in redacted form", planted())), "{report:#}");
    assert_eq!(table(&report, "messages")["redacted"], planted());
    assert!(run.run(&["status"], 0).contains("taken out"));

    // What differs is shown without credentials, on either side.
    execute(&run.migration.legacy(), "UPDATE messages SET content = content || ' later' WHERE id LIKE 'planted-%'");
    run.reports(1);
    run.run(&["replay"], 0);
    run.run(&["project", "--snapshot", "fold.snap"], 0);
    run.run(&["diff"], 0);

    assert_eq!(run.found(&["legacy.db"]), BTreeSet::new());
    assert!(!run.found(&[]).is_empty(), "the search misses what is there");
    assert_eq!(run.in_the_log(), 0);
    let (mut marked, mut json_marked) = (0, 0);
    each_record(open_log(&run.migration).as_ref(), &mapping(&run.migration), &mut |record| {
        let envelope = Envelope::read(record.headers()).unwrap().unwrap();
        let value: Value = serde_json::from_slice(record.value).unwrap();
        let holds = |column: &str| value["row"][column].as_str().is_some_and(|text| text.contains("[redacted:"));
        for column in ["content", "commands_executed"] {
            assert_eq!(envelope.is_redacted(column), holds(column), "{value}");
        }
        marked += usize::from(envelope.is_redacted("content"));
        if envelope.is_redacted("commands_executed") {
            let commands: Value = serde_json::from_str(value["row"]["commands_executed"].as_str().unwrap()).unwrap();
            assert_eq!(commands[1], "ls");
            json_marked += 1;
        }
    });
    assert!(marked >= secrets().len() && json_marked >= 1, "{marked}, {json_marked}");
}

fn i11_what_is_refused_becomes_no_event(log: Log) {
    let mut run = Watched::new(with_mode(log, "refuse"));
    run.run(FLOW[0], 0);
    run.run(&["replay"], 3);
    let stderr = run.said.last().unwrap().stderr.clone();
    assert!(stderr.contains("planted-") && stderr.contains("--quarantine"), "{stderr}");
    assert_eq!(run.in_the_log(), 0);
    let told = json(&run.run(&["replay", "--quarantine", "bad.ndjson", "--output", "json"], 0));
    assert_eq!(told["quarantined"], planted());
    let file = std::fs::read_to_string(run.migration.path("bad.ndjson")).unwrap();
    assert_eq!(file.lines().filter(|line| line.contains("[redacted:")).count() as u64, planted(), "{file}");
    run.run(FLOW[2], 0);
    run.reports(5);
    let report = diff(&run.migration, &[], 5);
    assert_eq!(table(&report, "messages")["skipped"], planted());
    assert_eq!(report["totals"]["differing"], 0);
    assert_eq!(run.found(&["legacy.db"]), BTreeSet::new());
    assert_eq!(run.in_the_log(), 0);

    execute(&run.migration.legacy(), "DELETE FROM messages WHERE id LIKE 'planted-%'");
    run_all(&run.migration, &[&["replay"], &["project"], &["diff"]]);
}

fn i11_what_is_reported_is_in_the_log_and_nowhere_else(log: Log) {
    let mut run = Watched::new(generated(log, Sizes::LEAST, ""));
    plant(&run.migration);
    FLOW.iter().for_each(|args| {
        run.run(args, 0);
    });
    run.reports(0);
    let report = diff(&run.migration, &[], 0);
    let found: BTreeSet<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["code"] == "credential")
        .map(|finding| finding["text"].as_str().unwrap())
        .collect();
    assert!(found.len() >= secrets().len(), "{report:#}");
    assert!(run.run(&["status"], 0).contains("copied as they are"));
    // A difference in a row with a credential shows neither side's, and so does one that a rule keeps back.
    execute(&run.migration.legacy(), "UPDATE messages SET content = content || ' later' WHERE id LIKE 'planted-%'");
    execute(
        &run.migration.projection(),
        "UPDATE messages SET content = content || ' other' WHERE id LIKE 'planted-1%'",
    );
    run.reports(1);
    assert_eq!(run.found(&["legacy.db", "projection.db", "log.db"]), BTreeSet::new());
    assert!(run.in_the_log() as u64 >= planted());
}

fn i11_another_mode_begins_another_fold(log: Log) {
    let mut run = Watched::new(generated(log, Sizes::LEAST, ""));
    plant(&run.migration);
    FLOW.iter().for_each(|args| {
        run.run(args, 0);
    });
    let config = run.migration.path("crossfade.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}scan: {{mode: redact}}\n")).unwrap();
    for args in [&["replay"][..], &["diff"], &["project"]] {
        run.run(args, 4);
    }
    run.run(&["replay", "--recopy"], 0);
    run.run(&["project"], 0);
    run.run(&["diff", "--from-log"], 0);
    let report = diff(&run.migration, &[], 0);
    assert_eq!(table(&report, "messages")["redacted"], planted());
    assert_eq!(run.found(&["legacy.db", "log.db"]), BTreeSet::new());

    // A rule that somebody answers for lets one column's through, as long as it is in force.
    let rule = "{rule: labelled-secret, table: messages, column: content, reason: a test, owner: me, expires: DAY}";
    let ignoring = |day: &str| format!("{text}scan: {{mode: redact, ignore: [{}]}}\n", rule.replace("DAY", day));
    std::fs::write(&config, ignoring("2999-12-31")).unwrap();
    run_all(&run.migration, &[&["replay"], &["project"]]);
    let report = diff(&run.migration, &[], 0);
    has_finding(&report, "scan-rule", "note");
    assert_eq!(table(&report, "messages")["redacted"], planted() - 1);
    std::fs::write(&config, ignoring("2020-01-01")).unwrap();
    has_finding(&diff(&run.migration, &[], 1), "scan-rule-expired", "failure");
    for (wrong, says) in [("labelled-secrets", "labelled-secret"), ("jwt, table: message", "messages")] {
        let broken = ignoring("2999-12-31").replace(
            "labelled-secret, table: messages",
            &if wrong.contains("table") { wrong.to_owned() } else { format!("{wrong}, table: messages") },
        );
        std::fs::write(&config, broken).unwrap();
        let ran = run.migration.run(&["status"]);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
    std::fs::write(&config, format!("{text}scan: {{mode: hide}}\n")).unwrap();
    run.run(&["status"], 2);
}

fn i11_what_follow_meets_is_redacted_too(log: Log) {
    let mut run = Watched::new(generated(log, Sizes::LEAST, "scan: {mode: redact}\n"));
    let name = run.migration.name.clone();
    run.run(FLOW[0], 0);
    run.run(&["follow", "--install", "--confirm", &name], 0);
    run.run(FLOW[1], 0);
    plant(&run.migration);
    execute(
        &run.migration.legacy(),
        "UPDATE messages SET content = content || ' again' WHERE id LIKE 'planted-%'; DELETE FROM messages WHERE id = 'clean'",
    );
    let told = json(&run.run(&["follow", "--until-caught-up", "--output", "json"], 0));
    assert!(told["credentials"]["found"].as_array().unwrap().len() >= secrets().len(), "{told:#}");
    run.run(FLOW[2], 0);
    let report = diff(&run.migration, &[], 0);
    assert_eq!(table(&report, "messages")["redacted"], planted());
    execute(&run.migration.legacy(), "UPDATE messages SET content = content || ' more' WHERE id LIKE 'planted-1%'");
    run.run(&["follow", "--mode", "reconcile", "--until-caught-up"], 0);
    run.run(FLOW[2], 0);
    run.reports(0);
    assert_eq!(run.found(&["legacy.db"]), BTreeSet::new());
    assert_eq!(run.in_the_log(), 0);
}

fn i11_a_key_is_never_redacted_and_its_row_refused(log: Log) {
    let mut run = Watched::new(generated(log, Sizes::LEAST, "scan: {mode: redact}\n"));
    let key = &secrets()[2].1;
    let sql = format!(
        "INSERT INTO sessions (id, initial_task, work_dir) VALUES ('{key}', 'a task', '/w');
         INSERT INTO messages (id, session_id, agent_type, message_type, content) VALUES ('child', '{key}', 'worker', 'response', 'x')"
    );
    execute(&run.migration.legacy(), &sql);
    run.run(FLOW[0], 0);
    run.run(&["replay"], 3);
    let told = json(&run.run(&["replay", "--quarantine", "bad.ndjson", "--output", "json"], 0));
    assert_eq!(told["quarantined"], 2);
    run.run(FLOW[2], 0);
    run.reports(5);
    assert_eq!(diff(&run.migration, &[], 5)["totals"]["differing"], 0);
    assert_eq!(run.found(&["legacy.db"]), BTreeSet::new());
    assert_eq!(run.in_the_log(), 0);
    execute(
        &run.migration.legacy(),
        &format!("DELETE FROM messages WHERE id = 'child'; DELETE FROM sessions WHERE id = '{key}'"),
    );
    run_all(&run.migration, &[&["replay"], &["project"], &["diff"]]);
}

fn i11_what_follow_meets_is_refused_too(log: Log) {
    let mut run = Watched::new(generated(log, Sizes::LEAST, "scan: {mode: refuse}\n"));
    let name = run.migration.name.clone();
    run.run(FLOW[0], 0);
    run.run(&["follow", "--install", "--confirm", &name], 0);
    run.run(FLOW[1], 0);
    plant(&run.migration);
    run.run(&["follow", "--until-caught-up"], 3);
    run.run(&["follow", "--until-caught-up", "--quarantine", "bad.ndjson"], 0);
    let key = &secrets()[2].1;
    execute(
        &run.migration.legacy(),
        &format!("INSERT INTO sessions (id, initial_task, work_dir) VALUES ('{key}', 't', '/w')"),
    );
    run.run(&["follow", "--until-caught-up", "--quarantine", "more.ndjson"], 0);
    execute(&run.migration.legacy(), &format!("DELETE FROM sessions WHERE id = '{key}'"));
    run.run(&["follow", "--until-caught-up"], 0);
    run.run(FLOW[2], 0);
    run.reports(5);
    assert_eq!(table(&diff(&run.migration, &[], 5), "messages")["skipped"], planted());
    assert_eq!(run.found(&["legacy.db"]), BTreeSet::new());
    assert_eq!(run.in_the_log(), 0);
    // A row that is mended becomes an event like any other.
    execute(
        &run.migration.legacy(),
        "UPDATE messages SET content = 'mended', commands_executed = NULL WHERE id LIKE 'planted-%'",
    );
    run.run(&["follow", "--until-caught-up"], 0);
    run.run(FLOW[2], 0);
    run.run(&["follow", "--mode", "reconcile", "--until-caught-up"], 0);
    run.run(FLOW[2], 0);
    run.reports(0);
}
