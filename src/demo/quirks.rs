//! Proof that the generated store has the quirks it is meant to have.

/// See [`super::quirks()`].
pub(super) const QUIRKS: &[(u8, &str, &str)] = &[
    (
        1,
        "messages",
        "SELECT min(sum(timestamp GLOB '????-??-??T*Z'), sum(timestamp GLOB '????-??-?? *')) FROM messages",
    ),
    (
        1,
        "sessions",
        "SELECT min(sum(start_time GLOB '????-??-??T*Z'), sum(start_time GLOB '????-??-?? *')) FROM sessions",
    ),
    (5, "messages", "SELECT count(*) FROM (SELECT 1 FROM messages GROUP BY session_id, timestamp HAVING count(*) > 1)"),
    (
        6,
        "messages",
        "SELECT count(*) FROM (SELECT timestamp < lag(timestamp) OVER (PARTITION BY session_id ORDER BY rowid) AS back \
         FROM messages WHERE timestamp GLOB '*T*Z') WHERE back",
    ),
    (
        8,
        "sessions",
        "SELECT count(*) FROM sessions \
         WHERE status = 'completed' AND end_time IS NULL AND initial_task = 'health check'",
    ),
    (
        9,
        "messages",
        "SELECT count(*) FROM messages m JOIN sessions s ON s.id = m.session_id \
         WHERE m.timestamp GLOB '*T*Z' AND m.timestamp > s.end_time",
    ),
    (
        10,
        "messages",
        "SELECT min(sum(cost IS NULL), sum(cost = 0), sum(duration IS NULL), sum(duration = 0), \
         sum(exit_code IS NULL), sum(exit_code = 0)) FROM messages",
    ),
    (12, "messages", "SELECT min(sum(tools_used IS NULL), sum(tools_used = '[]')) FROM messages"),
    (13, "messages", "SELECT count(*) FROM messages WHERE duration = 12.5 AND typeof(duration) = 'real'"),
    (13, "messages", "SELECT count(*) FROM messages WHERE duration = 3000000000"),
    (13, "messages", "SELECT count(*) FROM messages WHERE exit_code = 2.5"),
    (13, "messages", "SELECT count(*) FROM messages WHERE cost = 'abc'"),
    (13, "messages", "SELECT count(*) FROM messages WHERE tools_used = '\"Read\"'"),
    (13, "performance_metrics", "SELECT count(*) FROM performance_metrics WHERE response_time = 99.5"),
    (
        16,
        "messages",
        "SELECT count(*) FROM messages WHERE typeof(content) = 'text' AND instr(CAST(content AS BLOB), x'00')",
    ),
    (16, "messages", "SELECT count(*) FROM messages WHERE instr(content, char(65533))"),
    (16, "messages", "SELECT count(*) FROM messages WHERE content = '[object Object]'"),
    (17, "messages", "SELECT count(*) FROM messages WHERE tools_used GLOB '[[] *\" ,*'"),
    (17, "messages", "SELECT count(*) FROM messages WHERE files_modified LIKE '{\"b\":%\"b\":%'"),
    (
        20,
        "sessions",
        "SELECT count(*) = 10 AND round((julianday(max(start_time)) - julianday(min(start_time))) * 86400000) <= 45 \
         FROM sessions s WHERE initial_task = 'Dual-agent session' AND status = 'running' AND end_time IS NULL \
         AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.session_id = s.id)",
    ),
    (
        20,
        "system_events",
        "SELECT count(*) FROM (SELECT 1 FROM system_events e JOIN sessions s ON s.id = e.session_id \
         WHERE s.initial_task = 'Dual-agent session' GROUP BY e.timestamp HAVING count(*) = 3)",
    ),
    (
        23,
        "session_summaries",
        "SELECT count(*) FROM session_summaries y \
         WHERE total_messages < (SELECT 0.8 * count(*) FROM messages m WHERE m.session_id = y.session_id)",
    ),
    (
        23,
        "session_summaries",
        "SELECT count(*) FROM session_summaries y JOIN sessions s ON s.id = y.session_id \
         WHERE y.created_at > s.created_at AND y.created_at = y.updated_at",
    ),
    (
        24,
        "sessions",
        "SELECT count(*) FROM sessions s WHERE status = 'running' AND end_time IS NULL AND NOT EXISTS \
         (SELECT 1 FROM system_events e WHERE e.session_id = s.id AND e.event_type = 'session_start')",
    ),
    (25, "messages", "SELECT count(*) FROM messages WHERE session_id NOT IN (SELECT id FROM sessions)"),
    (25, "system_events", "SELECT count(*) FROM system_events WHERE session_id NOT IN (SELECT id FROM sessions)"),
    (
        25,
        "session_summaries",
        "SELECT count(*) FROM session_summaries WHERE session_id NOT IN (SELECT id FROM sessions)",
    ),
    (
        27,
        "messages",
        "SELECT count(*) FROM messages c JOIN messages p ON p.id = c.parent_message_id \
         WHERE p.rowid > c.rowid AND p.session_id = c.session_id",
    ),
    (27, "messages", "SELECT count(*) FROM messages c JOIN messages p ON p.id = c.parent_message_id WHERE p.id > c.id"),
    (
        27,
        "agent_communications",
        "SELECT count(*) FROM agent_communications c JOIN messages m ON m.id = c.related_message_id \
         WHERE m.timestamp > c.timestamp",
    ),
    (0, "messages", "SELECT count(*) FROM messages WHERE content = CAST(x'6c6174696e2d3120636166e920fffe' AS TEXT)"),
    (0, "messages", "SELECT count(*) FROM messages WHERE typeof(content) = 'blob'"),
    (0, "messages", "SELECT count(*) FROM messages WHERE content = ''"),
    (0, "messages", "SELECT count(*) FROM messages WHERE duration = 9007199254740993"),
    (
        0,
        "messages",
        "SELECT count(*) FROM messages WHERE duration = 9223372036854775807 AND exit_code = -9223372036854775807 - 1",
    ),
    (0, "messages", "SELECT min(sum(cost = 9e999), sum(cost = -9e999)) FROM messages"),
    (0, "messages", "SELECT count(*) FROM messages WHERE cost > 0 AND cost < 1e-300"),
    (0, "messages", "SELECT count(*) FROM messages WHERE typeof(timestamp) IN ('integer', 'real')"),
    (0, "messages", "SELECT count(*) FROM messages WHERE length(content) > 30000"),
];
