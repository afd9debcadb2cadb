//! The PostgreSQL server of the tests: databases and schemas of a test's own.

use std::path::Path;
use std::process::Command;

use crossfade::config::Postgres;
use crossfade::postgres::Login;
use postgres::{Client, NoTls};

use super::cli::Ran;

/// The server; a test that asks for it is `#[ignore = "needs PostgreSQL"]`.
fn server() -> (String, String) {
    let named = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests/run"));
    (named("CROSSFADE_TEST_POSTGRES"), named("CROSSFADE_TEST_POSTGRES_PASSWORD"))
}

pub fn password() -> String {
    server().1
}

fn place(url: &str) -> Postgres {
    Postgres::parse(url, std::path::Path::new(""), "").unwrap()
}

fn login(url: &str, password: &str) -> Login {
    Login { place: place(url), password: Some(password.to_owned()), statement_timeout_ms: 60_000 }
}

/// Where a database is, and the password.
#[derive(Clone)]
pub struct Door {
    url: String,
    password: String,
}

impl Door {
    pub fn connect(&self) -> Result<Client, postgres::Error> {
        let place = place(&self.url);
        let mut config = postgres::Config::new();
        config.host(&place.host).port(place.port).user(&place.user).dbname(&place.database).password(&self.password);
        config.connect(NoTls)
    }
}

/// The database every server has.
fn common() -> Door {
    let (url, password) = server();
    Door { url, password }
}

fn unique() -> String {
    format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..12])
}

/// A schema of the server's own database, dropped with this.
pub struct Schema {
    pub name: String,
}

impl Schema {
    pub fn new() -> Self {
        Self { name: unique() }
    }

    pub fn login(&self) -> Login {
        login(&format!("{}?schema={}", server().0, self.name), &password())
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let drop = format!("SET lock_timeout = '5s'; DROP SCHEMA IF EXISTS {} CASCADE", self.name);
        let _ = common().connect().unwrap().batch_execute(&drop);
    }
}

/// A database, dropped with this.
pub struct Database {
    pub name: String,
    common: Door,
}

impl Database {
    pub fn new() -> Self {
        Self::at(common())
    }

    /// On a server of the test's own, which must outlive it.
    pub fn on(server: &Server) -> Self {
        Self::at(server.door())
    }

    fn at(common: Door) -> Self {
        let name = unique();
        common.connect().unwrap().batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        Self { name, common }
    }

    pub fn with(sql: &str) -> Self {
        let database = Self::new();
        database.execute(sql);
        database
    }

    /// Its URL, without a password.
    pub fn url(&self) -> String {
        format!("{}/{}", self.common.url.rsplit_once('/').unwrap().0, self.name)
    }

    /// The same for another role.
    pub fn url_of(&self, user: &str) -> String {
        self.url().replacen("tester@", &format!("{user}@"), 1)
    }

    pub fn login(&self) -> Login {
        login(&self.url(), &self.common.password)
    }

    pub fn door(&self) -> Door {
        Door { url: self.url(), password: self.common.password.clone() }
    }

    pub fn connect(&self) -> Client {
        self.door().connect().unwrap()
    }

    #[track_caller]
    pub fn execute(&self, sql: &str) {
        self.connect().batch_execute(sql).unwrap_or_else(|error| panic!("{error:?} in {sql:.2000}"));
    }

    /// The first column of what a statement selects, as text.
    #[track_caller]
    pub fn column(&self, sql: &str) -> Vec<String> {
        let rows = self.connect().query(sql, &[]).unwrap_or_else(|error| panic!("{error:?} in {sql}"));
        rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_else(|| "NULL".to_owned())).collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // A server that a failed test left broken has nothing to be tidied up.
        let _ = self.common.connect().map(|mut client| client.batch_execute(&drop));
    }
}

/// A server of a test's own, which may be broken.
pub struct Server {
    pub folder: tempfile::TempDir,
}

