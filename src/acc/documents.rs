//! ACC's session files and its HTTP export, as documents.

use crate::base::Result;
use crate::document::{Field, Layout, Lines, Shape};
use crate::mapping::Mapping;
use Field::{Document, Own, Place, Rest};

/// The preset's mapping of session files.
pub const FILES_MAPPING: &str = include_str!("files.yaml");

/// The preset's mapping of what the server exports.
pub const HTTP_MAPPING: &str = include_str!("http.yaml");

pub fn files_mapping() -> Result<Mapping> {
    Mapping::parse("acc/files.yaml", FILES_MAPPING)
}

pub fn http_mapping() -> Result<Mapping> {
    Mapping::parse("acc/http.yaml", HTTP_MAPPING)
}

/// What lets a session be taken up again.
const NEVER: &[&str] = &["continueToken"];

/// The three shapes of session files.
pub const FILES: Layout = Layout {
    never: NEVER,
    shapes: &[
        Shape {
            name: "session of the command line",
            with: &["initialPrompt"],
            lines: &[
                Lines {
                    table: "cli_sessions",
                    at: &[],
                    columns: &[
                        ("id", Own(&["id"])),
                        ("start_time", Own(&["startTime"])),
                        ("end_time", Own(&["endTime"])),
                        ("status", Own(&["status"])),
                        ("initial_prompt", Own(&["initialPrompt"])),
                        ("work_dir", Own(&["workDir"])),
                        ("more", Rest),
                    ],
                },
                Lines {
                    table: "cli_iterations",
                    at: &["iterations"],
                    columns: &[
                        ("session_id", Document(&["id"])),
                        ("place", Place),
                        ("iteration", Own(&["iteration"])),
                        ("prompt", Own(&["prompt"])),
                        ("output", Own(&["output"])),
                        ("exit_code", Own(&["exitCode"])),
                        ("duration", Own(&["duration"])),
                        ("timestamp", Own(&["timestamp"])),
                        ("more", Rest),
                    ],
                },
            ],
        },
        Shape {
            name: "session of the monitor's file store",
            with: &["startTime", "initialTask"],
            lines: &[
                Lines {
                    table: "monitor_sessions",
                    at: &[],
                    columns: &[
                        ("id", Own(&["id"])),
                        ("start_time", Own(&["startTime"])),
                        ("end_time", Own(&["endTime"])),
                        ("status", Own(&["status"])),
                        ("initial_task", Own(&["initialTask"])),
                        ("work_dir", Own(&["workDir"])),
                        ("summary", Own(&["summary"])),
                        ("more", Rest),
                    ],
                },
                Lines {
                    table: "monitor_messages",
                    at: &["messages"],
                    columns: &[
                        ("session", Document(&["id"])),
                        ("place", Place),
                        ("id", Own(&["id"])),
                        ("session_id", Own(&["sessionId"])),
                        ("agent_type", Own(&["agentType"])),
                        ("message_type", Own(&["messageType"])),
                        ("content", Own(&["content"])),
                        ("metadata", Own(&["metadata"])),
                        ("timestamp", Own(&["timestamp"])),
                        ("more", Rest),
                    ],
                },
            ],
        },
        Shape {
            name: "session of the simple server",
            with: &["createdAt", "agentStates"],
            lines: &[
                Lines {
                    table: "simple_sessions",
                    at: &[],
                    columns: &[
                        ("id", Own(&["id"])),
                        ("initial_task", Own(&["initialTask"])),
                        ("work_dir", Own(&["workDir"])),
                        ("status", Own(&["status"])),
                        ("created_at", Own(&["createdAt"])),
                        ("updated_at", Own(&["updatedAt"])),
                        ("agent_states", Own(&["agentStates"])),
                        ("more", Rest),
                    ],
                },
                Lines {
                    table: "simple_messages",
                    at: &["messages"],
                    columns: &[
                        ("session", Document(&["id"])),
                        ("place", Place),
                        ("id", Own(&["id"])),
                        ("agent_type", Own(&["agentType"])),
                        ("message_type", Own(&["messageType"])),
                        ("content", Own(&["content"])),
                        ("metadata", Own(&["metadata"])),
                        ("timestamp", Own(&["timestamp"])),
                        ("more", Rest),
                    ],
                },
            ],
        },
    ],
};

