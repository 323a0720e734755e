//! Splits a text into tokens (CESQL 1.0, section 2).

use crate::{
    parse_error::{Fault, ParseError},
    syntax::Binary,
};

/// An operator, wherever it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Binary(Binary),
    Not,
    Like,
    In,
    Exists,
}

/// Operators of symbols; one that begins like another stands before it.
const SYMBOLS: [(&str, Operator); 12] = [
    ("!=", Operator::Binary(Binary::NotEqual)),
    ("<>", Operator::Binary(Binary::NotEqual)),
    ("<=", Operator::Binary(Binary::LessOrEqual)),
    (">=", Operator::Binary(Binary::GreaterOrEqual)),
    ("=", Operator::Binary(Binary::Equal)),
    ("<", Operator::Binary(Binary::Less)),
    (">", Operator::Binary(Binary::Greater)),
    ("+", Operator::Binary(Binary::Add)),
    ("-", Operator::Binary(Binary::Subtract)),
    ("*", Operator::Binary(Binary::Multiply)),
    ("/", Operator::Binary(Binary::Divide)),
    ("%", Operator::Binary(Binary::Remainder)),
];

/// Operators of letters, which can be in any case.
const WORDS: [(&str, Operator); 7] = [
    ("AND", Operator::Binary(Binary::And)),
    ("OR", Operator::Binary(Binary::Or)),
    ("XOR", Operator::Binary(Binary::Xor)),
    ("NOT", Operator::Not),
    ("LIKE", Operator::Like),
    ("IN", Operator::In),
    ("EXISTS", Operator::Exists),
];

/// Operators of other languages, and what is meant by them.
const FOREIGN: [(&str, &str); 4] = [("==", "="), ("&&", "AND"), ("||", "OR"), ("!", "NOT")];

/// How all operators are written, for completion and highlighting. Words may be in any case.
pub fn operators() -> impl Iterator<Item = &'static str> {
    let all = SYMBOLS.iter().chain(&WORDS);
    all.map(|(written, _)| *written)
}

/// Whether a word has a meaning of its own, so that it can name neither an attribute nor a function.
pub(crate) fn is_reserved(word: &str) -> bool {
    !matches!(word_token(word), Token::Word(_))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token<'t> {
    Operator(Operator),
    Open,
    Close,
    Comma,
    Boolean(bool),
    /// Without sign: whether a sign belongs to a number depends on what stands before it.
    Digits(&'t str),
    /// Without quotes and escapes.
    Text(String),
    /// Name of an attribute or function, as written.
    Word(&'t str),
    End,
}

/// A text and how far it has been read.
pub(crate) struct Tokens<'t> {
    text: &'t str,
    position: usize,
}

impl<'t> Tokens<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, position: 0 }
    }

    /// The next token and its position. At the end it is [`Token::End`], for ever.
    pub(crate) fn next(&mut self) -> Result<(Token<'t>, usize), ParseError> {
        let rest = &self.text[self.position..];
        let rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let start = self.text.len() - rest.len();
        let (token, length) = match rest.chars().next() {
            None => (Token::End, 0),
            Some('(') => (Token::Open, 1),
            Some(')') => (Token::Close, 1),
            Some(',') => (Token::Comma, 1),
            Some(quote @ ('\'' | '"')) => text_token(rest, quote)
                .ok_or_else(|| self.fault(Fault::UnclosedText(quote), start))?,
            Some(c) if is_word(c) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (word_token(&rest[..length]), length)
            }
            Some(c) => symbol_token(rest, c).map_err(|fault| self.fault(fault, start))?,
        };
        self.position = start + length;
        Ok((token, start))
    }

    /// An error at a position of the text.
    pub(crate) fn fault(&self, fault: Fault, position: usize) -> ParseError {
        ParseError::new(fault, self.text, position)
    }

    /// What stands at the position, up to where has been read, as an error shows it.
    pub(crate) fn written(&self, position: usize) -> &'t str {
        match &self.text[position..self.position] {
            "" => "the end",
            written => written,
        }
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn word_token(word: &str) -> Token<'_> {
    let is = |other: &str| word.eq_ignore_ascii_case(other);
    if word.bytes().all(|b| b.is_ascii_digit()) {
        Token::Digits(word)
    } else if is("true") || is("false") {
        Token::Boolean(is("true"))
    } else if let Some((_, operator)) = WORDS.iter().find(|(written, _)| is(written)) {
        Token::Operator(*operator)
    } else {
        Token::Word(word)
    }
}

fn symbol_token(rest: &str, first: char) -> Result<(Token<'static>, usize), Fault> {
    let foreign = FOREIGN
        .iter()
        .find(|(written, _)| rest.starts_with(written));
    let symbol = SYMBOLS
        .iter()
        .find(|(written, _)| rest.starts_with(written));
    match (symbol, foreign) {
        (Some((written, operator)), None) => Ok((Token::Operator(*operator), written.len())),
        // `!=` begins with `!`, and `==` with `=`: the longer one is what was written.
        (Some((written, operator)), Some((other, _))) if written.len() > other.len() => {
            Ok((Token::Operator(*operator), written.len()))
        }
        (_, Some((written, meant))) => Err(Fault::Operator { written, meant }),
        (None, None) => Err(Fault::Character(first)),
    }
}

/// A literal in quotes and its length; `None` if it does not end.
///
/// A backslash before the quote or before a backslash is left out. Before anything else it stays: it may be for LIKE.
fn text_token(rest: &str, quote: char) -> Option<(Token<'static>, usize)> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Some((Token::Text(text), at + 1));
        }
        let escaped = |next: &(usize, char)| next.1 == quote || next.1 == '\\';
        match character {
            '\\' => text.push(characters.next_if(escaped).map_or('\\', |(_, next)| next)),
            _ => text.push(character),
        }
    }
    None
}
