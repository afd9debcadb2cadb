//! Changes made to the legacy store behind the tool's back.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

/// A small deterministic source of numbers.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}

const RETURNING: &str = "returning-row";

fn connect(path: &Path) -> Connection {
    let store = Connection::open(path).unwrap();
    store.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    store
}

/// One transaction of updates, inserts and deletes in every mapped table. Rows are picked by the remainder of their
/// place, so that copied ranges and ranges not copied yet are both hit; sessions go with all that belongs to them.
pub fn change(path: &Path, random: &mut Random) {
    let mut store = connect(path);
    // A program that writes beside it would make one fail that begins by reading.
    let transaction = store.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let count = |table: &str| -> i64 {
        transaction.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    let before = transaction.total_changes();
    let round = random.below(1 << 40);
    let pick = |random: &mut Random, of: u64| format!("rowid % {of} = {}", random.below(of));
    let mut script = String::new();
    for (table, assignment) in [
        ("messages", "content = content || ' again', cost = coalesce(cost, 0) + 0.25"),
        ("agent_communications", "content = ''"),
        ("system_events", "details = 'changed ' || id"),
        ("performance_metrics", "tokens_used = NULL, error_rate = 0.5"),
        ("session_summaries", "total_messages = total_messages + 1"),
        ("sessions", "status = 'paused', end_time = NULL"),
    ] {
        script += &format!("UPDATE {table} SET {assignment} WHERE {};\n", pick(random, 9));
    }
    for table in ["messages", "agent_communications", "system_events", "performance_metrics", "session_summaries"] {
        script += &format!("DELETE FROM {table} WHERE {};\n", pick(random, 13));
    }
    if count("sessions") > 20 {
        script += &format!("DELETE FROM sessions WHERE {};\n", pick(random, 17));
    }
    // Another session is another record key, and often another partition.
    script += &format!(
        "UPDATE messages SET session_id = (SELECT min(id) FROM sessions) WHERE {};
         INSERT INTO sessions (id, initial_task, work_dir) SELECT 'new-{round}-' || rowid, 'task', '/' FROM sessions WHERE {};
         INSERT INTO messages (id, session_id, agent_type, message_type, content, cost)
             SELECT char(33 + rowid % 90) || '{round}-' || rowid, id, 'worker', 'system', 'new', 1.0 FROM sessions WHERE {};
         INSERT INTO system_events (id, session_id, event_type, details)
             SELECT char(33 + rowid % 90) || '{round}-' || rowid, id, 'error', 'new' FROM sessions WHERE {};\n",
        pick(random, 23),
        pick(random, 11),
        pick(random, 3),
        pick(random, 5),
    );
    transaction.execute_batch(&script).unwrap();
    assert!(transaction.total_changes() > before);
    transaction.commit().unwrap();
    if take_away(path) == 0 {
        bring_back(path);
    }
}

/// Deletes the row that comes and goes, always the same to the last byte; says how many went.
pub fn take_away(path: &Path) -> usize {
    connect(path).execute("DELETE FROM sessions WHERE id = ?1", [RETURNING]).unwrap()
}

pub fn bring_back(path: &Path) {
    let made = connect(path)
        .execute(
            "INSERT INTO sessions VALUES (?1, '2025-01-01', NULL, 'running', 'task', '/', '2025-01-01', '2025-01-01')",
            [RETURNING],
        )
        .unwrap();
    assert_eq!(made, 1);
}
