//! What `--help` says, word by word.

use crate::support::cli::{Ran, command};

/// Each command, with its parents.
const COMMANDS: [&str; 20] = [
    "",
    "demo",
    "init",
    "config",
    "status",
    "provision",
    "provision apply",
    "provision check",
    "provision import",
    "provision plan",
    "replay",
    "follow",
    "project",
    "diff",
    "contract",
    "contract export",
    "journal",
    "journal show",
    "journal verify",
    "journal export",
];

fn run(args: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    Ran::of(command(folder.path(), args).env("COLUMNS", "100").output().unwrap())
}

fn help(path: &str) -> String {
    let mut args: Vec<&str> = path.split_whitespace().collect();
    args.push("--help");
    let ran = run(&args);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{path}");
    ran.stdout
}

/// The names under `Commands:`, without `help`.
fn listed(help: &str) -> Vec<String> {
    let commands = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(String::from).collect()
}

#[test]
fn every_command_s_help() {
    for path in COMMANDS {
        let name = if path.is_empty() { "crossfade".to_owned() } else { path.replace(' ', "_") };
        insta::assert_snapshot!(format!("cli_help_{name}"), help(path));
    }
}

#[test]
fn the_list_of_commands_is_whole() {
    let mut found = vec![String::new()];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at].clone();
        found.extend(listed(&help(&parent)).iter().map(|name| format!("{parent} {name}").trim().to_owned()));
        at += 1;
    }
    let mut wanted: Vec<&str> = COMMANDS.to_vec();
    wanted.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, wanted, "a command without a help snapshot, or a snapshot without a command");
}

#[test]
fn the_help_tells_every_exit_code() {
    let help = help("");
    for code in ["  0  ", "  1  ", "  2  ", "  3  ", "  4  ", "  5  ", "  130, 143  "] {
        assert!(help.contains(code), "no exit {code} in\n{help}");
    }
}

#[test]
fn no_line_of_help_is_wider_than_the_terminal() {
    for path in COMMANDS {
        let wide: Vec<String> =
            help(path).lines().filter(|line| line.chars().count() > 100).map(String::from).collect();
        assert!(wide.is_empty(), "{path}: {wide:?}");
    }
}

#[test]
fn a_mistyped_command_or_flag_is_answered_with_the_nearest() {
    let ran = run(&["stauts"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("'status'"), "{}", ran.stderr);
    let ran = run(&["replay", "--dryrun"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("'--dry-run'"), "{}", ran.stderr);
    assert_eq!(run(&["replay", "--throttle", "0"]).code, Some(2));
    assert_eq!(run(&["follow"]).code, Some(2));
    assert_eq!(run(&["--version"]).stdout, format!("crossfade {}\n", env!("CARGO_PKG_VERSION")));
}
