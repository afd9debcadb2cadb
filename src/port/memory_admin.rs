//! A home in memory: the fake of the management port. It is what it was given, changed as it was told, and fails on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::{Error, Result};
use crate::plan::{Action, Broker, Config, FoundTopic, KNOWN_CONFIGS, Observed, Partition, Seen, Source};
use crate::port::admin_rules::{is_to_make, refusal};
use crate::port::topic_admin::{Answer, Scope, TopicAdmin};

/// How a change goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Refused,
    /// It is made, but nobody hears of it.
    LostReply,
    /// It never arrives, and nobody hears of that.
    LostRequest,
}

pub struct MemoryAdmin {
    state: Mutex<State>,
}

struct State {
    observed: Observed,
    performed: Vec<Action>,
    /// By the number of the change.
    faults: BTreeMap<usize, Fault>,
}

impl Default for MemoryAdmin {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryAdmin {
    /// Three brokers and nothing else.
    pub fn new() -> Self {
        let broker = |id| Broker { id, host: format!("b{id}"), rack: None };
        Self::of(Observed {
            home: "memory".into(),
            cluster_id: uuid::Uuid::new_v4().to_string(),
            brokers: Seen::Known((1..=3).map(broker).collect()),
            broker_configs: Seen::Known(BTreeMap::new()),
            topics: BTreeMap::new(),
            hidden: BTreeSet::new(),
            config_names: KNOWN_CONFIGS.iter().map(|name| (*name).to_owned()).collect(),
            acls: Seen::Known(Vec::new()),
            scram_users: Seen::Known(BTreeMap::new()),
            groups: Seen::Known(Vec::new()),
            claims: Seen::NotHere("claims lie in the log itself".into()),
            disks: Seen::Known(Vec::new()),
        })
    }

    pub fn of(observed: Observed) -> Self {
        Self { state: Mutex::new(State { observed, performed: Vec::new(), faults: BTreeMap::new() }) }
    }

    /// The change of this number, the first is 0, goes wrong.
    pub fn fail(&self, number: usize, fault: Fault) {
        self.state().faults.insert(number, fault);
    }

    /// Changes what is there as others would.
    pub fn meddle(&self, change: impl FnOnce(&mut Observed)) {
        change(&mut self.state().observed);
    }