impl Server {
    pub fn run(verb: &str, folder: &Path) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres");
        let owner = std::process::id().to_string();
        let more: &[&str] = if verb == "start" { &["--owner", &owner] } else { &[] };
        let ran = Ran::of(Command::new(script).arg(verb).arg(folder).args(more).output().unwrap());
        assert_eq!(ran.code, Some(0), "{verb}: {}", ran.stderr);
    }

    pub fn start() -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self::run("start", folder.path());
        Self { folder }
    }

    pub fn url(&self) -> String {
        let env = std::fs::read_to_string(self.folder.path().join("env")).unwrap();
        env.lines().next().unwrap().split_once('=').unwrap().1.to_owned()
    }

    /// Does it to the server: `kill`, `restart`.
    pub fn does(&self, verb: &str) {
        Self::run(verb, self.folder.path());
    }

    fn door(&self) -> Door {
        let password = std::fs::read_to_string(self.folder.path().join("password")).unwrap();
        Door { url: self.url(), password }
    }

    pub fn connect(&self) -> Client {
        self.door().connect().unwrap()
    }

    #[track_caller]
    pub fn execute(&self, sql: &str) {
        self.connect().batch_execute(sql).unwrap_or_else(|error| panic!("{error:?} in {sql:.2000}"));
    }

    /// A migration of its own database, by TLS.
    pub fn migration(&self, log: super::cli::Log, of: &str, more: &str) -> super::cli::Migration {
        let url = self.url() + "?sslmode=verify-full&sslrootcert=ca.pem";
        let migration =
            super::cli::Migration::new(log, &format!("{of}  store: {url}\n  password_file: password\n"), more);
        for file in ["password", "ca.pem"] {
            std::fs::copy(self.folder.path().join(file), migration.path(file)).unwrap();
        }
        migration
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        Self::run("stop", self.folder.path());
    }
}

/// A migration whose legacy store is a database; `of` are further lines under `legacy:`, and more of the file.
pub fn migration(log: super::cli::Log, database: &Database, of: &str, more: &str) -> super::cli::Migration {
    let legacy = format!("{of}  store: {}\n  password_file: password\n", database.url());
    let migration = super::cli::Migration::new(log, &legacy, more);
    std::fs::write(migration.path("password"), format!("{}\n", database.common.password)).unwrap();
    migration
}

/// One with ACC's mapping, with topics of its own, of one partition where they hold no rows.
pub fn acc(log: super::cli::Log, database: &Database, more: &str) -> super::cli::Migration {
    let migration = migration(log, database, "  mapping: mapping.yaml\n", more);
    let mut preset = serde_json::to_value(crossfade::acc::postgres_raw().unwrap()).unwrap();
    for topic in super::cli::rowless() {
        preset["topics"][&topic.name]["partitions"] = 1.into();
    }
    let mut text = preset.to_string();
    for topic in crossfade::acc::mapping().unwrap().topics {
        text = text.replace(&format!("\"{}\"", topic.name), &format!("\"{}.{}\"", migration.name, topic.name));
    }
    std::fs::write(migration.path("mapping.yaml"), text).unwrap();
    migration
}

/// Where the projection lies: a schema of the same database, or the usual file.
pub fn projection(database: &Database, in_postgres: bool) -> String {
    if !in_postgres {
        return String::new();
    }
    format!("projection: {}?schema=projected\nprojection_password_file: password\n", database.url())
}

/// Fails unless both schemas hold the same rows of a table, judged by the server alone; gives their number.
#[track_caller]
pub fn same_rows(database: &Database, table: &str, columns: &[&str]) -> u64 {
    let columns = columns.iter().map(|column| format!("\"{column}\"::text")).collect::<Vec<_>>().join(", ");
    let rows = |schema: &str| format!("SELECT {columns} FROM {schema}.{table}");
    for (one, two) in [("public", "projected"), ("projected", "public")] {
        let only = format!("SELECT x::text FROM ({} EXCEPT ALL {}) AS x LIMIT 3", rows(one), rows(two));
        assert_eq!(database.column(&only), Vec::<String>::new(), "rows of {table} in {one} only");
    }
    database.column(&format!("SELECT count(*)::text FROM projected.{table}"))[0].parse().unwrap()
}
