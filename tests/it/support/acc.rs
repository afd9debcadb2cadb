//! ACC stores to test with, and the independent proof that two stores hold the same rows.

mod dump;
mod same;
mod store;

use std::path::{Path, PathBuf};

pub use dump::load_dump;
pub use same::{Same, assert_same_rows, differences};
pub use store::build_store;

/// The six mapped tables, for [`assert_same_rows`].
pub const TABLES: [Same<'static>; 6] = [
    Same::keyed("sessions"),
    Same::keyed("messages"),
    Same::keyed("agent_communications"),
    Same::keyed("system_events"),
    Same::keyed("performance_metrics"),
    Same::keyed("session_summaries"),
];

/// A file of the folder with third-party data, if it is there: `CROSSFADE_TEST_SHARED`, or `shared` beside the project.
pub fn shared(file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CROSSFADE_TEST_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    Some(folder.join(file)).filter(|path| path.exists())
}
