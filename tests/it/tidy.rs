//! The house's own rules: who may stand on whom, and what no file may hold. Each rule has a planted breach below.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use self::text::{Source, line, modules, modules_after, paths, places, split, without_items};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Floor {
    Ground,
    Rules,
    Ports,
    /// Engines and adapters are two wings of one floor.
    Engines,
    Adapters,
}

/// Every room of the library and the floor it stands on.
const ROOMS: &[(&str, Floor)] = &[
    ("base", Floor::Ground),
    ("event", Floor::Rules),
    ("mapping", Floor::Rules),
    ("fold", Floor::Rules),
    ("diff", Floor::Rules),
    ("report", Floor::Rules),
    ("config", Floor::Rules),
    ("acc", Floor::Rules),
    ("plan", Floor::Rules),
    ("scan", Floor::Rules),
    ("document", Floor::Rules),
    ("contract", Floor::Rules),
    ("ownership", Floor::Rules),
    ("port", Floor::Ports),
    ("capture", Floor::Engines),
    ("project", Floor::Engines),
    ("provision", Floor::Engines),
    ("compare", Floor::Engines),
    ("control", Floor::Engines),
    ("provision", Floor::Engines),
    ("demo", Floor::Engines),
    ("kafka", Floor::Adapters),
    ("embedded", Floor::Adapters),
    ("sqlite", Floor::Adapters),
    ("postgres", Floor::Adapters),
    ("journal", Floor::Adapters),
    ("registry", Floor::Adapters),
    ("files", Floor::Adapters),
    ("http", Floor::Adapters),
];

/// Rooms of one floor that may touch: the first stands on the second.
const NEIGHBOURS: &[(&str, &str)] = &[
    ("event", "mapping"),
    ("fold", "event"),
    ("fold", "mapping"),
    ("report", "diff"),
    ("report", "plan"),
    ("config", "diff"),
    ("config", "mapping"),
    ("config", "plan"),
    ("config", "scan"),
    ("acc", "mapping"),
    ("acc", "document"),
    ("scan", "mapping"),
    ("document", "mapping"),
    ("document", "scan"),
    ("plan", "mapping"),
    ("plan", "diff"),
    ("plan", "event"),
    ("contract", "event"),
    ("contract", "mapping"),
    ("contract", "plan"),
    ("capture", "compare"),
    ("registry", "http"),
    ("control", "capture"),
];

/// What is judged never shares code with its judge: the generator knows values, and nothing of what reads them.
const DEMO_STANDS_ON: &[&str] = &["base", "mapping"];

/// The file, and the folder, of the binary that wires.
const WIRING: &str = "commands/context";

/// Files of the binary that may name a room only its wiring should know, besides those.
const NAMED_BY: &[(&str, &str)] = &[("acc", "commands/init.rs")];

/// What a rule may not name: it is pure and knows neither systems nor threads.
const IMPURE: &[&str] =
    &["tokio", "rdkafka", "rusqlite", "postgres", "std::fs", "std::env", "std::net", "std::process", "std::thread"];

/// What the library may not name: only the binary meets the person and its surroundings.
const OUTSIDE: &[&str] = &["std::env", "std::io::stdin", "std::io::stdout", "std::io::stderr"];

/// The one place that calls C.
const UNSAFE_ROOM: &str = "src/kafka/sys/";

const PRINTS: &[&str] = &["print!", "println!", "eprint!", "eprintln!", "dbg!"];
const UNFINISHED: &[&str] = &["todo!", "unimplemented!"];
const LONGEST: usize = 800;

/// The files of `src`, `commands` and `tests`, by path from the root; folders end with a slash.
#[derive(Clone, Default)]
struct Tree(BTreeMap<String, String>);

impl Tree {
    fn of_this_repository() -> Self {
        let mut tree = Self::default();
        for folder in ["src", "commands", "tests"] {
            tree.walk(&root().join(folder), folder);
        }
        tree
    }

    fn walk(&mut self, folder: &Path, name: &str) {
        self.0.insert(format!("{name}/"), String::new());
        for path in entries(folder) {
            let name = format!("{name}/{}", path.file_name().unwrap_or_default().to_string_lossy());
            if path.is_dir() {
                self.walk(&path, &name);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                self.0.insert(name, text);
            }
        }
    }

    fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter(|(path, _)| path.ends_with(".rs")).map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// The entries of a folder; a check that cannot look must not pass.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn floor(room: &str) -> Option<Floor> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// The room a file of the library lies in.
fn room(path: &str) -> Option<&str> {
    path.strip_prefix("src/")?.split_once('/').map(|(room, _)| room)
}

fn is_test(attribute: &str) -> bool {
    attribute.starts_with("#[cfg(") && !places(attribute, "test").is_empty() && !attribute.contains("not(")
}

fn has_reason(attribute: &str) -> bool {
    attribute.starts_with("#[expect(")
        && attribute.contains("reason")
        && ["unwrap_used", "expect_used"].iter().any(|lint| attribute.contains(lint))
}

/// The files of modules that are compiled for tests only.
fn test_files(tree: &Tree) -> BTreeSet<String> {
    let declared = tree.sources().flat_map(|(path, text)| {
        let names = modules_after(&split(text).code, is_test);
        names.into_iter().flat_map(move |name| module_files(path, &name))
    });
    declared.collect()
}

/// Where the module `name` declared in `path` may lie.
fn module_files(path: &str, name: &str) -> [String; 2] {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = match file {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        file => format!("{folder}/{}", file.trim_end_matches(".rs")),
    };
    [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")]
}

/// Every breach of the house's rules, as `path:line: rule: what`.
fn breaches(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    folders(tree, &mut found);
    undeclared(tree, &mut found);
    let test_files = test_files(tree);
    for (path, text) in tree.sources() {
        let mut source = split(text);
        let tests = path.starts_with("tests/") || test_files.contains(path);
        whole_file(path, text, &source, tests, &mut found);
        stands_on(path, &source.code, &mut edges, &mut found);
        source.code = without_items(&source.code, is_test);
        if !tests {
            not_in_tests(path, &source, &mut found);
        }
    }
    for circle in circles(&edges) {
        found.push(format!("src: circle: {circle}"));
    }
    found
}

/// Rooms that are unknown or empty, and entries of the table without a room.
fn folders(tree: &Tree, found: &mut Vec<String>) {
    let holds_code = |folder: &str| tree.sources().any(|(path, _)| path.starts_with(folder));
    for path in tree.0.keys() {
        let Some(inner) = path.strip_prefix("src/").filter(|inner| !inner.is_empty()) else { continue };
        match inner.split_once('/') {
            Some((room, "")) if floor(room).is_none() => {
                found.push(format!("{path}: room: '{room}' is not in the table of rooms"));
            }
            Some(_) if path.ends_with('/') && !holds_code(path) => {
                found.push(format!("{path}: empty: a folder comes when it is needed"));
            }
            None if inner != "lib.rs" => found.push(format!("{path}: room: a file outside of every room")),
            _ => {}
        }
    }
    for (room, _) in ROOMS {
        if !tree.0.contains_key(&format!("src/{room}/")) {
            found.push(format!("src/{room}/: room: it is in the table, but not there"));
        }
    }
}

/// Files that no `mod` reaches, which cargo would pass over in silence.
fn undeclared(tree: &Tree, found: &mut Vec<String>) {
    let mut reached = BTreeSet::new();
    let mut open: Vec<String> = ["src/lib.rs", "commands/main.rs", "tests/it/main.rs"].map(str::to_owned).to_vec();
    while let Some(path) = open.pop() {
        let Some(text) = tree.0.get(&path) else { continue };
        if reached.insert(path.clone()) {
            open.extend(modules(&split(text).code).iter().flat_map(|name| module_files(&path, name)));
        }
    }
    for (path, _) in tree.sources() {
        let ours = ["src/", "commands/", "tests/it/"].iter().any(|folder| path.starts_with(folder));
        if ours && !reached.contains(path) {
            found.push(format!("{path}: undeclared: no 'mod' reaches it"));
        }
    }
}

/// What holds for every file, tests too.
fn whole_file(path: &str, text: &str, source: &Source, tests: bool, found: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > LONGEST {
        found.push(format!("{path}: long: {lines} lines, at most {LONGEST}"));
    }
    if !source.code.trim().is_empty() && !text.starts_with("//! ") {
        found.push(format!("{path}:1: doc: the first line says what the module is for"));
    }
    let mut tell = |rule: &str, at: usize, what: &str| {
        found.push(format!("{path}:{}: {rule}: {what}", line(&source.code, at)));
    };
    if !path.starts_with(UNSAFE_ROOM) {
        places(&source.code, "unsafe").into_iter().for_each(|at| tell("unsafe", at, "only in src/kafka/sys"));
    }
    for word in UNFINISHED {
        places(&source.code, word).into_iter().for_each(|at| tell("unfinished", at, word));
    }
    for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")] {
        places(&source.comments, word).into_iter().for_each(|at| tell("unfinished", at, word));
    }
    let bare: String = source.code.split_whitespace().collect();
    if bare.contains("#[ignore]") {
        tell("ignore", source.code.find("ignore").unwrap_or(0), "a test that is left out says why");
    }
    let exits = ["std::process::exit", "std::process::abort", "process::exit", "process::abort"];
    // The programs under tests/bench are their own binaries.
    for (at, name) in paths(&source.code) {
        if exits.contains(&name.as_str()) && !path.starts_with("tests/bench/") && !(tests && name.ends_with("abort")) {
            tell("exit", at, "an exit code is returned from main, so that everything is dropped");
        }
    }
}

/// What only tests may do.
fn not_in_tests(path: &str, source: &Source, found: &mut Vec<String>) {
    let mut tell = |rule: &str, at: usize, what: &str| {
        found.push(format!("{path}:{}: {rule}: {what}", line(&source.code, at)));
    };
    if path != "commands/ui.rs" {
        for word in PRINTS {
            places(&source.code, word).into_iter().for_each(|at| tell("print", at, word));
        }
    }
    let code = without_items(&source.code, has_reason);
    for word in [".unwrap()", ".expect("] {
        places(&code, word).into_iter().for_each(|at| tell("unwrap", at, word));
    }
}

/// What a file names of other rooms, and of the world.
fn stands_on(path: &str, code: &str, edges: &mut BTreeMap<String, BTreeSet<String>>, found: &mut Vec<String>) {
    let Some(here) = room(path) else {
        if path.starts_with("commands/") && !path.starts_with(WIRING) {
            wired(path, code, found);
        }
        return;
    };
    let shipped = without_items(code, is_test);
    let named = |names: &'static [&'static str], at: usize, name: &str| {
        let outside = names.iter().find(|outside| name == **outside || name.starts_with(&format!("{outside}::")))?;
        Some(format!("{path}:{}: ", line(&shipped, at)) + &format!("names {outside}"))
    };
    for (at, name) in paths(&shipped) {
        if let Some(text) = named(OUTSIDE, at, &name) {
            found.push(text.replacen("names", "library: names", 1));
        }
        if floor(here) <= Some(Floor::Rules)
            && let Some(text) = named(IMPURE, at, &name)
        {
            found.push(text.replacen("names", "pure: names", 1));
        }
    }
    for (at, name) in paths(code) {
        let Some(there) = other_room(path, &name).filter(|there| *there != here) else { continue };
        edges.entry(here.to_owned()).or_default().insert(there.to_owned());
        if !may_stand_on(here, there) {
            found.push(format!("{path}:{}: floor: '{here}' may not stand on '{there}'", line(code, at)));
        }
    }
}

