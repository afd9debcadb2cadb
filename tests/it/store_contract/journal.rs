//! The journal file: one chain whoever appends, and every edit is found.

use std::path::PathBuf;

use crossfade::base::Kind;
use crossfade::journal::{SqliteJournal, contains};
use crossfade::port::journal::{Journal, Stage, verify};
use rusqlite::Connection;
use serde_json::json;

struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { path: folder.path().join("journal.db"), _folder: folder }
    }

    fn open(&self) -> SqliteJournal {
        SqliteJournal::open(&self.path).unwrap()
    }

    fn raw(&self, sql: &str) {
        Connection::open(&self.path).unwrap().execute_batch(sql).unwrap();
    }

    fn with(count: i64) -> Self {
        let file = Self::new();
        let journal = file.open();
        for number in 0..count {
            journal.append(number, Stage::Noted, 0, "test", &json!({"n": number, "text": "ü\0"})).unwrap();
        }
        file
    }
}

#[test]
fn entries_are_read_as_they_were_appended() {
    let file = File::new();
    let journal = file.open();
    assert_eq!(journal.head().unwrap(), None);
    let stages = [Stage::Announced, Stage::Done, Stage::Failed, Stage::Unknown, Stage::Noted];
    let appended: Vec<_> = stages
        .iter()
        .map(|stage| journal.append(-5, *stage, 1, "provision apply", &json!({"stage": stage})).unwrap())
        .collect();
    drop(journal);
    let journal = SqliteJournal::open_read_only(&file.path).unwrap();
    let entries = journal.entries().unwrap();
    assert_eq!(entries, appended);
    assert_eq!(verify(&entries), Ok(()));
    let head = journal.head().unwrap().unwrap();
    assert_eq!((head.seq, &head.hash), (5, &entries[4].hash));
}

#[test]
fn an_edited_entry_is_named() {
    let edits = [
        ("UPDATE entries SET detail = '{}' WHERE seq = 3", "entry 3 was edited"),
        ("UPDATE entries SET at = at + 1 WHERE seq = 3", "entry 3 was edited"),
        ("UPDATE entries SET stage = 'done' WHERE seq = 3", "entry 3 was edited"),
        ("UPDATE entries SET of = -1 WHERE seq = 3", "entry 3 was edited"),
        ("DELETE FROM entries WHERE seq = 3", "entry 4 stands where entry 3 belongs"),
        ("UPDATE entries SET seq = 9 WHERE seq = 5", "entry 9 stands where entry 5 belongs"),
        ("UPDATE entries SET hash = previous, previous = hash WHERE seq = 2", "entry 2 does not follow"),
    ];
    for (sql, named) in edits {
        let file = File::with(5);
        file.raw(sql);
        let error = verify(&file.open().entries().unwrap()).unwrap_err();
        assert!(error.contains(named), "{sql}: {error}");
    }
    let file = File::with(5);
    file.raw("UPDATE entries SET stage = 'never heard of' WHERE seq = 3");
    let error = file.open().entries().unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.message().contains("entry 3"), "{error}");
}

#[test]
fn a_cut_tail_shows_against_a_head_kept_elsewhere() {
    let file = File::with(5);
    let journal = file.open();
    let head = journal.head().unwrap().unwrap();
    journal.append(9, Stage::Noted, 0, "later", &json!(null)).unwrap();
    assert!(contains(&journal.entries().unwrap(), &head));
    file.raw("DELETE FROM entries WHERE seq > 4");
    let entries = journal.entries().unwrap();
    assert_eq!(verify(&entries), Ok(()), "the chain alone cannot know");
    assert!(!contains(&entries, &head));
    journal.append(9, Stage::Noted, 0, "written anew", &json!(null)).unwrap();
    assert!(!contains(&journal.entries().unwrap(), &head));
}

#[test]
fn two_handles_keep_one_chain() {
    let file = File::new();
    let (one, two) = (file.open(), file.open());
    for number in 0..10 {
        let journal = if number % 2 == 0 { &one } else { &two };
        assert_eq!(journal.append(number, Stage::Noted, 0, "test", &json!(number)).unwrap().seq, number as u64 + 1);
    }
    std::thread::scope(|scope| {
        for journal in [&one, &two] {
            scope.spawn(move || {
                for number in 0..20 {
                    journal.append(number, Stage::Noted, 0, "at once", &json!(number)).unwrap();
                }
            });
        }
    });
    let entries = one.entries().unwrap();
    assert_eq!((entries.len(), verify(&entries)), (50, Ok(())));
}

#[test]
fn reading_makes_no_file_and_appends_nothing() {
    let file = File::new();
    let error = SqliteJournal::open_read_only(&file.path).err().unwrap();
    assert!(error.message().contains("there is no journal"), "{error}");
    assert!(!file.path.exists());
    std::fs::write(&file.path, "").unwrap();
    assert_eq!(SqliteJournal::open_read_only(&file.path).err().unwrap().kind(), Kind::Refused);

    let file = File::with(1);
    let journal = SqliteJournal::open_read_only(&file.path).unwrap();
    assert_eq!(journal.append(0, Stage::Noted, 0, "test", &json!(0)).unwrap_err().kind(), Kind::Refused);
    assert_eq!(journal.entries().unwrap().len(), 1);
    assert_eq!(std::fs::read_dir(file.path.parent().unwrap()).unwrap().count(), 1, "no files beside it");
}

#[test]
fn a_newer_version_and_a_foreign_file_are_refused() {
    let file = File::with(1);
    file.raw("PRAGMA user_version = 2");
    for error in
        [SqliteJournal::open(&file.path).err().unwrap(), SqliteJournal::open_read_only(&file.path).err().unwrap()]
    {
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.message().contains("version 2"), "{error}");
    }

    let file = File::new();
    file.raw("CREATE TABLE theirs (a)");
    assert_eq!(SqliteJournal::open(&file.path).err().unwrap().kind(), Kind::Refused);
    std::fs::write(&file.path, "no database at all, but long enough to be taken for one").unwrap();
    assert_eq!(SqliteJournal::open(&file.path).err().unwrap().kind(), Kind::Corrupt);
}
