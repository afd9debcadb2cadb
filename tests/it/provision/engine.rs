//! The engine against a home that loses requests and replies.

use std::cell::RefCell;

use crossfade::base::{Error, Kind, Result};
use crossfade::plan::{Action, Desired, Observed, Override, Plan, Schemas, Seen, Step};
use crossfade::port::event_log::own_topics;
use crossfade::port::memory_admin::{Fault, MemoryAdmin};
use crossfade::port::memory_registry::MemoryRegistry;
use crossfade::port::progress::Silent;
use crossfade::port::topic_admin::{Answer, Scope, TopicAdmin};
use crossfade::provision::{self, Applied, Look, Places, Record};

/// What was announced and how it ended, in order.
#[derive(Default)]
struct Told(RefCell<Vec<String>>);

impl Record for Told {
    fn announce(&self, step: &Step) -> Result<u64> {
        self.0.borrow_mut().push(format!("announced {}", step.item));
        Ok(self.0.borrow().len() as u64)
    }

    fn ended(&self, entry: u64, step: &Step, result: &Result<()>) -> Result<()> {
        let end = if result.is_ok() { "done" } else { "failed" };
        assert_eq!(self.0.borrow()[entry as usize - 1], format!("announced {}", step.item));
        self.0.borrow_mut().push(format!("{end} {}", step.item));
        Ok(())
    }
}

fn desired(overrides: &[Override]) -> Desired {
    Desired::new("m", &crossfade::acc::mapping().unwrap(), own_topics("m"), None, overrides, Vec::new()).unwrap()
}

/// Places without a schema wished.
fn places<'a>(admin: &'a dyn TopicAdmin, registry: &'a MemoryRegistry) -> Places<'a> {
    Places { admin, registry, claimant: None }
}

fn plan(admin: &dyn TopicAdmin, desired: &Desired) -> Plan {
    let registry = MemoryRegistry::default();
    let look = Look::at(places(admin, &registry), desired.clone(), Schemas::none().desired).unwrap();
    look.plan(admin, None, 0).unwrap()
}

fn apply(admin: &MemoryAdmin, plan: &Plan, told: &dyn Record) -> (Vec<Applied>, Option<Error>) {
    provision::apply(places(admin, &MemoryRegistry::default()), &plan.steps, told, &Silent)
}

fn topics(admin: &MemoryAdmin) -> usize {
    admin.observe(&Default::default()).unwrap().topics.len()
}

#[test]
fn i12_a_lost_reply_is_looked_at_and_a_lost_request_made_again() {
    let wished = desired(&[]);
    for fault in [Fault::LostReply, Fault::LostRequest] {
        for number in 0..8 {
            let admin = MemoryAdmin::new();
            admin.fail(number, fault);
            let told = Told::default();
            let (applied, error) = apply(&admin, &plan(&admin, &wished), &told);
            assert!(error.is_none(), "{fault:?} at {number}: {error:?}");
            assert_eq!((applied.len(), told.0.borrow().len()), (8, 16));
            let calls = admin.performed().len();
            assert_eq!(calls, if fault == Fault::LostRequest { 9 } else { 8 }, "what shows is not made again");
            assert_eq!(plan(&admin, &wished).steps, []);
        }
    }
}

#[test]
fn a_refusal_ends_the_run_there_and_the_next_run_goes_on() {
    let wished = desired(&[]);
    for number in 0..8 {
        let admin = MemoryAdmin::new();
        admin.fail(number, Fault::Refused);
        let told = Told::default();
        let (applied, error) = apply(&admin, &plan(&admin, &wished), &told);
        assert_eq!(error.unwrap().kind(), Kind::Refused);
        assert_eq!((applied.len(), topics(&admin)), (number, number));
        assert!(told.0.borrow().last().unwrap().starts_with("failed "), "{:?}", told.0.borrow());
        let (applied, error) = apply(&admin, &plan(&admin, &wished), &Told::default());
        assert!(error.is_none());
        assert_eq!((applied.len(), topics(&admin)), (8 - number, 8));
    }
}

#[test]
fn i06_nothing_is_made_before_it_is_announced() {
    struct Refusing;
    impl Record for Refusing {
        fn announce(&self, _: &Step) -> Result<u64> {
            Err(crossfade::base::Error::full("the journal has no room"))
        }
        fn ended(&self, _: u64, _: &Step, _: &Result<()>) -> Result<()> {
            panic!("nothing began")
        }
    }
    let admin = MemoryAdmin::new();
    let (applied, error) = apply(&admin, &plan(&admin, &desired(&[])), &Refusing);
    assert_eq!(error.unwrap().kind(), Kind::Full);
    assert!(applied.is_empty() && admin.performed().is_empty());
}

/// A cluster without a topic to ask: nobody knows yet which configs there are.
struct Untold(MemoryAdmin);

impl TopicAdmin for Untold {
    fn observe(&self, scope: &Scope) -> Result<Observed> {
        let observed = self.0.observe(scope)?;
        Ok(Observed { config_names: Default::default(), ..observed })
    }

    fn judge(&self, actions: &[Action]) -> Result<Vec<Answer>> {
        self.0.judge(actions)
    }

    fn perform(&self, action: &Action) -> Result<()> {
        self.0.perform(action)
    }
}

#[test]
fn what_the_home_would_refuse_is_impossible_and_told_in_its_words() {
    let admin = Untold(MemoryAdmin::new());
    let wish = Override {
        name: "quality.gates".to_owned(),
        configs: [("retention.msx".to_owned(), "1".to_owned())].into(),
        config_places: [("retention.msx".to_owned(), "crossfade.yaml:9:5".to_owned())].into(),
        ..Override::default()
    };
    let plan = plan(&admin, &desired(&[wish]));
    let error = plan.judge(&Default::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    for part in ["broker-refuses", "retention.msx", "crossfade.yaml:9:5", "did you mean 'retention.ms'?"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    assert_eq!(error.message().matches("broker-refuses").count(), 1, "{error}");
}

#[test]
fn one_look_serves_a_thousand_topics() {
    let admin = MemoryAdmin::new();
    let wishes: Vec<Override> = (0..1_000)
        .map(|number| Override { name: format!("topic-{number}"), partitions: Some(3), ..Override::default() })
        .collect();
    let wished = desired(&wishes);
    let plan = plan(&admin, &wished);
    assert_eq!(plan.steps.len(), 1_008);
    assert!(crossfade::report::plan::view(&plan).contains("1,008 topics to add"));
    let observed = admin.observe(&Default::default()).unwrap();
    assert!(matches!(observed.brokers, Seen::Known(_)));
}