    /// Every change asked for, those that went wrong too.
    pub fn performed(&self) -> Vec<Action> {
        self.state().performed.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A change is made whole or, when its maker panics, to be looked at by the test that failed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TopicAdmin for MemoryAdmin {
    fn observe(&self, scope: &Scope) -> Result<Observed> {
        let mut observed = self.state().observed.clone();
        for (_, topic) in observed.topics.iter_mut().filter(|(name, _)| !scope.configs.has(name)) {
            topic.configs = not_asked();
        }
        if !scope.access {
            (observed.acls, observed.scram_users) = (not_asked(), not_asked());
        }
        if !scope.disks {
            observed.disks = not_asked();
        }
        match &scope.groups {
            None => observed.groups = not_asked(),
            Some(prefix) => {
                if let Seen::Known(groups) = &mut observed.groups {
                    groups.retain(|group| group.name.starts_with(prefix));
                }
            }
        }
        Ok(observed)
    }

    fn judge(&self, actions: &[Action]) -> Result<Vec<Answer>> {
        let state = self.state();
        let judged = |action| refusal(&state.observed, action).map_or(Answer::Fine, Answer::No);
        Ok(actions.iter().map(judged).collect())
    }

    fn perform(&self, action: &Action) -> Result<()> {
        let mut state = self.state();
        let fault = state.faults.get(&state.performed.len()).copied();
        state.performed.push(action.clone());
        let lost = || Err(Error::unknown("no reply came").hint("look before making it again"));
        match fault {
            Some(Fault::Refused) => Err(Error::refused("the change was refused").because("told to refuse it")),
            Some(Fault::LostRequest) => lost(),
            Some(Fault::LostReply) => change(&mut state.observed, action).and_then(|()| lost()),
            None => change(&mut state.observed, action),
        }
    }
}

fn not_asked<T>() -> Seen<T> {
    Seen::NotHere("not asked for".into())
}

fn change(observed: &mut Observed, action: &Action) -> Result<()> {
    if !is_to_make(observed, action)? {
        return Ok(());
    }
    let brokers: BTreeSet<i32> = observed.brokers.known().into_iter().flatten().map(|broker| broker.id).collect();
    let partition = |number: i32, copies: usize| {
        let shift = usize::try_from(number).unwrap_or_default() % brokers.len().max(1);
        let replicas: Vec<i32> = brokers.iter().cycle().skip(shift).take(copies.min(brokers.len())).copied().collect();
        Partition { leader: replicas.first().copied(), in_sync: replicas.clone(), replicas }
    };
    match action {
        Action::CreateTopic { name, partitions, replication, configs } => {
            let copies = usize::try_from(*replication).unwrap_or_default();
            let partitions = (0..*partitions).map(|number| partition(number, copies)).collect();
            let configs = configs.iter().map(|(key, value)| (key.clone(), own(value))).collect();
            observed.topics.insert(name.clone(), FoundTopic { partitions, configs: Seen::Known(configs) });
        }
        Action::AddPartitions { name, partitions } => {
            if let Some(topic) = observed.topics.get_mut(name) {
                let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                let copies = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
                topic.partitions.extend((count..*partitions).map(|number| partition(number, copies)));
            }
        }
        Action::AlterConfigs { name, set, reset } => {
            if let Some(FoundTopic { configs: Seen::Known(configs), .. }) = observed.topics.get_mut(name) {
                configs.retain(|key, _| !reset.contains(key));
                configs.extend(set.iter().map(|(key, value)| (key.clone(), own(value))));
            }
        }
        Action::DeleteTopic { name } => {
            observed.topics.remove(name);
        }
        Action::CreateAcls { acls, .. } => {
            if let Seen::Known(there) = &mut observed.acls {
                there.extend(acls.iter().filter(|acl| !there.contains(acl)).cloned().collect::<Vec<_>>());
            }
        }
    }
    Ok(())
}

fn own(value: &str) -> Config {
    Config { value: Some(value.to_owned()), source: Source::Topic }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kind;

    #[test]
    fn changes_go_wrong_as_told_and_the_next_are_made() {
        let admin = MemoryAdmin::new();
        let create = |name: &str| {
            let action =
                Action::CreateTopic { name: name.into(), partitions: 2, replication: 3, configs: BTreeMap::new() };
            admin.perform(&action).map_err(|error| error.kind())
        };
        admin.fail(0, Fault::LostReply);
        admin.fail(1, Fault::LostRequest);
        admin.fail(3, Fault::Refused);
        assert_eq!(create("kept"), Err(Kind::Unknown));
        assert_eq!(create("lost"), Err(Kind::Unknown));
        assert_eq!((create("kept"), create("refused"), create("made")), (Ok(()), Err(Kind::Refused), Ok(())));
        let found = admin.observe(&Scope::default()).unwrap();
        assert_eq!(found.topics.keys().collect::<Vec<_>>(), ["kept", "made"]);
        assert_eq!(found.topics["made"].partitions[1].replicas, [2, 3, 1]);
        assert_eq!(admin.performed().len(), 5);
    }

    #[test]
    fn more_copies_than_brokers_are_refused() {
        let action = Action::CreateTopic { name: "t".into(), partitions: 1, replication: 4, configs: BTreeMap::new() };
        let admin = MemoryAdmin::new();
        let Answer::No(words) = admin.judge(std::slice::from_ref(&action)).unwrap().remove(0) else { panic!("fine") };
        assert_eq!(words, "4 replicas cannot be kept by 3 brokers");
        assert_eq!(admin.perform(&action).unwrap_err().kind(), Kind::Refused);
    }
}
