//! Named durable boundaries: the places where a killed process leaves something behind.
//!
//! With the feature `boundaries` a hook may be installed that stops the process at one of them; without it
//! [`boundary`] is empty. The crash suite kills at every name of [`ALL`] and [`REVERSE`].

/// Every boundary, in the order a migration meets them.
pub const ALL: &[&str] = &[
    "provision.step-made",
    "provision.step-seen",
    "lock.read",
    "lock.opened",
    "lock.taken",
    "journal.announced",
    "replay.writer-open",
    "replay.records-appended",
    "replay.before-commit",
    "replay.after-commit",
    "replay.before-done",
    "replay.after-done",
    "project.claimed",
    "project.before-commit",
    "project.after-commit",
    "project.indexes-built",
    "reconcile.writer-open",
    "reconcile.before-commit",
    "reconcile.after-commit",
    "gate.closed",
    "follow.installed",
    "follow.triggers-gone",
    "follow.writer-open",
    "follow.begun",
    "follow.before-commit",
    "follow.after-commit",
    "follow.released",
    "snapshot.temporary-written",
    "snapshot.renamed",
    "restore.rows-committed",
    "restore.finished",
    "journal.done",
    "lock.released",
];

/// Those of reverse and of the transfer of sessions, which a migration meets once events own one.
pub const REVERSE: &[&str] = &[
    "reverse.installed",
    "ownership.before-commit",
    "ownership.after-commit",
    "reverse.claimed",
    "reverse.before-part",
    "reverse.after-part",
    "reverse.before-commit",
    "reverse.after-commit",
];

#[cfg(feature = "boundaries")]
type Hook = Box<dyn Fn(&'static str) + Send + Sync>;

#[cfg(feature = "boundaries")]
static HOOK: std::sync::OnceLock<Hook> = std::sync::OnceLock::new();

/// Installs the hook called at every boundary; the first one stays.
#[cfg(feature = "boundaries")]
pub fn install(hook: Hook) {
    let _ = HOOK.set(hook);
}

#[cfg(feature = "boundaries")]
static ROWS: std::sync::OnceLock<u64> = std::sync::OnceLock::new();

/// Makes every transaction of [`rows`] this small; the first call stays.
#[cfg(feature = "boundaries")]
pub fn limit_rows(rows: u64) {
    let _ = ROWS.set(rows.max(1));
}

/// Rows after which a transaction without a setting of its own ends. The crash suite asks for few, so that a small
/// store has many transactions.
#[inline]
pub fn rows(default: u64) -> u64 {
    #[cfg(feature = "boundaries")]
    if let Some(rows) = ROWS.get() {
        return default.min(*rows);
    }
    default
}

/// Marks a durable boundary of [`ALL`] or [`REVERSE`].
#[inline]
pub fn boundary(name: &'static str) {
    #[cfg(feature = "boundaries")]
    if let Some(hook) = HOOK.get() {
        hook(name);
    }
    #[cfg(not(feature = "boundaries"))]
    let _ = name;
}
