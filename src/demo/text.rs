//! What the agents say: prose and code, about as repetitive as the real thing.

use std::fmt::Write;
use std::sync::LazyLock;

use super::random::Random;

const OPENINGS: &[&str] = &[
    "I have looked at",
    "The next step is to change",
    "Please review",
    "The tests now cover",
    "Before going on, check",
    "There is a race in",
    "I split the work into three parts, starting with",
    "The failure came from",
    "Nothing else depends on",
    "I moved the validation into",
];

const OBJECTS: &[&str] = &[
    "the session store",
    "the retry loop of the client",
    "how the coordinator hands over a task",
    "the migration script",
    "the login form",
    "the error handler of the upload endpoint",
    "the cache in front of the search index",
    "the websocket reconnect logic",
    "the type definitions",
    "the deployment pipeline",
];

const ENDINGS: &[&str] = &[
    "and all checks pass.",
    "because the old path returned early when the list was empty.",
    "so the worker can continue with the remaining items.",
    "which was never called with a second argument.",
    "but the coverage report still shows two branches missing.",
    "and wrote down what is left to do.",
    "since the timeout was measured in seconds, not milliseconds.",
    "without touching the public interface.",
];

const LINES: &[&str] = &[
    "  const result = await this.store.get(id);\n",
    "  if (!result) return res.status(404).json({ error: 'not found' });\n",
    "  for (const item of items) {\n    queue.push(item);\n  }\n",
    "  expect(response.status).toBe(200);\n",
    "  logger.warn(`retrying after ${delay} ms`);\n",
    "  return { ok: true, data: result };\n",
    "  clearTimeout(this.timer);\n",
    "  const [first, ...rest] = parts;\n",
];

const NAMES: &[&str] =
    &["session", "worker", "queue", "cache", "upload", "token", "report", "index", "config", "socket"];

static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| VOCABULARY.split(' ').collect());

const VOCABULARY: &str = "\
    after already approach argument array because before between branch browser buffer callback catch change client \
    column commit compare context control counter create cursor database default delay depends directory driver \
    duplicate either empty endpoint entry every exact expire export failure fallback feature field filter finally \
    fixture flag folder format function global handler header history import inside instance interval invalid job \
    keep keyword large layout legacy length limit local lookup manual margin measure memory merge message method \
    module never nothing number object offset older option order outside package parser partial pending phase pixel \
    plan pointer prefix process promise query random reader record refactor region release remove request resolve \
    retry review rough schema second server simple single slower source stable status stream string style switch \
    table target thread toggle twice unit update usually value vector version visible warning while window without \
    writer yield zero";

/// Words, numbers and names a sentence has between its fixed parts, at most: they set how well the text compresses.
const DETAILS: u64 = 26;

/// Replaces `out` by text of about `bytes` bytes.
pub(super) fn write(random: &mut Random, bytes: usize, out: &mut String) {
    out.clear();
    while out.len() < bytes {
        if random.percent(25) {
            code(random, out);
        } else {
            sentence(random, out);
        }
    }
}

fn sentence(random: &mut Random, out: &mut String) {
    let (opening, object, ending) = (random.pick(OPENINGS), random.pick(OBJECTS), random.pick(ENDINGS));
    // Writing into a String cannot fail.
    let _ = write!(out, "{opening} {object}:");
    for _ in 0..random.below(DETAILS) {
        let _ = match random.below(8) {
            0 => write!(out, " {:08x}", random.below(1 << 32)),
            1 => write!(out, " {} ms", random.below(1_000_000)),
            2 => write!(out, " {}:{}", random.pick(FILES), random.below(2_000)),
            3 => write!(out, " `{}_{}`", random.pick(&WORDS), random.pick(&WORDS)),
            _ => write!(out, " {}", random.pick(&WORDS)),
        };
    }
    out.push(' ');
    out.push_str(ending);
    out.push(' ');
}

fn code(random: &mut Random, out: &mut String) {
    let _ = writeln!(out, "\n```ts\nfunction {}{}() {{", random.pick(NAMES), random.below(10_000));
    for _ in 0..1 + random.below(3) {
        out.push_str(random.pick(LINES));
    }
    out.push_str("}\n```\n");
}

pub(super) const TOOLS: &[&str] = &["Read", "Edit", "Write", "Bash", "Grep", "Glob", "WebSearch", "Task"];

pub(super) const FILES: &[&str] = &[
    "src/app/server.ts",
    "src/app/routes/sessions.ts",
    "src/app/routes/upload.ts",
    "src/store/sqlite.ts",
    "src/store/memory.ts",
    "src/agents/coordinator.ts",
    "src/agents/worker.ts",
    "src/ui/Dashboard.tsx",
    "src/ui/Timeline.tsx",
    "tests/sessions.test.ts",
    "tests/upload.test.ts",
    "package.json",
    "README.md",
    "docs/Übersicht.md",
];

pub(super) const COMMANDS: &[&str] = &[
    "npm test",
    "npm run build",
    "npx tsc --noEmit",
    "git diff --stat",
    "git commit -m \"wip\"",
    "grep -rn 'TODO' src",
    "ls -la",
    "node -e 'console.log(1)'",
];

pub(super) const TASKS: &[&str] = &[
    "Add pagination to the session list",
    "Fix the flaky upload test",
    "Migrate the settings page to the new form library",
    "Find out why the dashboard loses its connection",
    "Schreibe Tests für die Zeitzonen-Umrechnung",
    "Refactor the coordinator so that workers can be restarted",
    "Make the search endpoint faster than 200 ms",
];

/// A JSON list as the application writes it.
pub(super) fn json_list(of: &[&str], chosen: &[u8]) -> String {
    let mut json = String::from("[");
    for (index, item) in chosen.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push('"');
        json.push_str(&of[*item as usize].replace('\\', "\\\\").replace('"', "\\\""));
        json.push('"');
    }
    json.push(']');
    json
}
