//! The tables of the store, and rows on their way out in chunks.

use crate::base::{Millis, Result, rfc3339};
use crate::mapping::{Rows, Value};

const CHUNK_ROWS: usize = 500;

/// A table of the store; its place in [`TABLES`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Table {
    Sessions,
    Messages,
    Communications,
    SystemEvents,
    Metrics,
    Summaries,
    Users,
    UserSessions,
    UserProfiles,
    AuditLog,
    Permissions,
    UserPermissions,
}

pub(super) const TABLES: [(&str, &[&str]); 12] = [
    ("sessions", &["id", "start_time", "end_time", "status", "initial_task", "work_dir", "created_at", "updated_at"]),
    (
        "messages",
        &[
            "id",
            "session_id",
            "agent_type",
            "message_type",
            "content",
            "timestamp",
            "parent_message_id",
            "tools_used",
            "files_modified",
            "commands_executed",
            "cost",
            "duration",
            "exit_code",
        ],
    ),
    (
        "agent_communications",
        &["id", "session_id", "from_agent", "to_agent", "message_type", "content", "timestamp", "related_message_id"],
    ),
    ("system_events", &["id", "session_id", "event_type", "details", "timestamp"]),
    (
        "performance_metrics",
        &["id", "session_id", "agent_type", "response_time", "tokens_used", "cost", "error_rate", "timestamp"],
    ),
    (
        "session_summaries",
        &[
            "session_id",
            "total_messages",
            "manager_messages",
            "worker_messages",
            "total_duration",
            "total_cost",
            "files_modified",
            "commands_executed",
            "tools_used",
            "success_rate",
            "created_at",
            "updated_at",
        ],
    ),
    ("users", &["id", "username", "email", "password_hash", "role", "last_login_at", "created_at", "updated_at"]),
    (
        "user_sessions",
        &[
            "id",
            "user_id",
            "refresh_token",
            "permissions",
            "expires_at",
            "created_at",
            "updated_at",
            "ip_address",
            "user_agent",
        ],
    ),
    ("user_profiles", &["id", "user_id", "display_name", "preferences", "created_at", "updated_at"]),
    ("audit_log", &["id", "user_id", "action", "resource_type", "details", "ip_address", "user_agent", "timestamp"]),
    ("permissions", &["id", "name", "description", "category", "created_at"]),
    ("user_permissions", &["id", "user_id", "permission_id", "granted_at", "granted_by"]),
];

/// What takes the rows: table, columns, rows.
pub type Each<'e> = &'e mut dyn FnMut(&str, &[&str], &Rows) -> Result<()>;

/// One unfinished chunk per table. Order holds within a table.
pub(super) struct Out<'e> {
    each: Each<'e>,
    chunks: Vec<Rows>,
}

impl<'e> Out<'e> {
    pub(super) fn new(each: Each<'e>) -> Self {
        Self { each, chunks: TABLES.iter().map(|(_, columns)| Rows::new(columns.len())).collect() }
    }

    pub(super) fn put<const N: usize>(&mut self, table: Table, row: [Value<'_>; N]) -> Result<()> {
        let chunk = &mut self.chunks[table as usize];
        debug_assert_eq!(chunk.width(), N);
        for value in row {
            chunk.push(value);
        }
        if chunk.len() == CHUNK_ROWS { self.flush(table as usize) } else { Ok(()) }
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        (0..TABLES.len()).try_for_each(|table| self.flush(table))
    }

    fn flush(&mut self, table: usize) -> Result<()> {
        let (name, columns) = TABLES[table];
        let chunk = &mut self.chunks[table];
        if !chunk.is_empty() {
            (self.each)(name, columns, chunk)?;
            chunk.reset(columns.len());
        }
        Ok(())
    }
}

/// A time as the application writes it.
pub(super) fn iso(at: Millis) -> String {
    rfc3339(at)
}

/// A time as the store's default writes it.
pub(super) fn spaced(at: Millis) -> String {
    let mut text = rfc3339(at).replacen('T', " ", 1);
    text.truncate("2026-06-01 08:00:00".len());
    text
}

/// Text, or null.
pub(super) fn or_null(value: Option<&str>) -> Value<'_> {
    value.map_or(Value::Null, Value::text)
}
