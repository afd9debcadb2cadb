//! A cluster held against its plan, and against what a migration needs of it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Change, Kind, Op, Risk};
use super::configs::{has_policy, limit, same};
use super::desired::{Desired, DesiredTopic, Owner};
use super::document::{Plan, sentence};
use super::observed::{Broker, FoundTopic, Observed, Partition, Seen};
use super::planner::is_unmanaged;
use super::schemas::Schemas;
use crate::base::words::counted;
use crate::diff::{Checked, Severity};

mod access;

/// Brokers the plan of a migration counts on.
const BROKERS: usize = 3;

/// Every check on topics, access and the cluster; `days` is how long the migration is planned to take.
///
/// What is of the operator's own choosing warns; what loses records or stops writers fails.
pub fn check(desired: &Desired, observed: &Observed, schemas: &Schemas, plan: &Plan, days: u64) -> Vec<Checked> {
    let mut checks = Checks { observed, found: Vec::new() };
    for topic in desired.topics.iter().filter(|topic| !topic.absent) {
        match observed.topics.get(&topic.name) {
            Some(found) => checks.topic(topic, found, days),
            None if observed.hidden.contains(&topic.name) => {
                let text = "whether the topic exists is not known: the user may not look at it";
                checks.tell("exists", &topic.name, Severity::Gap, text, Some("the user needs Describe on the topic"));
            }
            None => checks.tell("exists", &topic.name, Severity::Failure, "the topic does not exist", Some(APPLY)),
        }
    }
    checks.drift(desired, plan);
    checks.schemas(schemas, plan);
    checks.access(desired);
    checks.everybody(desired);
    checks.cluster();
    checks.groups();
    checks.found
}

const APPLY: &str = "crossfade provision apply";

struct Checks<'a> {
    observed: &'a Observed,
    found: Vec<Checked>,
}

