//! Topics of migrations whose test has ended, deleted beside the others: every look at all topics takes longer with them.

use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};

use crossfade::kafka::KafkaAdmin;
use crossfade::plan::Action;
use crossfade::port::topic_admin::{Scope, TopicAdmin};

use super::cli::brokers;
use super::provision::kafka;

static ENDED: LazyLock<Mutex<Sender<String>>> = LazyLock::new(|| {
    let (sender, names) = channel::<String>();
    std::thread::spawn(move || {
        let admin = kafka(&brokers());
        names.iter().for_each(|name| delete(&admin, &name));
    });
    Mutex::new(sender)
});

/// The migration's topics are needed no more.
pub fn ended(migration: &str) {
    let _ = ENDED.lock().map(|ended| ended.send(migration.to_owned()));
}

fn delete(admin: &KafkaAdmin, migration: &str) {
    let Ok(found) = admin.observe(&Scope::default()) else { return };
    let (rows, own) = (format!("{migration}."), format!("crossfade.{migration}."));
    for name in found.topics.into_keys().filter(|name| name.starts_with(&rows) || name.starts_with(&own)) {
        let _ = admin.perform(&Action::DeleteTopic { name });
    }
}
