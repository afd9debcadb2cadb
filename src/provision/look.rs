//! The look at a home and a registry, and the plan made of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::schemas::observe_schemas;
use crate::base::{Kind, Millis, Result, rfc3339};
use crate::event::migration_of;
use crate::plan::{self, Claims, Desired, DesiredSchemas, Observed, Owner, Plan, Risk, Schemas, Seen, Step};
use crate::port::claims;
use crate::port::event_log::{Batch, EventLog, Positions};
use crate::port::registry::Registry;
use crate::port::topic_admin::{Answer, Scope, TopicAdmin, Topics};

/// Where the steps of a plan are made.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    pub admin: &'a dyn TopicAdmin,
    pub registry: &'a dyn Registry,
    /// Who claims topics; `None` where nobody asks whose they are.
    pub claimant: Option<Claimant<'a>>,
}

/// Who claims topics for a migration.
#[derive(Clone, Copy)]
pub struct Claimant<'a> {
    /// `None` where it is not made yet.
    pub log: Option<&'a dyn EventLog>,
    pub instance: &'a str,
    pub now: &'a dyn Fn() -> Millis,
}

/// Everything wished, and what there is of it.
#[derive(Clone, Debug)]
pub struct Look {
    pub desired: Desired,
    pub observed: Observed,
    pub schemas: Schemas,
}

impl Look {
    /// Looks at all that a plan for these wishes depends on.
    pub fn at(places: Places<'_>, desired: Desired, schemas: DesiredSchemas) -> Result<Self> {
        let access = !desired.actors.is_empty();
        let scope = Scope { configs: Topics::Named(desired.names()), access, groups: None, disks: false };
        let mut observed = places.admin.observe(&scope)?;
        if let Some(claimant) = places.claimant {
            observed.claims = look_at_claims(claimant.log, &desired, &observed)?;
        }
        let found = observe_schemas(places.registry, &schemas)?;
        Ok(Self { desired, observed, schemas: Schemas { desired: schemas, found } })
    }

    /// The plan that leads from what was seen to what is wished. The home is asked about each step without changing
    /// anything; what it would refuse is impossible.
    pub fn plan(&self, admin: &dyn TopicAdmin, mechanism: Option<&str>, at: Millis) -> Result<Plan> {
        let Self { desired, observed, schemas } = self;
        let mut steps = plan::steps(desired, observed, schemas);
        ask(admin, &mut steps)?;
        let fingerprints = plan::fingerprints(desired, observed, &schemas.found);
        Ok(Plan {
            schema_version: plan::VERSION,
            tool: format!("crossfade {}", env!("CARGO_PKG_VERSION")),
            made_at: rfc3339(at),
            migration: desired.migration.clone(),
            desired: plan::wishes_hash(desired, &schemas.desired)?,
            home: observed.home.clone(),
            cluster_id: observed.cluster_id.clone(),
            observed_hash: plan::observed_hash(&observed.cluster_id, &fingerprints),
            observed: fingerprints,
            steps,
            manual: plan::manual(desired, observed, mechanism),
            notes: plan::notes(desired, observed),
        })
    }
}

/// Positions looked through from each end of a partition for events of another migration.
const POSITIONS: i64 = 2_000;

/// Whose the topics are that a migration wants; a log that is not made yet has no claims.
fn look_at_claims(log: Option<&dyn EventLog>, desired: &Desired, observed: &Observed) -> Result<Seen<Claims>> {
    let Some(log) = log else { return Ok(Seen::Known(Claims::default())) };
    let wanted = desired.topics.iter().filter(|topic| topic.owner == Owner::Mapping && !topic.absent);
    let wanted: Vec<&str> = wanted.map(|topic| topic.name.as_str()).collect();
    // A topic that the user may not look at only seems to be missing.
    if let Seen::Hidden(why) = &observed.acls
        && !observed.topics.contains_key(&claims::claims_topic().name)
    {
        return Ok(Seen::Hidden(format!("'{}' is not seen, and {why}", claims::claims_topic().name)));
    }
    let look = || -> Result<Claims> {
        let there: Vec<&str> = wanted.into_iter().filter(|name| observed.topics.contains_key(*name)).collect();
        let owners = claims::owners(log, &there)?;
        let mut shared = BTreeMap::new();
        for topic in there.into_iter().filter(|topic| !owners.contains_key(*topic)) {
            if let Some(other) = stranger(log, topic, &desired.migration)? {
                shared.insert(topic.to_owned(), other);
            }
        }
        Ok(Claims { owners, shared })
    };
    match look() {
        Ok(claims) => Ok(Seen::Known(claims)),
        Err(error) if error.kind() == Kind::Refused => Ok(Seen::Hidden(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Another migration whose row events lie near an end of a topic.
fn stranger(log: &dyn EventLog, topic: &str, migration: &str) -> Result<Option<String>> {
    let ends = log.ends(topic)?;
    for oldest in [true, false] {
        let (mut from, mut until) = (Positions::new(), Positions::new());
        for (partition, ends) in &ends {
            let place = (topic.to_owned(), *partition);
            let newest = ends.low.max(ends.committed - POSITIONS);
            from.insert(place.clone(), if oldest { ends.low } else { newest });
            until.insert(place, if oldest { ends.committed.min(ends.low + POSITIONS) } else { ends.committed });
        }
        let mut reader = log.open_reader(&from)?;
        let mut batch = Batch::default();
        while until.iter().any(|(place, end)| reader.positions().get(place).is_some_and(|at| at < end)) {
            reader.read(&mut batch, 2_000, Duration::from_millis(100))?;
            for record in batch.iter() {
                let writer = record.header("ce_source").and_then(migration_of);
                if let Some(other) = writer.filter(|writer| *writer != migration) {
                    return Ok(Some(other.to_owned()));
                }
            }
        }
    }
    Ok(None)
}

/// A look at the home with what a check needs besides: access as far as it can be read, the migration's groups, the disks.
pub fn look_closely(admin: &dyn TopicAdmin, log: Option<&dyn EventLog>, desired: &Desired) -> Result<Observed> {
    let groups = Some(plan::group_prefix(&desired.migration));
    let scope = Scope { configs: Topics::Named(desired.names()), access: true, groups, disks: true };
    let mut observed = admin.observe(&scope)?;
    observed.claims = look_at_claims(log, desired, &observed)?;
    Ok(observed)
}

/// Asks the home about every step of its own that has a way through, and takes its answers in.
pub fn ask(admin: &dyn TopicAdmin, steps: &mut [Step]) -> Result<()> {
    let mut open: Vec<&mut Step> = steps.iter_mut().filter(|step| step.risk() != Risk::Impossible).collect();
    open.retain(|step| step.action().is_some());
    let actions: Vec<_> = open.iter().filter_map(|step| step.action().cloned()).collect();
    for (step, answer) in open.into_iter().zip(admin.judge(&actions)?) {
        match answer {
            Answer::Fine => step.answer = Some("fine".to_owned()),
            Answer::No(words) => step.refuse(&words),
            Answer::NotAsked(why) => step.answer = Some(format!("not asked: {why}")),
        }
    }
    Ok(())
}