/// The room a path leads to: from the crate's root, or by as many `super` as lead there.
fn other_room<'a>(path: &str, name: &'a str) -> Option<&'a str> {
    let parts: Vec<&str> = name.split("::").collect();
    let deep = path.trim_end_matches("/mod.rs").trim_end_matches(".rs").matches('/').count();
    let ups = parts.iter().take_while(|part| **part == "super").count();
    let there = match parts[0] {
        "crate" | "crossfade" => *parts.get(1)?,
        "super" if ups >= deep => *parts.get(ups)?,
        _ => return None,
    };
    floor(there).map(|_| there)
}

fn may_stand_on(here: &str, there: &str) -> bool {
    let (Some(own), Some(other)) = (floor(here), floor(there)) else { return false };
    let below = match (own, other) {
        (Floor::Engines | Floor::Adapters, Floor::Engines | Floor::Adapters) => false,
        _ => other < own,
    };
    let walled = there == "acc" || (here == "demo" && !DEMO_STANDS_ON.contains(&there));
    (below && !walled) || NEIGHBOURS.contains(&(here, there))
}

/// Only the wiring names adapters and the preset.
fn wired(path: &str, code: &str, found: &mut Vec<String>) {
    for (at, name) in paths(code) {
        let Some(there) = name.strip_prefix("crossfade::").and_then(|rest| rest.split("::").next()) else { continue };
        let wiring = there == "acc" || floor(there) == Some(Floor::Adapters);
        if wiring && !NAMED_BY.contains(&(there, path)) {
            found.push(format!("{path}:{}: wiring: '{there}' is named in {WIRING} only", line(code, at)));
        }
    }
}

