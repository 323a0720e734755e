//! Objects with versions, uids, generations and finalizers, and the history of their changes.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, json};

/// Where objects of a kind in a namespace are: the path of their list.
type Place = String;

/// Why nothing was done.
#[derive(Debug)]
pub struct Refused {
    pub code: StatusCode,
    pub reason: &'static str,
    pub message: String,
}

impl Refused {
    pub fn forbidden() -> Self {
        Self {
            code: StatusCode::FORBIDDEN,
            reason: "Forbidden",
            message: "not for you".to_owned(),
        }
    }

    fn not_found(name: &str) -> Self {
        Self {
            code: StatusCode::NOT_FOUND,
            reason: "NotFound",
            message: format!("{name:?} not found"),
        }
    }

    fn conflict(reason: &'static str, name: &str) -> Self {
        Self {
            code: StatusCode::CONFLICT,
            reason,
            message: format!("{name:?}: {reason}"),
        }
    }
}

#[derive(Default)]
pub struct Store {
    objects: BTreeMap<(Place, String), Value>,
    /// Every change; the version of an object is the number of changes up to its last.
    changes: Vec<(Place, &'static str, Value)>,
}

/// The path of the list of a kind in a namespace.
fn place(kind: &str, namespace: &str) -> Place {
    let prefix = match kind {
        "pgclusters" | "pgreplicas" | "pgtasks" | "pgpolicies" | "pginstallations"
        | "pgeventpages" => "/apis/crunchydata.com/v1",
        "leases" => "/apis/coordination.k8s.io/v1",
        "endpointslices" => "/apis/discovery.k8s.io/v1",
        "roles" | "rolebindings" => "/apis/rbac.authorization.k8s.io/v1",
        "deployments" | "statefulsets" => "/apis/apps/v1",
        "storageclasses" => "/apis/storage.k8s.io/v1",
        _ => "/api/v1",
    };
    match kind {
        "namespaces" | "nodes" | "storageclasses" => format!("{prefix}/{kind}"),
        _ => format!("{prefix}/namespaces/{namespace}/{kind}"),
    }
}

/// List, and name with what follows it, that a path is about; every object but namespaces is in one.
pub fn split(path: &str) -> (&str, Option<&str>) {
    let of_list = match path.strip_prefix("/api/v1/namespaces/") {
        Some(name) if !name.contains('/') => 3,
        Some(_) => 5,
        None => 6,
    };
    match path.match_indices('/').nth(of_list) {
        Some((at, _)) => (&path[..at], Some(&path[at + 1..])),
        None => (path, None),
    }
}

impl Store {
    pub fn put(&mut self, kind: &str, namespace: &str, mut object: Value) {
        object["metadata"]["namespace"] = json!(namespace);
        self.put_at(place(kind, namespace), object);
    }

    fn put_at(&mut self, place: Place, mut object: Value) -> Value {
        let name = name_of(&object);
        let former = self.objects.get(&(place.clone(), name));
        let change = if former.is_some() {
            "MODIFIED"
        } else {
            "ADDED"
        };
        let generation = former.map_or(1, |former| {
            let spec_changed = former["spec"] != object["spec"];
            former["metadata"]["generation"].as_i64().unwrap() + i64::from(spec_changed)
        });
        let fresh = format!("uid-{}", self.changes.len());
        let metadata = &mut object["metadata"];
        metadata["generation"] = json!(generation);
        if metadata["uid"].is_null() {
            metadata["uid"] = json!(fresh);
            metadata["creationTimestamp"] = json!("2026-11-22T14:23:53Z");
        }
        let over = !metadata["deletionTimestamp"].is_null();
        let held = metadata["finalizers"]
            .as_array()
            .is_some_and(|f| !f.is_empty());
        if over && !held {
            return self.remove(place, object);
        }
        self.note(place, change, object)
    }

    fn note(&mut self, place: Place, change: &'static str, mut object: Value) -> Value {
        object["metadata"]["resourceVersion"] = json!((self.changes.len() + 1).to_string());
        let key = (place.clone(), name_of(&object));
        match change {
            "DELETED" => drop(self.objects.remove(&key)),
            _ => drop(self.objects.insert(key, object.clone())),
        }
        self.changes.push((place, change, object.clone()));
        object
    }

    fn remove(&mut self, place: Place, object: Value) -> Value {
        self.note(place, "DELETED", object)
    }

    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (place(kind, namespace), name.to_owned());
        self.objects.get(&key).cloned()
    }

    pub fn names(&self, kind: &str, namespace: &str) -> Vec<String> {
        let place = place(kind, namespace);
        let of_kind = self.objects.keys().filter(|(at, _)| *at == place);
        of_kind.map(|(_, name)| name.clone()).collect()
    }

    pub fn delete(&mut self, kind: &str, namespace: &str, name: &str) -> bool {
        let place = place(kind, namespace);
        self.delete_exactly(&place, name, &Value::Null).is_ok()
    }

