//! Who does what when: the sessions, and the messages of several at once in the order they were stored.

use super::Sizes;
use super::random::{Random, Stream};
use crate::base::Millis;

/// 2026-06-01T08:00:00Z.
pub(super) const BEGIN: Millis = 1_780_300_800_000;

/// Sessions made at once by posts that each saw no current session, and where they lie.
pub(super) const STAMPEDE: std::ops::Range<usize> = 8..18;
const STAMPEDE_GAP: Millis = 5;

/// Sessions that exchange messages at the same time.
const AT_ONCE: usize = 6;

/// What a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The n-th session that does work.
    Work(usize),
    HealthCheck,
    Stampede,
}

/// Sessions and how many messages each will have.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) roles: Vec<Role>,
    pub(super) quotas: Vec<u32>,
    pub(super) seed: u64,
}

impl Plan {
    pub(super) fn new(sizes: Sizes) -> Self {
        let mut random = Random::new(sizes.seed, Stream::Plan);
        let mut workers = 0;
        let roles: Vec<Role> = (0..sizes.sessions)
            .map(|index| {
                if STAMPEDE.contains(&index) {
                    Role::Stampede
                } else if index % 4 == 3 {
                    Role::HealthCheck
                } else {
                    workers += 1;
                    Role::Work(workers - 1)
                }
            })
            .collect();
        // The first ones carry quirks that need several messages.
        let weights: Vec<u64> = roles
            .iter()
            .map(|role| match role {
                Role::Work(nth) if *nth < 8 => 8,
                Role::Work(_) => 1 + random.below(8),
                _ => 0,
            })
            .collect();
        let sum: u64 = weights.iter().sum();
        let mut quotas: Vec<u32> = weights.iter().map(|weight| (sizes.messages as u64 * weight / sum) as u32).collect();
        let given: u32 = quotas.iter().sum();
        quotas[0] += sizes.messages as u32 - given;
        Self { roles, quotas, seed: sizes.seed }
    }
}

/// The next message: of which session, the how-manieth of it, and the time it is stamped with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) session: usize,
    pub(super) nth: u32,
    pub(super) at: Millis,
}

/// Runs through all messages in stored order; two runs are the same.
#[derive(Debug)]
pub(super) struct Schedule<'p> {
    plan: &'p Plan,
    random: Random,
    clock: Millis,
    unopened: usize,
    open: Vec<(usize, u32)>,
    current: usize,
    burst: u64,
    spans: Vec<Span>,
}

/// First and last moment of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: Millis,
    pub(super) last: Millis,
}

impl<'p> Schedule<'p> {
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            random: Random::new(plan.seed, Stream::Schedule),
            clock: BEGIN,
            unopened: 0,
            open: Vec::with_capacity(AT_ONCE),
            current: 0,
            burst: 0,
            spans: Vec::with_capacity(plan.roles.len()),
        }
    }

    /// Runs through and says when each session began and was last heard of.
    pub(super) fn spans(mut self) -> Vec<Span> {
        while self.next().is_some() {}
        self.spans
    }

    fn open_sessions(&mut self) {
        while self.open.len() < AT_ONCE
            && let Some(role) = self.plan.roles.get(self.unopened)
        {
            let session = self.unopened;
            self.unopened += 1;
            self.spans.push(Span { start: self.clock, last: self.clock });
            match role {
                Role::Work(_) => {
                    if self.plan.quotas[session] > 0 {
                        self.open.push((session, 0));
                    }
                    self.clock += self.random.below(3_000) as Millis;
                }
                Role::HealthCheck => self.clock += 7_000 + self.random.below(30_000) as Millis,
                Role::Stampede => self.clock += STAMPEDE_GAP,
            }
        }
    }
}

impl Iterator for Schedule<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        self.open_sessions();
        if self.open.is_empty() {
            return None;
        }
        if self.burst == 0 {
            self.current = self.random.below(self.open.len() as u64) as usize;
            self.burst = 1 + self.random.below(6);
        }
        self.burst -= 1;
        // Three in ten share the millisecond of the one before.
        if !self.random.percent(30) {
            self.clock += self.random.below(4_000) as Millis;
        }
        // Stamped before the insert was queued, and overtaken there.
        let late = if self.random.percent(4) { 1 + self.random.below(15) as Millis } else { 0 };
        let (session, sent) = &mut self.open[self.current];
        let step = Step { session: *session, nth: *sent, at: self.clock - late };
        *sent += 1;
        self.spans[step.session].last = self.clock;
        if *sent == self.plan.quotas[step.session] {
            self.open.swap_remove(self.current);
            self.burst = 0;
        }
        Some(step)
    }
}
