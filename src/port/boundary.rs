//! Named durable boundaries: the places where a killed process leaves something behind.
//!
//! With the feature `boundaries` a hook may be installed that stops the process at one of them; without it
//! [`boundary`] is empty. The crash suite kills at every name of [`ALL`].

/// Every boundary, in the order a migration meets them.
pub const ALL: &[&str] = &[
    "journal.announced",
    "lock.taken",
    "replay.writer-open",
    "replay.records-appended",
    "replay.before-commit",
    "replay.after-commit",
    "reconcile.before-commit",
    "reconcile.after-commit",
    "replay.before-done",
    "replay.after-done",
    "project.claimed",
    "project.before-commit",
    "project.after-commit",
    "project.indexes-built",
    "snapshot.temporary-written",
    "snapshot.renamed",
    "journal.done",
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

/// Marks a durable boundary of [`ALL`].
#[inline]
pub fn boundary(name: &'static str) {
    #[cfg(feature = "boundaries")]
    if let Some(hook) = HOOK.get() {
        hook(name);
    }
    #[cfg(not(feature = "boundaries"))]
    let _ = name;
}
