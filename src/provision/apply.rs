//! Takes the steps of a plan: each announced, made, read back and told.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use super::look::{Claimant, Places};
use super::schemas::perform_schema_step;
use crate::base::{Error, Kind, Result};
use crate::plan::{self, Act, Action, SchemaStep, Step};
use crate::port::boundary::boundary;
use crate::port::claims;
use crate::port::progress::Progress;
use crate::port::topic_admin::{Scope, TopicAdmin, Topics};

/// How long a change may take to be seen.
const SETTLE: Duration = Duration::from_secs(30);
/// How often a step without a reply is looked at and made again.
const TRIES: usize = 3;

/// Keeps what was done, before and after.
pub trait Record {
    /// Durable once it returns; gives the number of the entry.
    fn announce(&self, step: &Step) -> Result<u64>;

    fn ended(&self, entry: u64, step: &Step, result: &Result<()>) -> Result<()>;
}

/// A step that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub item: String,
    pub changes: usize,
    pub took: Duration,
}

/// Takes the steps in order and returns what was taken, with the error that ended the run, if one did.
///
/// A step ends when a look shows the item as the plan foresaw it. One whose reply was lost is looked at first: what shows is
/// done, what does not is made again.
pub fn apply(
    places: Places<'_>,
    steps: &[Step],
    record: &dyn Record,
    progress: &dyn Progress,
) -> (Vec<Applied>, Option<Error>) {
    let mut applied = Vec::with_capacity(steps.len());
    for (number, step) in steps.iter().enumerate() {
        let began = Instant::now();
        let taken = progress.check().and_then(|()| {
            progress.note(&format!("{} of {}: {}", number + 1, steps.len(), told(step)));
            take(places, step, record)
        });
        if let Err(error) = taken {
            return (applied, Some(error));
        }
        applied.push(Applied { item: step.item.clone(), changes: step.changes.len(), took: began.elapsed() });
    }
    (applied, None)
}

fn take(places: Places<'_>, step: &Step, record: &dyn Record) -> Result<()> {
    let Some(act) = &step.act else {
        return Err(Error::refused(format!("there is no way to change {}", step.item)));
    };
    let entry = record.announce(step)?;
    let result = match act {
        Act::Home(action) => make(places.admin, step, action),
        // Checks, settles a lost reply and reads back by itself.
        Act::Registry(schema) => perform_schema_step(places.registry, schema).map(|_| {
            boundary("provision.step-made");
            boundary("provision.step-seen");
        }),
        Act::Claim { migration, topics } => claim(places, migration, topics),
    };
    record.ended(entry, step, &result)?;
    result
}

/// The writer of claims settles a lost reply itself.
fn claim(places: Places<'_>, migration: &str, topics: &[String]) -> Result<()> {
    let Some(Claimant { log: Some(log), instance, now }) = places.claimant else {
        return Err(Error::failed("there is no log to claim topics of"));
    };
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    claims::claim(log, (migration, instance), &topics, now())?;
    boundary("provision.step-made");
    boundary("provision.step-seen");
    Ok(())
}

fn make(admin: &dyn TopicAdmin, step: &Step, action: &Action) -> Result<()> {
    let mut tries = 1;
    loop {
        let made = admin.perform(action);
        boundary("provision.step-made");
        match made {
            Ok(()) => break,
            Err(error) if matches!(error.kind(), Kind::Unknown | Kind::Connect) => {
                // The reply is lost, the change need not be.
                if shows(admin, step, action).unwrap_or(false) {
                    break;
                }
                if tries == TRIES {
                    return Err(error);
                }
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
    let deadline = Instant::now() + SETTLE;
    loop {
        if shows(admin, step, action)? {
            boundary("provision.step-seen");
            return Ok(());
        }
        if Instant::now() >= deadline {
            let message =
                format!("{} was changed, but does not show as planned after {} s", step.item, SETTLE.as_secs());
            return Err(Error::unknown(message).hint("somebody else may have changed it: crossfade provision plan"));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a look shows what the step was to make. Of a user's rules only those of the step count: others may add theirs.
fn shows(admin: &dyn TopicAdmin, step: &Step, action: &Action) -> Result<bool> {
    if let Action::CreateAcls { acls, .. } = action {
        let observed = admin.observe(&Scope { access: true, ..Scope::default() })?;
        return Ok(observed.acls.known().is_some_and(|known| acls.iter().all(|rule| known.contains(rule))));
    }
    let configs = Topics::Named(BTreeSet::from([step.name().to_owned()]));
    let observed = admin.observe(&Scope { configs, ..Scope::default() })?;
    Ok(plan::of_topic(observed.topics.get(step.name())) == step.after)
}

fn told(step: &Step) -> String {
    match &step.act {
        Some(Act::Home(Action::CreateTopic { name, .. })) => format!("create the topic {name}"),
        Some(Act::Home(Action::AddPartitions { name, partitions })) => format!("{name}: partitions up to {partitions}"),
        Some(Act::Home(Action::AlterConfigs { name, set, reset })) => {
            let keys: Vec<&str> = set.keys().chain(reset).map(String::as_str).collect();
            format!("{name}: set {}", keys.join(", "))
        }
        Some(Act::Home(Action::DeleteTopic { name })) => format!("delete the topic {name}"),
        Some(Act::Home(Action::CreateAcls { principal, acls })) => format!("{principal}: {} access rules", acls.len()),
        Some(Act::Registry(SchemaStep::SetCompatibility { subject, level })) => {
            format!("{subject}: compatibility {}", level.word())
        }
        Some(Act::Registry(SchemaStep::Register { subject, .. })) => format!("register the schema {subject}"),
        Some(Act::Claim { topics, .. }) => format!("claim {}", topics.join(", ")),
        None => step.item.clone(),
    }
}
