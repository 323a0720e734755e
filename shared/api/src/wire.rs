//! How values travel: the rules of Go's JSON decoder that 4.1's clients lean on, and the outcome in each answer.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

/// Defines a JSON object with 4.1's field names.
///
/// It is written with the names as given, in the order given. It is read with names in any case; unknown names are
/// ignored, missing ones and `null` take the default. With `outcome` in front of the name the object is a response
/// and carries [`Outcome`] flattened at its end.
macro_rules! wire {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty = $key:literal, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, schemars::JsonSchema)]
        pub struct $name {
            $( $(#[$field_meta])* #[serde(rename = $key)] pub $field: $type, )*
        }

        wire!(@read $name { $( $field = $key, )* } |_value, _key, _map| false);
    };
    (
        $(#[$meta:meta])*
        pub response $name:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty = $key:literal, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, schemars::JsonSchema)]
        pub struct $name {
            $( $(#[$field_meta])* #[serde(rename = $key)] pub $field: $type, )*
            /// Whether it was done, and if not, why.
            #[serde(flatten)]
            pub outcome: $crate::wire::Outcome,
        }

        wire!(@read $name { $( $field = $key, )* } |value, key, map| {
            if key.eq_ignore_ascii_case("Code") {
                value.outcome.code = map.next_value::<Option<_>>()?.unwrap_or_default();
                true
            } else if key.eq_ignore_ascii_case("Msg") {
                value.outcome.msg = map.next_value::<Option<_>>()?.unwrap_or_default();
                true
            } else {
                false
            }
        });

        impl $crate::wire::Response for $name {
            fn outcome(&self) -> &$crate::wire::Outcome {
                &self.outcome
            }

            fn refused(why: impl Into<String>) -> Self {
                Self { outcome: $crate::wire::Outcome::error(why), ..Self::default() }
            }
        }
    };
    (
        @read $name:ident { $( $field:ident = $key:literal, )* }
        |$value:ident, $at:ident, $map:ident| $rest:expr
    ) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;

                impl<'de> serde::de::Visitor<'de> for Fields {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a JSON object (", stringify!($name), ")"))
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut $map: A,
                    ) -> Result<Self::Value, A::Error> {
                        let mut $value = $name::default();
                        while let Some($at) = $map.next_key::<String>()? {
                            $( if $at.eq_ignore_ascii_case($key) {
                                $value.$field = $map.next_value::<Option<_>>()?.unwrap_or_default();
                                continue;
                            } )*
                            if !$rest {
                                $map.next_value::<serde::de::IgnoredAny>()?;
                            }
                        }
                        Ok($value)
                    }
                }

                deserializer.deserialize_map(Fields)
            }
        }
    };
}

pub(crate) use wire;

/// Whether a value is what is read where it is missing: fields that 4.1 has not are left out then.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Whether a command was done, as each response says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Code {
    /// The empty text. 4.1 leaves it so in some answers that succeed.
    #[default]
    Unset,
    /// `ok`.
    Ok,
    /// `error`; the message says why. Nothing else counts as a failure.
    Error,
}

impl Code {
    /// The text on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "",
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match String::deserialize(deserializer)?.as_str() {
            "ok" => Self::Ok,
            "error" => Self::Error,
            _ => Self::Unset,
        })
    }
}

impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Whether a command was done. The empty text stands in some answers that succeed.",
            "type": "string",
            "enum": [Self::Unset, Self::Ok, Self::Error],
        })
    }
}

wire! {
    /// `Code` and `Msg`, which stand in each response beside its own fields; alone, a response that has no others.
    pub struct Outcome {
        /// Whether it was done.
        code: Code = "Code",
        /// Why not, or a remark.
        msg: String = "Msg",
    }
}

impl Outcome {
    /// Done, without a remark.
    pub fn ok() -> Self {
        Self {
            code: Code::Ok,
            msg: String::new(),
        }
    }

    /// Not done, and why.
    pub fn error(why: impl Into<String>) -> Self {
        Self {
            code: Code::Error,
            msg: why.into(),
        }
    }

    /// The reason, if this is a failure.
    pub fn failure(&self) -> Option<&str> {
        (self.code == Code::Error).then_some(self.msg.as_str())
    }
}

impl Response for Outcome {
    fn outcome(&self) -> &Outcome {
        self
    }

    fn refused(why: impl Into<String>) -> Self {
        Self::error(why)
    }
}

/// An answer of the apiserver.
pub trait Response: Serialize + DeserializeOwned + Default {
    /// Whether it was done.
    fn outcome(&self) -> &Outcome;

    /// The answer where a request is refused before its handler looked at it (version, namespace): each field has
    /// the zero value that 4.1 shows there, `null` or `[]`.
    fn refused(why: impl Into<String>) -> Self;
}

wire! {
    /// What every request body has that is checked before anything else, whatever else is in it.
    pub struct RequestHead {
        /// The client's [`PGO_VERSION`](crate::PGO_VERSION).
        client_version: String = "ClientVersion",
        /// The namespace it is about.
        namespace: String = "Namespace",
    }
}

/// A password in a request. It is shown nowhere but on the wire.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The password itself: for a Secret object or a connection, never for a text that somebody reads.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether none was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "***" })
    }
}
