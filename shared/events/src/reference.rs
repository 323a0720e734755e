//! What is written about events for people and programs, made from the catalogue: `docs/events.md`, JSON Schemas, and what
//! `pgo explain` shows.

use serde_json::{Map, Value, json};

use crate::{
    About, EventType, Field, FieldKind, OperationKind, Published, SCHEMA_VERSION, Severity, Stage,
    Topic, cloudevent,
};

/// What a message of nsqd has besides its event; the history does not store it.
const UNCONFIRMED_FROM: &str = "unconfirmedfrom";

/// Fields that every event has, with their JSON type and what they mean. Those that may be absent have `false`.
const COMMON: [(&str, &str, bool, &str); 11] = [
    (
        "stream",
        "string",
        true,
        "The stream: the uid of the Pgcluster, or that of the PgInstallation. First half of the key.",
    ),
    (
        "seq",
        "integer",
        true,
        "Its place in the stream, from 1 on without gaps. Second half of the key.",
    ),
    (
        "operationid",
        "string",
        true,
        "The operation: equal in all events of one request.",
    ),
    (
        "stage",
        "string",
        true,
        "Where in the operation: started, progress, completed, failed; or notice, a fact by itself.",
    ),
    ("severity", "string", true, "DEBUG, INFO, WARN or ERROR."),
    (
        "step",
        "string",
        false,
        "With progress: which step is done.",
    ),
    (
        "cause",
        "string",
        false,
        "Why it failed, or why it happened.",
    ),
    (
        "durationms",
        "integer",
        false,
        "With the end of an operation, or of a state: milliseconds since its beginning.",
    ),
    (
        "omitted",
        "integer",
        false,
        "So many steps were left out before this event, because too many events waited to be stored.",
    ),
    (
        "schemaversion",
        "integer",
        true,
        "Version of these fields; raised when one changes its meaning.",
    ),
    (
        UNCONFIRMED_FROM,
        "integer",
        false,
        "In messages of nsqd only, for PGO's own history, which leaves it out: events of the stream before this `seq` are not published again.",
    ),
];

/// Fields of 4.1's header, which every event has too.
const HEADER: [(&str, &str); 5] = [
    ("EventType", "The type."),
    ("namespace", "Namespace of the cluster, or PGO's."),
    ("username", "Who asked; empty where nobody did."),
    (
        "timestamp",
        "When, RFC 3339, by the clock of who decided it.",
    ),
    ("topic", "Topics it is published on, besides alltopic."),
];

/// What a filter finds under a name, in lower case: an attribute of the event as a CloudEvent, `eventtype`, `namespace`,
/// `username`, or a field of the event's own; nothing where no event has it.
#[must_use]
pub fn filterable(name: &str) -> Option<FieldKind> {
    if name == "severitynumber" {
        return Some(FieldKind::Number);
    }
    let header = ["eventtype", "namespace", "username"];
    if header.contains(&name) || cloudevent::TEXTS.contains(&name) {
        return Some(FieldKind::Text);
    }
    let mut common = COMMON.iter().filter(|(name, ..)| *name != UNCONFIRMED_FROM);
    if let Some((_, json, ..)) = common.find(|(field, ..)| *field == name) {
        return Some(match *json {
            "integer" => FieldKind::Number,
            _ => FieldKind::Text,
        });
    }
    let mut fields = Field::ALL.iter();
    let field = fields.find(|field| field.as_str().eq_ignore_ascii_case(name))?;
    Some(field.kind())
}

