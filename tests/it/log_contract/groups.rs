//! Groups: who holds what, and that nothing is read by two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossfade::base::{Kind, Result};
use crossfade::port::event_log::{Batch, Positions};
use crossfade::port::group::{GroupReader, Join, Place, Turn};
use serde_json::json;

use super::home::{Home, Scene};
use crate::support::ends::Ends;

/// What members do, as one table: each partition's holder and its position, as a projection keeps them.
#[derive(Default)]
struct Table {
    holders: BTreeMap<Place, usize>,
    positions: Positions,
    /// Every record, and how often its effect was committed.
    seen: BTreeMap<(i32, i64), u32>,
    breaches: Vec<String>,
}

/// A member on a thread of its own that reads what it is given.
struct Member {
    number: usize,
    stop: Arc<AtomicBool>,
    /// Set: it is dropped without a word, as a killed process is.
    dead: Arc<AtomicBool>,
    held: Arc<Mutex<BTreeSet<Place>>>,
    longest_gap: Arc<Mutex<Duration>>,
    ended: Receiver<Result<()>>,
}

struct Hall<'h> {
    scene: Scene<'h>,
    table: Arc<Mutex<Table>>,
    session: Duration,
    members: usize,
}

impl<'h> Hall<'h> {
    fn new(home: &'h dyn Home, partitions: i32) -> Self {
        let scene = Scene::new(home, partitions);
        Self { scene, table: Arc::default(), session: home.session(), members: 0 }
    }

    fn group(&self) -> String {
        format!("crossfade.{}.test", self.scene.topic)
    }

    fn member(&mut self, name: Option<&str>) -> Member {
        self.members += 1;
        let (number, log) = (self.members, self.scene.home.open());
        let (group, topics, session) = (self.group(), vec![self.scene.topic.clone()], self.session);
        let (name, table) = (name.map(str::to_owned), Arc::clone(&self.table));
        let (stop, dead) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (held, longest_gap) = (Arc::new(Mutex::default()), Arc::new(Mutex::default()));
        let (end, ended): (Sender<Result<()>>, _) = channel();
        let mut run =
            Run { number, table, held: Arc::clone(&held), gap: Arc::clone(&longest_gap), stop: Arc::clone(&stop) };
        let silent = Arc::clone(&dead);
        std::thread::spawn(move || {
            let join = Join { group: &group, name: name.as_deref(), topics: &topics, session };
            let mut reader = log.join(&join).unwrap();
            let ended = run.run(reader.as_mut());
            run.forget();
            if silent.load(Ordering::SeqCst) {
                // Neither leaves nor is heard of again.
                std::mem::forget(reader);
                std::mem::forget(log);
            } else {
                drop(reader);
            }
            let _ = end.send(ended);
        });
        Member { number, stop, dead, held, longest_gap, ended }
    }

    fn append(&self, word: &str, count: usize) {
        let mut writer = self.scene.writer("replay");
        self.scene.append(&mut *writer, word, count);
        writer.commit("plan", json!(word)).unwrap();
    }

