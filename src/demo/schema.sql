PRAGMA foreign_keys=ON;

-- Sessions and what happened in them.

CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    start_time DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    end_time DATETIME,
    status TEXT NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'completed', 'failed', 'paused')),
    initial_task TEXT NOT NULL,
    work_dir TEXT NOT NULL,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS messages (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    agent_type TEXT NOT NULL CHECK (agent_type IN ('manager', 'worker')),
    message_type TEXT NOT NULL CHECK (message_type IN ('prompt', 'response', 'tool_call', 'error', 'system')),
    content TEXT NOT NULL,
    timestamp DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    parent_message_id TEXT,
    tools_used TEXT,
    files_modified TEXT,
    commands_executed TEXT,
    cost REAL,
    duration INTEGER,
    exit_code INTEGER,
    FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE,
    FOREIGN KEY (parent_message_id) REFERENCES messages(id) ON DELETE SET NULL
);

CREATE TABLE IF NOT EXISTS agent_communications (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    from_agent TEXT NOT NULL CHECK (from_agent IN ('manager', 'worker')),
    to_agent TEXT NOT NULL CHECK (to_agent IN ('manager', 'worker')),
    message_type TEXT NOT NULL CHECK (message_type IN ('instruction', 'feedback', 'result', 'question')),
    content TEXT NOT NULL,
    timestamp DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    related_message_id TEXT,
    FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE,
    FOREIGN KEY (related_message_id) REFERENCES messages(id) ON DELETE SET NULL
);

CREATE TABLE IF NOT EXISTS system_events (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    event_type TEXT NOT NULL
        CHECK (event_type IN ('session_start', 'session_end', 'agent_switch', 'error', 'pause', 'resume')),
    details TEXT NOT NULL,
    timestamp DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE
);

CREATE TABLE IF NOT EXISTS performance_metrics (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    agent_type TEXT NOT NULL CHECK (agent_type IN ('manager', 'worker')),
    response_time INTEGER NOT NULL,
    tokens_used INTEGER,
    cost REAL,
    error_rate REAL NOT NULL DEFAULT 0,
    timestamp DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE
);

CREATE TABLE IF NOT EXISTS session_summaries (
    session_id TEXT PRIMARY KEY,
    total_messages INTEGER NOT NULL DEFAULT 0,
    manager_messages INTEGER NOT NULL DEFAULT 0,
    worker_messages INTEGER NOT NULL DEFAULT 0,
    total_duration INTEGER,
    total_cost REAL,
    files_modified TEXT,
    commands_executed TEXT,
    tools_used TEXT,
    success_rate REAL NOT NULL DEFAULT 0,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE
);

-- Accounts.

