//! Members of a consumer group: they share the partitions of some topics, and each reads its own only.

use std::time::Duration;

use crate::base::Result;
use crate::port::event_log::{Batch, Positions};

/// A partition of a topic.
pub type Place = (String, i32);

/// How long a member that is not heard of keeps its partitions.
pub const SESSION: Duration = Duration::from_secs(15);

/// Who joins which group.
#[derive(Clone, Copy, Debug)]
pub struct Join<'a> {
    pub group: &'a str,
    /// A static member: started again under its name within the session, it has its partitions back and nobody else
    /// notices. Of two processes with one name the older is [`crate::base::Kind::Fenced`].
    pub name: Option<&'a str>,
    pub topics: &'a [String],
    pub session: Duration,
}

/// What a read came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Records of the partitions held, or none within the time.
    Records,
    /// These are held from now on, and read once [`GroupReader::start`] has said from where.
    Given(Vec<Place>),
    /// These are to go to another member, and go once [`GroupReader::let_go`] was called: until then the effects of what
    /// was read of them may be committed. None of their records comes any more.
    Taken(Vec<Place>),
    /// These are gone already: this member was not heard of for too long, and another may have them by now.
    Lost(Vec<Place>),
}

/// One member. It must read at least once within its session. Where a partition is begun is the caller's matter: the group
/// only says whose it is. Dropped, it leaves; a static member keeps its partitions until its session ends.
pub trait GroupReader: Send {
    /// As [`crate::port::event_log::LogReader::read`], or a change of what is held; `batch` is empty then.
    fn read(&mut self, batch: &mut Batch, max: usize, wait: Duration) -> Result<Turn>;

    /// Reads partitions held from these positions on: those just given, and those to be read anew.
    fn start(&mut self, from: &Positions) -> Result<()>;

    /// Hands over what was [`Turn::Taken`].
    fn let_go(&mut self) -> Result<()>;

    /// Of the partitions that are read, as [`crate::port::event_log::LogReader::positions`].
    fn positions(&self) -> &Positions;

    /// Notes in the group how far its effects are committed, for tools that show the lag. Nobody begins there, so a note
    /// may come late or be lost.
    fn note(&mut self, committed: &Positions) -> Result<()>;
}