    /// Waits until the members hold what is expected, in any order.
    #[track_caller]
    fn shares(&self, members: &[&Member], mut expected: Vec<usize>) {
        expected.sort_unstable();
        let deadline = Instant::now() + self.session * 3 + Duration::from_secs(20);
        loop {
            let mut shares: Vec<usize> = members.iter().map(|member| member.holds()).collect();
            shares.sort_unstable();
            if shares == expected {
                return;
            }
            assert!(Instant::now() < deadline, "held are {shares:?}, expected {expected:?}");
            for member in members {
                if let Ok(ended) = member.ended.try_recv() {
                    panic!("member {} ended: {ended:?}", member.number);
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until each record written so far had its effect.
    #[track_caller]
    fn all_seen(&self, count: usize) {
        let deadline = Instant::now() + self.session * 3 + Duration::from_secs(20);
        loop {
            let table = self.table.lock().unwrap();
            if table.seen.len() == count {
                assert_eq!(table.breaches, Vec::<String>::new());
                assert!(table.seen.values().all(|times| *times == 1), "an effect was committed twice");
                return;
            }
            assert!(Instant::now() < deadline, "{} of {count} records had their effect", table.seen.len());
            drop(table);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

struct Run {
    number: usize,
    table: Arc<Mutex<Table>>,
    held: Arc<Mutex<BTreeSet<Place>>>,
    gap: Arc<Mutex<Duration>>,
    stop: Arc<AtomicBool>,
}

impl Run {
    fn run(&mut self, reader: &mut dyn GroupReader) -> Result<()> {
        let mut batch = Batch::default();
        let mut read: Option<Instant> = None;
        while !self.stop.load(Ordering::SeqCst) {
            match reader.read(&mut batch, 50, Duration::from_millis(20))? {
                Turn::Records => {
                    self.apply(&batch, reader.positions());
                    if !batch.is_empty() {
                        if let Some(read) = read {
                            let mut gap = self.gap.lock().unwrap();
                            *gap = (*gap).max(read.elapsed());
                        }
                        read = Some(Instant::now());
                    }
                    let positions = reader.positions().clone();
                    reader.note(&positions)?;
                }
                Turn::Given(places) => {
                    assert!(batch.is_empty());
                    reader.start(&self.take(&places))?;
                }
                Turn::Taken(places) => {
                    self.put_down(&places);
                    reader.let_go()?;
                }
                Turn::Lost(places) => self.put_down(&places),
            }
        }
        Ok(())
    }

    fn take(&self, places: &[Place]) -> Positions {
        let mut table = self.table.lock().unwrap();
        for place in places {
            if let Some(other) = table.holders.insert(place.clone(), self.number) {
                table.breaches.push(format!("{place:?} went from {other} to {} without a hand-over", self.number));
            }
        }
        self.held.lock().unwrap().extend(places.iter().cloned());
        places.iter().map(|place| (place.clone(), table.positions.get(place).copied().unwrap_or(0))).collect()
    }

    fn put_down(&self, places: &[Place]) {
        let mut table = self.table.lock().unwrap();
        for place in places {
            if table.holders.get(place) == Some(&self.number) {
                table.holders.remove(place);
            }
            self.held.lock().unwrap().remove(place);
        }
    }

    /// As a process that ends does: what it held is nobody's, once the group says so.
    fn forget(&self) {
        let held: Vec<Place> = self.held.lock().unwrap().iter().cloned().collect();
        self.put_down(&held);
    }

    fn apply(&self, batch: &Batch, positions: &Positions) {
        let mut table = self.table.lock().unwrap();
        for record in batch.iter() {
            let place = (record.topic.to_owned(), record.partition);
            if table.holders.get(&place) != Some(&self.number) {
                table.breaches.push(format!("{} read {place:?} without holding it", self.number));
            }
            let at = table.positions.get(&place).copied().unwrap_or(0);
            if record.offset < at {
                table.breaches.push(format!("{place:?} was read back from {at} to {}", record.offset));
            }
            *table.seen.entry((record.partition, record.offset)).or_default() += 1;
        }
        table.positions.extend(positions.iter().map(|(place, at)| (place.clone(), *at)));
    }
}

impl Member {
    fn holds(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    #[track_caller]
    fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.ended.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
    }

    /// As by kill -9.
    fn kill(self) {
        self.dead.store(true, Ordering::SeqCst);
        self.end();
    }
}

pub fn a_group_of_one_reads_everything(home: &dyn Home) {
    let mut hall = Hall::new(home, 4);
    hall.append("before", 40);
    let one = hall.member(None);
    hall.shares(&[&one], vec![4]);
    hall.append("after", 40);
    hall.all_seen(80);
    one.end();
}

pub fn i02_members_come_and_go_and_each_record_has_one_effect(home: &dyn Home) {
    let mut hall = Hall::new(home, 6);
    let mut written = 0;
    let mut append = |hall: &Hall<'_>| {
        hall.append(&format!("at {written}"), 60);
        written += 60;
        written
    };
    append(&hall);
    let one = hall.member(None);
    hall.shares(&[&one], vec![6]);
    append(&hall);
    let two = hall.member(None);
    append(&hall);
    hall.shares(&[&one, &two], vec![3, 3]);
    let three = hall.member(None);
    append(&hall);
    hall.shares(&[&one, &two, &three], vec![2, 2, 2]);
    two.end();
    append(&hall);
    hall.shares(&[&one, &three], vec![3, 3]);
    let all = append(&hall);
    hall.all_seen(all);
    one.end();
    three.end();
}

pub fn partitions_that_stay_are_read_on_while_others_move(home: &dyn Home) {
    let mut hall = Hall::new(home, 4);
    let one = hall.member(None);
    hall.shares(&[&one], vec![4]);
    let scene = &hall.scene;
    let stop = AtomicBool::new(false);
    let count = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut writer = scene.writer("replay");
            let mut count = 0;
            while !stop.load(Ordering::SeqCst) {
                scene.append(&mut *writer, &format!("{count}"), 20);
                writer.commit("plan", json!(count)).unwrap();
                count += 20;
                std::thread::sleep(Duration::from_millis(20));
            }
            count
        });
        let ends = Ends(&stop);
        let mut other = Hall {
            scene: Scene::again(&hall.scene),
            table: Arc::clone(&hall.table),
            session: hall.session,
            members: 7,
        };
        std::thread::sleep(Duration::from_millis(500));
        *one.longest_gap.lock().unwrap() = Duration::ZERO;
        let two = other.member(None);
        hall.shares(&[&one, &two], vec![2, 2]);
        std::thread::sleep(Duration::from_millis(500));
        drop(ends);
        let count = writing.join().unwrap();
        hall.all_seen(count);
        two.end();
        count
    });
    let gap = *one.longest_gap.lock().unwrap();
    eprintln!("{count} records; the longest pause of the one that stayed: {gap:?}");
    assert!(gap < Duration::from_millis(1500), "{gap:?}");
    one.end();
}

pub fn i08_what_a_killed_member_held_goes_to_the_others(home: &dyn Home) {
    let mut hall = Hall::new(home, 4);
    let (one, two) = (hall.member(None), hall.member(None));
    hall.shares(&[&one, &two], vec![2, 2]);
    one.kill();
    hall.append("later", 40);
    hall.shares(&[&two], vec![4]);
    hall.all_seen(40);
    two.end();
}

pub fn a_static_member_has_its_partitions_back(home: &dyn Home) {
    let mut hall = Hall::new(home, 4);
    let (one, two) = (hall.member(Some("one")), hall.member(Some("two")));
    hall.shares(&[&one, &two], vec![2, 2]);
    let had = one.held.lock().unwrap().clone();
    let others = two.held.lock().unwrap().clone();
    one.kill();
    hall.append("meanwhile", 40);
    let began = Instant::now();
    let again = hall.member(Some("one"));
    hall.shares(&[&again], vec![2]);
    assert_eq!((&*again.held.lock().unwrap(), &*two.held.lock().unwrap()), (&had, &others));
    assert!(began.elapsed() < hall.session, "{:?}", began.elapsed());
    hall.all_seen(40);
    again.end();
    two.end();
}

pub fn i08_of_two_members_of_one_name_the_older_is_fenced(home: &dyn Home) {
    let mut hall = Hall::new(home, 2);
    let one = hall.member(Some("one"));
    hall.shares(&[&one], vec![2]);
    let two = hall.member(Some("one"));
    let error = one.ended.recv_timeout(Duration::from_secs(30)).unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Fenced, "{error}");
    hall.shares(&[&two], vec![2]);
    two.end();
}

pub fn members_without_a_partition_wait_for_one(home: &dyn Home) {
    let mut hall = Hall::new(home, 2);
    let mut members = Vec::new();
    for _ in 0..4 {
        members.push(hall.member(None));
    }
    hall.shares(&members.iter().collect::<Vec<_>>(), vec![1, 1, 0, 0]);
    hall.append("first", 20);
    hall.all_seen(20);
    let (busy, idle): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| member.holds() > 0);
    busy.into_iter().for_each(Member::end);
    hall.shares(&idle.iter().collect::<Vec<_>>(), vec![1, 1]);
    hall.append("second", 20);
    hall.all_seen(40);
    idle.into_iter().for_each(Member::end);
}