/// What `/api/sessions/:id/export` answers.
pub const HTTP: Layout = Layout {
    never: NEVER,
    shapes: &[Shape {
        name: "export of a session",
        with: &["session", "communications", "events", "metrics"],
        lines: &[
            Lines {
                table: "sessions",
                at: &["session"],
                columns: &[
                    ("id", Own(&["id"])),
                    ("start_time", Own(&["startTime"])),
                    ("end_time", Own(&["endTime"])),
                    ("status", Own(&["status"])),
                    ("initial_task", Own(&["initialTask"])),
                    ("work_dir", Own(&["workDir"])),
                    ("more", Rest),
                ],
            },
            Lines {
                table: "messages",
                at: &["session", "messages"],
                columns: &[
                    ("id", Own(&["id"])),
                    ("place", Place),
                    ("session_id", Own(&["sessionId"])),
                    ("agent_type", Own(&["agentType"])),
                    ("message_type", Own(&["messageType"])),
                    ("content", Own(&["content"])),
                    ("timestamp", Own(&["timestamp"])),
                    ("metadata", Own(&["metadata"])),
                    ("more", Rest),
                ],
            },
            Lines {
                table: "session_summaries",
                at: &["session", "summary"],
                columns: &[
                    ("session_id", Document(&["session", "id"])),
                    ("total_messages", Own(&["totalMessages"])),
                    ("manager_messages", Own(&["managerMessages"])),
                    ("worker_messages", Own(&["workerMessages"])),
                    ("total_duration", Own(&["totalDuration"])),
                    ("total_cost", Own(&["totalCost"])),
                    ("files_modified", Own(&["filesModified"])),
                    ("commands_executed", Own(&["commandsExecuted"])),
                    ("tools_used", Own(&["toolsUsed"])),
                    ("success_rate", Own(&["successRate"])),
                    ("more", Rest),
                ],
            },
            Lines {
                table: "agent_communications",
                at: &["communications"],
                columns: &[
                    ("session_id", Document(&["session", "id"])),
                    ("place", Place),
                    ("id", Own(&["id"])),
                    ("from_agent", Own(&["fromAgent"])),
                    ("to_agent", Own(&["toAgent"])),
                    ("message_type", Own(&["messageType"])),
                    ("content", Own(&["content"])),
                    ("timestamp", Own(&["timestamp"])),
                    ("related_message_id", Own(&["relatedMessageId"])),
                    ("more", Rest),
                ],
            },
            Lines {
                table: "system_events",
                at: &["events"],
                columns: &[
                    ("session_id", Document(&["session", "id"])),
                    ("place", Place),
                    ("id", Own(&["id"])),
                    ("event_type", Own(&["eventType"])),
                    ("details", Own(&["details"])),
                    ("timestamp", Own(&["timestamp"])),
                    ("more", Rest),
                ],
            },
            Lines {
                table: "performance_metrics",
                at: &["metrics"],
                columns: &[
                    ("session_id", Document(&["session", "id"])),
                    ("place", Place),
                    ("id", Own(&["id"])),
                    ("agent_type", Own(&["agentType"])),
                    ("response_time", Own(&["responseTime"])),
                    ("tokens_used", Own(&["tokensUsed"])),
                    ("cost", Own(&["cost"])),
                    ("error_rate", Own(&["errorRate"])),
                    ("timestamp", Own(&["timestamp"])),
                    ("more", Rest),
                ],
            },
        ],
    }],
};

/// Ids that a late version of the server makes up when it has no sessions.
pub const INVENTED: &str = "demo-";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Tables;

    #[test]
    fn the_mappings_fit_the_layouts() {
        for (mapping, layout) in [(files_mapping().unwrap(), FILES), (http_mapping().unwrap(), HTTP)] {
            assert_eq!(Tables::check(&mapping, layout, "documents").unwrap(), []);
        }
    }

    #[test]
    fn the_three_shapes_are_told_apart_by_their_keys() {
        let shape = |text: &str| FILES.shape(&serde_json::from_str(text).unwrap()).map(|shape| shape.lines[0].table);
        assert_eq!(shape(r#"{"id":"s","startTime":"","initialPrompt":"","iterations":[]}"#), Some("cli_sessions"));
        assert_eq!(shape(r#"{"id":"s","startTime":"","initialTask":"","messages":[]}"#), Some("monitor_sessions"));
        assert_eq!(shape(r#"{"id":"s","initialTask":"","createdAt":"","agentStates":{}}"#), Some("simple_sessions"));
        assert_eq!(shape(r#"{"id":"s"}"#), None);
        assert_eq!(shape("[]"), None);
    }
}
