//! What the tool plans and leaves to the operator, since it takes a password or rights the tool does not ask for.

use std::collections::BTreeMap;

use super::desired::Desired;
use super::document::Manual;
use super::effective::{Ruling, ruling};
use super::observed::{Acl, Observed, Operation, Pattern, Resource, Seen};
use super::planner::words;

/// Users that are missing, quotas wished for, and rules that deny what a role needs.
pub fn manual(desired: &Desired, observed: &Observed, mechanism: Option<&str>) -> Vec<Manual> {
    if matches!(observed.brokers, Seen::NotHere(_)) {
        return Vec::new();
    }
    let brokers = observed.home.strip_prefix("kafka ").unwrap_or(&observed.home);
    let configs = |name: &str, add: &str| {
        format!(
            "kafka-configs.sh --bootstrap-server {brokers} --command-config ADMIN.properties --alter \
             --entity-type users --entity-name {name} --add-config '{add}'"
        )
    };
    let mut manual = Vec::new();
    for actor in &desired.actors {
        let name = actor.principal.strip_prefix("User:").unwrap_or(&actor.principal);
        let scram = mechanism.filter(|mechanism| mechanism.starts_with("SCRAM"));
        if let Some(mechanism) = scram
            && !manual.iter().any(|other: &Manual| other.kind == "scram-user" && other.name == name)
        {
            let reason = match &observed.scram_users {
                Seen::Known(users) => match users.get(name) {
                    Some(mechanisms) if mechanisms.iter().any(|found| found == mechanism) => None,
                    Some(_) => Some(format!("the user has no password for {mechanism}")),
                    None => Some("the user does not exist".to_owned()),
                },
                Seen::Hidden(why) | Seen::NotHere(why) => Some(format!("whether the user exists is not known: {why}")),
            };
            manual.extend(reason.map(|reason| Manual {
                kind: "scram-user".to_owned(),
                name: name.to_owned(),
                reason,
                command: configs(name, &format!("{mechanism}=[password=PASSWORD]")),
            }));
        }
        if !actor.quotas.is_empty() {
            let wished: Vec<String> = actor.quotas.iter().map(|(key, value)| format!("{key}={value}")).collect();
            manual.push(Manual {
                kind: "quota".to_owned(),
                name: name.to_owned(),
                reason: format!("{} is wished for the {}", wished.join(", "), actor.role.word()),
                command: configs(name, &wished.join(",")),
            });
        }
    }
    manual.extend(denials(desired, observed, brokers));
    manual
}

/// Rules are only ever added by the tool, and no rule it adds is of use beside one that denies.
fn denials(desired: &Desired, observed: &Observed, brokers: &str) -> Vec<Manual> {
    let known = observed.acls.known().map_or(&[][..], Vec::as_slice);
    let mut denied: BTreeMap<&Acl, Vec<String>> = BTreeMap::new();
    for rule in &desired.acls {
        if let Ruling::Denied(by) = ruling(known, rule) {
            for by in by {
                denied.entry(by).or_default().push(format!("{} {}", rule.principal, words(rule)));
            }
        }
    }
    let entry = |(by, what): (&Acl, Vec<String>)| Manual {
        kind: "deny-rule".to_owned(),
        name: by.principal.clone(),
        reason: format!("'{}' denies what a role needs: {}", words(by), what.join("; ")),
        command: format!(
            "kafka-acls.sh --bootstrap-server {brokers} --command-config ADMIN.properties --remove --force {}",
            options(by)
        ),
    };
    denied.into_iter().map(entry).collect()
}

/// A denial as kafka-acls.sh is told of it.
fn options(rule: &Acl) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let resource = match rule.resource {
        Resource::Topic => format!("--topic {}", quoted(&rule.name)),
        Resource::Group => format!("--group {}", quoted(&rule.name)),
        Resource::TransactionalId => format!("--transactional-id {}", quoted(&rule.name)),
        Resource::Cluster => "--cluster".to_owned(),
    };
    let pattern = if rule.pattern == Pattern::Prefixed { " --resource-pattern-type prefixed" } else { "" };
    let operation = match rule.operation {
        Operation::All => "All",
        Operation::Read => "Read",
        Operation::Write => "Write",
        Operation::Create => "Create",
        Operation::Delete => "Delete",
        Operation::Alter => "Alter",
        Operation::Describe => "Describe",
        Operation::ClusterAction => "ClusterAction",
        Operation::DescribeConfigs => "DescribeConfigs",
        Operation::AlterConfigs => "AlterConfigs",
        Operation::IdempotentWrite => "IdempotentWrite",
    };
    let (who, host) = (quoted(&rule.principal), quoted(&rule.host));
    format!("--deny-principal {who} --deny-host {host} --operation {operation} {resource}{pattern}")
}
