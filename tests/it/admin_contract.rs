//! One contract for the management of every home of the log.

mod cases;
mod home;
mod kafka;

use home::{Embedded, Memory};

/// Every case of the contract as a test of one home.
macro_rules! contract {
    ($home:expr $(, #[$attribute:meta])?) => {
        contract!(@each $home, ($(#[$attribute])?),
            a_topic_is_created_as_asked_and_once,
            configs_change_one_by_one,
            partitions_grow_and_never_shrink,
            a_deleted_topic_is_gone,
            judging_changes_nothing,
            a_refusal_has_the_homes_words,
            a_look_brings_no_more_than_asked_for,
        );
    };
    (@each $home:expr, $attributes:tt, $($case:ident),* $(,)?) => {
        $(contract!(@one $home, $attributes, $case);)*
    };
    (@one $home:expr, ($(#[$attribute:meta])?), $case:ident) => {
        #[test]
        $(#[$attribute])?
        fn $case() {
            $crate::admin_contract::cases::$case(&$home);
        }
    };
}
pub(crate) use contract;

mod memory {
    use super::*;

    contract!(Memory::new());
}

mod embedded {
    use super::*;

    contract!(Embedded::new());
}