/// What `pgo explain` shows of a type.
#[must_use]
pub fn explain(event_type: EventType) -> String {
    let about = event_type.about();
    let mut lines = vec![
        format!("{}: {}", about.name, about.meaning()),
        String::new(),
        format!("what to do   {}", about.advice),
        format!("severity     {}", about.severity.as_str()),
        format!("stage        {}", about.stage.as_str()),
    ];
    if let Some(operation) = about.operation {
        let types = types_of(operation).map(EventType::as_str);
        let types: Vec<&str> = types.collect();
        lines.push(format!(
            "operation    {}: {}",
            operation.what(),
            types.join(", ")
        ));
    }
    lines.push(format!("topics       {}", topics(about)));
    match about.published {
        Published::Now => {}
        Published::Later(_) => {
            lines.push("published    not yet: nothing publishes it in this version".to_owned());
        }
        Published::Never => lines.push("published    never: it cannot happen".to_owned()),
    }
    lines.push(String::new());
    lines.push("fields of its own:".to_owned());
    if about.fields.is_empty() {
        lines.push("  none".to_owned());
    }
    lines.extend(about.fields.iter().map(|field| {
        let name = field.as_str();
        format!("  {name:<18} {}", field.meaning())
    }));
    lines.push(String::new());
    lines.push("fields of every event:".to_owned());
    lines.extend(HEADER.iter().map(|(name, meaning)| {
        let name = format!("eventheader.{name}");
        format!("  {name:<22} {meaning}")
    }));
    lines.extend(
        COMMON
            .iter()
            .map(|(name, _, _, meaning)| format!("  {name:<22} {meaning}")),
    );
    lines.join("\n") + "\n"
}

/// The types of an operation, as they follow one another.
pub fn types_of(operation: OperationKind) -> impl Iterator<Item = EventType> {
    [
        Some(operation.started()),
        operation.progress(),
        Some(operation.completed()),
        Some(operation.failed()),
    ]
    .into_iter()
    .flatten()
}

fn topics(about: &About) -> String {
    let names = |of_cluster: bool| {
        let topics = about.topics_of(of_cluster).map(Topic::as_str);
        topics.collect::<Vec<_>>().join(", ")
    };
    let (of_cluster, of_pgo) = (names(true), names(false));
    let own = match of_cluster == of_pgo {
        true => of_cluster,
        false => format!("{of_cluster} or, of PGO itself, {of_pgo}"),
    };
    format!("{own}, {}", Topic::All)
}

/// The tables of `docs/events.md`: operations, facts, fields.
#[must_use]
pub fn markdown() -> String {
    let mut text =
        String::from("### Operations\n\nEach begins once and ends once, completed or failed.\n");
    for operation in OperationKind::ALL {
        let about = operation.started().about();
        text.push_str(&format!(
            "\n#### {}: {}\n\n",
            operation.started(),
            operation.what()
        ));
        text.push_str(&format!("{}\n\n", published(about)));
        text.push_str("| type | stage | severity | topics | fields | meaning | what to do |\n|---|---|---|---|---|---|---|\n");
        text.extend(types_of(*operation).map(row));
    }
    text.push_str("\n### Facts\n\nNobody asked for them, and nothing ends with them.\n\n");
    text.push_str("| type | stage | severity | topics | fields | meaning | what to do |\n|---|---|---|---|---|---|---|\n");
    let facts = EventType::ALL
        .iter()
        .copied()
        .filter(|t| t.stage() == Stage::Notice);
    text.extend(facts.map(row));
    text.push_str(&without_a_publisher());
    text.push_str("\n### Fields of types\n\nThose of 4.1 are always there, empty where nothing is known; the others where they are known.\n\n");
    text.push_str(
        "| field | holds | of 4.1 | in a line of `pgo watch` | meaning |\n|---|---|---|---|---|\n",
    );
    for field in Field::ALL {
        let of_41 = if field.is_of_41() { "yes" } else { "" };
        let (kind, meaning) = (json_type(field.kind()), field.meaning());
        let in_line = match field.in_line() {
            "" => String::new(),
            told => format!("`{}`", told.replace("{}", "…")),
        };
        text.push_str(&format!(
            "| `{field}` | {kind} | {of_41} | {in_line} | {meaning} |\n"
        ));
    }
    text.push_str("\n### Fields of every event\n\n| field | meaning |\n|---|---|\n");
    for (name, meaning) in HEADER {
        text.push_str(&format!("| `eventheader.{name}` | {meaning} |\n"));
    }
    for (name, _, _, meaning) in COMMON {
        text.push_str(&format!("| `{name}` | {meaning} |\n"));
    }
    text
}

/// The types that are defined and not published.
fn without_a_publisher() -> String {
    let names = |is: fn(Published) -> bool| {
        let types = EventType::ALL.iter().filter(|t| is(t.about().published));
        let names: Vec<String> = types.map(|t| format!("`{t}`")).collect();
        names.join(", ")
    };
    let later = names(|published| matches!(published, Published::Later(_)));
    let never = names(|published| published == Published::Never);
    format!(
        "\n### Types that nothing publishes\n\nIn this version, and defined so that consumers can be written for them: {later}.\n\n\
         In no version, as it cannot happen: {never}.\n"
    )
}

