//! Where in a policy something is: lines and columns as an editor counts them, and where its statements begin.

use core::fmt;

/// A place in a text. Both numbers begin with 1; a column is a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl Place {
    /// Of the character with this number, the first is 1, as PostgreSQL counts in a query.
    #[must_use]
    pub fn of_character(sql: &str, number: u32) -> Self {
        let before = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let at = sql.char_indices().nth(before);
        Self::of_byte(sql, at.map_or(sql.len(), |(at, _)| at))
    }

    fn of_byte(sql: &str, at: usize) -> Self {
        let before = sql.get(..at).unwrap_or(sql);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }

    /// Where the statement with this number begins, the first is 0; none where there are fewer.
    #[must_use]
    pub fn of_statement(sql: &str, number: usize) -> Option<Self> {
        let begin = *statements(sql).get(number)?;
        Some(Self::of_byte(sql, begin))
    }
}

/// Where each statement begins, in bytes, by the rules of PostgreSQL's lexer. It is only asked for where an error has no
/// place of its own; what it takes for one statement more or less moves that place and nothing else.
fn statements(sql: &str) -> Vec<usize> {
    let mut scan = Scan { sql, at: 0 };
    let (mut begins, mut body) = (Vec::new(), Body::default());
    let mut begun = false;
    while let Some(token) = scan.next() {
        match token {
            Token::End if body.is_open() => {}
            Token::End => (begun, body) = (false, Body::default()),
            Token::Word(at) | Token::Other(at) => {
                if !begun {
                    begins.push(at);
                    begun = true;
                }
                if let Token::Word(at) = token {
                    body.hear(&sql[at..scan.at]);
                }
            }
        }
    }
    begins
}

/// Whether a body of SQL (`BEGIN ATOMIC … END`) is open, in which a semicolon ends no statement of the text.
#[derive(Default)]
struct Body {
    words: usize,
    creates: bool,
    routine: bool,
    depth: usize,
    begins: bool,
}

impl Body {
    fn hear(&mut self, word: &str) {
        let word = word.to_ascii_lowercase();
        self.words += 1;
        match word.as_str() {
            "create" if self.words == 1 => self.creates = true,
            "function" | "procedure" if self.words <= 4 => self.routine = self.creates,
            "atomic" if self.routine && self.begins => self.depth += 1,
            "case" if self.depth > 0 => self.depth += 1,
            "end" => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.begins = word == "begin";
    }

    fn is_open(&self) -> bool {
        self.depth > 0
    }
}

/// What matters of a text; each with where it begins.
#[derive(Clone, Copy)]
enum Token {
    /// A keyword or name.
    Word(usize),
    /// A semicolon.
    End,
    /// Anything else but blanks and comments.
    Other(usize),
}

struct Scan<'a> {
    sql: &'a str,
    at: usize,
}

impl Scan<'_> {
    fn rest(&self) -> &str {
        self.sql.get(self.at..).unwrap_or_default()
    }

    /// Goes on to after the next `end`, or to the end of the text.
    fn skip_past(&mut self, end: &str) {
        self.at = self
            .rest()
            .find(end)
            .map_or(self.sql.len(), |found| self.at + found + end.len());
    }

    fn next(&mut self) -> Option<Token> {
        loop {
            let rest = self.rest();
            let first = rest.chars().next()?;
            if first.is_whitespace() {
                self.at += first.len_utf8();
            } else if rest.starts_with("--") {
                self.skip_past("\n");
            } else if rest.starts_with("/*") {
                self.skip_comment();
            } else {
                return Some(self.token(first));
            }
        }
    }

    fn token(&mut self, first: char) -> Token {
        let begin = self.at;
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        self.at += first.len_utf8();
        match first {
            ';' => return Token::End,
            '\'' => self.skip_quoted('\'', false),
            '"' => self.skip_quoted('"', false),
            '$' => self.skip_dollars(begin),
            'e' | 'E' if self.rest().starts_with('\'') => {
                self.at += 1;
                self.skip_quoted('\'', true);
            }
            _ if first.is_alphabetic() || first == '_' => {
                let word = self.rest().find(|c| !is_part(c));
                self.at = word.map_or(self.sql.len(), |length| self.at + length);
                return Token::Word(begin);
            }
            _ => {}
        }
        Token::Other(begin)
    }

    /// Comments of this kind can be within each other.
    fn skip_comment(&mut self) {
        let mut depth = 0;
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                (depth, self.at) = (depth + 1, self.at + 2);
            } else if rest.starts_with("*/") {
                (depth, self.at) = (depth - 1, self.at + 2);
            } else {
                match rest.chars().next() {
                    Some(other) => self.at += other.len_utf8(),
                    None => return,
                }
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// A doubled quote goes on as another quotation, which ends in the same place.
    fn skip_quoted(&mut self, quote: char, escapes: bool) {
        while let Some(next) = self.rest().chars().next() {
            self.at += next.len_utf8();
            if escapes && next == '\\' {
                self.at += self.rest().chars().next().map_or(0, char::len_utf8);
            } else if next == quote {
                return;
            }
        }
    }

    /// A quotation in dollars, where one begins here; `$1` is none.
    fn skip_dollars(&mut self, begin: usize) {
        let rest = self.rest();
        let Some(length) = rest.find('$') else { return };
        let tag = &rest[..length];
        let fits = tag.chars().all(|c| c.is_alphanumeric() || c == '_')
            && !tag.starts_with(|c: char| c.is_ascii_digit());
        if fits {
            self.at += length + 1;
            let quote = self.sql[begin..self.at].to_owned();
            self.skip_past(&quote);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(sql: &str) -> Vec<&str> {
        let words = statements(sql).into_iter();
        words
            .map(|at| sql[at..].split_whitespace().next().expect("a word"))
            .collect()
    }

    #[test]
    fn a_character_is_found_by_line_and_column_also_after_those_of_several_bytes() {
        let sql = "select 'ä';\n\n  select nothing;";
        let at = |number| {
            let Place { line, column } = Place::of_character(sql, number);
            (line, column)
        };
        assert_eq!(at(1), (1, 1));
        assert_eq!(at(9), (1, 9));
        assert_eq!(at(16), (3, 3));
        assert_eq!(at(23), (3, 10));
        assert_eq!(at(9_999), (3, 18), "beyond the end");
    }

    #[test]
    fn statements_begin_after_semicolons_that_end_one() {
        assert_eq!(begins(""), [""; 0]);
        assert_eq!(
            begins(" -- one; two\n/* a; /* b; */ c; */ one; ; two"),
            ["one;", "two"]
        );
        assert_eq!(begins("a ';' || \"x;\" || '''; '; b"), ["a", "b"]);
        assert_eq!(begins(r"a E'\'; '; b '\'; c"), ["a", "b", "c"]);
        assert_eq!(
            begins("do $$ begin; end $$; b $x$ $$ ; $x$ ; c $1; d"),
            ["do", "b", "c", "d"]
        );
        let body = "create or replace function f() begin atomic select case when true then 1 end; select 2; end; b";
        assert_eq!(begins(body), ["create", "b"]);
        assert_eq!(begins("begin; a; end; b"), ["begin;", "a;", "end;", "b"]);
        for unfinished in ["a ';", "a $$ ; ", "a /* ;", "a E'\\"] {
            assert_eq!(begins(unfinished), ["a"], "{unfinished:?}");
        }
    }
}