/// Rooms that stand on themselves by a way round, each circle once.
fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for start in edges.keys() {
        let mut open = vec![vec![start]];
        while let Some(way) = open.pop() {
            for next in edges.get(way[way.len() - 1]).into_iter().flatten() {
                if next == start {
                    let names: BTreeSet<&str> = way.iter().map(|room| room.as_str()).collect();
                    found.insert(names.into_iter().collect::<Vec<_>>().join(", "));
                } else if !way.contains(&next) {
                    open.push(way.iter().copied().chain([next]).collect());
                }
            }
        }
    }
    found
}

#[test]
fn the_house_is_tidy() {
    let found = breaches(&Tree::of_this_repository());
    assert!(found.is_empty(), "{} breaches:\n{}", found.len(), found.join("\n"));
}

#[test]
fn neighbours_share_a_floor_and_exceptions_are_needed() {
    for (here, there) in NEIGHBOURS {
        assert_eq!(
            floor(here),
            floor(there),
            "{here}, {there}: a lower floor needs no entry, a higher one is never right"
        );
    }
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (here, there) in NEIGHBOURS {
        all.entry((*here).to_owned()).or_default().insert((*there).to_owned());
    }
    assert_eq!(circles(&all), BTreeSet::new());
    let tree = Tree::of_this_repository();
    for (there, path) in NAMED_BY {
        let needed =
            paths(&split(&tree.0[*path]).code).iter().any(|(_, name)| name.starts_with(&format!("crossfade::{there}")));
        assert!(needed, "{path} no longer names '{there}': take the exception out");
    }
}

/// A house of the real table, each room with one sound file.
fn sound() -> Tree {
    let mut tree = Tree::default();
    let rooms = ROOMS.iter().map(|(room, _)| format!("pub mod {room};\n")).collect::<String>();
    tree.0.insert("src/lib.rs".into(), format!("//! The library.\n{rooms}"));
    tree.0.insert("src/".into(), String::new());
    for (room, _) in ROOMS {
        tree.0.insert(format!("src/{room}/"), String::new());
        tree.0.insert(format!("src/{room}/mod.rs"), format!("//! The room {room}.\nuse std::fmt;\n"));
    }
    for (path, text) in [
        ("commands/main.rs", "//! The binary.\nmod context;\nmod ui;\n"),
        ("commands/context.rs", "//! Wiring.\nuse crossfade::{acc, kafka::KafkaLog};\n"),
        ("commands/ui.rs", "//! Output.\nfn say() { println!(\"x\"); }\n"),
        ("tests/it/main.rs", "//! Tests.\nmod here;\n"),
        ("tests/it/here.rs", "//! A test.\n#[test]\n#[ignore = \"needs Kafka\"]\nfn works() { f().unwrap(); }\n"),
    ] {
        tree.0.insert(path.into(), text.into());
    }
    tree
}

/// Adds `text` to a file of the sound house and says which rules are broken.
fn planted(path: &str, text: &str) -> Vec<String> {
    let mut tree = sound();
    tree.0.entry(path.to_owned()).or_default().push_str(text);
    breaches(&tree)
}

