//! Legacy stores that cannot be read, or do not fit.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use rusqlite::Connection;

use super::shop::{edit, make_store, refuses, shop, sql};
use crate::support::cli::{Migration, command};

fn provisioned() -> Migration {
    let shop = shop(3, "");
    shop.expect(&["provision", "apply"], 0);
    shop
}

/// Every command that reads the legacy store.
const READERS: [&[&str]; 3] = [&["replay"], &["replay", "--dry-run"], &["diff"]];

fn with_file(bytes: Option<&[u8]>, code: i32, says: &[&str]) {
    let shop = provisioned();
    std::fs::remove_file(shop.legacy()).unwrap();
    if let Some(bytes) = bytes {
        std::fs::write(shop.legacy(), bytes).unwrap();
    }
    for args in READERS {
        refuses(&shop, args, code, says);
    }
}

#[test]
fn a_missing_legacy_file_is_named() {
    with_file(None, 2, &["there is no file 'legacy.db'", "help: check the path"]);
}

#[test]
fn an_empty_legacy_file_is_no_database() {
    with_file(Some(b""), 2, &["'legacy.db' is empty, not a SQLite database", "help: name the file"]);
}

#[test]
fn a_text_file_is_no_database() {
    with_file(Some(b"id,name\n1,Ada\n"), 2, &["'legacy.db' is not a SQLite database, or it is encrypted", "help: "]);
}

#[test]
fn an_encrypted_file_is_told_from_a_damaged_one() {
    let noise: Vec<u8> = (0_u32..8192).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    with_file(Some(&noise), 2, &["or it is encrypted", "must be decrypted into a copy first"]);
}

#[test]
fn a_folder_is_no_database() {
    let shop = provisioned();
    std::fs::remove_file(shop.legacy()).unwrap();
    std::fs::create_dir(shop.legacy()).unwrap();
    refuses(&shop, &["replay"], 2, &["'legacy.db' is a folder", "help: name the file in it"]);
}

#[test]
fn a_damaged_database_is_named() {
    let shop = provisioned();
    sql(&shop.legacy(), "PRAGMA journal_mode = DELETE; PRAGMA journal_mode = WAL");
    let mut bytes = std::fs::read(shop.legacy()).unwrap();
    bytes[100..4096].fill(0xee);
    std::fs::write(shop.legacy(), bytes).unwrap();
    refuses(&shop, &["replay"], 2, &["'legacy.db' is damaged", "integrity_check"]);
}

#[test]
fn a_locked_legacy_file_is_given_up_after_a_moment() {
    let shop = provisioned();
    sql(&shop.legacy(), "PRAGMA journal_mode = DELETE");
    // A process of its own: closing any handle of a file in this one would drop this one's locks.
    let mut holder = Command::new("sqlite3")
        .args(["-batch", "-init", "/dev/null"])
        .arg(shop.legacy())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the sqlite3 command");
    let mut hold = holder.stdin.take().unwrap();
    writeln!(hold, "BEGIN EXCLUSIVE; SELECT 'held';").unwrap();
    let mut held = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut held).unwrap();
    assert_eq!(held, "held\n");
    refuses(&shop, &["replay", "--legacy-stopped"], 2, &["'legacy.db' is locked by another program", "help: wait"]);
    drop(hold);
    holder.wait().unwrap();
    shop.expect(&["replay", "--legacy-stopped"], 0);
}

#[test]
fn a_store_without_wal_is_read_only_once_the_legacy_is_said_to_be_stopped() {
    let shop = provisioned();
    sql(&shop.legacy(), "PRAGMA journal_mode = DELETE");
    for args in READERS {
        refuses(&shop, args, 3, &["'legacy.db' has the journal mode delete", "--legacy-stopped"]);
    }
    shop.expect(&["replay", "--legacy-stopped"], 0);
    shop.expect(&["project"], 0);
    shop.expect(&["diff", "--legacy-stopped"], 0);
}

#[test]
fn a_store_that_lacks_a_mapped_column_is_refused_with_the_nearest_one() {
    let shop = provisioned();
    sql(&shop.legacy(), "ALTER TABLE orders RENAME COLUMN total TO totals");
    for args in READERS {
        refuses(&shop, args, 3, &["table 'orders' has no column 'total'", "did you mean 'totals'?"]);
    }
}

#[test]
fn a_store_that_lacks_a_mapped_table_is_refused_with_the_nearest_one() {
    let shop = provisioned();
    sql(&shop.legacy(), "ALTER TABLE customers RENAME TO customer");
    refuses(&shop, &["replay"], 3, &["'legacy.db' has no table 'customers'", "did you mean 'customer'?"]);
}

