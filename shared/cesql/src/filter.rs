//! What is known to be wrong with an expression as a filter before there is an event (CESQL 1.0, sections 1.2 and 3).

use crate::{
    attributes::Attributes,
    error::Error,
    evaluate::{Mode, evaluate, return_type},
    function::Functions,
    syntax::Node,
    value::{Type, Value},
};

/// Why no event can pass a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterFault {
    /// A function that there is not, or a calculation that goes wrong with any event.
    #[error(transparent)]
    Always(#[from] Error),
    /// No event has an attribute of this name.
    #[error("no event has an attribute {0}; if it is meant as text, write '{0}' in quotes")]
    Attribute(String),
    /// The value is neither true nor false.
    #[error(
        "{expression} gives {}, where a filter needs true or false; compare it, such as {expression} {}",
        named(*.of), comparison(*.of)
    )]
    NotBoolean {
        /// What was written.
        expression: String,
        /// What it gives.
        of: Type,
    },
    /// There is no attribute in it that could make a difference, and it is not true.
    #[error("{0} is false whatever the event; compare an attribute of the events")]
    Never(String),
}

fn named(of: Type) -> &'static str {
    match of {
        Type::Boolean => "true or false",
        Type::Integer => "a number",
        Type::String => "a text",
    }
}

fn comparison(of: Type) -> &'static str {
    match of {
        Type::Boolean => "= TRUE",
        Type::Integer => "> 0",
        Type::String => "= 'text'",
    }
}

/// Judges a tree; `types` tells the type of an attribute, nothing where no event has it.
pub(crate) fn judge(
    tree: &Node,
    functions: &Functions,
    types: impl Fn(&str) -> Option<Type>,
) -> Result<(), FilterFault> {
    let mut fault = None;
    tree.visit(&mut |node| {
        let found = match node {
            Node::Attribute(name) | Node::Exists(name) if types(name).is_none() => {
                Some(FilterFault::Attribute(name.clone()))
            }
            Node::Call {
                function,
                arguments,
            } => {
                let found = functions.find(function, arguments.len());
                found.err().map(FilterFault::Always)
            }
            _ => None,
        };
        if fault.is_none() {
            fault = found;
        }
    });
    fault.map_or(Ok(()), Err)?;
    constants(tree, functions)?;
    let of = match tree {
        Node::Attribute(name) => types(name),
        _ => return_type(tree, functions),
    };
    match of {
        Some(Type::Boolean) | None => {}
        Some(of) => {
            return Err(FilterFault::NotBoolean {
                expression: tree.to_string(),
                of,
            });
        }
    }
    if is_constant(tree)
        && evaluate(tree, &Nothing, functions, Mode::Complete).value != Value::Boolean(true)
    {
        return Err(FilterFault::Never(tree.to_string()));
    }
    Ok(())
}

/// Tries each part that no event makes a difference to, the largest ones only: what is in them may be left out by AND or OR.
fn constants(node: &Node, functions: &Functions) -> Result<(), FilterFault> {
    if is_constant(node) {
        let evaluation = evaluate(node, &Nothing, functions, Mode::Complete);
        let error = evaluation.errors.into_iter().next();
        return error.map_or(Ok(()), |error| Err(FilterFault::Always(error)));
    }
    node.parts()
        .into_iter()
        .try_for_each(|part| constants(part, functions))
}

fn is_constant(node: &Node) -> bool {
    let mut depends = false;
    node.visit(&mut |node| depends |= matches!(node, Node::Attribute(_) | Node::Exists(_)));
    !depends
}

/// An event that has no attribute.
struct Nothing;

impl Attributes for Nothing {
    fn get(&self, _: &str) -> Option<Value> {
        None
    }
}
