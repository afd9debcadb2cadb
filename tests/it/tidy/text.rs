//! Rust source as the tidy check sees it: code without comments and texts, items, and the paths it names.

/// One source, split into what the compiler runs and what people read. Both keep every line where it was.
pub(super) struct Source {
    /// The code, with comments and the insides of texts blanked.
    pub(super) code: String,
    /// The comments alone.
    pub(super) comments: String,
}

/// Splits a source. Knows nested comments, raw texts, bytes, characters and lifetimes.
pub(super) fn split(text: &str) -> Source {
    let letters: Vec<char> = text.chars().collect();
    let mut source = Source { code: String::new(), comments: String::new() };
    let mut at = 0;
    while at < letters.len() {
        let (kind, end) = token(&letters, at);
        for letter in &letters[at..end] {
            let blank = if *letter == '\n' { '\n' } else { ' ' };
            source.code.push(if kind == Kind::Code { *letter } else { blank });
            source.comments.push(if kind == Kind::Comment { *letter } else { blank });
        }
        at = end;
    }
    source
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Comment,
    Text,
}

/// What begins at `at`, and where it ends.
fn token(letters: &[char], at: usize) -> (Kind, usize) {
    let next = |ahead: usize| letters.get(at + ahead).copied().unwrap_or('\n');
    let word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let inside_word = at > 0 && word(letters[at - 1]);
    match (letters[at], next(1)) {
        ('/', '/') => (Kind::Comment, find(letters, at, |at| letters[at] == '\n')),
        ('/', '*') => (Kind::Comment, block_comment(letters, at)),
        ('"', _) => (Kind::Text, quoted(letters, at, '"')),
        ('\'', '\\') => (Kind::Text, quoted(letters, at, '\'')),
        ('\'', _) if next(2) == '\'' => (Kind::Text, at + 3),
        ('b', '"') if !inside_word => (Kind::Text, quoted(letters, at + 1, '"')),
        ('b', '\'') if !inside_word => (Kind::Text, quoted(letters, at + 1, '\'')),
        ('r', '"' | '#') if !inside_word => raw(letters, at, at + 1),
        ('b', 'r') if !inside_word && matches!(next(2), '"' | '#') => raw(letters, at, at + 2),
        _ => (Kind::Code, at + 1),
    }
}

fn find(letters: &[char], from: usize, stop: impl Fn(usize) -> bool) -> usize {
    (from..letters.len()).find(|at| stop(*at)).unwrap_or(letters.len())
}

