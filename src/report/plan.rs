//! A provision plan for people: what is added, changed and removed, what stands in the way, and what is left to do.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::base::words::counted;
use crate::plan::{Action, Change, Kind, Op, Plan, Risk, Step, WayBack};

/// Kind of change, with the words for one of it.
const KINDS: [(Kind, &str); 8] = [
    (Kind::Topic, "topic"),
    (Kind::Partitions, "partition count"),
    (Kind::ReplicationFactor, "replication factor"),
    (Kind::Config, "config"),
    (Kind::Acl, "access rule"),
    (Kind::Claim, "claim"),
    (Kind::Compatibility, "compatibility level"),
    (Kind::Schema, "schema"),
];

/// The view: steps with their changes, counts per kind, and what the operator has to do by hand.
pub fn view(plan: &Plan) -> String {
    let mut text = format!("plan for {} (cluster {})\n", plan.home, plan.cluster_id);
    for step in &plan.steps {
        text.push('\n');
        one(&mut text, step);
    }
    for note in &plan.notes {
        let _ = write!(text, "\nnote: {note}");
    }
    if !plan.notes.is_empty() {
        text.push('\n');
    }
    for manual in &plan.manual {
        let _ = write!(text, "\nby hand, {} {}: {}\n    {}\n", manual.kind, manual.name, manual.reason, manual.command);
    }
    let _ = write!(text, "\n{}\n", summary(plan));
    text
}

fn one(text: &mut String, step: &Step) {
    let mut before: Option<&str> = None;
    for change in &step.changes {
        let head = change.field.is_empty();
        // Many changes of one thing stand under its name once.
        if !head && before != Some(&change.name) {
            let _ = writeln!(text, "  {}", change.name);
        }
        before = Some(&change.name);
        let indent = if head { "" } else { "    " };
        let what = if head { format!("{} {}", kind(change.kind), change.name) } else { change.field.clone() };
        let values = match (&change.from, &change.to, change.op) {
            // The rule is the field; that it allows goes without saying.
            _ if change.kind == Kind::Acl => String::new(),
            (Some(from), Some(to), _) => format!(": {from} → {to}"),
            (None, Some(to), _) => format!(": {to}"),
            (Some(from), None, _) => format!(" (was {from})"),
            (None, None, _) => String::new(),
        };
        let _ = writeln!(text, "{}{indent} {what}{values}{}", sign(change), warning(change));
    }
    // That access rules cannot be tried goes without saying; a refusal stands at its change.
    let told =
        step.answer.as_ref().filter(|answer| answer.starts_with("not asked") && step.action().is_some_and(untried));
    if let Some(answer) = told {
        let _ = writeln!(text, "     {answer}");
    }
}

fn untried(action: &Action) -> bool {
    !matches!(action, Action::CreateAcls { .. })
}

fn sign(change: &Change) -> char {
    match change.op {
        Op::Add => '+',
        Op::Alter => '~',
        Op::Remove => '-',
    }
}

fn warning(change: &Change) -> String {
    let fin = if change.way_back == WayBack::Final && change.risk != Risk::Impossible { ", FINAL" } else { "" };
    let risk = match change.risk {
        Risk::Safe if change.note.is_empty() => return fin.to_owned(),
        Risk::Safe => String::new(),
        Risk::NeedsFlag => format!("needs --allow {}: ", change.reason),
        Risk::Impossible => format!("IMPOSSIBLE ({}): ", change.reason),
    };
    format!("{fin}\n     {risk}{}", change.note)
}

fn kind(kind: Kind) -> &'static str {
    KINDS.iter().find(|(found, _)| *found == kind).map_or("", |(_, word)| word)
}

/// Counts per kind of change, and what stands in the way.
pub fn summary(plan: &Plan) -> String {
    let mut counts: BTreeMap<(Kind, Op), u64> = BTreeMap::new();
    for change in plan.changes() {
        *counts.entry((change.kind, change.op)).or_default() += 1;
    }
    if counts.is_empty() {
        return "nothing to do: everything is as planned".to_owned();
    }
    let word = |op| match op {
        Op::Add => "to add",
        Op::Alter => "to change",
        Op::Remove => "to remove",
    };
    let parts: Vec<String> = counts
        .iter()
        .map(|((kind_of, op), count)| format!("{} {}", counted(*count, kind(*kind_of)), word(*op)))
        .collect();
    let of = |risk| plan.changes().filter(|change| change.risk == risk).count() as u64;
    let mut text = parts.join(", ");
    for (count, words) in [(of(Risk::NeedsFlag), "your word"), (of(Risk::Impossible), "another plan: impossible")] {
        if count > 0 {
            let needs = if count == 1 { "needs" } else { "need" };
            let _ = write!(text, "; {} {needs} {words}", counted(count, "change"));
        }
    }
    text
}
