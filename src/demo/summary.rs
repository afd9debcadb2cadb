//! The summaries the application keeps of its sessions.

use super::conversation::Cells;
use super::odd::DELETED_SESSION;
use super::out::{Out, Table, spaced};
use super::random::{Stream, id};
use super::schedule::{BEGIN, Plan, Step};
use super::text::{COMMANDS, FILES, TOOLS, json_list};
use crate::base::{Millis, Result};
use crate::mapping::Value;

/// What a summary counts.
#[derive(Clone, Debug, Default)]
struct Summary {
    manager: i64,
    worker: i64,
    errors: i64,
    duration: i64,
    cost: f64,
    files: Vec<u8>,
    commands: Vec<u8>,
    tools: Vec<u8>,
    at: Millis,
}

/// The summaries of all sessions so far.
#[derive(Debug)]
pub(super) struct Summaries<'p> {
    plan: &'p Plan,
    of: Vec<Summary>,
}

impl<'p> Summaries<'p> {
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self { plan, of: vec![Summary::default(); plan.roles.len()] }
    }

    /// Counts a message, unless an update of this session's summary has thrown before.
    pub(super) fn add(&mut self, step: Step, cells: &Cells) {
        let stalled = step.session % 6 == 1 && step.nth > self.plan.quotas[step.session] / 2;
        if stalled {
            return;
        }
        let summary = &mut self.of[step.session];
        *(if cells.agent == "manager" { &mut summary.manager } else { &mut summary.worker }) += 1;
        summary.errors += i64::from(cells.kind == "error");
        summary.duration += cells.duration.unwrap_or(0);
        summary.cost += cells.cost.unwrap_or(0.0);
        summary.at = step.at;
        for (all, new) in [
            (&mut summary.files, &cells.files),
            (&mut summary.commands, &cells.commands),
            (&mut summary.tools, &cells.tools),
        ] {
            for item in new.iter().flatten() {
                if !all.contains(item) {
                    all.push(*item);
                }
            }
        }
    }

    pub(super) fn write(&self, out: &mut Out<'_>) -> Result<()> {
        for (session, summary) in self.of.iter().enumerate() {
            if summary.manager + summary.worker > 0 {
                put(&id(self.plan.seed, Stream::Session, session), summary, out)?;
            }
        }
        put(DELETED_SESSION, &Summary { worker: 2, at: BEGIN, ..Summary::default() }, out)
    }
}

fn put(session: &str, summary: &Summary, out: &mut Out<'_>) -> Result<()> {
    let total = summary.manager + summary.worker;
    let duration = if summary.duration == 0 { Value::Null } else { Value::Integer(summary.duration) };
    let cost = if summary.cost == 0.0 { Value::Null } else { Value::Real(summary.cost) };
    let (files, commands, tools) =
        (json_list(FILES, &summary.files), json_list(COMMANDS, &summary.commands), json_list(TOOLS, &summary.tools));
    // Each update replaces the row, so it is never older than its last message.
    let written = spaced(summary.at + 1_000);
    out.put(
        Table::Summaries,
        [
            Value::text(session),
            Value::Integer(total),
            Value::Integer(summary.manager),
            Value::Integer(summary.worker),
            duration,
            cost,
            Value::text(&files),
            Value::text(&commands),
            Value::text(&tools),
            Value::Real(1.0 - summary.errors as f64 / total as f64),
            Value::text(&written),
            Value::text(&written),
        ],
    )
}
