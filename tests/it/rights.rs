//! Least rights: each role does its work under the access rules that were planned for it, and nothing else.

mod check;
mod matrix;
mod work;

use std::sync::{Mutex, PoisonError};

use crossfade::demo::Sizes;

use crate::support::acc::build_store;
use crate::support::cli::{Log, Migration, Ran};
use crate::support::secure::{brokers, log_in, trusts};

/// Roles, and the cluster's users who act in them.
const ROLES: [(&str, &str); 9] = [
    ("replayer", "replayer"),
    ("projector", "projector"),
    ("gateway", "gateway"),
    ("bridge", "bridge"),
    ("aggregator", "aggregator"),
    ("gate_runner", "gates"),
    ("verifier", "verifier"),
    ("manager", "manager"),
    ("worker", "worker"),
];

fn actors() -> String {
    ROLES.map(|(role, user)| format!("{role}: {{user: {user}}}")).join(", ")
}

/// A migration on the secure cluster whose roles are `actors`; nothing is run.
fn migration(actors: &str, sizes: Sizes) -> Migration {
    let brokers: Vec<String> = brokers("SASL_SSL").split(',').map(|broker| format!("\"{broker}\"")).collect();
    let log = format!(
        "log:\n  kafka:\n    bootstrap: [{}]\n    replication: 1\n    security: {{protocol: SASL_SSL, {}, {}}}\n    roles: {{{actors}}}\n",
        brokers.join(", "),
        log_in("admin"),
        trusts()
    );
    let migration = Migration::acc(Log::Embedded, &log);
    build_store(&migration.legacy(), sizes);
    migration
}

/// A plan foresees all rules of a user, and these tests share the users.
static PROVISION: Mutex<()> = Mutex::new(());

/// The operator provisions a migration with a user for every role.
fn provisioned(sizes: Sizes) -> Migration {
    let migration = migration(&actors(), sizes);
    let _alone = PROVISION.lock().unwrap_or_else(PoisonError::into_inner);
    migration.expect(&["provision", "apply"], 0);
    migration
}

/// The config file by which `user` works on the migration.
fn config_of(migration: &Migration, user: &str) -> String {
    let file = format!("{user}.yaml");
    let text = std::fs::read_to_string(migration.path("crossfade.yaml")).unwrap();
    std::fs::write(migration.path(&file), text.replace(&log_in("admin"), &log_in(user))).unwrap();
    file
}

/// Runs a command as `user`.
fn run(migration: &Migration, user: &str, args: &[&str]) -> Ran {
    let config = config_of(migration, user);
    migration.run(&[&["--config", &config], args].concat())
}

#[track_caller]
fn expect(migration: &Migration, user: &str, args: &[&str], code: i32) -> Ran {
    let ran = run(migration, user, args);
    assert_eq!(ran.code, Some(code), "{user}: crossfade {}\n{}\n{}", args.join(" "), ran.stdout, ran.stderr);
    ran
}
