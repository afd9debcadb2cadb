//! A plan as a file: what it was made for, what it saw, and its steps.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::change::{Action, Change, Risk, WayBack};
use super::claims;
use super::desired::Desired;
use super::fingerprint::{of_acls, of_topic};
use super::observed::{Observed, Seen};
use super::planner::{acl_item, item, subject_item};
use super::schemas::{DesiredSchemas, FoundSchemas, SchemaStep};
use crate::base::{Error, Result, hex};

/// The form of the file.
pub const VERSION: u32 = 1;

/// Everything one run of `apply` would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub schema_version: u32,
    pub tool: String,
    pub made_at: String,
    pub migration: String,
    /// Of what was wished: mapping, crossfade.yaml, roles.
    pub desired: String,
    pub home: String,
    pub cluster_id: String,
    /// The fingerprint of every item the plan depends on, as the look found it.
    pub observed: BTreeMap<String, String>,
    /// Of `observed` and the cluster's id.
    pub observed_hash: String,
    pub steps: Vec<Step>,
    /// What the tool plans and does not do itself.
    pub manual: Vec<Manual>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// Changes of one item that one call makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// `topic:NAME`, `claims:MIGRATION`, `access:PRINCIPAL`, `subject:NAME`.
    pub item: String,
    pub changes: Vec<Change>,
    /// `None` where there is no way through.
    pub act: Option<Act>,
    /// What the home said when asked; `None` where it was not.
    pub answer: Option<String>,
    /// Fingerprints of the item before and after.
    pub before: String,
    pub after: String,
}

/// Where a step is made, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    Home(Action),
    Registry(SchemaStep),
    /// In the log itself.
    Claim {
        migration: String,
        topics: Vec<String>,
    },
}

/// Work for the operator, with the command to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manual {
    pub kind: String,
    pub name: String,
    pub reason: String,
    pub command: String,
}

/// What the operator agreed to.
#[derive(Clone, Debug, Default)]
pub struct Consent {
    /// Reason codes of changes that need a flag.
    pub allow: BTreeSet<String>,
    /// Names of items with final changes.
    pub confirm: BTreeSet<String>,
}

impl Step {
    pub(super) fn without_act(item: String, changes: Vec<Change>) -> Self {
        Self { item, changes, act: None, answer: None, before: String::new(), after: String::new() }
    }

    /// What the log's home is to do, where it is the home's step.
    pub fn action(&self) -> Option<&Action> {
        match &self.act {
            Some(Act::Home(action)) => Some(action),
            _ => None,
        }
    }

    /// The worst of its changes.
    pub fn risk(&self) -> Risk {
        self.changes.iter().map(|change| change.risk).max().unwrap_or(Risk::Safe)
    }

    /// The name of its item, without the kind.
    pub fn name(&self) -> &str {
        self.item.split_once(':').map_or(self.item.as_str(), |(_, name)| name)
    }

    /// Takes the home's refusal in: the step becomes impossible, in its words.
    pub fn refuse(&mut self, words: &str) {
        self.answer = Some(words.to_owned());
        // The change that was in doubt, or that the words speak of, else the first.
        let doubted = self.changes.iter().position(|change| !change.note.is_empty());
        let named = (0..self.changes.len()).filter(|at| words.contains(&self.changes[*at].field));
        let named =
            named.max_by_key(|at| self.changes[*at].field.len()).filter(|at| !self.changes[*at].field.is_empty());
        if let Some(change) = self.changes.get_mut(named.or(doubted).unwrap_or(0)) {
            change.risk = Risk::Impossible;
            change.reason = "broker-refuses".to_owned();
            change.note = if change.note.is_empty() { words.to_owned() } else { format!("{words}; {}", change.note) };
        }
    }
}

/// Fingerprints of all that a plan for these wishes depends on.
pub fn fingerprints(desired: &Desired, observed: &Observed, schemas: &FoundSchemas) -> BTreeMap<String, String> {
    let subjects = schemas.fingerprints().into_iter().map(|(name, print)| (subject_item(&name), print));
    let topics = desired.topics.iter().map(|topic| {
        let found = observed.topics.get(&topic.name);
        (item(&topic.name), of_topic(found))
    });
    let known = observed.acls.known().map_or(&[][..], Vec::as_slice);
    let principals: BTreeSet<&str> = desired.acls.iter().map(|rule| rule.principal.as_str()).collect();
    let claims = claims::print(desired, observed);
    topics
        .chain(claims)
        .chain(principals.into_iter().map(|name| (acl_item(name), of_acls(name, known))))
        .chain(subjects)
        .collect()
}

/// One short name for everything wished.
pub fn wishes_hash(desired: &Desired, schemas: &DesiredSchemas) -> Result<String> {
    Ok(hex(blake3::hash((desired.hash()? + &schemas.hash()).as_bytes()).as_bytes()))
}

/// One short name for everything observed.
pub fn observed_hash(cluster_id: &str, observed: &BTreeMap<String, String>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(cluster_id.as_bytes());
    for (item, fingerprint) in observed {
        hasher.update(format!("\n{item} {fingerprint}").as_bytes());
    }
    hex(hasher.finalize().as_bytes())
}

/// What a plan leaves out of account, in words.
pub fn notes(desired: &Desired, observed: &Observed) -> Vec<String> {
    let mut notes = Vec::new();
    if let Seen::NotHere(words) = &observed.brokers {
        notes.push(format!("replication does not apply: {words}"));
    }
    if let (Seen::NotHere(words), false) = (&observed.acls, desired.acls.is_empty()) {
        notes.push(format!("access rules do not apply: {words}"));
    }
    notes
}

