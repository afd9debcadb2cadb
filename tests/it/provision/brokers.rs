//! Brokers that are down while a cluster is planned for, changed and checked.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cli::{Log, Migration};
use crate::support::crash::{Child, Cluster, Victim, signal};
use crate::support::flow::json;
use crate::support::provision::{described, empty, kafka};

/// A migration on brokers that may be killed.
struct On<'a> {
    migration: Migration,
    cluster: &'a Cluster,
}

impl On<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.migration.command(args);
        command.env("CROSSFADE_LOG_KAFKA_BOOTSTRAP", &self.cluster.brokers);
        command
    }

    #[track_caller]
    fn expect(&self, args: &[&str], code: i32) -> String {
        let output = self.command(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{text}\n{said}");
        text
    }

    /// Checks until just these fail; while leaders are elected more may fail, but never is an outage called drift.
    #[track_caller]
    fn fails(&self, expected: &[&str]) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let output = self.command(&["provision", "check", "--output", "json"]).output().unwrap();
            let report = json(&String::from_utf8(output.stdout).unwrap());
            let failed = codes(&report, "failure");
            assert!(!failed.contains(&"drift".to_owned()), "{report:#}");
            if failed == expected {
                assert_eq!(output.status.code(), Some(i32::from(!expected.is_empty())), "{report:#}");
                return report;
            }
            assert!(Instant::now() < deadline, "{failed:?} fail\n{report:#}");
        }
    }
}

fn codes(report: &Value, severity: &str) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["severity"] == severity);
    let mut codes: Vec<String> = checks.map(|check| check["code"].as_str().unwrap().to_owned()).collect();
    codes.sort();
    codes.dedup();
    codes
}

#[test]
#[ignore = "needs Kafka"]
fn a_broker_that_is_down_is_told_as_an_outage_and_never_as_drift() {
    let cluster = Victim::take();
    let on = On { migration: empty(Log::Kafka, ""), cluster: &cluster };
    let names = || described(&kafka(&cluster.brokers), &on.migration.name);
    // Down before anything is there: two brokers are enough for two copies.
    {
        let _down = cluster.kill(3);
        on.expect(&["provision", "plan", "--exit-code"], 1);
        on.expect(&["provision", "apply"], 0);
        on.expect(&["provision", "plan", "--exit-code"], 0);
    }
    let made = names();
    assert_eq!(made.len(), 8);
    on.fails(&[]);
    // Down afterwards: its copies are missing, their number is not.
    {
        let _down = cluster.kill(1);
        on.expect(&["provision", "plan", "--exit-code"], 0);
        let report = on.fails(&["under-replicated"]);
        assert!(codes(&report, "warning").contains(&"brokers".to_owned()));
    }
    // Down in the middle of apply, between a change and the look at it.
    let other = On { migration: empty(Log::Kafka, ""), cluster: &cluster };
    let mut command = other.command(&["provision", "apply"]);
    command.env("CROSSFADE_PAUSE_AT", "provision.step-made:4");
    let mut child = Child::at(command, "provision.step-made");
    child.await_stopped();
    let down = cluster.kill(2);
    signal("CONT", child.id());
    let (status, said) = child.wait();
    // Either it got through, or it says what stopped it and the next run goes on.
    if !status.success() {
        assert!([Some(2), Some(3)].contains(&status.code()), "{status}\n{said}");
        assert!(said.contains("error: ") && said.lines().count() < 20, "{said}");
    }
    drop(down);
    other.expect(&["provision", "apply"], 0);
    other.expect(&["provision", "plan", "--exit-code"], 0);
    assert_eq!(described(&kafka(&cluster.brokers), &other.migration.name).len(), 8);
    assert_eq!(names().keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>());
}
