//! What a registry has of the schemas wanted, and the steps towards them.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::base::{Error, Kind, Result};
use crate::plan::{DesiredSchema, DesiredSchemas, FoundSchemas, FoundSubject, FoundVersion, Judgement, SchemaStep};
use crate::port::registry::{Registered, Registry};

/// One look at the subjects wanted; nothing is changed.
pub fn observe_schemas(registry: &dyn Registry, desired: &DesiredSchemas) -> Result<FoundSchemas> {
    let default = registry.default_level()?;
    let mut subjects = BTreeMap::new();
    for wanted in &desired.schemas {
        let level = registry.level(&wanted.subject)?;
        let changes = desired.level.filter(|level_wanted| *level_wanted != level.unwrap_or(default));
        let transitive = changes.is_some_and(|level| level.is_transitive());
        subjects.insert(wanted.subject.clone(), FoundSubject { level, ..observe(registry, wanted, transitive)? });
    }
    Ok(FoundSchemas { registry: registry.describe(), default, subjects })
}

fn observe(registry: &dyn Registry, wanted: &DesiredSchema, all: bool) -> Result<FoundSubject> {
    let mut versions = Vec::new();
    if let Some(latest) = registry.latest(&wanted.subject)? {
        if all {
            for version in registry.versions(&wanted.subject)?.into_iter().filter(|version| *version < latest.version) {
                versions.extend(registry.version(&wanted.subject, version)?);
            }
        }
        versions.push(latest);
    }
    let same = match versions.last() {
        None => None,
        Some(_) => has(registry, &wanted.subject, &wanted.schema)?.map(|registered| registered.version),
    };
    let judgement = if versions.is_empty() || same.is_some() {
        Judgement::Compatible
    } else {
        registry.check(&wanted.subject, &wanted.schema)?
    };
    let versions = versions.into_iter().map(|Registered { id, version, schema }| FoundVersion { id, version, schema });
    Ok(FoundSubject { level: None, versions: versions.collect(), same, judgement })
}

/// The version that is this schema. A registry may look up by the very bytes, so the latest is compared here too.
fn has(registry: &dyn Registry, subject: &str, schema: &Json) -> Result<Option<Registered>> {
    match registry.look_up(subject, schema)? {
        Some(registered) => Ok(Some(registered)),
        None => Ok(registry.latest(subject)?.filter(|latest| latest.schema == *schema)),
    }
}

/// Makes one step, reads it back and tells what is there now. A step already made is no error and changes nothing.
pub fn perform_schema_step(registry: &dyn Registry, step: &SchemaStep) -> Result<String> {
    match step {
        SchemaStep::SetCompatibility { subject, level } => {
            let now = || Ok::<_, Error>(registry.level(subject)?.unwrap_or(registry.default_level()?));
            if now()? != *level {
                registry.set_level(subject, *level)?;
                let found = now()?;
                if found != *level {
                    let message = format!(
                        "{} still has the compatibility {} for '{subject}', not {}",
                        registry.describe(),
                        found.word(),
                        level.word()
                    );
                    return Err(Error::refused(message)
                        .hint("some registries let a subject not be laxer than all: change the default there"));
                }
            }
            Ok(format!("compatibility {}", level.word()))
        }
        SchemaStep::Register { subject, schema } => {
            let registered = match has(registry, subject, schema)? {
                Some(registered) => registered,
                None => register(registry, subject, schema)?,
            };
            Ok(format!("version {}, id {}", registered.version, registered.id))
        }
    }
}

fn register(registry: &dyn Registry, subject: &str, schema: &Json) -> Result<Registered> {
    if registry.latest(subject)?.is_some()
        && let Judgement::Incompatible(reasons) = registry.check(subject, schema)?
    {
        return Err(
            Error::refused(format!("the new schema of '{subject}' is not compatible")).because(reasons.join("; "))
        );
    }
    let sent = registry.register(subject, schema);
    // A reply that was lost may still have done it.
    if let Err(error) = sent
        && (error.kind() == Kind::Refused || has(registry, subject, schema).ok().flatten().is_none())
    {
        return Err(error);
    }
    has(registry, subject, schema)?.ok_or_else(|| {
        Error::failed(format!("{} took the schema of '{subject}', but does not have it", registry.describe()))
    })
}