impl Plan {
    /// Reads a plan file.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            schema_version: u32,
        }
        let newer = |found| {
            Error::config(format!("{file} is a plan of version {found}, this tool reads version {VERSION}"))
                .hint("make it anew: crossfade provision plan -o FILE")
        };
        match serde_json::from_str::<Version>(text) {
            Ok(found) if found.schema_version != VERSION => return Err(newer(found.schema_version)),
            _ => {}
        }
        serde_json::from_str(text).map_err(|error| {
            Error::config(format!("{file}:{}:{}: this is no plan", error.line(), error.column()))
                .hint("make one: crossfade provision plan -o FILE")
                .because(error.to_string())
        })
    }

    /// A name for this plan, by which the journal knows it again.
    pub fn hash(&self) -> Result<String> {
        let text =
            serde_json::to_vec(self).map_err(|error| Error::failed("the plan has no JSON form").because(error))?;
        Ok(hex(blake3::hash(&text).as_bytes()))
    }

    /// The steps still to be taken, of a plan whose items stand as `now` says; `open` are those a new plan would have.
    ///
    /// An item may stand where the plan saw it or, once the plan was `begun`, where one of its steps left it; anything else
    /// is somebody else's change, and the plan is stale. What a step makes of a schema is the registry's to number, so of
    /// a begun plan those steps remain that are still open.
    pub fn remaining(&self, now: &BTreeMap<String, String>, begun: bool, open: &[Step]) -> Result<Vec<Step>> {
        let mut done: BTreeSet<usize> = BTreeSet::new();
        for (item, seen) in &self.observed {
            let stands = now.get(item);
            if stands == Some(seen) {
                continue;
            }
            let own: Vec<usize> = (0..self.steps.len()).filter(|at| self.steps[*at].item == *item).collect();
            if begun && own.iter().any(|at| matches!(self.steps[*at].act, Some(Act::Registry(_)))) {
                let closed = |at: &usize| !open.iter().any(|step| step.act == self.steps[*at].act);
                done.extend(own.into_iter().filter(closed));
                continue;
            }
            let reached = own.iter().rposition(|at| stands == Some(&self.steps[*at].after)).filter(|_| begun);
            let Some(reached) = reached else {
                let (kind, name) = item.split_once(':').unwrap_or(("item", item));
                return Err(Error::stale(format!(
                    "the {kind} '{name}' was changed since the plan was made; nothing was done"
                ))
                .hint("look at what is there now: crossfade provision plan"));
            };
            done.extend(&own[..=reached]);
        }
        let left = self.steps.iter().enumerate().filter(|(at, _)| !done.contains(at));
        Ok(left.map(|(_, step)| step.clone()).collect())
    }

    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.steps.iter().flat_map(|step| &step.changes)
    }

    /// Refuses unless every change is safe or agreed to.
    pub fn judge(&self, consent: &Consent) -> Result<()> {
        let mut impossible = Vec::new();
        let mut unflagged = Vec::new();
        let mut unnamed = BTreeSet::new();
        for step in &self.steps {
            for change in &step.changes {
                let allowed = consent.allow.contains(&change.reason);
                match change.risk {
                    Risk::Safe => {}
                    Risk::Impossible => impossible.push(change),
                    Risk::NeedsFlag if !allowed => unflagged.push(change),
                    Risk::NeedsFlag => {
                        if change.way_back == WayBack::Final && !consent.confirm.contains(step.name()) {
                            unnamed.insert(step.name());
                        }
                    }
                }
            }
        }
        let told = |changes: &[&Change]| {
            let lines = changes.iter().take(10).map(|change| format!("\n  {}", sentence(change)));
            let rest = changes.len().saturating_sub(10);
            lines.collect::<String>() + &if rest > 0 { format!("\n  and {rest} more") } else { String::new() }
        };
        if !impossible.is_empty() {
            let message = format!("the plan has what cannot be done, so nothing was done:{}", told(&impossible));
            let hidden = impossible.iter().any(|change| change.reason.ends_with("-hidden"));
            return Err(Error::refused(message).hint(match hidden {
                true => "the user lacks rights to look at all of it: run it as one who manages the cluster",
                false => "mend crossfade.yaml or the cluster; see: crossfade provision plan",
            }));
        }
        if !unflagged.is_empty() {
            let flags: BTreeSet<String> = unflagged.iter().map(|change| format!("--allow {}", change.reason)).collect();
            let names = unflagged.iter().filter(|change| change.way_back == WayBack::Final);
            let names: BTreeSet<String> = names.map(|change| format!("--confirm {}", change.name)).collect();
            let flags: Vec<String> = flags.into_iter().chain(names).collect();
            let message = format!("the plan has what needs your word, so nothing was done:{}", told(&unflagged));
            return Err(Error::refused(message).hint(format!("if that is meant, add {}", flags.join(" "))));
        }
        if !unnamed.is_empty() {
            let flags: Vec<String> = unnamed.iter().map(|name| format!("--confirm {name}")).collect();
            let message = "the plan has what cannot be undone, so nothing was done";
            return Err(Error::refused(message).hint(format!("if that is meant, name it: {}", flags.join(" "))));
        }
        Ok(())
    }
}

/// A change in a line: `topic a: partitions 3 → 6: keys move …`.
pub fn sentence(change: &Change) -> String {
    let field = if change.field.is_empty() { String::new() } else { format!(" {}", change.field) };
    let values = match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!(" {from} → {to}"),
        (None, Some(to)) => format!(" → {to}"),
        (Some(from), None) => format!(" {from} → nothing"),
        (None, None) => String::new(),
    };
    let note = if change.note.is_empty() { String::new() } else { format!(": {}", change.note) };
    format!("{}{field}{values} ({}){note}", change.name, change.reason)
}
