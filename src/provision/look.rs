//! The look at a home, and the plan made of it.

use crate::base::{Millis, Result, rfc3339};
use crate::plan::{self, Desired, Observed, Plan, Risk, Step};
use crate::port::topic_admin::{Answer, Scope, TopicAdmin, Topics};

/// Looks at all that a plan for these wishes depends on.
pub fn look(admin: &dyn TopicAdmin, desired: &Desired) -> Result<Observed> {
    let access = !desired.actors.is_empty();
    admin.observe(&Scope { configs: Topics::Named(desired.names()), access, groups: None })
}

/// The same, and what a check needs besides: access as far as it can be read, and the migration's consumer groups.
pub fn look_closely(admin: &dyn TopicAdmin, desired: &Desired) -> Result<Observed> {
    let groups = Some(plan::group_prefix(&desired.migration));
    admin.observe(&Scope { configs: Topics::Named(desired.names()), access: true, groups })
}

/// The plan that leads from what was observed to what is wished. The home is asked about each step without changing
/// anything; what it would refuse is impossible.
pub fn plan(
    admin: &dyn TopicAdmin,
    desired: &Desired,
    observed: &Observed,
    mechanism: Option<&str>,
    at: Millis,
) -> Result<Plan> {
    let mut steps = plan::steps(desired, observed);
    ask(admin, &mut steps)?;
    let fingerprints = plan::fingerprints(desired, observed);
    Ok(Plan {
        schema_version: plan::VERSION,
        tool: format!("crossfade {}", env!("CARGO_PKG_VERSION")),
        made_at: rfc3339(at),
        migration: desired.migration.clone(),
        desired: desired.hash()?,
        home: observed.home.clone(),
        cluster_id: observed.cluster_id.clone(),
        observed_hash: plan::observed_hash(&observed.cluster_id, &fingerprints),
        observed: fingerprints,
        steps,
        manual: plan::manual(desired, observed, mechanism),
        notes: plan::notes(desired, observed),
    })
}

/// Asks the home about every step that has a way through, and takes its answers in.
pub fn ask(admin: &dyn TopicAdmin, steps: &mut [Step]) -> Result<()> {
    let mut open: Vec<&mut Step> = steps.iter_mut().filter(|step| step.risk() != Risk::Impossible).collect();
    open.retain(|step| step.action.is_some());
    let actions: Vec<_> = open.iter().filter_map(|step| step.action.clone()).collect();
    for (step, answer) in open.into_iter().zip(admin.judge(&actions)?) {
        match answer {
            Answer::Fine => step.answer = Some("fine".to_owned()),
            Answer::No(words) => step.refuse(&words),
            Answer::NotAsked(why) => step.answer = Some(format!("not asked: {why}")),
        }
    }
    Ok(())
}