CREATE TABLE IF NOT EXISTS users (
    id TEXT PRIMARY KEY,
    username TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL DEFAULT 'viewer' CHECK (role IN ('admin', 'manager', 'viewer')),
    is_active BOOLEAN NOT NULL DEFAULT 1,
    last_login_at DATETIME,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS user_sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    refresh_token TEXT NOT NULL UNIQUE,
    permissions TEXT NOT NULL,
    expires_at DATETIME NOT NULL,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_accessed_at DATETIME,
    ip_address TEXT,
    user_agent TEXT,
    is_active BOOLEAN NOT NULL DEFAULT 1,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

CREATE TABLE IF NOT EXISTS user_profiles (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL UNIQUE,
    display_name TEXT,
    avatar TEXT,
    preferences TEXT NOT NULL DEFAULT '{}',
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

CREATE TABLE IF NOT EXISTS audit_log (
    id TEXT PRIMARY KEY,
    user_id TEXT,
    action TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT,
    details TEXT,
    ip_address TEXT,
    user_agent TEXT,
    timestamp DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE SET NULL
);

CREATE TABLE IF NOT EXISTS permissions (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT,
    category TEXT NOT NULL,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS user_permissions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    permission_id TEXT NOT NULL,
    granted_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    granted_by TEXT,
    expires_at DATETIME,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE,
    FOREIGN KEY (permission_id) REFERENCES permissions(id) ON DELETE CASCADE,
    FOREIGN KEY (granted_by) REFERENCES users(id) ON DELETE CASCADE,
    UNIQUE (user_id, permission_id)
);

CREATE INDEX IF NOT EXISTS idx_sessions_status ON sessions(status);
CREATE INDEX IF NOT EXISTS idx_sessions_start_time ON sessions(start_time);
CREATE INDEX IF NOT EXISTS idx_messages_session_id ON messages(session_id);
CREATE INDEX IF NOT EXISTS idx_messages_timestamp ON messages(timestamp);
CREATE INDEX IF NOT EXISTS idx_messages_agent_type ON messages(agent_type);
CREATE INDEX IF NOT EXISTS idx_messages_parent ON messages(parent_message_id);
CREATE INDEX IF NOT EXISTS idx_communications_session_id ON agent_communications(session_id);
CREATE INDEX IF NOT EXISTS idx_communications_timestamp ON agent_communications(timestamp);
CREATE INDEX IF NOT EXISTS idx_communications_related ON agent_communications(related_message_id);
CREATE INDEX IF NOT EXISTS idx_system_events_session_id ON system_events(session_id);
CREATE INDEX IF NOT EXISTS idx_system_events_timestamp ON system_events(timestamp);
CREATE INDEX IF NOT EXISTS idx_metrics_session_id ON performance_metrics(session_id);
CREATE INDEX IF NOT EXISTS idx_metrics_timestamp ON performance_metrics(timestamp);
CREATE INDEX IF NOT EXISTS idx_user_sessions_user_id ON user_sessions(user_id);
CREATE INDEX IF NOT EXISTS idx_user_sessions_expires_at ON user_sessions(expires_at);
CREATE INDEX IF NOT EXISTS idx_audit_log_user_id ON audit_log(user_id);
CREATE INDEX IF NOT EXISTS idx_audit_log_timestamp ON audit_log(timestamp);
CREATE INDEX IF NOT EXISTS idx_user_permissions_user_id ON user_permissions(user_id);

CREATE VIEW IF NOT EXISTS session_overview AS
SELECT
    s.id,
    s.start_time,
    s.end_time,
    s.status,
    s.initial_task,
    s.work_dir,
    coalesce(y.total_messages, 0) AS total_messages,
    y.total_duration,
    y.total_cost,
    coalesce(y.success_rate, 0) AS success_rate,
    (SELECT max(m.timestamp) FROM messages m WHERE m.session_id = s.id) AS last_activity
FROM sessions s
LEFT JOIN session_summaries y ON y.session_id = s.id;

CREATE VIEW IF NOT EXISTS recent_activity AS
SELECT 'message' AS activity_type, id, session_id, agent_type AS agent, message_type, content, timestamp FROM messages
UNION ALL
SELECT 'communication', id, session_id, from_agent, message_type, content, timestamp FROM agent_communications
ORDER BY timestamp DESC
LIMIT 100;

CREATE VIEW IF NOT EXISTS user_overview AS
SELECT
    u.id,
    u.username,
    u.email,
    u.role,
    u.is_active,
    u.last_login_at,
    p.display_name,
    (SELECT count(*) FROM user_sessions o WHERE o.user_id = u.id AND o.is_active = 1) AS active_sessions,
    (SELECT count(*) FROM user_permissions g WHERE g.user_id = u.id) AS permission_count
FROM users u
LEFT JOIN user_profiles p ON p.user_id = u.id;

CREATE VIEW IF NOT EXISTS session_activity_with_users AS
SELECT s.id AS session_id, s.status, s.start_time, a.action, a.timestamp AS action_time, u.username, u.role
FROM sessions s
LEFT JOIN audit_log a ON a.resource_type = 'session' AND a.resource_id = s.id
LEFT JOIN users u ON u.id = a.user_id;

CREATE TRIGGER IF NOT EXISTS update_sessions_timestamp AFTER UPDATE ON sessions
BEGIN
    UPDATE sessions SET updated_at = CURRENT_TIMESTAMP WHERE id = NEW.id;
END;

CREATE TRIGGER IF NOT EXISTS update_session_summaries_timestamp AFTER UPDATE ON session_summaries
BEGIN
    UPDATE session_summaries SET updated_at = CURRENT_TIMESTAMP WHERE session_id = NEW.session_id;
END;

CREATE TRIGGER IF NOT EXISTS update_users_timestamp AFTER UPDATE ON users
BEGIN
    UPDATE users SET updated_at = CURRENT_TIMESTAMP WHERE id = NEW.id;
END;

CREATE TRIGGER IF NOT EXISTS update_user_profiles_timestamp AFTER UPDATE ON user_profiles
BEGIN
    UPDATE user_profiles SET updated_at = CURRENT_TIMESTAMP WHERE id = NEW.id;
END;

CREATE TRIGGER IF NOT EXISTS update_user_sessions_timestamp AFTER UPDATE ON user_sessions
BEGIN
    UPDATE user_sessions SET updated_at = CURRENT_TIMESTAMP WHERE id = NEW.id;
END;

-- The comparison is never true from NULL, so a first login leaves no entry.
CREATE TRIGGER IF NOT EXISTS audit_user_login AFTER UPDATE ON users WHEN NEW.last_login_at != OLD.last_login_at
BEGIN
    INSERT INTO audit_log (id, user_id, action, resource_type, resource_id)
    VALUES (hex(randomblob(16)), NEW.id, 'login', 'user', NEW.id);
END;
