//! Access as it comes out of all rules, held against what the roles need.

use std::collections::{BTreeMap, BTreeSet};

use super::super::access::group_prefix;
use super::super::desired::Desired;
use super::super::effective::{EVERYBODY, Ruling, changes, covers, ruling};
use super::super::observed::{Acl, Pattern, Resource, Seen};
use super::super::planner::words;
use super::{APPLY, Checks};
use crate::diff::Severity;

const REMOVE: &str = "remove it with kafka-acls.sh --remove";
const REMOVE_DENIAL: &str = "remove the rule by hand: 'crossfade provision plan' shows the command";

/// What one principal needs, by what the rules make of it.
#[derive(Default)]
struct Needs {
    /// The words of each denial, with whose rule it is, and what it denies.
    denied: BTreeMap<String, Vec<String>>,
    missing: Vec<String>,
    /// Given by other rules than the planned ones.
    by_wider: Vec<String>,
}

impl Needs {
    fn of(wanted: &BTreeSet<&Acl>, known: &[Acl]) -> Self {
        let mut needs = Self::default();
        for rule in wanted {
            match ruling(known, rule) {
                Ruling::Denied(by) => {
                    for by in by {
                        let some = if rule.host == "*" && by.host != "*" {
                            format!(" from {}", by.host)
                        } else {
                            String::new()
                        };
                        let denied = needs.denied.entry(format!("{} {}", by.principal, words(by))).or_default();
                        denied.push(format!("{}{some}", words(rule)));
                    }
                }
                Ruling::Allowed(by) if by == *rule => {}
                Ruling::Allowed(by) => {
                    needs.by_wider.push(format!("{} by {} {}", words(rule), by.principal, words(by)))
                }
                Ruling::NotAllowed | Ruling::NotNamed => needs.missing.push(words(rule)),
            }
        }
        needs
    }

    fn are_met(&self) -> bool {
        self.denied.is_empty() && self.missing.is_empty() && self.by_wider.is_empty()
    }
}

impl Checks<'_> {
    pub(super) fn access(&mut self, desired: &Desired) {
        if desired.actors.is_empty() {
            return;
        }
        let known = match &self.observed.acls {
            Seen::Known(known) => known,
            Seen::Hidden(why) => {
                let (text, help) =
                    (format!("the access rules cannot be read: {why}"), "the user needs Describe on the cluster");
                return self.tell("access", "roles", Severity::Gap, text, Some(help));
            }
            Seen::NotHere(why) => return self.fine("access", "roles", format!("does not apply: {why}")),
        };
        let mut of: BTreeMap<&str, Vec<&'static str>> = BTreeMap::new();
        for actor in &desired.actors {
            of.entry(&actor.principal).or_default().push(actor.role.word());
        }
        for (principal, roles) in of {
            let subject = format!("{principal} ({})", roles.join(", "));
            let wanted: BTreeSet<_> = desired.acls.iter().filter(|rule| rule.principal == principal).collect();
            let needs = Needs::of(&wanted, known);
            for (by, denied) in &needs.denied {
                let text = format!("may not {}: the rule '{by}' denies it", denied.join("; "));
                self.tell("access", &subject, Severity::Failure, text, Some(REMOVE_DENIAL));
            }
            if !needs.missing.is_empty() {
                let verb = if self.is_open() { "has no rule for" } else { "may not" };
                let text = format!("{verb} {}", needs.missing.join("; "));
                self.tell("access", &subject, Severity::Failure, text, Some(APPLY));
            }
            if !needs.by_wider.is_empty() {
                let text = format!("has no rule of its own for {}", needs.by_wider.join("; "));
                self.tell("access", &subject, Severity::Warning, text, Some(APPLY));
            }
            let own = known.iter().filter(|rule| rule.allow && rule.principal == principal);
            let wider: BTreeSet<_> = own.filter(|rule| !wanted.contains(rule) && concerns(rule, desired)).collect();
            if !wider.is_empty() {
                let wider: Vec<String> = wider.into_iter().map(words).collect();
                let text = format!("has more than the role needs: {}", wider.join("; "));
                self.tell("access-wider", &subject, Severity::Warning, text, Some(REMOVE));
            } else if needs.are_met() {
                self.fine("access", &subject, "what the role needs, and no more");
            }
        }
    }

    /// Whether everybody may use what no rule names.
    pub(super) fn is_open(&self) -> bool {
        self.observed.acls.known().is_some() && self.broker_says("allow.everyone.if.no.acl.found")
    }

    /// What everybody may do to the migration, by rules for everybody.
    pub(super) fn everybody(&mut self, desired: &Desired) {
        let rules = self.observed.acls.known().into_iter().flatten();
        let open =
            rules.filter(|rule| rule.allow && rule.principal == EVERYBODY && changes(rule) && concerns(rule, desired));
        let open: Vec<String> = open.map(words).collect();
        if !open.is_empty() {
            let text = format!("everybody may {}", open.join("; "));
            self.tell("open-access", EVERYBODY, Severity::Warning, text, Some(REMOVE));
        }
    }
}

/// Whether a rule reaches anything of the migration; what a user may do elsewhere is not judged here.
fn concerns(rule: &Acl, desired: &Desired) -> bool {
    let any_of = |prefix: &str| {
        rule.name == "*"
            || rule.name.starts_with(prefix)
            || (rule.pattern == Pattern::Prefixed && prefix.starts_with(&rule.name))
    };
    match rule.resource {
        Resource::Cluster => true,
        Resource::Topic => desired.topics.iter().any(|topic| covers(rule, &topic.name)),
        Resource::Group => any_of(&group_prefix(&desired.migration)),
        Resource::TransactionalId => any_of(&format!("{}/", desired.migration)),
    }
}
