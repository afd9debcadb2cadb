//! A child process that is met alive at a boundary.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a child may take to meet its boundary, or to end.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Child {
    process: std::process::Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Child {
    pub fn start(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let (line, lines) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|said| line.send(said)));
        Self { process, lines, said: Vec::new() }
    }

    /// Starts the command and waits until it says that it stands at the boundary; it must be alive then.
    #[track_caller]
    pub fn at(command: Command, boundary: &str) -> Self {
        Self::met(command, boundary).unwrap_or_else(|said| panic!("{boundary} was not met:\n{said}"))
    }

    /// The same of a command that may end before it; then what it said.
    #[track_caller]
    pub fn met(command: Command, boundary: &str) -> Result<Self, String> {
        let mut child = Self::start(command);
        let awaited = format!("boundary {boundary}");
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = child.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            let met = line == awaited;
            child.said.push(line);
            if met {
                assert!(child.alive(), "the child ended at {boundary}");
                return Ok(child);
            }
        }
        let said = child.said.join("\n");
        if child.alive() && Instant::now() >= deadline {
            child.kill();
            panic!("{boundary} was not met in time:\n{said}");
        }
        let status = child.process.wait().unwrap();
        assert!(status.success(), "ended with {status} before {boundary}:\n{said}");
        Err(said)
    }

    /// Waits until it says a line with the text.
    #[track_caller]
    pub fn await_said(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            let found = line.contains(text);
            self.said.push(line);
            if found {
                return;
            }
        }
        panic!("'{text}' was not said:\n{}", self.said.join("\n"));
    }

    /// How often it has said the line.
    pub fn count(&self, line: &str) -> usize {
        self.said.iter().filter(|said| *said == line).count()
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Kills the child, which must be alive.
    #[track_caller]
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        let status = self.process.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "the child ended by itself: {status}");
    }

    /// Kills the child if it still runs; else gives its status and what it said on stderr.
    pub fn kill_if_alive(mut self) -> Result<(), (ExitStatus, String)> {
        self.process.kill().unwrap();
        let status = self.process.wait().unwrap();
        if status.signal() == Some(9) {
            return Ok(());
        }
        self.said.extend(self.lines.iter());
        Err((status, self.said.join("\n")))
    }

    /// Waits until a child that stops itself is stopped.
    pub fn await_stopped(&mut self) {
        let stat = format!("/proc/{}/stat", self.id());
        let state = || std::fs::read_to_string(&stat).unwrap().rsplit_once(") ").unwrap().1.starts_with('T');
        let deadline = Instant::now() + PATIENCE;
        while !state() {
            assert!(Instant::now() < deadline && self.alive(), "the child did not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end; gives the status and what was said on stderr.
    #[track_caller]
    pub fn wait(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        while self.alive() {
            assert!(Instant::now() < deadline, "the child did not end:\n{}", self.said.join("\n"));
            std::thread::sleep(Duration::from_millis(10));
        }
        let status = self.process.wait().unwrap();
        self.said.extend(self.lines.iter());
        (status, self.said.join("\n"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a signal by its name, as `kill` does.
pub fn signal(name: &str, process: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status().unwrap();
    assert!(status.success(), "kill -{name} {process}: {status}");
}
