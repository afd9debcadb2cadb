//! The embedded log among processes that are killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crossfade::embedded::EmbeddedLog;
use crossfade::port::event_log::{Batch, EventLog, Positions, Record, Topic};

/// Names the log to a child; a process with it is the child.
const CHILD: &str = "CROSSFADE_TEST_LOG_CHILD";
const TEST: &str = "log_contract::processes::i08_a_writer_killed_anywhere_resumes_without_loss_or_repeat";
const WRITER: &str = "m/replay";
const STEP: i64 = 500;

#[test]
fn i08_a_writer_killed_anywhere_resumes_without_loss_or_repeat() {
    if let Some(path) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let log = EmbeddedLog::open(&path, true).unwrap();
    log.create_topics(&[Topic { name: "t".into(), partitions: 1, configs: BTreeMap::new() }]).unwrap();
    let mut reader = log.open_reader(&Positions::from([(("t".into(), 0), 0)])).unwrap();
    let (mut batch, mut seen) = (Batch::default(), 0);
    for round in 0..8_u64 {
        let before = done(&log);
        let mut child = Kill(spawn(&path));
        let started = Instant::now();
        while done(&log) == before {
            assert!(started.elapsed() < Duration::from_secs(20), "the writer does not get on");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(round * 3_700));
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        // The reader was opened before the first kill and stays.
        while seen < done(&log) * STEP {
            reader.read(&mut batch, 10_000, Duration::from_secs(5)).unwrap();
            assert!(!batch.is_empty(), "{seen} records came of {} committed", done(&log) * STEP);
            for record in batch.iter() {
                assert_eq!((record.offset, record.value), (seen, seen.to_string().as_bytes()));
                seen += 1;
            }
        }
        assert_eq!(log.ends("t").unwrap()[&0].committed, seen);
    }
}

/// Steps committed so far.
fn done(log: &dyn EventLog) -> i64 {
    log.checkpoint(WRITER).unwrap().map_or(0, |checkpoint| checkpoint.state.as_i64().unwrap())
}

fn write_until_killed(path: &Path) -> ! {
    let log = EmbeddedLog::open(path, false).unwrap();
    let mut writer = log.open_writer(WRITER, "child").unwrap();
    loop {
        let step = writer.checkpoint().map_or(0, |checkpoint| checkpoint.state.as_i64().unwrap());
        for number in step * STEP..(step + 1) * STEP {
            let value = number.to_string();
            let record =
                Record { topic: "t", partition: None, key: b"k", value: value.as_bytes(), headers: &[], timestamp: 0 };
            writer.append(&record).unwrap();
        }
        writer.commit("plan", (step + 1).into()).unwrap();
    }
}

fn spawn(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST])
        .env(CHILD, path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Leaves no child behind when the test fails.
struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
