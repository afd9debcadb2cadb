//! Messages, and what is stored along with them.

use super::odd;
use super::out::{Out, Table, iso, or_null, spaced};
use super::random::{Random, Stream, id};
use super::schedule::{Plan, Schedule, Step};
use super::summary::Summaries;
use super::text::{self, COMMANDS, FILES, TOOLS, json_list};
use crate::base::Result;
use crate::mapping::Value;

/// Bytes of an ordinary message's content at least; some are longer.
const CONTENT_BYTES: u64 = 40;
const CONTENT_SPREAD: u64 = 108;
/// Bytes of the one large message.
const LARGE: usize = 40_000;

/// One message per this many has a metric, a communication, a system event.
const PER_METRIC: usize = 20;
const PER_COMMUNICATION: usize = 40;
const PER_EVENT: usize = 70;

/// One in this many neighbours of one session answers the other, half of them the later one.
const PER_PARENT: usize = 16;

/// The cells of a message that a summary looks at.
#[derive(Debug, Default)]
pub(super) struct Cells {
    pub(super) agent: &'static str,
    pub(super) kind: &'static str,
    pub(super) tools: Option<Vec<u8>>,
    pub(super) files: Option<Vec<u8>>,
    pub(super) commands: Option<Vec<u8>>,
    pub(super) cost: Option<f64>,
    pub(super) duration: Option<i64>,
    pub(super) exit_code: Option<i64>,
}

impl Cells {
    fn ordinary(step: Step, random: &mut Random) -> Self {
        let (agent, kind) = match random.below(100) {
            _ if step.nth == 0 => ("manager", "prompt"),
            0..14 => ("manager", "prompt"),
            14..34 => ("manager", "response"),
            34..64 => ("worker", "response"),
            64..92 => ("worker", "tool_call"),
            92..96 => ("worker", "error"),
            _ => ("worker", "system"),
        };
        let mut cells = Self { agent, kind, ..Self::default() };
        if !random.percent(60) {
            return cells;
        }
        cells.tools = some(random, TOOLS.len(), 90);
        cells.files = some(random, FILES.len(), 60);
        cells.commands = some(random, COMMANDS.len(), 40);
        // The application stores no zero.
        cells.cost = Some(random.below(200_000) as f64 / 1e6).filter(|cost| *cost > 0.0);
        cells.duration = Some(random.below(90_000) as i64).filter(|duration| *duration > 0);
        cells.exit_code = (kind == "error").then(|| random.pick(&[1, 2, 127]));
        cells
    }
}

/// Up to two of a list, in this share of cases; null in the others.
fn some(random: &mut Random, of: usize, share: u64) -> Option<Vec<u8>> {
    random.percent(share).then(|| {
        let mut chosen: Vec<u8> = (0..random.below(3)).map(|_| random.below(of as u64) as u8).collect();
        chosen.dedup();
        chosen
    })
}

pub(super) fn write(plan: &Plan, messages: usize, out: &mut Out<'_>) -> Result<()> {
    let mut random = Random::new(plan.seed, Stream::Message);
    let mut aside = Aside::new(plan.seed, messages);
    let mut summaries = Summaries::new(plan);
    let mut steps = Schedule::new(plan).enumerate().peekable();
    let (mut content, mut neighbours) = (String::new(), 0);
    while let Some((index, step)) = steps.next() {
        let parent = steps.peek().filter(|(_, next)| next.session == step.session).and_then(|(next, _)| {
            neighbours += 1;
            match neighbours % PER_PARENT {
                3 => Some(*next),
                11 => index.checked_sub(1),
                _ => None,
            }
        });
        let parent = parent.map(|parent| id(plan.seed, Stream::Message, parent));
        let cells = Cells::ordinary(step, &mut random);
        let length = (CONTENT_BYTES + random.below(CONTENT_SPREAD)) as usize;
        text::write(&mut random, if index == 1 { LARGE } else { length }, &mut content);
        let session = id(plan.seed, Stream::Session, step.session);
        let odd = odd::message(index, messages);
        let message = Message { step, session: &session, cells: &cells, content: &content, parent, odd };
        message.put(&id(plan.seed, Stream::Message, index), out)?;
        // What was not written by the application is not in its summaries.
        if odd.is_none() {
            summaries.add(step, &cells);
        }
        aside.write(index, &session, step, &cells, out)?;
    }
    summaries.write(out)
}

/// One message on its way out.
struct Message<'a> {
    step: Step,
    session: &'a str,
    cells: &'a Cells,
    content: &'a str,
    parent: Option<String>,
    odd: Option<odd::Odd>,
}