pub fn a_held_partition_is_read_anew_from_where_it_is_said(home: &dyn Home) {
    let hall = Hall::new(home, 2);
    hall.append("record", 20);
    let (group, topics) = (hall.group(), [hall.scene.topic.clone()]);
    let log = home.open();
    let join = Join { group: &group, name: None, topics: &topics, session: hall.session };
    let mut reader = log.join(&join).unwrap();
    let mut batch = Batch::default();
    let read = |reader: &mut dyn GroupReader, batch: &mut Batch| {
        let (deadline, mut seen) = (Instant::now() + Duration::from_secs(30), Vec::new());
        while seen.len() < 20 {
            assert!(Instant::now() < deadline, "{seen:?}");
            match reader.read(batch, 5, Duration::from_millis(50)).unwrap() {
                Turn::Records => seen.extend(batch.iter().map(|record| (record.partition, record.offset))),
                Turn::Given(places) => reader.start(&places.into_iter().map(|place| (place, 0)).collect()).unwrap(),
                other => panic!("{other:?}"),
            }
        }
        seen.sort_unstable();
        seen
    };
    let first = read(reader.as_mut(), &mut batch);
    reader.start(&hall.scene.starts()).unwrap();
    assert_eq!(read(reader.as_mut(), &mut batch), first);
    assert!(matches!(reader.read(&mut batch, 5, Duration::from_millis(300)), Ok(Turn::Records)) && batch.is_empty());
}

