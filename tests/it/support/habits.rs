//! Programs of real habits on the legacy's file: they read before they write, on the same connection.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Each of them on one connection: a read that stays open, a transaction that begins with a read, a statement that is not
/// reset for seconds.
pub const HABITS: [&str; 3] = ["open-read", "deferred", "kept"];

/// What a program did.
#[derive(Debug, serde::Deserialize)]
pub struct Done {
    pub writes: u64,
    pub errors: Vec<String>,
    pub worst_ms: f64,
}

/// Programs at work on one file, by turns.
pub struct Programs(Vec<(String, Child, BufReader<ChildStdout>)>);

impl Programs {
    /// Returns when each of them has written.
    #[track_caller]
    pub fn start(store: &Path, habits: &[&str]) -> Self {
        let start = |(at, habit): (usize, &&str)| {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/habits.py");
            let mut command = Command::new("python3");
            command.arg(script).arg(store).arg(format!("{habit}-{at}")).arg(habit).arg(store.with_extension("turn"));
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3");
            let mut said = BufReader::new(child.stdout.take().unwrap());
            let mut ready = String::new();
            said.read_line(&mut ready).unwrap();
            assert_eq!(ready, "ready\n", "{habit}");
            ((*habit).to_owned(), child, said)
        };
        Self(habits.iter().enumerate().map(start).collect())
    }

    pub fn ids(&self) -> Vec<u32> {
        self.0.iter().map(|(_, child, _)| child.id()).collect()
    }

    /// Ends them; gives what each of them did.
    #[track_caller]
    pub fn end(mut self) -> Vec<(String, Done)> {
        self.0.iter_mut().for_each(|(_, child, _)| drop(child.stdin.take()));
        let done = self.0.iter_mut().map(|(habit, child, said)| {
            let mut text = String::new();
            said.read_to_string(&mut text).unwrap();
            assert!(child.wait().unwrap().success(), "{habit}");
            (habit.clone(), serde_json::from_str(&text).unwrap_or_else(|error| panic!("{habit}: {error} in {text}")))
        });
        done.collect()
    }

    /// Ends them: each has written, and none of them has seen an error.
    #[track_caller]
    pub fn end_unharmed(self) -> u64 {
        let done = self.end();
        for (habit, done) in &done {
            println!("{habit}: {} writes, {} errors, worst {:.1} ms", done.writes, done.errors.len(), done.worst_ms);
        }
        for (habit, done) in &done {
            let first = done.errors.first();
            assert!(
                done.writes > 0 && first.is_none(),
                "{habit}: {} errors of {}, {first:?}",
                done.errors.len(),
                done.writes
            );
        }
        done.iter().map(|(_, done)| done.writes).sum()
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        for (_, child, _) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
