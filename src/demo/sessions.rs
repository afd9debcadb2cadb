//! Sessions and their starts.

use super::odd::DELETED_SESSION;
use super::out::{Out, Table, iso, or_null, spaced};
use super::random::{Random, Stream, id};
use super::schedule::{BEGIN, Plan, Role, STAMPEDE, Span};
use super::text::TASKS;
use crate::base::{Millis, Result};
use crate::mapping::Value;

/// How a session that does work ends: status, and the moment it says it ended.
fn ending(nth: usize, span: Span) -> (&'static str, Option<Millis>) {
    match nth % 10 {
        0 => ("completed", Some(span.last + 1_250)),
        // Stopped, while the process went on posting to it.
        1 => ("completed", Some(span.start + (span.last - span.start) / 2)),
        2 => ("failed", Some(span.last + 40)),
        3 => ("paused", None),
        // The agent program never ends its sessions.
        _ => ("running", None),
    }
}

pub(super) fn write(plan: &Plan, spans: &[Span], out: &mut Out<'_>) -> Result<()> {
    let mut random = Random::new(plan.seed, Stream::Session);
    for (session, (role, span)) in plan.roles.iter().zip(spans).enumerate() {
        let id = id(plan.seed, Stream::Session, session);
        let (mut task, mut folder) = (random.pick(TASKS), "/home/dev/projects/shop");
        let (mut status, mut end) = ("running", None);
        match role {
            Role::Work(nth) => (status, end) = ending(*nth, *span),
            Role::HealthCheck => (status, task, folder) = ("completed", "health check", "/tmp"),
            Role::Stampede => task = "Dual-agent session",
        }
        let by_hand = matches!(role, Role::Work(nth) if nth % 40 == 4);
        if by_hand {
            (task, folder) = ("", "C:\\Users\\dev\\\u{dc}bung");
        }
        let start = if by_hand { spaced(span.start) } else { iso(span.start) };
        let end_text = end.map(iso);
        let (created, updated) = (spaced(span.start), spaced(end.unwrap_or(span.start)));
        out.put(
            Table::Sessions,
            [
                Value::text(&id),
                Value::text(&start),
                or_null(end_text.as_deref()),
                Value::text(status),
                Value::text(task),
                Value::text(folder),
                Value::text(&created),
                Value::text(&updated),
            ],
        )?;
    }
    starts(plan, spans, out)
}

/// The start events: written after the answer, so some processes died before theirs; those of a stampede in another
/// order than its sessions, and three with one time.
fn starts(plan: &Plan, spans: &[Span], out: &mut Out<'_>) -> Result<()> {
    let mut put = |index: usize, session: &str, details: &str, at: Millis| {
        let (id, at) = (id(plan.seed, Stream::SystemEvent, index), iso(at));
        let kind = Value::text("session_start");
        out.put(
            Table::SystemEvents,
            [Value::text(&id), Value::text(session), kind, Value::text(details), Value::text(&at)],
        )
    };
    for (session, span) in spans.iter().enumerate() {
        let (named, at) = if STAMPEDE.contains(&session) {
            let nth = session - STAMPEDE.start;
            let swapped = STAMPEDE.start + (nth ^ 1);
            (swapped, spans[STAMPEDE.start].start + 52 + if nth < 3 { 0 } else { nth as Millis })
        } else {
            (session, span.start + 2)
        };
        if session % 5 != 2 || STAMPEDE.contains(&session) {
            put(session, &id(plan.seed, Stream::Session, named), "Session started", at)?;
        }
    }
    put(spans.len(), DELETED_SESSION, "{\"task\": \"gone\",  \"task\": \"twice\"}", BEGIN + 1)
}