fn published(about: &About) -> &'static str {
    match about.published {
        Published::Now => "Published.",
        Published::Later(_) => "Not published yet.",
        Published::Never => "Never published.",
    }
}

fn row(event_type: EventType) -> String {
    let about = event_type.about();
    let fields: Vec<String> = about
        .fields
        .iter()
        .map(|field| format!("`{field}`"))
        .collect();
    // Of a whole operation it is said once, above its table.
    let of_operation = about
        .operation
        .map(|operation| operation.started().about().published);
    let note = match about.published {
        Published::Later(_) if of_operation.is_none_or(|all| all == Published::Now) => {
            " Not published yet."
        }
        Published::Never => " Never published.",
        _ => "",
    };
    format!(
        "| `{}` | {} | {} | {} | {} | {}{note} | {} |\n",
        about.name,
        about.stage.as_str(),
        about.severity.as_str(),
        topics(about),
        fields.join(", "),
        about.meaning(),
        about.advice,
    )
}

fn json_type(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text => "string",
        FieldKind::Number => "integer",
        FieldKind::Flag => "boolean",
    }
}

/// JSON Schemas (draft 2020-12) of all types: one definition each upon what all have, and one that is any of them.
#[must_use]
pub fn schemas() -> Value {
    let any: Vec<Value> = EventType::ALL
        .iter()
        .map(|event_type| json!({ "$ref": format!("#/$defs/{event_type}") }))
        .collect();
    let types = EventType::ALL
        .iter()
        .map(|event_type| (event_type.as_str().to_owned(), schema(*event_type)));
    let definitions: Map<String, Value> = [("event".to_owned(), common_schema())]
        .into_iter()
        .chain(types)
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:pgo:events:{SCHEMA_VERSION}"),
        "title": "Events of PGO",
        "anyOf": any,
        "$defs": definitions,
    })
}

/// What all events have. Unknown fields are allowed: a later version may add some.
fn common_schema() -> Value {
    let of_header = |(name, meaning): (&str, &str)| {
        let shape = match name {
            "timestamp" => {
                json!({ "type": "string", "format": "date-time", "description": meaning })
            }
            "topic" => {
                json!({ "type": "array", "items": { "enum": Topic::ALL.map(Topic::as_str) }, "description": meaning })
            }
            _ => json!({ "type": "string", "description": meaning }),
        };
        (name.to_owned(), shape)
    };
    let header: Map<String, Value> = HEADER.into_iter().map(of_header).collect();
    let header =
        json!({ "type": "object", "properties": header, "required": HEADER.map(|(name, _)| name) });
    let of_event = |(name, kind, _, meaning): (&str, &str, bool, &str)| {
        let shape = match name {
            "severity" => {
                json!({ "enum": Severity::ALL.map(Severity::as_str), "description": meaning })
            }
            "stage" => json!({ "enum": Stage::ALL.map(Stage::as_str), "description": meaning }),
            _ => json!({ "type": kind, "description": meaning }),
        };
        (name.to_owned(), shape)
    };
    let properties: Map<String, Value> = [("eventheader".to_owned(), header)]
        .into_iter()
        .chain(COMMON.into_iter().map(of_event))
        .collect();
    let always = COMMON.into_iter().filter(|(_, _, always, _)| *always);
    let required: Vec<&str> = ["eventheader"]
        .into_iter()
        .chain(always.map(|(name, ..)| name))
        .collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn schema(event_type: EventType) -> Value {
    let about = event_type.about();
    let header = json!({ "properties": { "EventType": { "const": about.name } } });
    let mut properties = Map::new();
    properties.insert("eventheader".to_owned(), header);
    properties.insert("stage".to_owned(), json!({ "const": about.stage.as_str() }));
    for field in about.fields {
        let shape = json!({ "type": json_type(field.kind()), "description": field.meaning() });
        properties.insert(field.as_str().to_owned(), shape);
    }
    let of_41 = about.fields.iter().filter(|field| field.is_of_41());
    let required: Vec<&str> = of_41.map(|field| field.as_str()).collect();
    json!({
        "description": about.meaning(),
        "$ref": "#/$defs/event",
        "properties": properties,
        "required": required,
    })
}
