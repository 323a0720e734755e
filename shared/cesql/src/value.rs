//! Values, their types, and casts between them (CESQL 1.0, sections 3.1 and 3.7).

use std::{borrow::Cow, fmt};

use crate::error::Error;

/// A value of an attribute or of an expression.
///
/// CloudEvents' other types (URI, URI-reference, timestamp, binary) are given as [`Value::String`] (section 3.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number of 32 bits with sign.
    Integer(i32),
    /// A sequence of Unicode characters.
    String(String),
}

/// The type of a [`Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Of [`Value::Boolean`].
    Boolean,
    /// Of [`Value::Integer`].
    Integer,
    /// Of [`Value::String`].
    String,
}

impl Type {
    /// The value that stands for "nothing" where an error leaves no other: `false`, `0` or `""` (section 3.1).
    pub fn zero(self) -> Value {
        match self {
            Self::Boolean => Value::Boolean(false),
            Self::Integer => Value::Integer(0),
            Self::String => Value::String(String::new()),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "Boolean",
            Self::Integer => "Integer",
            Self::String => "String",
        })
    }
}

impl Value {
    /// The type it is of.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Boolean(_) => Type::Boolean,
            Self::Integer(_) => Type::Integer,
            Self::String(_) => Type::String,
        }
    }

    /// As Boolean. An Integer is true unless it is 0; a String has to be `true` or `false`, in either case.
    pub(crate) fn to_boolean(&self) -> Result<bool, Error> {
        match self {
            Self::Boolean(value) => Ok(*value),
            Self::Integer(value) => Ok(*value != 0),
            Self::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Self::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Self::String(text) => Err(Error::cast(text, Type::Boolean)),
        }
    }

    /// As Integer. `true` is 1; a String has to be digits with an optional sign, within 32 bits.
    pub(crate) fn to_integer(&self) -> Result<i32, Error> {
        match self {
            Self::Boolean(value) => Ok(i32::from(*value)),
            Self::Integer(value) => Ok(*value),
            Self::String(text) => text.parse().map_err(|_| Error::cast(text, Type::Integer)),
        }
    }

    /// As String, which every value can be.
    pub(crate) fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
            Self::Integer(value) => Cow::Owned(value.to_string()),
            Self::String(text) => Cow::Borrowed(text),
        }
    }

    /// As the given type.
    pub(crate) fn to_type(&self, target: Type) -> Result<Self, Error> {
        match target {
            Type::Boolean => self.to_boolean().map(Self::Boolean),
            Type::Integer => self.to_integer().map(Self::Integer),
            Type::String => Ok(Self::String(self.to_text().into_owned())),
        }
    }
}

/// Writes what the cast to String gives.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Integer(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}