pub fn a_group_of_topics_that_are_not_there_is_refused(home: &dyn Home) {
    let scene = Scene::new(home, 1);
    let topics = [format!("{}.missing", scene.topic)];
    let join = Join { group: "crossfade.none.test", name: None, topics: &topics, session: home.session() };
    let error = scene.log.join(&join).err().unwrap();
    assert_eq!(error.kind(), Kind::Config, "{error}");
    assert!(error.message().contains(&topics[0]), "{error}");
}

pub fn i08_a_member_that_stood_still_loses_its_partitions_and_comes_back(home: &dyn Home) {
    let mut hall = Hall::new(home, 4);
    hall.append("before", 20);
    let (group, topics) = (hall.group(), [hall.scene.topic.clone()]);
    let log = home.open();
    let join = Join { group: &group, name: None, topics: &topics, session: hall.session };
    let mut reader = log.join(&join).unwrap();
    let mut batch = Batch::default();
    let session = hall.session;
    let mut turn = |reader: &mut dyn GroupReader| {
        let deadline = Instant::now() + session * 3 + Duration::from_secs(20);
        loop {
            assert!(Instant::now() < deadline, "no turn came");
            match reader.read(&mut batch, 5, Duration::from_millis(50)).unwrap() {
                Turn::Records => {}
                turn => return turn,
            }
        }
    };
    let Turn::Given(places) = turn(reader.as_mut()) else { panic!("nothing was given") };
    assert_eq!(places.len(), 4);
    reader.start(&hall.scene.starts()).unwrap();
    // The other one has all of them by the time this one wakes up.
    let other = hall.member(None);
    hall.shares(&[&other], vec![4]);
    let mut gone = 0;
    while gone < 4 {
        match turn(reader.as_mut()) {
            Turn::Lost(lost) => gone += lost.len(),
            // Asked for before it was given up.
            Turn::Taken(taken) => {
                gone += taken.len();
                reader.let_go().unwrap();
            }
            turn => panic!("{turn:?}"),
        }
        reader.start(&Positions::new()).unwrap();
    }
    let Turn::Given(back) = turn(reader.as_mut()) else { panic!("it did not come back") };
    reader.start(&back.iter().map(|place| (place.clone(), 0)).collect()).unwrap();
    hall.shares(&[&other], vec![2]);
    assert_eq!(back.len(), 2);
    other.end();
}
