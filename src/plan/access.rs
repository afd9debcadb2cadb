//! Least rights: what each role of a migration may do, from the mapping.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::desired::Actor;
use super::observed::{Acl, Operation, Pattern, Resource};
use crate::mapping::{Mapping, Use};

/// Who works on the log. A person who provisions is none of them: that takes rights over the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// `replay`: rows into events.
    Replayer,
    /// `project`: events into tables.
    Projector,
    /// The gateway, which writes events for requests.
    Gateway,
    /// The bridge to WebSockets: reads only.
    Bridge,
    /// Windowed figures out of events.
    Aggregator,
    /// Quality gates on completion events.
    GateRunner,
    /// `diff` and `status`: reads only.
    Verifier,
    /// Sends commands and hears replies.
    Manager,
    /// Hears commands and sends replies.
    Worker,
}

impl Role {
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Replayer, "replayer"),
        (Self::Projector, "projector"),
        (Self::Gateway, "gateway"),
        (Self::Bridge, "bridge"),
        (Self::Aggregator, "aggregator"),
        (Self::GateRunner, "gate_runner"),
        (Self::Verifier, "verifier"),
        (Self::Manager, "manager"),
        (Self::Worker, "worker"),
    ];

    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(role, _)| *role == self).map_or("", |(_, word)| word)
    }

    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, found)| *found == word).map(|(role, _)| *role)
    }
}

/// The beginning of every consumer group of a migration; each role's own follows.
pub fn group_prefix(migration: &str) -> String {
    format!("crossfade.{migration}.")
}

/// The group that readers name who choose their partitions themselves: it is looked up, never joined.
pub fn readers_group(migration: &str) -> String {
    format!("{}readers", group_prefix(migration))
}

/// What a role reads and writes.
struct Rights {
    reads: Vec<Use>,
    writes: Vec<Use>,
    /// Writers of these names, whose checkpoints it writes with its records.
    writers: &'static [&'static str],
    /// Reads the flags.
    flags: bool,
    /// Reads whose topics are: before it writes rows, or to say it.
    claims: bool,
    /// Shares its topics in consumer groups.
    groups: bool,
    /// Chooses its partitions itself.
    reads_alone: bool,
}

impl Rights {
    fn of(role: Role) -> Self {
        let rights = |reads: &[Use], writes: &[Use], writers| Self {
            reads: reads.to_vec(),
            writes: writes.to_vec(),
            writers,
            flags: !matches!(role, Role::Replayer | Role::Projector | Role::Aggregator | Role::Verifier),
            claims: matches!(role, Role::Replayer | Role::Gateway | Role::Verifier),
            groups: !matches!(role, Role::Replayer | Role::Verifier),
            reads_alone: matches!(role, Role::Replayer | Role::Projector | Role::Verifier | Role::Gateway),
        };
        match role {
            // It runs under the run lock, whose writer is the operator's; a reconcile reads what was written.
            Role::Replayer => rights(&[Use::Rows], &[Use::Rows], &["replay", "follow", "operator"]),
            Role::Projector | Role::Verifier => rights(&[Use::Rows], &[], &[]),
            // A transfer is made under the run lock, and takes follow's name away first.
            Role::Gateway => rights(&[Use::Rows], &[Use::Rows, Use::Monitoring], &["gateway", "operator", "follow"]),
            Role::Bridge => rights(&[Use::Rows, Use::Monitoring], &[], &[]),
            Role::Aggregator => rights(&[Use::Rows, Use::Monitoring], &[Use::Analytics], &["aggregator"]),
            Role::GateRunner => rights(&[Use::Replies], &[Use::Gates], &["gates"]),
            Role::Manager => rights(&[Use::Replies], &[Use::Commands], &["manager"]),
            Role::Worker => rights(&[Use::Commands], &[Use::Replies], &["worker"]),
        }
    }
}

