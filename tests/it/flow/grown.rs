//! Partitions that are added beside runs at work: whoever goes on would put a key's events into two of them, or miss some.

use std::time::{Duration, Instant};

use crossfade::mapping::Use;
use crossfade::plan::Action;

use crate::support::cli::Log;
use crate::support::crash::Child;
use crate::support::flow::{MIDDLE, column, execute, generated, mapping, open_log, run_all};
use crate::support::provision::admin;

#[test]
#[ignore = "needs Kafka"]
fn i03_partitions_added_beside_runs_at_work_stop_them() {
    let migration = generated(Log::Kafka, MIDDLE, "");
    let name = migration.name.clone();
    let install: &[&str] = &["follow", "--install", "--confirm", &name];
    run_all(&migration, &[&["provision", "apply"], install, &["replay"], &["project"]]);
    let runs = [Child::start(migration.command(&["follow"])), Child::start(migration.command(&["project", "--live"]))];
    execute(&migration.legacy(), "UPDATE sessions SET work_dir = '/seen'");
    let seen = "SELECT count(*) || '' FROM sessions WHERE work_dir = '/seen'";
    let all = column(&migration.legacy(), "SELECT count(*) || '' FROM sessions");
    let deadline = Instant::now() + Duration::from_secs(60);
    while column(&migration.projection(), seen) != all {
        assert!(Instant::now() < deadline, "what the legacy was told is not projected");
        std::thread::sleep(Duration::from_millis(50));
    }

    let (log, mapping) = (open_log(&migration), mapping(&migration));
    let topic = mapping.topics_for(Use::Rows).next().unwrap().to_owned();
    let before = log.ends(&topic).unwrap().len();
    let grown = Action::AddPartitions { name: topic.clone(), partitions: before as i32 + 2 };
    admin(&migration).perform(&grown).unwrap();
    for run in runs {
        let (status, said) = run.wait();
        assert_eq!(status.code(), Some(3), "{said}");
        assert!(
            said.contains(&format!("topic '{topic}' has {} partitions now, it had {before}", before + 2)),
            "{said}"
        );
    }
    let ends = log.ends(&topic).unwrap();
    assert!(ends.iter().skip(before).all(|(_, ends)| ends.high == 0), "a key lies in a new partition: {ends:?}");
}
