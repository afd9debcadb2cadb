//! ACC's program on PostgreSQL: what it has when it starts, and what it does all day.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::crash::Random;
use super::postgres::{Database, Door};

/// Its connections.
const WRITERS: u64 = 2;
/// All of them together make 300 transactions a second.
const EVERY: Duration = Duration::from_micros(3_333 * WRITERS);
/// How long a server may be away.
const PATIENCE: Duration = Duration::from_secs(120);

/// A store of 60 sessions, half of them each writer's.
pub fn store() -> String {
    let schema = include_str!("acc-postgres.sql");
    let id = |of: &str| format!("md5('{of}' || n)::uuid");
    let session = "md5('s' || 1 + n % 60)::uuid";
    let rows = |count| format!("generate_series(1, {count}) AS n");
    let of_session = ["messages", "agent_communications", "system_events", "performance_metrics"];
    let indexes: String = of_session.map(|table| format!("CREATE INDEX ON {table} (session_id);")).concat();
    format!(
        "{schema} {indexes} CREATE INDEX ON messages (parent_message_id); CREATE INDEX ON agent_communications (related_message_id);
         INSERT INTO sessions (id, initial_task, work_dir) SELECT {}, 'task ' || n, '/' || n % {WRITERS} FROM {};
         INSERT INTO messages (id, session_id, agent_type, message_type, content, parent_message_id, tools_used, cost)
             SELECT {}, {session}, 'worker', 'response', repeat('text ', n % 80), CASE WHEN n > 60 AND n % 3 = 0 THEN md5('m' || n - 60)::uuid END, '[\"a\"]', n / 7.0 FROM {};
         INSERT INTO agent_communications (id, session_id, from_agent, to_agent, message_type, content, related_message_id)
             SELECT {}, {session}, 'manager', 'worker', 'question', 'why ' || n, md5('m' || n)::uuid FROM {};
         INSERT INTO system_events (id, session_id, event_type, details) SELECT {}, {session}, 'error', 'of ' || n FROM {};
         INSERT INTO performance_metrics (id, session_id, agent_type, response_time, cost) SELECT {}, {session}, 'worker', n, n / 3.0 FROM {};
         INSERT INTO session_summaries (session_id, total_messages) SELECT id, 50 FROM sessions;",
        id("s"),
        rows(60),
        id("m"),
        rows(3_000),
        id("c"),
        rows(600),
        id("e"),
        rows(600),
        id("p"),
        rows(600),
    )
}

/// What all writers came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    pub transactions: u64,
    pub errors: u64,
}

/// The program at work. Any error ends the test, unless the server may break: then it connects anew and makes the
/// transaction again.
pub struct Program {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Written>>,
}

impl Program {
    pub fn start(database: &Database, seed: u64, may_break: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |writer| {
            let writer = Writer { door: database.door(), writer, seed, may_break, stop: Arc::clone(&stop) };
            std::thread::spawn(move || writer.work())
        };
        let writers = (0..WRITERS).map(start).collect();
        Self { stop, writers }
    }

