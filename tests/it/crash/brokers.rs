//! A broker that dies in the middle, on a cluster for that.

use crate::support::cli::Log;
use crate::support::crash::{Child, Cluster, Trial, Victim, signal};

/// Runs the command, kills a broker when it stands at the boundary, and lets it go on.
///
/// It may end well or with a clear error; then the same command must end well on the brokers that are left.
fn lose_a_broker(trial: &Trial, cluster: &Cluster, broker: u32, args: &[&str], boundary: &str, nth: usize) -> bool {
    let place = format!("{boundary}:{nth}");
    let mut child = Child::at(trial.command(args, &[("CROSSFADE_PAUSE_AT", &place)]), boundary);
    child.await_stopped();
    let down = cluster.kill(broker);
    signal("CONT", child.id());
    let (status, said) = child.wait();
    let through = status.code() == Some(0);
    if !through {
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains("error: ") && said.contains("help: ") && !said.contains("panicked"), "{said}");
        trial.change_legacy();
        trial.expect(args, 0);
    }
    drop(down);
    through
}

/// A log that was open before finds the new leaders while the old one stays away.
fn look_while_a_broker_is_down(trial: &Trial, cluster: &Cluster) {
    let (log, topic) = (trial.log(), format!("{}.session.events", trial.migration.name));
    let before = log.ends(&topic).unwrap();
    let down = cluster.kill(3);
    assert_eq!(log.ends(&topic).unwrap(), before);
    drop(down);
}

#[test]
#[ignore = "needs Kafka"]
fn i12_a_broker_lost_in_the_middle_of_replay_and_project_costs_no_row() {
    let cluster = Victim::take();
    let trial = Trial::new(Log::Kafka, 47).on(&cluster.brokers);
    trial.expect(&["provision", "apply"], 0);
    look_while_a_broker_is_down(&trial, &cluster);
    let lost: &[(u32, &[&str], &str, usize)] = &[
        (1, &["replay"], "replay.before-commit", 4),
        (2, &["project"], "project.after-commit", 2),
        (3, &["replay"], "reconcile.before-commit", 1),
    ];
    for (broker, args, boundary, nth) in lost {
        let through = lose_a_broker(&trial, &cluster, *broker, args, boundary, *nth);
        eprintln!("broker {broker} lost at {boundary}: {}", if through { "the run went on" } else { "run again" });
        trial.change_legacy();
    }
    trial.expect(&["replay"], 0);
    trial.assert_passes();
}
