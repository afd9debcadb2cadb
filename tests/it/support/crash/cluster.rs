//! Brokers that tests may kill, apart from those that all other tests use.

use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

/// Three brokers, stopped when this is dropped or the test process ends.
pub struct Cluster {
    pub brokers: String,
    folder: tempfile::TempDir,
}

fn run(args: &[&str]) -> String {
    attempt(args).unwrap_or_else(|said| panic!("tests/cluster {}: {said}", args.join(" ")))
}

fn attempt(args: &[&str]) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster");
    let output = Command::new(script).args(args).output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The cluster that the tests which kill brokers share, one after the other: it takes longer to start than some of them.
static VICTIM: Mutex<Option<Cluster>> = Mutex::new(None);

/// The shared cluster in the hands of one test, all brokers up. What earlier tests left in it is still there.
pub struct Victim(MutexGuard<'static, Option<Cluster>>);

impl Victim {
    pub fn take() -> Self {
        // A test that failed may have left brokers down: the next one gets new ones. The last are stopped by their
        // watcher, when this process ends.
        let mut cluster = VICTIM.lock().unwrap_or_else(|failed| {
            VICTIM.clear_poison();
            let mut cluster = failed.into_inner();
            *cluster = None;
            cluster
        });
        cluster.get_or_insert_with(Cluster::start);
        Self(cluster)
    }
}

impl Deref for Victim {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.0.as_ref().expect("started when it was taken")
    }
}

impl Cluster {
    pub fn start() -> Self {
        let mut cluster = Self { brokers: String::new(), folder: tempfile::tempdir().unwrap() };
        let told = run(&["start", cluster.dir(), "--owner", &std::process::id().to_string()]);
        cluster.brokers = told.trim().rsplit_once(": ").unwrap().1.to_owned();
        cluster
    }

    fn dir(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    /// Kills a broker until the value is dropped.
    pub fn kill(&self, broker: u32) -> Down<'_> {
        run(&["kill", self.dir(), &broker.to_string()]);
        Down { cluster: self, broker }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.brokers.is_empty() {
            run(&["stop", self.dir()]);
        }
    }
}

/// A broker that is down.
pub struct Down<'a> {
    cluster: &'a Cluster,
    broker: u32,
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let broker = self.broker.to_string();
        let restart = ["restart", self.cluster.dir(), &broker];
        // A broker gives up when its peers, which start as well, take too long.
        for _ in 0..2 {
            match attempt(&restart) {
                Err(said) if !said.contains("is running") => {}
                _ => return,
            }
        }
        run(&restart);
    }
}
