//! What an expression reads: the attributes of one event.

use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasher,
};

use crate::value::Value;

/// The attributes of an event, extensions included.
///
/// To be implemented for the type that holds an event. Nothing else of an event is visible to an expression: CESQL has
/// no access to the data (section 1).
pub trait Attributes {
    /// The attribute of that name, which is lower case; `None` if the event does not have it.
    ///
    /// Must be the same each time, for as long as an evaluation lasts.
    fn get(&self, name: &str) -> Option<Value>;
}

impl Attributes for BTreeMap<String, Value> {
    fn get(&self, name: &str) -> Option<Value> {
        BTreeMap::get(self, name).cloned()
    }
}

impl<S: BuildHasher> Attributes for HashMap<String, Value, S> {
    fn get(&self, name: &str) -> Option<Value> {
        HashMap::get(self, name).cloned()
    }
}
