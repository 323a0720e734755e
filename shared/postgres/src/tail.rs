//! The end of what a program says, for errors.

use std::collections::VecDeque;

/// Longest line that is kept, in bytes. An error with a whole statement in it helps nobody more.
const LINE: usize = 512;

/// The last lines of an output, bounded in number and length.
#[derive(Clone, Debug)]
pub struct Tail {
    lines: VecDeque<String>,
    most: usize,
}

impl Tail {
    /// Keeps the last `most` lines.
    pub fn new(most: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            most,
        }
    }

    /// Adds a line; one without content is left out.
    pub fn push(&mut self, line: &str) {
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        if self.lines.len() == self.most {
            self.lines.pop_front();
        }
        let end = line.floor_char_boundary(LINE);
        self.lines.push_back(line[..end].to_owned());
    }

    /// Adds all lines of a text.
    pub fn push_all(&mut self, text: &str) {
        text.lines().for_each(|line| self.push(line));
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.lines.clear();
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl std::fmt::Display for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, line) in self.lines.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept_and_each_is_cut() {
        let mut tail = Tail::new(2);
        tail.push_all("one\n\ntwo\nthree\n");
        assert_eq!(tail.to_string(), "two\nthree");
        tail.push(&"é".repeat(LINE));
        assert!(tail.to_string().len() <= LINE + 10);
    }
}
