//! Accounts, with planted credentials that must never leave the store.

use super::out::{Out, Table, iso, spaced};
use super::random::{Stream, id};
use super::schedule::BEGIN;
use crate::base::Result;
use crate::mapping::Value;

/// The planted password hash: of no password, in the form of a real one.
pub const PASSWORD_HASH: &str = "$2b$12$CrossfadePlantedHashMustNotLeak0123456789abcdefghijkl";

/// The planted refresh token.
pub const REFRESH_TOKEN: &str =
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJwbGFudGVkIn0.crossfade-planted-refresh-token-must-not-leak";

const PERMISSIONS: [(&str, &str); 7] = [
    ("sessions.read", "sessions"),
    ("sessions.write", "sessions"),
    ("sessions.delete", "sessions"),
    ("analytics.read", "analytics"),
    ("users.read", "users"),
    ("users.write", "users"),
    ("system.admin", "system"),
];

const DAY: i64 = 86_400_000;

pub(super) fn write(seed: u64, out: &mut Out<'_>) -> Result<()> {
    let ids: Vec<String> = (0..20).map(|index| id(seed, Stream::Account, index)).collect();
    let id = |index: usize| Value::text(&ids[index]);
    let (login, made, expires) = (iso(BEGIN), spaced(BEGIN - DAY), iso(BEGIN + 7 * DAY));
    let (login, made, expires) = (Value::text(&login), Value::text(&made), Value::text(&expires));

    let admin = [id(0), Value::text("admin"), Value::text("admin@example.invalid"), Value::text(PASSWORD_HASH)];
    let [key, name, email, hash] = admin;
    out.put(Table::Users, [key, name, email, hash, Value::text("admin"), login, made, made])?;
    let second = PASSWORD_HASH.replacen('C', "c", 1);
    let [key, name, email, hash] =
        [id(1), Value::text("viewer"), Value::text("viewer@example.invalid"), Value::text(&second)];
    out.put(Table::Users, [key, name, email, hash, Value::text("viewer"), Value::Null, made, made])?;

    let (token, rights) = (Value::text(REFRESH_TOKEN), Value::text("[\"sessions.read\"]"));
    let (address, agent) = (Value::text("192.0.2.17"), Value::text("Mozilla/5.0 (planted)"));
    out.put(Table::UserSessions, [id(2), id(0), token, rights, expires, made, made, address, agent])?;
    let profile = [id(3), id(0), Value::text("Planted Admin"), Value::text("{\"theme\":\"dark\"}"), made, made];
    out.put(Table::UserProfiles, profile)?;
    // As the login trigger writes them: 32 upper-case digits without dashes.
    let entry = ids[4].replace('-', "").to_uppercase();
    let (entry, action, kind) = (Value::text(&entry), Value::text("login"), Value::text("user"));
    out.put(Table::AuditLog, [entry, id(0), action, kind, Value::text("{}"), address, agent, login])?;
    for (index, (name, category)) in PERMISSIONS.iter().enumerate() {
        let (key, name, category) = (id(5 + index), Value::text(name), Value::text(category));
        out.put(Table::Permissions, [key, name, Value::Null, category, made])?;
    }
    out.put(Table::UserPermissions, [id(12), id(1), id(5), made, id(0)])
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_planted_hash_has_the_form_of_a_real_one() {
        assert_eq!(super::PASSWORD_HASH.len(), 60);
    }
}