#[test]
fn a_sound_house_passes() {
    assert_eq!(breaches(&sound()), Vec::<String>::new());
    for (path, text) in [
        ("src/base/mod.rs", "/* no unsafe, no println! */ const A: &str = \"unsafe std::fs todo!()\";"),
        ("src/base/mod.rs", "#[cfg(test)] mod tests { fn f() { g().unwrap(); } }"),
        ("src/base/mod.rs", "#[expect(clippy::expect_used, reason = \"it is there\")] fn f() { g().expect(\"x\"); }"),
        ("src/base/mod.rs", "fn f() { g.unwrap_or(1); h(expected); }"),
        ("src/event/mod.rs", "use crate::{base::{Error, Kind}, mapping::Row};"),
        ("src/capture/mod.rs", "use crate::compare::Pair; use std::thread;"),
        ("src/kafka/mod.rs", "use rdkafka::ClientConfig; use crate::port::event_log::EventLog;"),
        ("src/demo/mod.rs", "use crate::mapping::Value;"),
    ] {
        assert_eq!(planted(path, text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn every_planted_breach_is_found() {
    let long = "\n".repeat(800);
    let cases: &[(&str, &str, &str)] = &[
        ("floor", "src/base/mod.rs", "use crate::event::Op;"),
        ("floor", "src/mapping/mod.rs", "use crate::event::Op;"),
        ("floor", "src/fold/mod.rs", "use crate::port::event_log::Batch;"),
        ("floor", "src/port/mod.rs", "use crate::capture::Replay;"),
        ("floor", "src/capture/mod.rs", "fn f(log: &crate::kafka::KafkaLog) {}"),
        ("floor", "src/capture/mod.rs", "use crate::{base::Result, embedded::EmbeddedLog};"),
        ("floor", "src/kafka/mod.rs", "use crate::capture::Replay;"),
        ("floor", "src/compare/mod.rs", "use crate::capture::Replay;"),
        ("floor", "src/project/mod.rs", "use crate::compare::Pair;"),
        ("floor", "src/embedded/mod.rs", "use crate::sqlite::source::SqliteSource;"),
        ("floor", "src/event/mod.rs", "use super::port::event_log::Topic;"),
        ("floor", "src/capture/mod.rs", "use crate::acc;"),
        ("floor", "src/report/mod.rs", "use crate::acc::MAPPING;"),
        ("floor", "src/demo/mod.rs", "use crate::acc::MAPPING;"),
        ("floor", "src/demo/mod.rs", "use crate::event::Op;"),
        ("floor", "src/demo/mod.rs", "use crate::port::event_log::Topic;"),
        ("room", "src/utils/", ""),
        ("room", "src/helper.rs", "//! A file.\n"),
        ("empty", "src/base/later/", ""),
        ("long", "src/base/mod.rs", &long),
        ("long", "tests/it/here.rs", &long),
        ("print", "src/base/mod.rs", "fn f() { eprintln!(); }"),
        ("print", "commands/main.rs", "fn f() { println!(); }"),
        ("print", "commands/context.rs", "fn f() { dbg!(1); }"),
        ("exit", "commands/main.rs", "fn f() { std::process::exit(1); }"),
        ("exit", "src/base/mod.rs", "use std::process; fn f() { process::exit(1); }"),
        ("library", "src/kafka/mod.rs", "fn f() { std::env::var(\"X\"); }"),
        ("library", "src/capture/mod.rs", "use std::io::{stdout, Write};"),
        ("pure", "src/base/mod.rs", "use std::{fmt, fs};"),
        ("pure", "src/event/mod.rs", "use std::env;"),
        ("pure", "src/config/mod.rs", "use std::fs::File;"),
        ("pure", "src/report/mod.rs", "use std::net::TcpStream;"),
        ("pure", "src/mapping/mod.rs", "use rusqlite::Connection;"),
        ("pure", "src/acc/mod.rs", "fn f() { rdkafka::util::get_rdkafka_version(); }"),
        ("pure", "src/fold/mod.rs", "use tokio::sync::Mutex;"),
        ("pure", "src/diff/mod.rs", "fn f() { std::thread::yield_now(); }"),
        ("pure", "src/diff/mod.rs", "use std::process::Command;"),
        ("unsafe", "src/base/mod.rs", "unsafe fn f() {}"),
        ("unsafe", "src/kafka/system.rs", "fn f() { unsafe { g() } }"),
        ("undeclared", "tests/it/forgotten.rs", "//! A test.\n"),
        ("undeclared", "src/base/forgotten.rs", "//! A module.\n"),
        ("undeclared", "commands/forgotten.rs", "//! A command.\n"),
        ("unwrap", "src/base/mod.rs", "fn f() { g().unwrap(); }"),
        ("unwrap", "commands/main.rs", "fn f() { g().expect(\"x\"); }"),
        ("unwrap", "src/base/mod.rs", "#[expect(clippy::unwrap_used)] fn f() { g().unwrap(); }"),
        ("unwrap", "src/base/mod.rs", "#[cfg(not(test))] fn f() { g().unwrap(); }"),
        ("unfinished", "src/base/mod.rs", "fn f() { todo!() }"),
        ("unfinished", "src/base/mod.rs", concat!("// FIX", "ME later\n")),
        ("doc", "tests/it/undocumented.rs", "fn f() {}"),
        ("ignore", "tests/it/here.rs", "#[test] #[ignore] fn f() {}"),
        ("wiring", "commands/main.rs", "use crossfade::embedded::EmbeddedLog;"),
        ("wiring", "commands/main.rs", "fn f() { crossfade::acc::mapping(); }"),
    ];
    for (rule, path, text) in cases {
        let found = planted(path, text);
        let told = found.iter().any(|breach| breach.starts_with(path) && breach.contains(&format!(" {rule}: ")));
        assert!(told, "{rule}: {text}: {found:?}");
    }
    let mut tree = sound();
    tree.0.insert("src/compare/mod.rs".into(), "//! A circle.\nuse crate::capture::Replay;\n".into());
    tree.0.insert("src/capture/mod.rs".into(), "//! A circle.\nuse crate::compare::Pair;\n".into());
    assert!(breaches(&tree).contains(&"src: circle: capture, compare".to_owned()));
}

/// The texts between backticks of a page.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn page(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_test_named_by_the_invariants_exists() {
    let tree = Tree::of_this_repository();
    let tests: BTreeSet<String> = tree
        .sources()
        .flat_map(|(_, text)| {
            let code = split(text).code;
            let name =
                |at: usize| code[at + "fn".len()..].trim_start().split('(').next().unwrap_or_default().to_owned();
            places(&code, "fn").into_iter().map(name).collect::<Vec<_>>()
        })
        .collect();
    let page = page("docs/invariants.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
        .map(|line| line.trim_matches('|').split(" | ").collect())
        .collect();
    assert_eq!(rows.len(), 14, "one row for each invariant");
    for row in &rows {
        let number: u32 = row[0].trim().trim_end_matches('.').parse().unwrap();
        let named: Vec<&str> = quoted(row[row.len() - 1]).collect();
        for name in &named {
            assert!(tests.contains(*name), "docs/invariants.md names the test '{name}', which does not exist");
        }
        let own = format!("i{number:02}_");
        let held = [2, 3, 4, 5, 7, 8, 11, 12, 13, 14].contains(&number);
        assert!(!held || named.iter().any(|name| name.starts_with(&own)), "invariant {number} has no test {own}…");
    }
    for name in quoted(&page)
        .filter(|name| name.starts_with('i') && name[1..].starts_with(|digit: char| digit.is_ascii_digit()))
    {
        assert!(tests.contains(name), "docs/invariants.md names the test '{name}', which does not exist");
    }
}

#[test]
fn files_named_by_the_docs_exist() {
    let mut pages: Vec<String> = ["README.md", "CHANGELOG.md"].map(str::to_owned).to_vec();
    for folder in ["docs", "docs/decisions"] {
        let names =
            entries(&root().join(folder)).into_iter().filter_map(|path| path.file_name().map(ToOwned::to_owned));
        pages.extend(names.map(|name| format!("{folder}/{}", name.to_string_lossy())));
    }
    pages.retain(|page| page.ends_with(".md"));
    for path in pages {
        let text = page(&path);
        let ours =
            |name: &&str| ["src/", "tests/", "commands/", "fixtures/"].iter().any(|folder| name.starts_with(folder));
        for name in quoted(&text).filter(ours) {
            assert!(root().join(name).exists(), "{path} names {name}, which is not there");
        }
        let folder = root().join(&path).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let there = link.is_empty() || link.contains("://") || folder.join(link).exists();
            assert!(there, "{path} links to {link}, which is not there");
        }
    }
}

#[test]
fn the_readme_leads_with_the_two_commands() {
    let readme = page("README.md");
    let first = readme.split("```").nth(1).unwrap();
    let commands: Vec<&str> = first.lines().skip(1).map(|line| line.trim_start_matches("$ ")).collect();
    assert_eq!(commands, ["./install.sh --demo", "tests/run"]);
}
