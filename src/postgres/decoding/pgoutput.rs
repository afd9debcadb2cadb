//! Messages of `pgoutput`, protocol version 1, out of the bytes they come in.

/// One message; everything lent lies in the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// A transaction that was committed at `commit`, by the server's clock at `at` (µs since 2000).
    Begin {
        commit: u64,
        at: i64,
        xid: u32,
    },
    Commit {
        commit: u64,
        end: u64,
    },
    Origin,
    /// A table as the following changes have it.
    Relation {
        id: u32,
        schema: &'a str,
        name: &'a str,
        columns: Vec<Column<'a>>,
    },
    Type,
    Insert {
        relation: u32,
        new: Tuple<'a>,
    },
    Update {
        relation: u32,
        old: Option<Old<'a>>,
        new: Tuple<'a>,
    },
    Delete {
        relation: u32,
        old: Old<'a>,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// What a program wrote into the log itself.
    Logical {
        transactional: bool,
        prefix: &'a str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column<'a> {
    pub name: &'a str,
    pub kind: u32,
    pub modifier: i32,
}

/// The row before a change: whole, or what identifies it with nulls for the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Old<'a> {
    pub whole: bool,
    pub tuple: Tuple<'a>,
}

pub(super) type Tuple<'a> = Vec<Cell<'a>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    Null,
    /// A large value that was not sent because the update left it as it was.
    Unchanged,
    Text(&'a [u8]),
}

/// Reads one message; `None` for bytes that are none, or of a kind that was not asked for.
pub(super) fn parse(bytes: &[u8]) -> Option<Message<'_>> {
    let mut from = Bytes(bytes);
    let message = match from.byte()? {
        b'B' => Message::Begin { commit: from.long()?, at: from.long()? as i64, xid: from.int()? },
        b'C' => {
            from.byte()?;
            let message = Message::Commit { commit: from.long()?, end: from.long()? };
            from.long()?;
            message
        }
        b'O' => {
            from.long()?;
            from.text()?;
            Message::Origin
        }
        b'R' => {
            let (id, schema, name) = (from.int()?, from.text()?, from.text()?);
            from.byte()?;
            let count = from.short()?;
            let mut columns = Vec::with_capacity(count.min(1600).into());
            for _ in 0..count {
                from.byte()?;
                columns.push(Column { name: from.text()?, kind: from.int()?, modifier: from.int()? as i32 });
            }
            Message::Relation { id, schema, name, columns }
        }
        b'Y' => {
            from.int()?;
            from.text()?;
            from.text()?;
            Message::Type
        }
        b'I' => {
            let relation = from.int()?;
            (from.byte()? == b'N').then_some(())?;
            Message::Insert { relation, new: from.tuple()? }
        }
        b'U' => {
            let relation = from.int()?;
            let (old, mark) = match from.byte()? {
                mark @ (b'K' | b'O') => (Some(Old { whole: mark == b'O', tuple: from.tuple()? }), from.byte()?),
                mark => (None, mark),
            };
            (mark == b'N').then_some(())?;
            Message::Update { relation, old, new: from.tuple()? }
        }
        b'D' => {
            let relation = from.int()?;
            let mark = from.byte()?;
            (mark == b'K' || mark == b'O').then_some(())?;
            Message::Delete { relation, old: Old { whole: mark == b'O', tuple: from.tuple()? } }
        }
        b'T' => {
            let count = from.int()?;
            from.byte()?;
            let mut relations = Vec::new();
            for _ in 0..count {
                relations.push(from.int()?);
            }
            Message::Truncate { relations }
        }
        b'M' => {
            let transactional = from.byte()? & 1 == 1;
            from.long()?;
            let prefix = from.text()?;
            let length = from.int()? as usize;
            from.take(length)?;
            Message::Logical { transactional, prefix }
        }
        _ => return None,
    };
    from.0.is_empty().then_some(message)
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn short(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn int(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(self.take(end)?).ok()?;
        self.byte()?;
        Some(text)
    }

    fn tuple(&mut self) -> Option<Tuple<'a>> {
        let count = self.short()?;
        let mut cells = Vec::with_capacity(count.min(1600).into());
        for _ in 0..count {
            cells.push(match self.byte()? {
                b'n' => Cell::Null,
                b'u' => Cell::Unchanged,
                b't' => {
                    let length = self.int()? as usize;
                    Cell::Text(self.take(length)?)
                }
                _ => return None,
            });
        }
        Some(cells)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [text.as_bytes(), &[0]].concat()
    }

    fn long(number: u64) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }

    fn int(number: u32) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }

    fn tuple(cells: &[Cell<'_>]) -> Vec<u8> {
        let mut out = (cells.len() as u16).to_be_bytes().to_vec();
        for cell in cells {
            match cell {
                Cell::Null => out.push(b'n'),
                Cell::Unchanged => out.push(b'u'),
                Cell::Text(bytes) => {
                    out.push(b't');
                    out.extend(int(bytes.len() as u32));
                    out.extend_from_slice(bytes);
                }
            }
        }
        out
    }

    const CELLS: [Cell<'static>; 3] = [Cell::Text(b"7"), Cell::Null, Cell::Unchanged];

    fn messages() -> Vec<(Vec<u8>, Message<'static>)> {
        let old = |whole| Old { whole, tuple: CELLS.to_vec() };
        vec![
            (
                [b"B".to_vec(), long(0x1_0000_0002), long(5), int(700)].concat(),
                Message::Begin { commit: 0x1_0000_0002, at: 5, xid: 700 },
            ),
            ([b"C\0".to_vec(), long(9), long(10), long(5)].concat(), Message::Commit { commit: 9, end: 10 }),
            ([b"O".to_vec(), long(9), text("elsewhere")].concat(), Message::Origin),
            (
                [
                    b"R".to_vec(),
                    int(7),
                    text("public"),
                    text("pärt"),
                    b"f\0\x02".to_vec(),
                    [vec![1], text("id"), int(23), int(u32::MAX)].concat(),
                    [vec![0], text(""), int(1043), int(24)].concat(),
                ]
                .concat(),
                Message::Relation {
                    id: 7,
                    schema: "public",
                    name: "pärt",
                    columns: vec![
                        Column { name: "id", kind: 23, modifier: -1 },
                        Column { name: "", kind: 1043, modifier: 24 },
                    ],
                },
            ),
            ([b"Y".to_vec(), int(9), text("public"), text("mood")].concat(), Message::Type),
            (
                [b"I".to_vec(), int(7), b"N".to_vec(), tuple(&CELLS)].concat(),
                Message::Insert { relation: 7, new: CELLS.to_vec() },
            ),
            (
                [b"U".to_vec(), int(7), b"N".to_vec(), tuple(&CELLS)].concat(),
                Message::Update { relation: 7, old: None, new: CELLS.to_vec() },
            ),
            (
                [b"U".to_vec(), int(7), b"K".to_vec(), tuple(&CELLS), b"N".to_vec(), tuple(&[])].concat(),
                Message::Update { relation: 7, old: Some(old(false)), new: Vec::new() },
            ),
            (
                [b"U".to_vec(), int(7), b"O".to_vec(), tuple(&CELLS), b"N".to_vec(), tuple(&CELLS)].concat(),
                Message::Update { relation: 7, old: Some(old(true)), new: CELLS.to_vec() },
            ),
            (
                [b"D".to_vec(), int(7), b"K".to_vec(), tuple(&CELLS)].concat(),
                Message::Delete { relation: 7, old: old(false) },
            ),
            (
                [b"D".to_vec(), int(7), b"O".to_vec(), tuple(&CELLS)].concat(),
                Message::Delete { relation: 7, old: old(true) },
            ),
            ([b"T".to_vec(), int(2), vec![3], int(7), int(8)].concat(), Message::Truncate { relations: vec![7, 8] }),
            (
                [b"M\x01".to_vec(), long(9), text("crossfade"), int(3), b"\0ab".to_vec()].concat(),
                Message::Logical { transactional: true, prefix: "crossfade" },
            ),
        ]
    }

    #[test]
    fn each_message_is_read_and_no_part_of_one_is() {
        for (bytes, message) in messages() {
            assert_eq!(parse(&bytes), Some(message));
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), None, "{cut} of {bytes:?}");
            }
            assert_eq!(parse(&[bytes.as_slice(), b"x"].concat()), None);
        }
    }

    #[test]
    fn what_was_not_asked_for_is_no_message() {
        for bytes in [&b"S"[..], b"", b"I\0\0\0\x07K\0\0", b"I\0\0\0\x07N\0\x01b\0\0\0\0", b"D\0\0\0\x07N\0\0"] {
            assert_eq!(parse(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn odd_bytes_never_panic(which in 0..13_usize, changes in proptest::collection::vec((0..80_usize, any::<u8>()), 0..6)) {
            let (mut bytes, _) = messages().swap_remove(which);
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            parse(&bytes);
        }

        #[test]
        fn any_bytes_never_panic(kind in "[BCORYIUDTMxyz]", rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&[kind.as_bytes(), &rest].concat());
        }

        #[test]
        fn any_row_is_read_back(cells in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)), 0..30)) {
            let cells: Vec<Cell<'_>> = cells.iter().map(|cell| cell.as_deref().map_or(Cell::Null, Cell::Text)).collect();
            let bytes = [b"I".to_vec(), int(1), b"N".to_vec(), tuple(&cells)].concat();
            prop_assert_eq!(parse(&bytes), Some(Message::Insert { relation: 1, new: cells }));
        }
    }
}