impl Checks<'_> {
    fn tell(
        &mut self,
        code: &'static str,
        subject: &str,
        severity: Severity,
        text: impl Into<String>,
        help: Option<&str>,
    ) {
        let (subject, help) = (subject.to_owned(), help.map(str::to_owned));
        self.found.push(Checked { code, subject, severity, text: text.into(), help });
    }

    fn fine(&mut self, code: &'static str, subject: &str, text: impl Into<String>) {
        self.tell(code, subject, Severity::Note, text, None);
    }

    /// Whether a broker answered; of one that died the metadata speaks as of a living one for some seconds.
    fn lives(&self, id: i32) -> bool {
        self.observed.brokers.known().is_none_or(|brokers| brokers.iter().any(|broker| broker.id == id))
    }

    fn in_sync_now(&self, partition: &Partition) -> usize {
        partition.in_sync.iter().filter(|id| self.lives(**id)).count()
    }

    fn topic(&mut self, topic: &DesiredTopic, found: &FoundTopic, days: u64) {
        self.fine("exists", &topic.name, "the topic exists");
        if !matches!(self.observed.brokers, Seen::NotHere(_)) {
            self.replicas(topic, found);
        }
        let configs = match &found.configs {
            Seen::Known(configs) => configs,
            Seen::Hidden(why) => {
                let text = format!("its configs cannot be read: {why}");
                return self.tell("configs", &topic.name, Severity::Gap, text, Some("the user needs DescribeConfigs"));
            }
            Seen::NotHere(_) => return,
        };
        let in_force = |key: &str| configs.get(key).and_then(|entry| entry.value.as_deref());
        for (key, entry) in configs.iter().filter(|(key, entry)| is_unmanaged(topic, key, entry)) {
            let value = entry.value.as_deref().unwrap_or("(kept secret)");
            let text = format!("{key}={value} is set on the topic and not declared; it is kept");
            self.tell("unmanaged", &topic.name, Severity::Warning, text, Some("declare it, or 'undeclared: reset'"));
        }
        if let Some(policy) = in_force("cleanup.policy") {
            self.policy(topic, policy);
        }
        if let Some(retention) = in_force("retention.ms").and_then(limit) {
            self.retention(topic, retention, in_force("cleanup.policy").unwrap_or("delete"), days);
        }
        if let Some(unclean) = in_force("unclean.leader.election.enable") {
            if same("unclean.leader.election.enable", unclean, "true") {
                let text = "a broker that lags may become leader: acknowledged records are lost then";
                let help = "set unclean.leader.election.enable=false";
                self.tell("unclean-election", &topic.name, Severity::Failure, text, Some(help));
            } else {
                self.fine("unclean-election", &topic.name, "only in-sync brokers become leader");
            }
        }
        if let Some(wanted) = in_force("min.insync.replicas").and_then(limit)
            && !matches!(self.observed.brokers, Seen::NotHere(_))
        {
            self.in_sync(topic, found, wanted);
        }
    }

    /// Where the copies are, and whether they are there.
    fn replicas(&mut self, topic: &DesiredTopic, found: &FoundTopic) {
        let listed = |wanted: &dyn Fn(&Partition) -> bool| -> Vec<String> {
            let numbers = found.partitions.iter().enumerate().filter(|(_, partition)| wanted(partition));
            numbers.map(|(number, _)| number.to_string()).collect()
        };
        // A leader that has just died may still be named.
        let offline = listed(&|partition| !partition.leader.is_some_and(|id| self.lives(id)));
        if offline.is_empty() {
            self.fine("offline", &topic.name, "every partition has a leader");
        } else {
            let text = format!("no leader for partition {}: nothing can be read or written there", offline.join(", "));
            self.tell("offline", &topic.name, Severity::Failure, text, Some("start the brokers that hold it"));
        }
        let behind = listed(&|partition| self.in_sync_now(partition) < partition.replicas.len());
        if behind.is_empty() {
            self.fine("under-replicated", &topic.name, "every copy is in sync");
        } else {
            let missing: BTreeSet<i32> = found
                .partitions
                .iter()
                .flat_map(|partition| {
                    let there = |id: &&i32| partition.in_sync.contains(id) && self.lives(**id);
                    partition.replicas.iter().filter(move |id| !there(id)).copied()
                })
                .collect();
            let missing: Vec<String> = missing.iter().map(i32::to_string).collect();
            let text = format!("partition {} lacks the copies of broker {}", behind.join(", "), missing.join(", "));
            let help = "start these brokers, or wait until they have caught up";
            self.tell("under-replicated", &topic.name, Severity::Failure, text, Some(help));
        }
        let Seen::Known(brokers) = &self.observed.brokers else { return };
        if let Some((severity, text)) = racks(brokers, found) {
            self.tell(
                "rack-spread",
                &topic.name,
                severity,
                text,
                (severity > Severity::Note).then_some("reassign its replicas"),
            );
        }
    }

    fn in_sync(&mut self, topic: &DesiredTopic, found: &FoundTopic, wanted: u64) {
        let copies = found.partitions.iter().map(|partition| partition.replicas.len()).min().unwrap_or(0) as u64;
        let code = "min-isr";
        if wanted > copies {
            let text = format!("{wanted} in-sync replicas are wanted of {copies}: nothing can be written");
            self.tell(code, &topic.name, Severity::Failure, text, Some("lower min.insync.replicas, or add copies"));
        } else if copies == 1 {
            let text = "there is one copy: it is lost with one disk, and away with one broker";
            self.tell(code, &topic.name, Severity::Warning, text, Some("3 copies and min.insync.replicas=2"));
        } else if wanted == copies {
            let text = format!("all {copies} copies must be in sync: one broker down stops the writers");
            self.tell(code, &topic.name, Severity::Warning, text, Some("3 copies and min.insync.replicas=2"));
        } else if wanted == 1 {
            let text =
                format!("{copies} copies, of which one must be in sync: an acknowledged record may die with one disk");
            self.tell(code, &topic.name, Severity::Warning, text, Some("3 copies and min.insync.replicas=2"));
        } else {
            self.fine(code, &topic.name, format!("{wanted} of {copies} copies must be in sync"));
        }
        let short = found.partitions.iter().filter(|partition| (self.in_sync_now(partition) as u64) < wanted).count();
        if short > 0 && wanted <= copies {
            let text = format!(
                "{} below min.insync.replicas={wanted}: writers are refused",
                counted(short as u64, "partition")
            );
            self.tell(
                "under-min-isr",
                &topic.name,
                Severity::Failure,
                text,
                Some("start the brokers that are missing"),
            );
        }
    }

    fn policy(&mut self, topic: &DesiredTopic, policy: &str) {
        let compacts = has_policy(policy, "compact");
        let (severity, text, help) = match topic.owner {
            _ if topic.event_store && compacts => (
                Severity::Failure,
                "its events have keys, and compaction keeps only the newest event of each: state cannot be rebuilt"
                    .to_owned(),
                Some("set cleanup.policy=delete"),
            ),
            Owner::Tool if !compacts => (
                Severity::Failure,
                "it holds the newest record of each key, and is not compacted".to_owned(),
                Some(APPLY),
            ),
            _ => (Severity::Note, format!("cleanup.policy={policy} fits its use"), None),
        };
        self.tell("cleanup-policy", &topic.name, severity, text, help);
    }

    fn retention(&mut self, topic: &DesiredTopic, retention: u64, policy: &str, days: u64) {
        const DAY: u64 = 24 * 3600 * 1000;
        let code = "retention";
        if retention == u64::MAX || !has_policy(policy, "delete") {
            return self.fine(code, &topic.name, "nothing expires");
        }
        let kept = match retention {
            DAY.. => counted(retention / DAY, "day"),
            _ => counted(retention / (DAY / 24), "hour"),
        };
        let text = format!("records expire after {kept}, the migration is planned for {}", counted(days, "day"));
        if topic.event_store {
            let text = format!("events expire after {kept}: state is rebuilt from all of them");
            self.tell(code, &topic.name, Severity::Failure, text, Some("set retention.ms=-1"));
        } else if retention < days.saturating_mul(DAY) {
            let help = "raise retention.ms, or lower planned.days if the migration is to be shorter";
            self.tell(code, &topic.name, Severity::Warning, text, Some(help));
        } else {
            self.fine(code, &topic.name, text);
        }
    }

    /// What `apply` would change, as findings.
    fn drift(&mut self, desired: &Desired, plan: &Plan) {
        let mut drifted: BTreeSet<&str> = BTreeSet::new();
        // What a missing topic lacks is told by its absence, and what could not be looked at where it was to be seen.
        let told = |change: &&Change| {
            !matches!(change.kind, Kind::Topic | Kind::Acl)
                && change.reason != "topic-missing"
                && !change.reason.ends_with("-hidden")
        };
        let hidden = |topic: &str| {
            let configs = self.observed.topics.get(topic).map(|found| &found.configs);
            matches!(configs, Some(Seen::Hidden(_)))
        };
        for change in plan.changes().filter(told) {
            let help = match change.risk {
                Risk::Impossible => None,
                Risk::NeedsFlag => Some(format!("{APPLY} --allow {}", change.reason)),
                Risk::Safe => Some(APPLY.to_owned()),
            };
            drifted.insert(&change.name);
            let text = sentence(change);
            self.tell("drift", &change.name, Severity::Failure, text, help.as_deref());
        }
        for change in plan.changes().filter(|change| change.kind == Kind::Topic && change.op == Op::Remove) {
            let text = "the topic is to be absent, and exists";
            self.tell("drift", &change.name, Severity::Failure, text, Some(APPLY));
        }
        for topic in desired.topics.iter().filter(|topic| !topic.absent && !drifted.contains(topic.name.as_str())) {
            if self.observed.topics.contains_key(&topic.name) && !hidden(&topic.name) {
                self.fine("drift", &topic.name, "as planned");
            }
        }
    }

    /// Schemas that stand as planned; the others are drift.
    fn schemas(&mut self, schemas: &Schemas, plan: &Plan) {
        for wanted in &schemas.desired.schemas {
            if !plan.changes().any(|change| change.name == wanted.subject) {
                let text = format!("registered in {}", schemas.found.registry);
                self.fine("schema", &wanted.subject, text);
            }
        }
    }

    fn cluster(&mut self) {
        let subject = "cluster";
        match &self.observed.brokers {
            Seen::NotHere(_) => return,
            Seen::Hidden(why) => self.tell("brokers", subject, Severity::Gap, why.clone(), None),
            Seen::Known(brokers) if brokers.len() < BROKERS => {
                let text =
                    format!("{} answered, the plan counts on {BROKERS}", counted(brokers.len() as u64, "broker"));
                self.tell("brokers", subject, Severity::Warning, text, Some("start them, or accept fewer copies"));
            }
            Seen::Known(brokers) => self.fine("brokers", subject, counted(brokers.len() as u64, "broker")),
        }
        match &self.observed.broker_configs {
            Seen::Known(_) => {}
            Seen::Hidden(why) => {
                let text = format!("the brokers' settings cannot be read: {why}");
                let help = Some("the user needs DescribeConfigs on the cluster");
                return self.tell("auto-create", subject, Severity::Warning, text, help);
            }
            Seen::NotHere(_) => return,
        }
        if self.broker_says("auto.create.topics.enable") {
            let text = "a misspelt name makes a topic, with the brokers' defaults instead of the plan's";
            self.tell("auto-create", subject, Severity::Warning, text, Some("set auto.create.topics.enable=false"));
        } else {
            self.fine("auto-create", subject, "topics are made on purpose only");
        }
        if self.is_open() {
            let text = "whatever no access rule names is open to everybody";
            let help = Some("set allow.everyone.if.no.acl.found=false once every client has its rules");
            self.tell("open-access", subject, Severity::Warning, text, help);
        }
    }
}

