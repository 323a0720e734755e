//! The fields of one event, in the order of the catalogue.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap as _,
};

use crate::{Datum, Field};

/// The fields that the type of an event has, in the catalogue's order.
///
/// It is read leniently: a field that this version does not know is left out, and so is one that holds something else
/// than it should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload(Vec<(Field, Datum)>);

impl Payload {
    /// What a type's fields hold; `known` tells what is known of each.
    pub(crate) fn of(fields: &[Field], mut known: impl FnMut(Field) -> Option<Datum>) -> Self {
        let filled = fields.iter().filter_map(|field| {
            let datum = known(*field).filter(|datum| datum.kind() == field.kind());
            let of_41 = || field.is_of_41().then(|| Datum::nothing(field.kind()));
            Some((*field, datum.or_else(of_41)?))
        });
        Self(filled.collect())
    }

    /// What a field holds, if the event has it.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<&Datum> {
        let mut fields = self.0.iter();
        fields
            .find(|(name, _)| *name == field)
            .map(|(_, datum)| datum)
    }

    /// The text of a field; none where it is empty or not there.
    #[must_use]
    pub fn text(&self, field: Field) -> Option<&str> {
        self.get(field)?.as_text().filter(|text| !text.is_empty())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Field, &Datum)> {
        self.0.iter().map(|(field, datum)| (*field, datum))
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (field, datum) in &self.0 {
            map.serialize_entry(field.as_str(), datum)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fields of an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Payload, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let Ok(field) = name.parse::<Field>() else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if let Held::As(datum) = map.next_value()?
                && datum.kind() == field.kind()
            {
                fields.push((field, datum));
            }
        }
        Ok(Payload(fields))
    }
}

/// A value that a field may hold, or any other.
#[derive(Deserialize)]
#[serde(untagged)]
enum Held {
    As(Datum),
    Other(IgnoredAny),
}