#[test]
fn an_unmapped_column_is_refused_until_it_is_mapped_or_never_read() {
    let shop = provisioned();
    sql(&shop.legacy(), "ALTER TABLE orders ADD COLUMN note TEXT");
    for args in READERS {
        refuses(&shop, args, 3, &["column 'note' of table 'orders' is neither mapped", "'never' list"]);
    }
    edit(&shop, "mapping.yaml", "      total: REAL\n", "      total: REAL\n    never: [note]\n");
    shop.expect(&["replay"], 0);
}

#[test]
fn odd_file_names_work_for_the_legacy_store() {
    for name in ["a b.db", "jökull ünï 漢字.db", "what?.db", "100%41.db", "a#b?c=d&e.db", "it's \"q\".db", "-dash.db"]
    {
        let folder = tempfile::tempdir().unwrap();
        make_store(&folder.path().join(name), 5);
        let store = format!("sqlite:{name}");
        let steps: [&[&str]; 5] = [
            &["init", "--from", &store, "--migration", "odd"],
            &["provision", "apply"],
            &["replay"],
            &["project"],
            &["diff", "--output", "json"],
        ];
        for args in steps {
            let output = command(folder.path(), args).output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{name}: {args:?}\n{told}");
        }
    }
}

#[test]
fn init_refuses_what_it_cannot_map_and_writes_nothing() {
    let shop = shop(3, "");
    std::fs::write(shop.path("noise.db"), b"not a database at all, but long enough to look at").unwrap();
    std::fs::write(shop.path("empty.db"), b"").unwrap();
    let init = |from: &str, code: i32, says: &[&str]| {
        refuses(&shop, &["-c", "new/crossfade.yaml", "init", "--from", from], code, says);
    };
    init("sqlite:gone.db", 2, &["there is no file 'gone.db'", "help: "]);
    init("sqlite:noise.db", 2, &["'noise.db' is not a SQLite database", "help: "]);
    init("sqlite:empty.db", 3, &["'empty.db' has no table that can be mapped", "help: "]);
    init("legacy.db", 2, &["write --from sqlite:legacy.db"]);
    init("files:.claude-sessions", 2, &["store: \"files:.claude-sessions\""]);
    init("postgres://localhost/shop", 2, &["the URL names no user", "help: postgres://user@host"]);
    let ran = refuses(
        &shop,
        &["-c", "new/crossfade.yaml", "init", "--from", "postgres://u:pa55word@localhost/shop"],
        2,
        &["a password stands in the URL", "CROSSFADE_LEGACY_PASSWORD"],
    );
    assert!(!ran.stderr.contains("pa55word"), "{}", ran.stderr);
    refuses(&shop, &["init", "--from", "sqlite:legacy.db"], 3, &["crossfade.yaml exists already", "--config"]);
}

#[test]
fn init_warns_of_a_store_that_replay_would_refuse() {
    let shop = shop(3, "");
    sql(&shop.legacy(), "PRAGMA journal_mode = DELETE");
    let told = shop.expect(&["-c", "new/crossfade.yaml", "init", "--from", "sqlite:legacy.db"], 0);
    assert!(told.contains("warning: ") && told.contains("--legacy-stopped"), "{told}");
    assert!(shop.path("new/mapping.yaml").exists());
    shop.expect(&["-c", "new/crossfade.yaml", "provision", "apply"], 0);
    let ran = shop.run(&["-c", "new/crossfade.yaml", "replay", "--legacy-stopped"]);
    assert!(ran.stderr.contains("next: crossfade --config new/crossfade.yaml project"), "{}", ran.stderr);
}

#[test]
fn an_unreachable_broker_is_named_without_the_client_s_own_noise() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let shop = shop(3, &format!("log:\n  kafka: {{bootstrap: [\"{free}\"]}}\n"));
    for args in [&["provision", "apply"][..], &["status"], &["replay"]] {
        let ran = refuses(&shop, args, 2, &[&format!("Kafka at {free} does not answer"), "help: check `bootstrap`"]);
        assert!(!ran.stderr.contains("rdkafka") && !ran.stderr.contains("%3|"), "{}", ran.stderr);
    }
}

#[test]
fn a_writer_of_the_legacy_is_not_held_up_by_a_replay() {
    let shop = shop(4_000, "");
    shop.expect(&["provision", "apply"], 0);
    let mut replay = shop.command(&["replay", "--quiet", "--throttle", "4000"]).stdout(Stdio::null()).spawn().unwrap();
    let writer = Connection::open(shop.legacy()).unwrap();
    writer.busy_timeout(Duration::ZERO).unwrap();
    let mut written = 0;
    while replay.try_wait().unwrap().is_none() {
        writer.execute("UPDATE customers SET name = name || '.' WHERE id = 1", []).unwrap();
        written += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(written > 10, "{written} writes met the replay");
}
