//! Older event values brought to the newest form, one step a version.

use indexmap::IndexMap;
use serde_json::value::{RawValue, to_raw_value};

use super::encode::VERSION;
use crate::base::{Error, Result};

/// Members by name; what they hold is passed on as it stands, so that no number is rounded on the way.
type Members = IndexMap<String, Box<RawValue>>;

/// Rewrites a value of `version` as the newest one.
pub(super) fn upcast(value: &[u8], version: u32) -> Result<Vec<u8>> {
    let corrupt = |error| Error::corrupt(format!("an event of version {version} cannot be read")).because(error);
    let mut event: Members = serde_json::from_slice(value).map_err(corrupt)?;
    for step in version..VERSION {
        match step {
            0 => from_0(&mut event).map_err(corrupt)?,
            _ => return Err(Error::corrupt(format!("no way is known from event version {step} to {}", step + 1))),
        }
    }
    serde_json::to_vec(&event).map_err(corrupt)
}

/// Version 0, of the first drafts, named the image `image` and had `copy` for `base`.
fn from_0(event: &mut Members) -> serde_json::Result<()> {
    if let Some(image) = event.shift_remove("image") {
        event.insert("row".to_owned(), image);
    }
    if event.get("op").is_some_and(|op| op.get() == "\"copy\"") {
        event.insert("op".to_owned(), to_raw_value("base")?);
    }
    event.insert("v".to_owned(), to_raw_value(&1)?);
    Ok(())
}
