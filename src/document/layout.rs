//! What a preset says of documents.

/// The shapes of the documents of one kind of store, told apart by their keys.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub shapes: &'static [Shape],
    /// Members of these names are dropped wherever they stand: credentials.
    pub never: &'static [&'static str],
}

/// One shape of a document.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    /// Members that all documents of this shape have, and no other's.
    pub with: &'static [&'static str],
    pub lines: &'static [Lines],
}

/// The rows of one table in a document.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    pub table: &'static str,
    /// Members that lead from the document to the row, or to the list of rows; none for the document itself.
    pub at: &'static [&'static str],
    pub columns: &'static [(&'static str, Field)],
}

/// Where a column's value lies.
#[derive(Clone, Copy, Debug)]
pub enum Field {
    /// Members that lead to it from the row.
    Own(&'static [&'static str]),
    /// Members that lead to it from the document.
    Document(&'static [&'static str]),
    /// The row's place in its list, from 1.
    Place,
    /// Members of the row that no other column and no other table has, as a JSON object; null where there are none.
    Rest,
}

impl Layout {
    pub fn shape(&self, document: &serde_json::Value) -> Option<&'static Shape> {
        let members = document.as_object()?;
        self.shapes.iter().find(|shape| shape.with.iter().all(|member| members.contains_key(*member)))
    }

    /// Every table of every shape, with its columns.
    pub fn tables(&self) -> impl Iterator<Item = &'static Lines> + use<> {
        self.shapes.iter().flat_map(|shape| shape.lines)
    }
}