    pub fn end(mut self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        self.writers.drain(..).fold(Written::default(), |all, writer| {
            let one = writer.join().expect("the program saw an error");
            Written { transactions: all.transactions + one.transactions, errors: all.errors + one.errors }
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Writer {
    door: Door,
    writer: u64,
    seed: u64,
    may_break: bool,
    stop: Arc<AtomicBool>,
}

impl Writer {
    fn work(&self) -> Written {
        let (mut client, mut random) = (self.door.connect().unwrap(), Random::new(self.seed * WRITERS + self.writer));
        let (mut done, mut number) = (Written::default(), 0);
        let began = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let dice = random.below(1 << 40);
            // What the server made of one that was cut off is not known: again it is another, with rows of its own.
            let mut script = self.transaction(dice, number);
            while let Err(error) = client.batch_execute(&script) {
                let broken = error.code().is_none_or(|code| code.code().starts_with("57P"));
                assert!(self.may_break && broken, "{error:?} in {script}");
                done.errors += 1;
                client = self.connect_again();
                number += 1;
                script = self.transaction(dice, number);
            }
            number += 1;
            done.transactions += 1;
            std::thread::sleep((EVERY * done.transactions as u32).saturating_sub(began.elapsed()));
        }
        done
    }

    fn connect_again(&self) -> postgres::Client {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.door.connect() {
                Ok(client) => return client,
                Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One transaction. No two writers can wait for each other: of rows that are not its own a writer changes one in a
    /// statement, which is the transaction's last.
    fn transaction(&self, dice: u64, number: u64) -> String {
        let (writer, mut random) = (self.writer, Random::new(dice));
        let own = |random: &mut Random| {
            let at = random.below(30);
            format!("(SELECT id FROM sessions WHERE work_dir = '/{writer}' ORDER BY id LIMIT 1 OFFSET {at})")
        };
        let any = |table: &str, random: &mut Random| {
            format!("(SELECT id FROM {table} WHERE id >= md5('{}')::uuid ORDER BY id LIMIT 1)", random.below(1 << 30))
        };
        let (session, id) = (own(&mut random), format!("md5('{}-{writer}-{number}')::uuid", self.seed));
        let one_of = format!(
            "(SELECT id FROM messages WHERE session_id = {session} ORDER BY id LIMIT 1 OFFSET {})",
            random.below(20)
        );
        let message = format!(
            "INSERT INTO messages (id, session_id, agent_type, message_type, content, parent_message_id, tools_used, cost)
             VALUES ({id}, {session}, 'worker', 'response', 'live-{}-{writer}-{number} ' || repeat('text ', {}), {one_of}, '[\"a\", 1.50]', {}.5);",
            self.seed,
            random.below(80),
            random.below(100)
        );
        // Sessions grow, what a transaction does must not.
        let some = format!("length(content) % 9 = {}", random.below(9));
        match random.below(17) {
            0..=5 => message,
            6 | 7 => format!(
                "BEGIN; {message} INSERT INTO session_summaries (session_id, total_messages, success_rate)
                     SELECT session_id, count(*), 0.5 FROM messages WHERE session_id = {session} GROUP BY 1
                     ON CONFLICT (session_id) DO UPDATE SET total_messages = excluded.total_messages, updated_at = now();
                 COMMIT"
            ),
            8 => format!(
                "UPDATE sessions SET status = 'completed', end_time = now() WHERE id = {}",
                any("sessions", &mut random)
            ),
            9 => format!("UPDATE messages SET cost = {number} WHERE id = {}", any("messages", &mut random)),
            10 => format!("DELETE FROM messages WHERE id = {one_of}"),
            // Writers meet in one row, and end in another order than they began.
            11 => format!(
                "BEGIN; {message} SAVEPOINT s; DELETE FROM messages WHERE session_id = {session} AND {some}; ROLLBACK TO s;
                 UPDATE messages SET content = content || 'again', exit_code = NULL WHERE id = {id};
                 UPDATE sessions SET initial_task = 'hot {writer} {number}' WHERE id = md5('s1')::uuid; COMMIT"
            ),
            12 => {
                let made = format!("md5('made-{writer}-{}')::uuid", random.below(10));
                format!(
                    "BEGIN; DELETE FROM sessions WHERE id = {made};
                     INSERT INTO sessions (id, initial_task, work_dir) VALUES ({made}, 'task', '/{writer}');
                     {message} UPDATE messages SET session_id = {made} WHERE id = {id};
                     INSERT INTO system_events (session_id, event_type, details) VALUES ({made}, 'pause', '{number}');
                     INSERT INTO sessions (id, initial_task, work_dir) VALUES ({made}, 'again', '/{writer}')
                         ON CONFLICT (id) DO UPDATE SET initial_task = excluded.initial_task || {number}; COMMIT"
                )
            }
            13 => format!("UPDATE messages SET content = left(content, 400) || '+' WHERE session_id = {session} AND {some}"),
            14 => format!("UPDATE messages SET session_id = {} WHERE id = {one_of}", own(&mut random)),
            15 => format!(
                "INSERT INTO agent_communications (session_id, from_agent, to_agent, message_type, content, related_message_id)
                     VALUES ({session}, 'worker', 'manager', 'result', 'done {number}', {one_of});
                 UPDATE performance_metrics SET tokens_used = {number}, error_rate = 0.25 WHERE session_id = {session};
                 DELETE FROM system_events WHERE session_id = {session} AND details LIKE '%{}'",
                random.below(100)
            ),
            _ => format!("BEGIN; {message} DELETE FROM session_summaries WHERE session_id = {session}; ROLLBACK"),
        }
    }
}
