//! Figures of the commands that go on, scraped while they run.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use crate::support::cli::Log;
use crate::support::crash::{Child, signal};
use crate::support::flow::{execute, generated};
use crate::support::scrape::{ask, checked, free_address, scrape};

const SIZES: crossfade::demo::Sizes = crossfade::demo::Sizes { sessions: 40, messages: 300, seed: 3 };

/// Scrapes until what is found fits.
#[track_caller]
fn until(address: SocketAddr, fits: impl Fn(&BTreeMap<String, f64>) -> bool) -> BTreeMap<String, f64> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut last = None;
    while Instant::now() < deadline {
        if let Some(figures) = scrape(address) {
            if fits(&figures) {
                return figures;
            }
            last = Some(figures);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("at last: {last:#?}");
}

#[test]
fn figures_of_follow_and_project_are_served_while_they_run() {
    let migration = generated(Log::Embedded, SIZES, "");
    migration.expect(&["provision", "apply"], 0);
    migration.expect(&["follow", "--install", "--confirm", &migration.name], 0);
    migration.expect(&["replay"], 0);
    let (follow_at, project_at) = (free_address(), free_address());
    let follow = Child::start(migration.command(&["follow", "--metrics", &follow_at.to_string()]));
    let project = Child::start(migration.command(&["project", "--live", "--metrics", &project_at.to_string()]));
    let before = until(follow_at, |_| true);
    let names: Vec<&str> = before.keys().map(String::as_str).collect();
    let expected = [
        "crossfade_build_info",
        "crossfade_follow_commits_total",
        "crossfade_follow_events_total",
        "crossfade_follow_lag_bytes",
        "crossfade_follow_lag_changes",
        "crossfade_follow_lag_seconds",
        "crossfade_follow_reconnects_total",
    ];
    assert_eq!(names, expected);
    let copied = until(project_at, |figures| figures["crossfade_project_commits_total"] > 0.0);
    let copied = copied["crossfade_project_events_total"];
    execute(&migration.legacy(), "UPDATE messages SET content = 'changed' WHERE rowid <= 120");
    let followed = until(follow_at, |figures| figures["crossfade_follow_events_total"] >= 120.0);
    assert!(followed["crossfade_follow_commits_total"] >= 1.0, "{followed:?}");
    until(follow_at, |figures| figures["crossfade_follow_lag_changes"] == 0.0);
    let all = followed["crossfade_follow_events_total"];
    let folded = until(project_at, |figures| {
        figures["crossfade_project_events_total"] >= copied + all
            && figures["crossfade_project_commits_total"] >= 2.0
            && figures["crossfade_project_lag_events"] == 0.0
    });
    assert_eq!(folded["crossfade_project_lag_seconds"], 0.0);
    assert_eq!(folded["crossfade_build_info"], 1.0);

    // A follow that stands still: what it does not tell shows as lag, and grows older.
    signal("STOP", follow.id());
    execute(&migration.legacy(), "UPDATE messages SET content = 'again' WHERE rowid <= 50");
    std::thread::sleep(Duration::from_millis(1_200));
    signal("CONT", follow.id());
    until(follow_at, |figures| figures["crossfade_follow_events_total"] >= all + 50.0);

    assert_eq!(ask(follow_at, "GET /else").unwrap().0, 404);
    assert_eq!(ask(follow_at, "POST /metrics").unwrap().0, 405);
    for child in [follow, project] {
        signal("TERM", child.id());
        let (status, said) = child.wait();
        assert_eq!(status.code(), Some(143), "{said}");
    }
}

#[test]
fn an_address_in_use_is_refused_before_anything_is_done() {
    let migration = generated(Log::Embedded, SIZES, "");
    migration.expect(&["provision", "apply"], 0);
    migration.expect(&["replay"], 0);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let journal = migration.expect(&["journal", "show"], 0);
    for command in [&["project", "--live"][..], &["project", "--live", "--shared"], &["follow"]] {
        let ran = migration.run(&[command, &["--metrics", &address]].concat());
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert!(ran.stderr.contains(&address) && ran.stderr.contains("in use"), "{}", ran.stderr);
        assert!(ran.stderr.contains("help: name a free address"), "{}", ran.stderr);
    }
    assert!(!migration.projection().exists());
    assert_eq!(migration.expect(&["journal", "show"], 0), journal);
}

#[test]
fn the_check_of_the_format_finds_what_is_wrong() {
    let fine = "# HELP a_total h\n# TYPE a_total counter\na_total 1\n";
    assert_eq!(checked(fine)["a_total"], 1.0);
    for wrong in [
        "a_total 1\n",
        "# HELP a_total h\n# TYPE a_total gauge\na_total 1\n",
        "# HELP a h\n# TYPE a counter\na 1\n",
        "# HELP a h\n# TYPE a gauge\na one\n",
        "# HELP a h\n# TYPE a gauge\na 1",
        "# HELP 1a h\n# TYPE 1a gauge\n1a 1\n",
        "# HELP a h\n# TYPE a gauge\na -1\n",
    ] {
        assert!(std::panic::catch_unwind(|| checked(wrong)).is_err(), "{wrong}");
    }
}
