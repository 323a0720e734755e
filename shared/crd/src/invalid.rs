//! What is wrong with a spec: every field that is, so that one round mends all.

use std::fmt;

/// An object that the schema lets through and PGO cannot make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSpec {
    /// The field, with the path to it.
    pub field: String,
    /// What is wrong, and what would be right.
    pub problem: String,
    /// Further fields that are wrong.
    pub further: Vec<InvalidSpec>,
}

impl InvalidSpec {
    /// One field is wrong.
    pub(crate) fn of(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
            further: Vec::new(),
        }
    }
}

impl fmt::Display for InvalidSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)?;
        self.further.iter().try_for_each(|one| write!(f, "; {one}"))
    }
}

impl std::error::Error for InvalidSpec {}

/// What was found to be wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Option<InvalidSpec>);

impl Faults {
    /// Takes what is right, and notes what is wrong.
    pub fn note<T>(&mut self, found: Result<T, InvalidSpec>) -> Option<T> {
        match (found, &mut self.0) {
            (Ok(right), _) => return Some(right),
            (Err(wrong), None) => self.0 = Some(wrong),
            (Err(mut wrong), Some(first)) => {
                let further = std::mem::take(&mut wrong.further);
                first.further.push(wrong);
                first.further.extend(further);
            }
        }
        None
    }

    /// Fails where anything was wrong.
    pub fn none(self) -> Result<(), InvalidSpec> {
        self.0.map_or(Ok(()), Err)
    }
}
