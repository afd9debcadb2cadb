//! The events of one row, folded while they pass, with the first one where the fold leaves the legacy row.

use super::LastEvent;
use crate::mapping::{Row, Rows};

/// An event as a trace remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    pub last: LastEvent,
    pub event_type: String,
}

/// Where a snapshot of the legacy lies among the events, by [`crate::event::Sequence::number`]: those up to `from` tell of
/// what is in it, those past `until` of what came later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: i64,
    pub until: i64,
}

/// Folds one identity's events and compares each image with the legacy row.
#[derive(Debug, Default)]
pub struct Trace {
    legacy: Option<Rows>,
    row: Option<Rows>,
    last: Option<Traced>,
    last_equal: Option<Traced>,
    left_at: Option<Traced>,
    agreed: Vec<Option<Traced>>,
    span: Option<Span>,
    /// The fold equals the legacy row just now.
    equal: bool,
    /// It did so within the span.
    met: bool,
}

impl Trace {
    /// `legacy` is the row as the legacy store has it, `None` when it has none. Without a span it is held against the
    /// whole fold.
    pub fn new(legacy: Option<Rows>, span: Option<Span>) -> Self {
        let width = legacy.as_ref().map_or(0, Rows::width);
        Self { equal: legacy.is_none(), legacy, agreed: vec![None; width], span, ..Self::default() }
    }

    /// Applies the next event; `image` is `None` for a delete. Repeats and late comers of another partition are passed over.
    pub fn apply(&mut self, image: Option<Row<'_>>, event: Traced) {
        if self.last.as_ref().is_some_and(|last| !event.last.supersedes(&last.last)) {
            return;
        }
        // What the fold was up to this event, it was at every position before it.
        if self.span.is_some_and(|span| event.last.sequence > span.from) {
            self.met |= self.equal && self.within();
        }
        let legacy = self.legacy.as_ref().map(|rows| rows.row(0));
        let equal = match (legacy, image) {
            (None, None) => true,
            (Some(legacy), Some(image)) => {
                let mut equal = true;
                for cell in 0..legacy.width() {
                    if legacy.get(cell) == image.get(cell) {
                        self.agreed[cell] = Some(event.clone());
                    } else {
                        equal = false;
                    }
                }
                equal
            }
            _ => false,
        };
        self.equal = equal;
        if equal {
            self.last_equal = Some(event.clone());
            self.left_at = None;
        } else if self.last_equal.is_some() && self.left_at.is_none() {
            self.left_at = Some(event.clone());
        }
        self.row = image.map(|row| row.to_rows());
        self.last = Some(event);
    }

    /// Whether the last event applied lies in the span or before it.
    fn within(&self) -> bool {
        let last = self.last.as_ref().map_or(i64::MIN, |last| last.last.sequence);
        self.span.is_none_or(|span| last <= span.until)
    }

    /// Whether the fold equals the legacy row at the legacy's position.
    pub fn met(&self) -> bool {
        self.met || self.equal && self.within()
    }

    /// The folded row.
    pub fn row(&self) -> Option<Row<'_>> {
        self.row.as_ref().map(|rows| rows.row(0))
    }

    pub fn legacy(&self) -> Option<Row<'_>> {
        self.legacy.as_ref().map(|rows| rows.row(0))
    }

    /// The last event applied.
    pub fn last(&self) -> Option<&Traced> {
        self.last.as_ref()
    }

    /// The event after the last one whose image equals the legacy row; if none ever did, the last event.
    pub fn diverging(&self) -> Option<&Traced> {
        if self.last_equal.is_some() { self.left_at.as_ref() } else { self.last.as_ref() }
    }

    /// The last event that agreed with the legacy value of this cell.
    pub fn agreed(&self, cell: usize) -> Option<&Traced> {
        self.agreed.get(cell).and_then(Option::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Value;

    fn row(values: [i64; 2]) -> Rows {
        let mut rows = Rows::new(2);
        values.into_iter().for_each(|value| rows.push(Value::Integer(value)));
        rows
    }

    fn event(offset: i64) -> Traced {
        Traced { last: LastEvent { partition: 0, offset, id: [0; 16], sequence: offset }, event_type: "t".into() }
    }

    fn trace(legacy: Option<[i64; 2]>, images: &[Option<[i64; 2]>]) -> Trace {
        let mut trace = Trace::new(legacy.map(row), None);
        for (offset, image) in images.iter().enumerate() {
            trace.apply(image.map(row).as_ref().map(|rows| rows.row(0)), event(offset as i64));
        }
        trace
    }

    #[test]
    fn the_first_diverging_event_follows_the_last_equal_one() {
        let diverging =
            |legacy, images: &[Option<[i64; 2]>]| trace(legacy, images).diverging().map(|event| event.last.offset);
        assert_eq!(diverging(Some([1, 1]), &[Some([1, 1])]), None);
        assert_eq!(diverging(Some([1, 1]), &[Some([1, 1]), Some([1, 2]), Some([1, 3])]), Some(1));
        assert_eq!(diverging(Some([1, 1]), &[Some([1, 2]), Some([1, 1]), Some([1, 2])]), Some(2));
        assert_eq!(diverging(Some([1, 1]), &[Some([1, 2]), Some([1, 3])]), Some(1));
        assert_eq!(diverging(None, &[Some([1, 1]), None]), None);
        assert_eq!(diverging(None, &[Some([1, 1]), None, Some([1, 1])]), Some(2));
        assert_eq!(diverging(Some([1, 1]), &[]), None);
    }

    #[test]
    fn a_row_is_met_where_the_fold_equals_it_within_the_span() {
        // The event at offset n has the sequence n.
        let met = |legacy: Option<[i64; 2]>, span: (i64, i64), images: &[Option<[i64; 2]>]| {
            let span = Span { from: span.0, until: span.1 };
            let mut trace = Trace::new(legacy.map(row), Some(span));
            for (offset, image) in images.iter().enumerate() {
                trace.apply(image.map(row).as_ref().map(|rows| rows.row(0)), event(offset as i64));
            }
            trace.met()
        };
        let images = [Some([1, 1]), Some([2, 2]), None, Some([4, 4])];
        assert!(met(Some([1, 1]), (0, 0), &images), "as it was at the span's start");
        assert!(met(Some([2, 2]), (0, 2), &images), "as it was on the way");
        assert!(met(None, (1, 2), &images), "gone at the span's end");
        assert!(met(Some([4, 4]), (2, 9), &images));
        assert!(met(None, (-5, -1), &images), "before its first event");
        assert!(!met(Some([1, 1]), (1, 2), &images), "an image from before the span");
        assert!(!met(Some([4, 4]), (0, 2), &images), "an image from behind the span");
        assert!(!met(Some([3, 3]), (0, 9), &images), "an image that never was");
        assert!(!met(None, (3, 9), &images));
    }

    #[test]
    fn each_column_knows_the_last_event_that_agreed() {
        let trace = trace(Some([1, 9]), &[Some([1, 1]), Some([1, 2]), Some([0, 3])]);
        assert_eq!(trace.agreed(0).map(|event| event.last.offset), Some(1));
        assert_eq!(trace.agreed(1), None);
        assert_eq!(trace.row().map(|row| row.get(1)), Some(Value::Integer(3)));
    }

    #[test]
    fn repeats_change_nothing() {
        let mut trace = trace(Some([1, 1]), &[Some([1, 1]), Some([2, 2])]);
        trace.apply(Some(row([1, 1]).row(0)), event(0));
        assert_eq!(trace.diverging().map(|event| event.last.offset), Some(1));
    }
}