fn block_comment(letters: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at < letters.len() {
        match (letters[at], letters.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    letters.len()
}

fn quoted(letters: &[char], opening: usize, quote: char) -> usize {
    let mut at = opening + 1;
    while at < letters.len() && letters[at] != quote {
        at += if letters[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(letters.len())
}

/// A raw text whose marks begin at `marks`; `r#name` is code.
fn raw(letters: &[char], at: usize, marks: usize) -> (Kind, usize) {
    let opening = find(letters, marks, |at| letters[at] != '#');
    if letters.get(opening) != Some(&'"') {
        return (Kind::Code, at + 1);
    }
    let hashes = opening - marks;
    let closes =
        |at: usize| letters[at] == '"' && (1..=hashes).all(|ahead| letters.get(at + ahead).copied() == Some('#'));
    (Kind::Text, (find(letters, opening + 1, closes) + 1 + hashes).min(letters.len()))
}

/// The line a byte stands in.
pub(super) fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Where `word` stands as a whole word, or after a word of its own where it begins with a sign.
pub(super) fn places(code: &str, word: &str) -> Vec<usize> {
    let letter = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    let whole = |at: &usize| {
        let before = letter(word.chars().next()) && letter(code[..*at].chars().next_back());
        let after = letter(word.chars().next_back()) && letter(code[at + word.len()..].chars().next());
        !before && !after
    };
    code.match_indices(word).map(|(at, _)| at).filter(whole).collect()
}

/// Blanks each item that follows an attribute `blanked` says yes to.
pub(super) fn without_items(code: &str, blanked: impl Fn(&str) -> bool) -> String {
    let mut bytes = code.as_bytes().to_vec();
    for (at, _) in code.match_indices("#[") {
        let end = closing(code, at + 1);
        if blanked(&code[at..end]) {
            let item = item_end(code, end);
            bytes[at..item].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The names of modules declared after an attribute `wanted` says yes to.
pub(super) fn modules_after(code: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let attributes = code.match_indices("#[").map(|(at, _)| (at, closing(code, at + 1)));
    let items = attributes.filter(|(at, end)| wanted(&code[*at..*end])).map(|(_, end)| &code[end..item_end(code, end)]);
    items.flat_map(modules).collect()
}

/// The names of modules declared in files of their own.
pub(super) fn modules(code: &str) -> Vec<String> {
    let declared = |at: usize| {
        let rest = code[at + "mod".len()..].trim_start();
        let name: String = rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        rest[name.len()..].trim_start().starts_with(';').then_some(name)
    };
    places(code, "mod").into_iter().filter_map(declared).collect()
}

/// The place after the bracket that closes the one at `at`.
fn closing(code: &str, at: usize) -> usize {
    let mut depth = 0;
    for (place, letter) in code[at..].char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + place + letter.len_utf8();
        }
    }
    code.len()
}

/// The place after the item that begins at `at`, further attributes passed over.
fn item_end(code: &str, at: usize) -> usize {
    let mut at = at;
    while let Some(letter) = code[at..].chars().next() {
        match letter {
            '{' => return closing(code, at),
            ';' => return at + 1,
            '(' | '[' => at = closing(code, at),
            _ => at += letter.len_utf8(),
        }
    }
    code.len()
}

/// Every path the code names, with its place: `use` trees spelled out, and paths written where they are used.
pub(super) fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut uses = Vec::new();
    for at in places(code, "use") {
        let end = code[at..].find(';').map_or(code.len(), |end| at + end);
        spell("", &code[at + "use".len()..end], &mut |path| found.push((at, path)));
        uses.push(at..end);
    }
    let bytes = code.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !(bytes[at].is_ascii_alphabetic() || bytes[at] == b'_') {
            at += 1;
            continue;
        }
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
        let end = at + bytes[at..].iter().take_while(|byte| part(byte)).count();
        let path = code[at..end].trim_end_matches(':');
        if path.contains("::") && !uses.iter().any(|range| range.contains(&at)) {
            found.push((at, path.to_owned()));
        }
        at = end;
    }
    found
}

/// Spells a `use` tree out.
fn spell(prefix: &str, tree: &str, found: &mut dyn FnMut(String)) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let name = tree.split(" as ").next().unwrap_or(tree).trim();
        if !name.is_empty() {
            found(format!("{prefix}{name}"));
        }
        return;
    };
    let prefix = format!("{prefix}{}", tree[..open].trim());
    let inner = &tree[open + 1..closing(tree, open).saturating_sub(1)];
    let (mut depth, mut from) = (0, 0);
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                spell(&prefix, &inner[from..at], found);
                from = at + 1;
            }
            _ => {}
        }
    }
    spell(&prefix, &inner[from..], found);
}

#[test]
fn comments_and_texts_are_no_code() {
    let code = |text| split(text).code;
    assert_eq!(code("a // unsafe\nb"), "a          \nb");
    assert_eq!(code("a /* x /* y */ z */ b"), "a                   b");
    assert_eq!(code(r#"f("un\"safe", 'x', '\'', b"y")"#), "f(          ,    ,     ,     )");
    assert_eq!(code("r#\"a \" b\"# + r#type + 'static"), "           + r#type + 'static");
    assert_eq!(split("a // b\n").comments, "  // b\n");
}

#[test]
fn paths_are_found_in_trees_and_in_place() {
    let names = |code| paths(code).into_iter().map(|(_, path)| path).collect::<Vec<_>>();
    assert_eq!(names("use std::{fs, io::{self, Write as W}};"), ["std::fs", "std::io::self", "std::io::Write"]);
    assert_eq!(names("let x = crate::base::hex(b); y::<Z>()"), ["crate::base::hex"]);
}

#[test]
fn items_after_an_attribute_can_be_left_out() {
    let left =
        without_items("fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}", |text| text.contains("test"));
    assert!(left.contains("fn a") && left.contains("fn c") && !left.contains("fn b"), "{left}");
    assert_eq!(modules_after("#[cfg(test)]\nmod tests;\nmod other;", |text| text.contains("test")), ["tests"]);
}
