//! A legacy table gains a column while the migration is under way.

use crossfade::demo::Sizes;

use crate::support::cli::Log;
use crate::support::flow::{confirmed_pass, execute, on_both_logs, projected};

on_both_logs!(i04_a_copy_under_a_wider_mapping_begins_a_fold_of_its_own);

fn i04_a_copy_under_a_wider_mapping_begins_a_fold_of_its_own(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    confirmed_pass(&migration);
    execute(&migration.legacy(), "ALTER TABLE sessions ADD COLUMN priority INTEGER DEFAULT 3");
    execute(&migration.legacy(), "DELETE FROM messages WHERE rowid % 5 = 0");
    let refused = migration.run(&["replay"]);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("priority"), "{}", refused.stderr);

    let mapping = std::fs::read_to_string(migration.path("mapping.yaml")).unwrap();
    let wider = mapping.replacen("      work_dir: TEXT\n", "      work_dir: TEXT\n      priority: INTEGER\n", 1);
    assert_ne!(mapping, wider);
    std::fs::write(migration.path("mapping.yaml"), wider).unwrap();
    migration.expect(&["replay"], 4);
    migration.expect(&["diff"], 4);
    migration.expect(&["replay", "--recopy"], 0);
    migration.expect(&["project"], 0);
    confirmed_pass(&migration);
    migration.expect(&["project", "--rebuild"], 0);
    confirmed_pass(&migration);
    migration.expect(&["diff", "--from-log"], 0);
    execute(&migration.legacy(), "UPDATE sessions SET priority = 4 WHERE rowid = 1");
    assert!(migration.expect(&["diff"], 1).contains("row ≠ fold"));
}
