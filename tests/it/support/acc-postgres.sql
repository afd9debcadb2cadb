CREATE TABLE sessions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    start_time timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    end_time timestamptz,
    status varchar(20) NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'completed', 'failed', 'paused')),
    initial_task text NOT NULL,
    work_dir text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE messages (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    agent_type varchar(20) NOT NULL CHECK (agent_type IN ('manager', 'worker')),
    message_type varchar(20) NOT NULL CHECK (message_type IN ('prompt', 'response', 'tool_call', 'error', 'system')),
    content text NOT NULL,
    timestamp timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    parent_message_id uuid REFERENCES messages ON DELETE SET NULL,
    tools_used jsonb,
    files_modified jsonb,
    commands_executed jsonb,
    cost decimal(10,4),
    duration integer,
    exit_code integer
);
CREATE TABLE agent_communications (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    from_agent varchar(20) NOT NULL,
    to_agent varchar(20) NOT NULL,
    message_type varchar(20) NOT NULL,
    content text NOT NULL,
    timestamp timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    related_message_id uuid REFERENCES messages ON DELETE SET NULL
);
CREATE TABLE system_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    event_type varchar(20) NOT NULL,
    details text NOT NULL,
    timestamp timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE performance_metrics (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    agent_type varchar(20) NOT NULL,
    response_time integer NOT NULL,
    tokens_used integer,
    cost decimal(10,4),
    error_rate decimal(5,4) NOT NULL DEFAULT 0,
    timestamp timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE session_summaries (
    session_id uuid PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    total_messages integer NOT NULL DEFAULT 0,
    manager_messages integer NOT NULL DEFAULT 0,
    worker_messages integer NOT NULL DEFAULT 0,
    total_duration integer,
    total_cost decimal(10,4),
    files_modified jsonb,
    commands_executed jsonb,
    tools_used jsonb,
    success_rate decimal(5,4) NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE users (id uuid PRIMARY KEY, username varchar(100) UNIQUE, password_hash varchar(255));
CREATE MATERIALIZED VIEW session_overview AS SELECT id, status FROM sessions;
CREATE MATERIALIZED VIEW recent_activity AS SELECT id, session_id, timestamp FROM messages;
CREATE VIEW user_overview AS SELECT id, username FROM users;
