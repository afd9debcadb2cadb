//! One contract for every home of the log.

mod cases;
mod delivery;
mod groups;
mod home;
mod order;
mod processes;
mod writers;

use home::{Embedded, Memory};

/// Every case of the contract as a test of one home.
macro_rules! contract {
    ($home:expr $(, #[$attribute:meta])?) => {
        contract!(@each $home, ($(#[$attribute])?),
            delivery::i02_a_transaction_is_seen_whole_or_not_at_all,
            delivery::i02_an_aborted_transaction_leaves_nothing,
            delivery::i02_records_come_back_as_they_went_in,
            delivery::i02_two_writers_at_once_lose_nothing,
            delivery::i02_a_dead_transaction_hides_nothing_for_long,
            delivery::a_waiting_reader_is_woken_by_a_commit,
            writers::i08_a_checkpoint_is_committed_with_its_records,
            writers::i08_an_older_writer_is_fenced,
            writers::i12_an_unknown_outcome_is_settled_by_opening_again,
            writers::a_checkpoint_is_read_without_fencing,
            writers::a_failed_append_leaves_the_writer_usable_after_abort,
            order::i02_a_reader_goes_on_exactly_where_another_stopped,
            order::positions_meet_the_ends,
            order::keys_lie_where_kafka_puts_them,
            cases::topics_are_created_once,
            cases::i13_a_topic_keeps_its_id_and_one_made_anew_has_another,
            cases::what_is_not_there_is_named,
            cases::the_largest_record_is_taken_and_a_larger_one_is_not,
            cases::all_handles_see_the_same_log,
            groups::a_group_of_one_reads_everything,
            groups::i02_members_come_and_go_and_each_record_has_one_effect,
            groups::partitions_that_stay_are_read_on_while_others_move,
            groups::i08_what_a_killed_member_held_goes_to_the_others,
            groups::a_static_member_has_its_partitions_back,
            groups::i08_of_two_members_of_one_name_the_older_is_fenced,
            groups::i08_a_member_that_stood_still_loses_its_partitions_and_comes_back,
            groups::members_without_a_partition_wait_for_one,
            groups::a_held_partition_is_read_anew_from_where_it_is_said,
            groups::a_group_of_topics_that_are_not_there_is_refused,
        );
    };
    (@each $home:expr, $attributes:tt, $($room:ident::$case:ident),* $(,)?) => {
        $(contract!(@one $home, $attributes, $room, $case);)*
    };
    (@one $home:expr, ($(#[$attribute:meta])?), $room:ident, $case:ident) => {
        #[test]
        $(#[$attribute])?
        fn $case() {
            $room::$case(&$home);
        }
    };
}

mod memory {
    use super::*;

    contract!(Memory::new());
}

mod embedded {
    use super::*;

    contract!(Embedded::new());
}

mod kafka {
    use std::time::Duration;

    use crossfade::kafka::{KafkaLog, KafkaSettings};
    use crossfade::plan::Action;
    use crossfade::port::event_log::EventLog;
    use crossfade::port::topic_admin::TopicAdmin;

    use super::home::Home;
    use super::*;

    struct Kafka(KafkaSettings);

    impl Kafka {
        /// The cluster named by `CROSSFADE_TEST_KAFKA`, a list of brokers.
        fn new() -> Self {
            let brokers = std::env::var("CROSSFADE_TEST_KAFKA").expect("CROSSFADE_TEST_KAFKA names no brokers");
            let bootstrap = brokers.split(',').map(str::to_owned).collect();
            Self(KafkaSettings { bootstrap, ..KafkaSettings::default() })
        }
    }

    impl Home for Kafka {
        fn open(&self) -> Box<dyn EventLog> {
            Box::new(KafkaLog::open(&self.0).unwrap())
        }

        fn delete(&self, topic: &str) {
            let log = KafkaLog::open(&self.0).unwrap();
            log.admin().perform(&Action::DeleteTopic { name: topic.to_owned() }).unwrap();
            while log.topics().unwrap().contains_key(topic) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }

        fn time_out(&self) -> Duration {
            // 10 s transaction time-out, and the broker looks every 10 s for transactions to end.
            Duration::from_secs(30)
        }

        fn session(&self) -> Duration {
            // The least a broker takes by default.
            Duration::from_secs(6)
        }
    }

    contract!(Kafka::new(), #[ignore = "needs Kafka"]);
}