    pub fn expire(&mut self, kind: &str, namespace: &str) {
        let gone = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
            "message": "too old", "metadata": {},
        });
        self.changes.push((place(kind, namespace), "ERROR", gone));
    }

    pub fn list(&self, list: &str, query: &BTreeMap<String, String>) -> Value {
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|((at, _), object)| at == list && selected(object, query))
            .map(|(_, object)| object)
            .collect();
        let version = self.changes.len().to_string();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items})
    }

    /// The next change of a list after `at`, and its place in the history.
    pub fn after(
        &self,
        at: usize,
        list: &str,
        query: &BTreeMap<String, String>,
    ) -> Option<(usize, Value)> {
        let later = self.changes.iter().enumerate().skip(at);
        let mut wanted = later.filter(|(_, (place, change, object))| {
            place == list && (*change == "ERROR" || selected(object, query))
        });
        let (at, (_, change, object)) = wanted.next()?;
        Some((at + 1, json!({"type": change, "object": object})))
    }

    pub fn read(&self, list: &str, name: &str) -> Result<Value, Refused> {
        let found = self.objects.get(&(list.to_owned(), name.to_owned()));
        found.cloned().ok_or_else(|| Refused::not_found(name))
    }

    pub fn create(&mut self, list: &str, object: Value) -> Result<Value, Refused> {
        let name = name_of(&object);
        if self.read(list, &name).is_ok() {
            return Err(Refused::conflict("AlreadyExists", &name));
        }
        Ok(self.put_at(list.to_owned(), placed(list, object)))
    }

    /// Writes only from the version that is there.
    fn compare(&self, list: &str, name: &str, wanted: &Value) -> Result<Value, Refused> {
        let current = self.read(list, name)?;
        let version = &wanted["metadata"]["resourceVersion"];
        if !version.is_null() && *version != current["metadata"]["resourceVersion"] {
            return Err(Refused::conflict("Conflict", name));
        }
        Ok(current)
    }

    pub fn replace_whole(
        &mut self,
        list: &str,
        name: &str,
        object: Value,
    ) -> Result<Value, Refused> {
        self.compare(list, name, &object)?;
        Ok(self.put_at(list.to_owned(), object))
    }

    pub fn replace_status(
        &mut self,
        list: &str,
        name: &str,
        object: &Value,
    ) -> Result<Value, Refused> {
        let mut current = self.compare(list, name, object)?;
        current["status"] = object["status"].clone();
        Ok(self.put_at(list.to_owned(), current))
    }

    pub fn merge(&mut self, list: &str, name: &str, patch: &Value) -> Result<Value, Refused> {
        let mut current = self.compare(list, name, patch)?;
        merge(&mut current, patch);
        Ok(self.put_at(list.to_owned(), current))
    }

    pub fn apply(&mut self, list: &str, name: &str, object: Value) -> Result<Value, Refused> {
        let object = match self.read(list, name) {
            Ok(mut current) => {
                merge(&mut current, &object);
                current
            }
            Err(_) => placed(list, object),
        };
        Ok(self.put_at(list.to_owned(), object))
    }

    pub fn delete_exactly(
        &mut self,
        list: &str,
        name: &str,
        options: &Value,
    ) -> Result<Value, Refused> {
        let mut object = self.read(list, name)?;
        let wanted = &options["preconditions"]["uid"];
        if !wanted.is_null() && *wanted != object["metadata"]["uid"] {
            return Err(Refused::conflict("Conflict", name));
        }
        object["metadata"]["deletionTimestamp"] = json!("2026-11-22T15:00:00Z");
        Ok(self.put_at(list.to_owned(), object))
    }

    pub fn delete_all(&mut self, list: &str, query: &BTreeMap<String, String>) -> Value {
        let all = self.list(list, query);
        for object in all["items"].as_array().unwrap() {
            let _ = self.delete_exactly(list, &name_of(object), &Value::Null);
        }
        json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})
    }

    /// Another writes to an object.
    pub fn overtake(&mut self, path: &str) {
        let (list, name) = split(path);
        let patch = json!({"metadata": {"annotations": {"another": "was here"}}});
        self.merge(list, name.unwrap(), &patch).unwrap();
    }

    /// Another takes the name of an object.
    pub fn replace(&mut self, path: &str) {
        let (list, name) = split(path);
        let former = self.read(list, name.unwrap()).unwrap();
        let other = json!({
            "apiVersion": former["apiVersion"], "kind": former["kind"], "spec": former["spec"],
            "metadata": {"name": name, "namespace": former["metadata"]["namespace"]},
        });
        self.remove(list.to_owned(), former);
        self.put_at(list.to_owned(), other);
    }
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

/// An object with the namespace of its list.
fn placed(list: &str, mut object: Value) -> Value {
    let namespace = list.rsplit('/').nth(1).unwrap();
    object["metadata"]["namespace"] = json!(namespace);
    object
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key.as_str()], value);
        }
    }
}

fn selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let metadata = &object["metadata"];
    let by_field = query.get("fieldSelector").is_none_or(|selector| {
        let name = selector.strip_prefix("metadata.name=");
        name.is_none_or(|name| metadata["name"] == name)
    });
    let selector = query.get("labelSelector").map_or("", String::as_str);
    let mut parts = selector.split(',').filter_map(|part| part.split_once('='));
    by_field && parts.all(|(key, value)| metadata["labels"][key] == value)
}
