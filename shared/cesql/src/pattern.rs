//! The pattern of LIKE (CESQL 1.0, section 3.4.3).

use std::str::Chars;

/// A pattern, ready to be matched. `%` is any sequence of characters, `_` is one character, `\%` and `\_` are these two
/// themselves; every other character, a `\` before another one included, stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    source: String,
    elements: Vec<Element>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    /// This character.
    One(char),
    /// Any one character: `_`.
    Any,
    /// Any number of characters: `%`.
    Run,
}

impl Element {
    fn accepts(self, character: char) -> bool {
        match self {
            Self::One(wanted) => wanted == character,
            Self::Any | Self::Run => true,
        }
    }
}

impl Pattern {
    pub(crate) fn new(source: String) -> Self {
        let mut elements = Vec::new();
        let mut rest = source.chars().peekable();
        while let Some(character) = rest.next() {
            let element = match character {
                '%' => Element::Run,
                '_' => Element::Any,
                '\\' => Element::One(rest.next_if(|c| matches!(c, '%' | '_')).unwrap_or('\\')),
                _ => Element::One(character),
            };
            if !(element == Element::Run && elements.last() == Some(&Element::Run)) {
                elements.push(element);
            }
        }
        Self { source, elements }
    }

    /// As it was written, without its quotes.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether the pattern is the whole of a text.
    ///
    /// Only the last `%` ever takes more than at first: what stands before it has already been found as early as can
    /// be. So the steps are at most the length of the text times that of the pattern.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let mut at = 0;
        let mut last_run: Option<(usize, Chars<'_>)> = None;
        loop {
            match (self.elements.get(at), rest.clone().next()) {
                (Some(Element::Run), _) => {
                    at += 1;
                    last_run = Some((at, rest.clone()));
                    continue;
                }
                (Some(element), Some(character)) if element.accepts(character) => {
                    at += 1;
                    rest.next();
                    continue;
                }
                (None, None) => return true,
                (Some(_), None) => return false,
                (Some(_), Some(_)) | (None, Some(_)) => {}
            }
            let Some((after, from)) = &mut last_run else {
                return false;
            };
            from.next();
            at = *after;
            rest = from.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What LIKE means, without regard to time.
    fn defined(elements: &[Element], text: &[char]) -> bool {
        match elements.split_first() {
            None => text.is_empty(),
            Some((Element::Run, others)) => {
                (0..=text.len()).any(|taken| defined(others, &text[taken..]))
            }
            Some((element, others)) => text
                .split_first()
                .is_some_and(|(first, rest)| element.accepts(*first) && defined(others, rest)),
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition(pattern in "[ab%_\\\\]{0,8}", text in "[ab%_\\\\]{0,8}") {
            let pattern = Pattern::new(pattern);
            let characters: Vec<char> = text.chars().collect();
            prop_assert_eq!(pattern.matches(&text), defined(&pattern.elements, &characters));
        }

        #[test]
        fn a_text_with_its_wildcards_escaped_matches_itself_only(text in "[a%_]{0,8}", other in "[a%_]{0,8}") {
            let escaped = text.replace('%', "\\%").replace('_', "\\_");
            prop_assert_eq!(Pattern::new(escaped).matches(&other), text == other);
        }
    }

    #[test]
    fn many_wildcards_do_not_take_exponential_time() {
        let pattern = Pattern::new("%a".repeat(1_000) + "b");
        assert!(!pattern.matches(&"a".repeat(10_000)));
    }
}
