//! Credentials stay where they are.

use std::path::Path;

use crossfade::demo::{self, Sizes};

use crate::support::cli::{Log, Migration, Ran};
use crate::support::flow::{FLOW, each_record, execute, generated, mapping, on_both_logs, open_log};

on_both_logs!(i11_credentials_of_the_legacy_store_appear_nowhere);

fn contains(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

fn search(folder: &Path, secrets: &[&str], found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, secrets, found);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let hit = secrets.iter().filter(|secret| contains(&bytes, secret));
        found.extend(hit.map(|secret| format!("{secret} in {}", path.display())));
    }
}

fn i11_credentials_of_the_legacy_store_appear_nowhere(log: Log) {
    let viewer = demo::PASSWORD_HASH.replacen('C', "c", 1);
    let secrets = [demo::PASSWORD_HASH, demo::REFRESH_TOKEN, viewer.as_str(), "admin@example.invalid"];
    let migration = generated(log, Sizes::LEAST, "");
    let mut said = Vec::new();
    let mut run = |args: &[&str], code: i32| {
        let ran = migration.run(args);
        assert_eq!(ran.code, Some(code), "{}\n{}{}", args.join(" "), ran.stdout, ran.stderr);
        said.push(ran);
    };
    run(&["replay", "--dry-run"], 0);
    FLOW.iter().for_each(|args| run(args, 0));
    execute(&migration.legacy(), "UPDATE messages SET content = 'later' WHERE exit_code = 0");
    execute(&migration.legacy(), "UPDATE users SET role = 'admin'");
    let reports = ["html", "md", "json", "ndjson", "junit", "table"].map(|kind| format!("{kind}=report.{kind}"));
    let mut args = vec!["diff", "--keys", "keys.ndjson", "--samples", "1000"];
    reports.iter().for_each(|report| args.extend(["--report", report]));
    run(&args, 1);
    run(&["replay"], 0);
    run(&["project", "--snapshot", "fold.snap"], 0);
    run(&["diff", "--from-log"], 0);
    for args in [&["status"][..], &["config"], &["journal", "show"], &["journal", "export", "journal.ndjson"]] {
        run(args, 0);
    }

    let mut found = Vec::new();
    search(migration.folder.path(), &secrets, &mut found);
    let (legacy, elsewhere): (Vec<_>, Vec<_>) = found.into_iter().partition(|hit| hit.contains("legacy.db"));
    assert!(legacy.len() >= secrets.len(), "the search misses what is there: {legacy:?}");
    assert_eq!(elsewhere, Vec::<String>::new());
    for Ran { stdout, stderr, .. } in &said {
        for secret in secrets {
            assert!(!contains(stdout.as_bytes(), secret) && !contains(stderr.as_bytes(), secret), "{stdout}{stderr}");
        }
    }
    let mut records = 0;
    each_record(open_log(&migration).as_ref(), &mapping(&migration), &mut |record| {
        records += 1;
        let headers: Vec<u8> = record.headers().flat_map(|(name, value)| [name, value].concat()).collect();
        for secret in secrets {
            let places = [record.key, record.value, headers.as_slice()];
            assert!(!places.iter().any(|bytes| contains(bytes, secret)), "{secret} in an event");
        }
    });
    assert!(records > 200, "{records}");
}

#[test]
fn i11_a_kafka_password_is_never_shown() {
    let kafka = "log:
  kafka:
    bootstrap: [\"127.0.0.1:9\"]
    security: {protocol: SASL_PLAINTEXT, mechanism: PLAIN, username: somebody, password_file: secret.txt}
";
    let migration = Migration::new(Log::Embedded, "  preset: acc\n  store: sqlite:legacy.db\n", kafka);
    std::fs::write(migration.path("secret.txt"), "top-secret-one\n").unwrap();
    for output in ["table", "json", "ndjson"] {
        for given in [None, Some("top-secret-two")] {
            let mut command = migration.command(&["config", "--output", output]);
            command.envs(given.map(|password| ("CROSSFADE_LOG_KAFKA_PASSWORD", password)));
            let ran = Ran::of(command.output().unwrap());
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
            assert!(ran.stdout.contains("somebody") && ran.stdout.contains("***"), "{}", ran.stdout);
            assert!(!ran.stdout.contains("top-secret") && !ran.stderr.contains("top-secret"), "{}", ran.stdout);
        }
    }
    for property in ["sasl.oauthbearer.client.secret", "ssl.key.password", "ssl.key.pem"] {
        let kafka = format!("{kafka}    properties: {{{property}: top-secret-three}}\n");
        let migration = Migration::new(Log::Embedded, "  preset: acc\n  store: sqlite:legacy.db\n", &kafka);
        let ran = migration.run(&["config"]);
        assert_eq!(ran.code, Some(2), "{}", ran.stdout);
        assert!(ran.stderr.contains(property) && !ran.stderr.contains("top-secret"), "{}", ran.stderr);
    }
}
