//! Writers: checkpoints, fencing, and outcomes that are not known.

use crossfade::base::Kind;
use crossfade::port::event_log::{LogWriter, Record};
use serde_json::json;

use super::home::{Home, Scene, numbered, texts};

pub fn i08_a_checkpoint_is_committed_with_its_records(home: &dyn Home) {
    let scene = Scene::new(home, 3);
    let name = scene.name("replay");
    let mut writer = scene.writer("replay");
    assert_eq!(writer.checkpoint(), None);
    assert_eq!(scene.log.checkpoint(&name).unwrap(), None);
    let state = json!({"cursor": [9_007_199_254_740_993_i64, 0.1, "ключ\u{0}", null], "rows": u64::MAX, "a": {}});
    scene.append(&mut *writer, "first", 5);
    writer.commit("plan 1", state.clone()).unwrap();
    let first = writer.checkpoint().unwrap().clone();
    assert_eq!((first.writer.as_str(), first.instance.as_str()), (name.as_str(), "one"));
    assert_eq!((first.plan_hash.as_str(), &first.state), ("plan 1", &state));
    assert_eq!(home.open().checkpoint(&name).unwrap().as_ref(), Some(&first));
    scene.append(&mut *writer, "never", 5);
    drop(writer);

    let mut writer = home.open().open_writer(&name, "two").unwrap();
    assert_eq!(writer.checkpoint(), Some(&first));
    assert_eq!(scene.log.checkpoint(&name).unwrap().as_ref(), Some(&first));
    writer.commit("plan 2", json!("no records")).unwrap();
    let second = writer.checkpoint().unwrap().clone();
    assert_eq!((second.instance.as_str(), second.plan_hash.as_str()), ("two", "plan 2"));
    assert!(second.epoch > first.epoch, "{} is not above {}", second.epoch, first.epoch);
    assert_eq!(home.open().checkpoint(&name).unwrap().as_ref(), Some(&second));
    assert_eq!(home.open().open_writer(&name, "three").unwrap().checkpoint(), Some(&second));
    assert_eq!(texts(&scene.read(5)), numbered("first", 5));
}

pub fn i08_an_older_writer_is_fenced(home: &dyn Home) {
    let scene = Scene::new(home, 3);
    let name = scene.name("replay");
    let mut old = scene.writer("replay");
    scene.append(&mut *old, "old", 5);
    old.commit("plan", json!("old")).unwrap();
    scene.append(&mut *old, "late", 5);
    let mut bystander = scene.writer("operator");
    scene.append(&mut *bystander, "other", 5);

    // The same instance name twice: the epoch alone must tell them apart.
    let mut new = home.open().open_writer(&name, "one").unwrap();
    assert_eq!(new.checkpoint().unwrap().state, json!("old"));
    for _ in 0..2 {
        assert_fenced(&mut *old, &scene.record("key 0", "late too"));
    }
    bystander.commit("plan", json!("other")).unwrap();
    scene.append(&mut *new, "new", 5);
    new.commit("plan", json!("new")).unwrap();
    assert_fenced(&mut *old, &scene.record("key 0", "latest"));
    scene.append(&mut *new, "newer", 5);
    new.commit("plan", json!("newer")).unwrap();

    let expected = ["new", "newer", "old", "other"].map(|word| numbered(word, 5)).concat();
    assert_eq!(texts(&scene.read(20)), expected);
    assert_eq!(scene.log.checkpoint(&name).unwrap().unwrap().state, json!("newer"));
    assert_eq!(scene.log.checkpoint(&scene.name("operator")).unwrap().unwrap().state, json!("other"));
}

fn assert_fenced(writer: &mut dyn LogWriter, record: &Record<'_>) {
    // An append may reach only the writer's own memory; the commit may not.
    if let Err(error) = writer.append(record) {
        assert_eq!(error.kind(), Kind::Fenced, "{error}");
    }
    let error = writer.commit("plan", json!("fenced")).unwrap_err();
    assert_eq!(error.kind(), Kind::Fenced, "{error}");
}

pub fn i12_an_unknown_outcome_is_settled_by_opening_again(home: &dyn Home) {
    let scene = Scene::new(home, 3);
    let name = scene.name("replay");
    let mut writer = scene.writer("replay");
    scene.append(&mut *writer, "first", 5);
    writer.commit("plan", json!(1)).unwrap();
    scene.append(&mut *writer, "lost", 5);
    std::mem::forget(writer);

    // Not committed: the old checkpoint, and the records may be written again.
    let mut writer = home.open().open_writer(&name, "two").unwrap();
    assert_eq!(writer.checkpoint().unwrap().state, json!(1));
    scene.append(&mut *writer, "second", 5);
    writer.commit("plan", json!(2)).unwrap();
    std::mem::forget(writer);

    // Committed, the answer lost: the new checkpoint, and nothing to write again.
    let writer = home.open().open_writer(&name, "three").unwrap();
    assert_eq!(writer.checkpoint().unwrap().state, json!(2));
    assert_eq!(texts(&scene.read(10)), [numbered("first", 5), numbered("second", 5)].concat());
}

pub fn a_checkpoint_is_read_without_fencing(home: &dyn Home) {
    let scene = Scene::new(home, 3);
    let name = scene.name("replay");
    assert_eq!(scene.log.checkpoint(&name).unwrap(), None);
    let mut writer = scene.writer("replay");
    for round in 0..3 {
        scene.append(&mut *writer, "record", 5);
        writer.commit("plan", json!(round)).unwrap();
        assert_eq!(home.open().checkpoint(&name).unwrap().unwrap().state, json!(round));
    }
    assert_eq!(scene.read(15).len(), 15);
}

pub fn a_failed_append_leaves_the_writer_usable_after_abort(home: &dyn Home) {
    let scene = Scene::new(home, 3);
    let mut writer = scene.writer("replay");
    scene.append(&mut *writer, "dropped", 5);
    let nowhere = Record { topic: "no.such.topic", ..scene.record("key", "value") };
    assert_eq!(writer.append(&nowhere).unwrap_err().kind(), Kind::Config);
    writer.append(&scene.record("key", "after")).unwrap_err();
    writer.commit("plan", json!("half")).unwrap_err();
    writer.abort().unwrap();
    scene.append(&mut *writer, "kept", 5);
    writer.commit("plan", json!("kept")).unwrap();
    assert_eq!(texts(&scene.read(5)), numbered("kept", 5));
    assert_eq!(scene.log.checkpoint(&scene.name("replay")).unwrap().unwrap().state, json!("kept"));
}
