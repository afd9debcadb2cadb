//! A disk that runs full, made of a library that is loaded into the process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Builds the library once; without a C compiler the test fails.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("full_disk.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/full_disk.c");
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-D_LARGEFILE64_SOURCE", "-o"])
            .args([&path, &source])
            .arg("-ldl")
            .output()
            .expect("a C compiler (cc), which makes the full disk of these tests");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (folder, path)
    });
    path
}

/// Lets the files under `folder` grow by `bytes` in the process of this command, and no further.
pub fn fill_up(command: &mut Command, folder: &Path, bytes: u64) {
    command
        .env("LD_PRELOAD", library())
        .env("FULL_DISK_FOLDER", folder.canonicalize().unwrap())
        .env("FULL_DISK_BYTES", bytes.to_string());
}
