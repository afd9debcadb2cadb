//! Generated rows in a SQLite file.

use std::path::Path;

use crossfade::demo::{self, Sizes};
use crossfade::sqlite::scratch;

/// Makes a store of generated rows at `path`, in WAL mode like the application's.
pub fn build_store(path: &Path, sizes: Sizes) {
    scratch::make(path, demo::schema(), |load| demo::rows(sizes, load)).unwrap();
}
