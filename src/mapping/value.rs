//! Exact values and the rows lent between sources, events and stores.

/// One stored value with its storage class. Text is bytes as stored, valid UTF-8 or not.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

/// Exact: reals compare by bits, and an integer never equals a real.
impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Integer(a), Value::Integer(b)) => a == b,
            (Value::Real(a), Value::Real(b)) => a.to_bits() == b.to_bits(),
            (Value::Text(a), Value::Text(b)) | (Value::Blob(a), Value::Blob(b)) => a == b,
            _ => false,
        }
    }
}

impl<'a> Value<'a> {
    /// SQLite's name of the storage class.
    pub fn class(self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Integer(_) => "integer",
            Value::Real(_) => "real",
            Value::Text(_) => "text",
            Value::Blob(_) => "blob",
        }
    }

    pub fn text(text: &'a str) -> Self {
        Value::Text(text.as_bytes())
    }

    /// Appends class and raw bytes: equal images have equal bytes and no two different values share them.
    pub fn write_image(self, out: &mut Vec<u8>) {
        let (class, bytes): (u8, &[u8]) = match self {
            Value::Null => return out.push(0),
            Value::Integer(number) => {
                out.push(1);
                return out.extend_from_slice(&number.to_be_bytes());
            }
            Value::Real(number) => {
                out.push(2);
                return out.extend_from_slice(&number.to_bits().to_be_bytes());
            }
            Value::Text(bytes) => (3, bytes),
            Value::Blob(bytes) => (4, bytes),
        };
        out.push(class);
        out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        out.extend_from_slice(bytes);
    }
}

#[derive(Clone, Copy, Debug)]
enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text { at: usize, len: usize },
    Blob { at: usize, len: usize },
}

/// A reusable chunk of rows of one width: all bytes in one buffer, and an index.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    width: usize,
    cells: Vec<Cell>,
    bytes: Vec<u8>,
}

impl Rows {
    pub fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// Empties the chunk for rows of `width` cells and keeps its memory.
    pub fn reset(&mut self, width: usize) {
        self.width = width;
        self.cells.clear();
        self.bytes.clear();
    }

    /// Appends the next cell; a row is whole once `width` cells have been pushed.
    pub fn push(&mut self, value: Value<'_>) {
        let at = self.bytes.len();
        self.cells.push(match value {
            Value::Null => Cell::Null,
            Value::Integer(number) => Cell::Integer(number),
            Value::Real(number) => Cell::Real(number),
            Value::Text(bytes) => {
                self.bytes.extend_from_slice(bytes);
                Cell::Text { at, len: bytes.len() }
            }
            Value::Blob(bytes) => {
                self.bytes.extend_from_slice(bytes);
                Cell::Blob { at, len: bytes.len() }
            }
        });
    }

    pub fn push_row(&mut self, row: Row<'_>) {
        for value in row.values() {
            self.push(value);
        }
    }

    /// Puts `value` into cell `index` of the last row, whole or not; its old bytes stay until `reset`.
    pub fn replace_last(&mut self, index: usize, value: Value<'_>) {
        let row = (self.cells.len() - 1) / self.width;
        self.push(value);
        if let Some(cell) = self.cells.pop() {
            self.cells[row * self.width + index] = cell;
        }
    }

    /// Puts `value` into a cell of any row; its old bytes stay until `reset`.
    pub fn replace(&mut self, row: usize, index: usize, value: Value<'_>) {
        self.push(value);
        if let Some(cell) = self.cells.pop() {
            self.cells[row * self.width + index] = cell;
        }
    }

    /// The bytes of all text and blobs, in one piece.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where in [`Rows::bytes`] a cell's text lies; `None` for a cell that holds no text.
    pub fn text_at(&self, row: usize, index: usize) -> Option<std::ops::Range<usize>> {
        match self.cells[row * self.width + index] {
            Cell::Text { at, len } => Some(at..at + len),
            _ => None,
        }
    }

    /// Drops the last row, whole or not.
    pub fn pop_row(&mut self) {
        let keep = self.cells.len().saturating_sub(1) / self.width.max(1) * self.width;
        self.cells.truncate(keep);
    }

    pub fn len(&self) -> usize {
        self.cells.len().checked_div(self.width).unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// Bytes of text and blobs held.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    pub fn row(&self, index: usize) -> Row<'_> {
        Row { cells: &self.cells[index * self.width..(index + 1) * self.width], bytes: &self.bytes }
    }

    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).map(|index| self.row(index))
    }
}

/// One row of a [`Rows`].
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    cells: &'a [Cell],
    bytes: &'a [u8],
}

impl<'a> Row<'a> {
    pub fn get(&self, index: usize) -> Value<'a> {
        match self.cells[index] {
            Cell::Null => Value::Null,
            Cell::Integer(number) => Value::Integer(number),
            Cell::Real(number) => Value::Real(number),
            Cell::Text { at, len } => Value::Text(&self.bytes[at..at + len]),
            Cell::Blob { at, len } => Value::Blob(&self.bytes[at..at + len]),
        }
    }

    pub fn width(&self) -> usize {
        self.cells.len()
    }

    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let row = *self;
        (0..row.cells.len()).map(move |index| row.get(index))
    }

    /// The row as an owned chunk of its own.
    pub fn to_rows(&self) -> Rows {
        let mut rows = Rows::new(self.width());
        rows.push_row(*self);
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_different_class_or_bits_differ() {
        assert_ne!(Value::Integer(1), Value::Real(1.0));
        assert_ne!(Value::Real(0.0), Value::Real(-0.0));
        assert_ne!(Value::text("1"), Value::Blob(b"1"));
        assert_eq!(Value::Real(f64::INFINITY), Value::Real(f64::INFINITY));
    }

    #[test]
    fn rows_are_lent_as_they_were_pushed() {
        let mut rows = Rows::new(3);
        for value in
            [Value::Null, Value::Integer(7), Value::Text(b"a\0b"), Value::Blob(b"\xff"), Value::Real(0.5), Value::Null]
        {
            rows.push(value);
        }
        assert_eq!(rows.len(), 2);
        assert_eq!(rows.row(0).get(2), Value::Text(b"a\0b"));
        assert_eq!(rows.row(1).get(0), Value::Blob(b"\xff"));
        rows.replace_last(1, Value::text("new"));
        assert_eq!(rows.row(1).get(1), Value::text("new"));
        rows.pop_row();
        assert_eq!(rows.len(), 1);
    }
}
