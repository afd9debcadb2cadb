//! The look at a home and a registry, and the plan made of it.

use super::schemas::observe_schemas;
use crate::base::{Millis, Result, rfc3339};
use crate::plan::{self, Desired, DesiredSchemas, Observed, Plan, Risk, Schemas, Step};
use crate::port::registry::Registry;
use crate::port::topic_admin::{Answer, Scope, TopicAdmin, Topics};

/// Where the steps of a plan are made.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    pub admin: &'a dyn TopicAdmin,
    pub registry: &'a dyn Registry,
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
        let observed = places.admin.observe(&scope)?;
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

/// A look at the home with what a check needs besides: access as far as it can be read, the migration's groups, the disks.
pub fn look_closely(admin: &dyn TopicAdmin, desired: &Desired) -> Result<Observed> {
    let groups = Some(plan::group_prefix(&desired.migration));
    admin.observe(&Scope { configs: Topics::Named(desired.names()), access: true, groups, disks: true })
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