impl Message<'_> {
    fn put(&self, id: &str, out: &mut Out<'_>) -> Result<()> {
        let cells = self.cells;
        let list = |of, chosen: &Option<Vec<u8>>| chosen.as_ref().map(|chosen| json_list(of, chosen));
        let (tools, files, commands) =
            (list(TOOLS, &cells.tools), list(FILES, &cells.files), list(COMMANDS, &cells.commands));
        let at = iso(self.step.at);
        let mut row = [
            Value::text(id),
            Value::text(self.session),
            Value::text(cells.agent),
            Value::text(cells.kind),
            Value::text(self.content),
            Value::text(&at),
            or_null(self.parent.as_deref()),
            or_null(tools.as_deref()),
            or_null(files.as_deref()),
            or_null(commands.as_deref()),
            cells.cost.map_or(Value::Null, Value::Real),
            cells.duration.map_or(Value::Null, Value::Integer),
            cells.exit_code.map_or(Value::Null, Value::Integer),
        ];
        for (column, value) in self.odd.into_iter().flatten() {
            row[*column] = *value;
        }
        out.put(Table::Messages, row)
    }
}

/// The smaller tables.
struct Aside {
    seed: u64,
    messages: usize,
    communication: Random,
    metric: Random,
}

impl Aside {
    fn new(seed: u64, messages: usize) -> Self {
        let communication = Random::new(seed, Stream::Communication);
        Self { seed, messages, communication, metric: Random::new(seed, Stream::Metric) }
    }

    fn write(&mut self, index: usize, session: &str, step: Step, cells: &Cells, out: &mut Out<'_>) -> Result<()> {
        if index.is_multiple_of(PER_METRIC) {
            self.metric(index / PER_METRIC, session, step, cells, out)?;
        }
        if index.is_multiple_of(PER_COMMUNICATION) {
            self.communication(index / PER_COMMUNICATION, session, step, out)?;
        }
        if index % PER_EVENT == 1 {
            let nth = index / PER_EVENT;
            // After those of the session starts.
            let id = id(self.seed, Stream::SystemEvent, (1 << 30) + nth);
            let (kind, details) = [
                ("agent_switch", "{\"from\":\"manager\",\"to\":\"worker\"}"),
                ("error", "Process exited with code 1\n    at ChildProcess.exit"),
            ][nth % 2];
            let at = iso(step.at);
            let row =
                [Value::text(&id), Value::text(session), Value::text(kind), Value::text(details), Value::text(&at)];
            out.put(Table::SystemEvents, row)?;
        }
        Ok(())
    }

    fn metric(&mut self, nth: usize, session: &str, step: Step, cells: &Cells, out: &mut Out<'_>) -> Result<()> {
        let id = id(self.seed, Stream::Metric, nth);
        let random = &mut self.metric;
        let (mut response, mut at) = (Value::Integer(50 + random.below(4_000) as i64), iso(step.at));
        if let Some((odd, time)) = odd::METRICS.get(nth) {
            response = *odd;
            at = time.map_or(at, str::to_owned);
        }
        let tokens = if random.percent(80) { Value::Integer(1 + random.below(9_000) as i64) } else { Value::Null };
        let cost = cells.cost.map_or(Value::Null, Value::Real);
        let errors = Value::Real(random.below(100) as f64 / 100.0);
        let agent = Value::text(cells.agent);
        let at = Value::text(&at);
        out.put(Table::Metrics, [Value::text(&id), Value::text(session), agent, response, tokens, cost, errors, at])
    }

    fn communication(&mut self, nth: usize, session: &str, step: Step, out: &mut Out<'_>) -> Result<()> {
        let random = &mut self.communication;
        let (from, to, kind) = random.pick(&[
            ("manager", "worker", "instruction"),
            ("worker", "manager", "result"),
            ("manager", "worker", "feedback"),
            ("worker", "manager", "question"),
        ]);
        let related = random.below(self.messages as u64) as usize;
        let related = random.percent(70).then(|| id(self.seed, Stream::Message, related));
        let mut content = String::new();
        text::write(random, 80, &mut content);
        // The first two as a seed script inserts them.
        let (id, at) = match nth {
            0 | 1 => (format!("comm-\"{nth}\" it's"), spaced(step.at)),
            _ => (id(self.seed, Stream::Communication, nth), iso(step.at)),
        };
        let row = [
            Value::text(&id),
            Value::text(session),
            Value::text(from),
            Value::text(to),
            Value::text(kind),
            Value::text(&content),
            Value::text(&at),
            or_null(related.as_deref()),
        ];
        out.put(Table::Communications, row)
    }
}
