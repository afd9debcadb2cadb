//! Unique indexes: what makes a row of a table stand in the way of another.

use rusqlite::Connection;

use crate::mapping::init::TableSchema;

/// A unique index of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unique {
    pub(super) name: String,
    /// What it is over, each with the index's collation.
    pub(super) terms: Vec<(Term, String)>,
    /// Whether it holds some rows only.
    pub(super) partial: bool,
    /// The condition on them, where it could be read.
    pub(super) filter: Option<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Term {
    Column(String),
    /// `None` where its text could not be read.
    Expression(Option<Text>),
}

impl Unique {
    /// Columns with the index's collations; expressions are left out.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&String, &String)> {
        self.terms.iter().filter_map(|(term, collation)| match term {
            Term::Column(name) => Some((name, collation)),
            Term::Expression(_) => None,
        })
    }

    /// Whether a row in the way can be found by all of its terms.
    pub(super) fn readable(&self) -> bool {
        (!self.partial || self.filter.is_some()) && self.terms.iter().all(|(term, _)| *term != Term::Expression(None))
    }
}

/// The unique indexes of a table, that of its key among them where it has one.
pub(super) fn uniques(connection: &Connection, table: &TableSchema) -> rusqlite::Result<Vec<Unique>> {
    let mut list = connection.prepare(
        "SELECT l.name, l.partial, s.sql FROM pragma_index_list(?1, 'main') AS l \
         LEFT JOIN sqlite_schema AS s ON s.type = 'index' AND s.name = l.name WHERE l.\"unique\" ORDER BY l.name",
    )?;
    let list = list.query_map([&table.name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let list: Vec<(String, bool, Option<String>)> = list.collect::<rusqlite::Result<_>>()?;
    let mut parts =
        connection.prepare("SELECT cid, name, coll FROM pragma_index_xinfo(?1, 'main') WHERE key ORDER BY seqno")?;
    let mut uniques = Vec::with_capacity(list.len());
    for (name, partial, sql) in list {
        let parts = parts.query_map([&name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let parts: Vec<(i64, Option<String>, String)> = parts.collect::<rusqlite::Result<_>>()?;
        let (texts, filter) = sql.as_deref().and_then(definition).unwrap_or_default();
        let texts = (texts.len() == parts.len()).then_some(texts);
        let term = |(at, (_, column, collation)): (usize, (i64, Option<String>, String))| {
            let text = || texts.as_ref().and_then(|texts| texts.get(at).cloned());
            (column.map_or_else(|| Term::Expression(text()), Term::Column), collation)
        };
        uniques.push(Unique { name, terms: parts.into_iter().enumerate().map(term).collect(), partial, filter });
    }
    Ok(uniques)
}

/// A piece of SQL: whole tokens, without comments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    text: String,
    /// Something that is no token stood before it.
    apart: bool,
}

impl Text {
    pub(super) fn sql(&self) -> String {
        let mut sql = String::new();
        for token in &self.tokens {
            if token.apart && !sql.is_empty() {
                sql.push(' ');
            }
            sql += &token.text;
        }
        sql
    }

    /// Whether it may speak of a column: names in text look the same, and do no harm.
    pub(super) fn names(&self, column: &str) -> bool {
        self.tokens.iter().any(|token| bare(&token.text).eq_ignore_ascii_case(column))
    }

    /// Whether a column is named together with its table.
    pub(super) fn qualified(&self) -> bool {
        self.tokens.iter().any(|token| token.text == ".")
    }
}

/// A name without its quotes.
fn bare(token: &str) -> String {
    let Some(open) = token.chars().next().filter(|open| matches!(open, '"' | '`' | '[' | '\'')) else {
        return token.to_owned();
    };
    let close = if open == '[' { ']' } else { open };
    let inner = token.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).unwrap_or(token);
    if open == '[' { inner.to_owned() } else { inner.replace(&format!("{open}{open}"), &open.to_string()) }
}

/// The terms and the condition of a CREATE INDEX.
fn definition(sql: &str) -> Option<(Vec<Text>, Option<Text>)> {
    let tokens = tokens(sql)?;
    let open = tokens.iter().position(|token| token.text == "(")?;
    let (mut depth, mut terms, mut term, mut close) = (0, Vec::new(), Vec::new(), None);
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        match (depth, token.text.as_str()) {
            (0, _) => {
                terms.push(std::mem::take(&mut term));
                close = Some(at);
                break;
            }
            (1, ",") => terms.push(std::mem::take(&mut term)),
            _ if at > open => term.push(token.clone()),
            _ => {}
        }
    }
    for term in &mut terms {
        let order = |token: &Token| ["ASC", "DESC"].iter().any(|word| token.text.eq_ignore_ascii_case(word));
        if term.len() > 1 && term.last().is_some_and(order) {
            term.pop();
        }
    }
    let rest = &tokens[close? + 1..];
    let filter = match rest.split_first() {
        None => None,
        Some((word, filter)) if word.text.eq_ignore_ascii_case("WHERE") => Some(Text { tokens: filter.to_vec() }),
        Some(_) => return None,
    };
    Some((terms.into_iter().map(|tokens| Text { tokens }).collect(), filter))
}

/// `None` where a quote or a comment does not end.
fn tokens(sql: &str) -> Option<Vec<Token>> {
    let (mut tokens, mut rest, mut apart) = (Vec::new(), sql, false);
    while let Some(first) = rest.chars().next() {
        let skipped = if first.is_ascii_whitespace() {
            Some(1)
        } else if rest.starts_with("--") {
            Some(rest.find('\n').map_or(rest.len(), |end| end + 1))
        } else if let Some(comment) = rest.strip_prefix("/*") {
            Some(comment.find("*/")? + 4)
        } else {
            None
        };
        if let Some(skipped) = skipped {
            (rest, apart) = (&rest[skipped..], true);
            continue;
        }
        let word = |rest: &str| {
            rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii())).unwrap_or(rest.len())
        };
        let long = match first {
            'x' | 'X' if rest[1..].starts_with('\'') => 1 + quoted(&rest[1..], '\'')?,
            '\'' | '"' | '`' => quoted(rest, first)?,
            '[' => rest.find(']')? + 1,
            c if c.is_alphanumeric() || c == '_' || !c.is_ascii() => word(rest),
            _ => 1,
        };
        let (text, after) = rest.split_at(long);
        tokens.push(Token { text: text.to_owned(), apart });
        (rest, apart) = (after, false);
    }
    Some(tokens)
}

/// The length of what stands in quotes, a doubled one being part of it.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text[at..].find(quote)? + 1;
        if !text[at..].starts_with(quote) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_taken_apart() {
        let sql = "CREATE UNIQUE INDEX \"a(b\" ON t -- of (x)\n (em, lower(n) COLLATE nocase DESC, (a||','||\"b c\")/* , */) \
            WHERE st='it''s (' AND p.[x y] ->> '$.a' <> x'2c'";
        let (terms, filter) = definition(sql).unwrap();
        let terms: Vec<String> = terms.iter().map(Text::sql).collect();
        assert_eq!(terms, ["em", "lower(n) COLLATE nocase", "(a||','||\"b c\")"]);
        let filter = filter.unwrap();
        assert_eq!(filter.sql(), "st='it''s (' AND p.[x y] ->> '$.a' <> x'2c'");
        assert!(filter.names("ST") && filter.names("x y") && !filter.names("em") && filter.qualified());
        for odd in
            ["CREATE UNIQUE INDEX i ON t (a", "CREATE UNIQUE INDEX i ON t ('a)", "CREATE UNIQUE INDEX i ON t (a) /*"]
        {
            assert_eq!(definition(odd), None, "{odd}");
        }
    }
}