impl Checks<'_> {
    fn broker_says(&self, key: &str) -> bool {
        let value = self.observed.broker_configs.known().and_then(|configs| configs.get(key));
        value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The migration's consumer groups, as they are.
    fn groups(&mut self) {
        for group in self.observed.groups.known().into_iter().flatten() {
            let members = counted(group.members as u64, "member");
            let partitions = counted(group.offsets.len() as u64, "partition");
            let text = format!("{}, {members}, positions in {partitions}", group.state.to_lowercase());
            self.fine("group", &group.name, text);
        }
    }
}

/// Whether one rack can take all copies of a partition away; nothing is said where brokers have no racks.
fn racks(brokers: &[Broker], found: &FoundTopic) -> Option<(Severity, String)> {
    let rack: BTreeMap<i32, &str> =
        brokers.iter().filter_map(|broker| Some((broker.id, broker.rack.as_deref()?))).collect();
    if rack.values().collect::<BTreeSet<_>>().len() < 2 {
        return None;
    }
    let narrow = found.partitions.iter().enumerate().filter(|(_, partition)| {
        let racks: BTreeSet<Option<&&str>> = partition.replicas.iter().map(|id| rack.get(id)).collect();
        partition.replicas.len() > 1 && racks.len() == 1 && !racks.contains(&None)
    });
    let narrow: Vec<String> = narrow.map(|(number, _)| number.to_string()).collect();
    Some(if narrow.is_empty() {
        (Severity::Note, "no rack holds all copies of a partition".to_owned())
    } else {
        (Severity::Warning, format!("all copies of partition {} stand on one rack", narrow.join(", ")))
    })
}

#[cfg(test)]
mod tests;