/// The access rules of one actor, all of them literal but the consumer groups it joins.
pub(super) fn rules(actor: &Actor, migration: &str, mapping: &Mapping) -> BTreeSet<Acl> {
    let rights = Rights::of(actor.role);
    let mut rules = BTreeSet::new();
    let mut allow = |resource, name: &str, pattern, operations: &[Operation]| {
        rules.extend(operations.iter().map(|operation| Acl {
            principal: actor.principal.clone(),
            host: actor.host.clone(),
            resource,
            name: name.to_owned(),
            pattern,
            operation: *operation,
            allow: true,
        }));
    };
    let topics =
        |uses: &[Use]| -> BTreeSet<&str> { uses.iter().flat_map(|wanted| mapping.topics_for(*wanted)).collect() };
    for topic in topics(&rights.reads) {
        allow(Resource::Topic, topic, Pattern::Literal, &[Operation::Read, Operation::Describe]);
        if actor.role == Role::Verifier {
            // A row that is too large for the topic is told from one that was lost.
            allow(Resource::Topic, topic, Pattern::Literal, &[Operation::DescribeConfigs]);
        }
    }
    for topic in topics(&rights.writes) {
        // The largest record a topic takes is asked before it is written to.
        let operations = [Operation::Write, Operation::Describe, Operation::DescribeConfigs];
        allow(Resource::Topic, topic, Pattern::Literal, &operations);
    }
    // Names as `port::event_log` gives them to the tool's own topics.
    if rights.claims {
        allow(Resource::Topic, "crossfade.topics", Pattern::Literal, &[Operation::Read, Operation::Describe]);
    }
    let checkpoints = format!("crossfade.{migration}.checkpoints");
    if actor.role != Role::Bridge {
        allow(Resource::Topic, &checkpoints, Pattern::Literal, &[Operation::Read, Operation::Describe]);
    }
    if !rights.writers.is_empty() {
        allow(Resource::Topic, &checkpoints, Pattern::Literal, &[Operation::Write]);
    }
    if rights.flags {
        let flags = format!("crossfade.{migration}.flags");
        allow(Resource::Topic, &flags, Pattern::Literal, &[Operation::Read, Operation::Describe]);
    }
    for writer in rights.writers {
        let name = format!("{migration}/{writer}");
        allow(Resource::TransactionalId, &name, Pattern::Literal, &[Operation::Write, Operation::Describe]);
    }
    if rights.groups {
        let group = format!("{}{}", group_prefix(migration), actor.role.word());
        allow(Resource::Group, &group, Pattern::Prefixed, &[Operation::Read, Operation::Describe]);
    }
    if rights.reads_alone {
        allow(Resource::Group, &readers_group(migration), Pattern::Literal, &[Operation::Describe]);
    }
    rules
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::mapping::Mapping;

    const MAPPING: &str = "
version: 1
topics:
  orders: {partitions: 2}
  commands: {partitions: 1, use: commands}
  replies: {partitions: 1, use: replies}
tables:
  t: {topic: orders, identity: [id], columns: {id: TEXT}}
";

    fn of(role: Role) -> Vec<String> {
        let mapping = Mapping::parse("m.yaml", MAPPING).unwrap();
        let actor = Actor { role, principal: "User:x".to_owned(), host: "*".to_owned(), quotas: BTreeMap::new() };
        let rules = rules(&actor, "shop", &mapping);
        assert!(
            rules.iter().all(|rule| rule.principal == "User:x" && rule.allow && rule.resource != Resource::Cluster)
        );
        rules.iter().map(|rule| format!("{:?} {} {:?}", rule.resource, rule.name, rule.operation)).collect()
    }

    #[test]
    fn who_sends_commands_does_not_reply_and_the_other_way_round() {
        let (manager, worker) = (of(Role::Manager), of(Role::Worker));
        for (role, may, may_not) in [(&manager, "commands", "replies"), (&worker, "replies", "commands")] {
            assert!(role.contains(&format!("Topic {may} Write")), "{role:?}");
            assert!(!role.contains(&format!("Topic {may_not} Write")), "{role:?}");
            assert!(role.contains(&format!("Topic {may_not} Read")), "{role:?}");
            assert!(!role.iter().any(|rule| rule.contains("orders")), "{role:?}");
        }
    }

    #[test]
    fn readers_write_nothing() {
        for role in [Role::Projector, Role::Verifier, Role::Bridge] {
            assert!(of(role).iter().all(|rule| !rule.ends_with("Write")), "{role:?}");
        }
    }

    #[test]
    fn the_table_in_the_docs_is_what_each_role_gets() {
        let mapping = "
version: 1
topics:
  rows: {partitions: 1}
  commands: {partitions: 1, use: commands}
  replies: {partitions: 1, use: replies}
  monitoring: {partitions: 1, use: monitoring}
  analytics: {partitions: 1, use: analytics}
  gates: {partitions: 1, use: gates}
tables:
  t: {topic: rows, identity: [id], columns: {id: TEXT}}
";
        let mapping = Mapping::parse("m.yaml", mapping).unwrap();
        let docs = include_str!("../../docs/config.md");
        for (role, word) in Role::ALL {
            let start = format!("| `{word}` |");
            let row = docs.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no row of {word}"));
            let cells: Vec<Vec<String>> = row
                .trim_matches('|')
                .split('|')
                .skip(1)
                .map(|cell| cell.replace('`', "").split(',').map(|part| part.trim().to_owned()).collect())
                .collect();
            let named = |cell: &[String], resource, operation| -> BTreeSet<(Resource, String, Operation)> {
                let parts = cell.iter().filter(|part| *part != "–");
                parts.map(|part| (resource, part.clone(), operation)).collect()
            };
            let mut told = named(&cells[0], Resource::Topic, Operation::Read);
            told.extend(named(&cells[1], Resource::Topic, Operation::Write));
            told.extend(named(&cells[2], Resource::TransactionalId, Operation::Write));
            for cell in &cells[3] {
                match cell.rsplit_once(' ').unwrap() {
                    ("joins", group) => told.insert((Resource::Group, group.to_owned(), Operation::Read)),
                    (_, group) => told.insert((Resource::Group, group.to_owned(), Operation::Describe)),
                };
            }
            told.extend(named(&cells[4], Resource::Topic, Operation::DescribeConfigs));
            let actor = Actor { role, principal: "User:x".to_owned(), host: "*".to_owned(), quotas: BTreeMap::new() };
            let rules = rules(&actor, "m", &mapping);
            let short = |rule: &Acl| {
                let name = rule.name.trim_start_matches("crossfade.m.").trim_start_matches("m/");
                let star = if rule.pattern == Pattern::Prefixed { "*" } else { "" };
                (rule.resource, format!("{name}{star}"), rule.operation)
            };
            let given: BTreeSet<_> = rules.iter().map(short).collect();
            // Who reads or writes a thing looks at it, too.
            let implied = |(resource, name, operation): &(Resource, String, Operation)| {
                let has = |operation| given.contains(&(*resource, name.clone(), operation));
                *operation == Operation::Describe && (has(Operation::Read) || has(Operation::Write))
            };
            let given: BTreeSet<_> = given.iter().filter(|rule| !implied(rule)).cloned().collect();
            assert_eq!(given, told, "{word}");
        }
    }

    #[test]
    fn every_role_has_a_word() {
        for (role, word) in Role::ALL {
            assert_eq!((role.word(), Role::of(word)), (word, Some(role)));
        }
    }
}
