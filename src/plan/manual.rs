//! What the tool plans and leaves to the operator, since it takes a password or rights the tool does not ask for.

use super::desired::Desired;
use super::document::Manual;
use super::observed::{Observed, Seen};

/// Users that are missing, and quotas wished for.
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
    manual
}
