//! No room left under the log, the projection and the journal.

use std::path::Path;

use crate::support::cli::{Log, Ran};
use crate::support::crash::{Trial, fill_up};

/// Runs with room for so many bytes more under `folder`.
fn with_room(trial: &Trial, folder: &Path, bytes: u64, args: &[&str]) -> Ran {
    let mut command = trial.command(args, &[]);
    fill_up(&mut command, folder, bytes);
    Ran::of(command.output().unwrap())
}

/// Says what is full, and what would help.
#[track_caller]
fn assert_told(ran: &Ran, file: &str, room: u64) {
    assert_eq!(ran.code, Some(2), "with room for {room} bytes: {}\n{}", ran.stdout, ran.stderr);
    let told = ran.stderr.to_lowercase();
    let complains = told.contains("no room left") || told.contains("no space left");
    assert!(complains && told.contains(file), "with room for {room} bytes, about {file}: {}", ran.stderr);
    assert!(told.contains("help:") && told.contains("make room"), "with room for {room} bytes: {}", ran.stderr);
}

/// Gives the command less and less short a disk, with changes in between, until it goes through; each time it fails it
/// must say so.
fn grow_until_it_goes(trial: &Trial, folder: &Path, file: &str, args: &[&str]) -> u32 {
    let (mut room, mut failures) = (0, 0);
    loop {
        let ran = with_room(trial, folder, room, args);
        if ran.code == Some(0) {
            return failures;
        }
        assert_told(&ran, file, room);
        failures += 1;
        if failures % 4 == 0 {
            trial.change_legacy();
        }
        room += room / 4 + (12 << 10);
    }
}

/// The folder the tool keeps its files in.
fn state(trial: &Trial) -> std::path::PathBuf {
    trial.migration.path(".crossfade")
}

#[test]
fn i08_a_replay_on_a_full_disk_keeps_what_was_committed_and_goes_on_later() {
    let trial = Trial::new(Log::Embedded, 31);
    trial.expect(&["provision", "apply"], 0);
    let log = state(&trial).join("log.db");
    let failures = grow_until_it_goes(&trial, &log, "log.db", &["replay"]);
    assert!(failures > 3, "the disk was full {failures} times only");
    trial.expect(&["replay"], 0);
    trial.assert_passes();
}

#[test]
fn i08_a_project_on_a_full_disk_keeps_what_was_committed_and_goes_on_later() {
    let trial = Trial::new(Log::Embedded, 37);
    trial.expect(&["provision", "apply"], 0);
    trial.expect(&["replay"], 0);
    let projection = trial.migration.projection();
    std::fs::File::create(&projection).unwrap();
    let failures = grow_until_it_goes(&trial, &projection, "projection.db", &["project"]);
    assert!(failures > 3, "the disk was full {failures} times only");
    trial.expect(&["replay"], 0);
    trial.assert_passes();
}

#[test]
fn i08_a_disk_full_under_all_files_at_once_stops_every_command_with_a_reason() {
    let trial = Trial::new(Log::Embedded, 41);
    trial.expect(&["provision", "apply"], 0);
    let folder = state(&trial);
    for args in [&["replay"][..], &["project"], &["replay"], &["project", "--rebuild"]] {
        let failures = grow_until_it_goes(&trial, &folder, ".db", args);
        assert!(failures > 0, "{args:?} needed no room");
        trial.change_legacy();
    }
    trial.expect(&["replay"], 0);
    trial.assert_passes();
}

#[test]
fn i08_a_snapshot_on_a_full_disk_leaves_the_one_before() {
    let trial = Trial::new(Log::Embedded, 43);
    trial.expect(&["provision", "apply"], 0);
    trial.expect(&["replay"], 0);
    trial.expect(&["project", "--snapshot", "fold.snapshot"], 0);
    let before = std::fs::read(trial.migration.path("fold.snapshot")).unwrap();
    let part = trial.migration.folder.path().join("fold.snapshot");
    std::fs::File::create(trial.migration.path("fold.snapshot.part")).unwrap();
    let ran = with_room(&trial, &part, 20_000, &["project", "--snapshot", "fold.snapshot"]);
    assert_told(&ran, "fold.snapshot", 20_000);
    assert!(std::fs::read(trial.migration.path("fold.snapshot")).unwrap() == before, "the snapshot was touched");
    trial.expect(&["project", "--restore", "fold.snapshot"], 0);
    trial.expect(&["project", "--snapshot", "fold.snapshot"], 0);
    trial.assert_passes();
}
