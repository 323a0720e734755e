//! An expression as a tree, and how it is written (CESQL 1.0, sections 2 and 3.6).
//!
//! A tree is written with as few parentheses as its meaning needs, and parsing what was written gives the same tree.

use std::fmt;

use crate::{
    pattern::Pattern,
    value::{Type, Value},
};

/// An operator between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    And,
    Or,
    Xor,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// How tightly something binds; the tightest is the last.
///
/// Functions, EXISTS, attributes, literals and parentheses are complete in themselves: they are `Closed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Precedence {
    Logic,
    Comparison,
    Sum,
    Product,
    In,
    Like,
    Unary,
    Closed,
}

impl Precedence {
    /// The next tighter one: what an operand on the right has to have.
    pub(crate) fn tighter(self) -> Self {
        match self {
            Self::Logic => Self::Comparison,
            Self::Comparison => Self::Sum,
            Self::Sum => Self::Product,
            Self::Product => Self::In,
            Self::In => Self::Like,
            Self::Like => Self::Unary,
            Self::Unary | Self::Closed => Self::Closed,
        }
    }
}

impl Binary {
    pub(crate) fn precedence(self) -> Precedence {
        match self {
            Self::And | Self::Or | Self::Xor => Precedence::Logic,
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessOrEqual
            | Self::Greater
            | Self::GreaterOrEqual => Precedence::Comparison,
            Self::Add | Self::Subtract => Precedence::Sum,
            Self::Multiply | Self::Divide | Self::Remainder => Precedence::Product,
        }
    }

    /// The type of its result.
    pub(crate) fn returns(self) -> Type {
        match self.precedence() {
            Precedence::Sum | Precedence::Product => Type::Integer,
            _ => Type::Boolean,
        }
    }

    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::And => "AND",
            Self::Or => "OR",
            Self::Xor => "XOR",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

/// A part of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Literal(Value),
    /// By its name in lower case.
    Attribute(String),
    Exists(String),
    Not(Box<Node>),
    Negate(Box<Node>),
    Like {
        operand: Box<Node>,
        negated: bool,
        pattern: Pattern,
    },
    In {
        operand: Box<Node>,
        negated: bool,
        set: Vec<Node>,
    },
    /// Operators of one precedence, from left to right. One node for all, so that a long row of them is not a deep tree.
    Chain {
        first: Box<Node>,
        rest: Vec<(Binary, Node)>,
    },
    Call {
        /// In upper case.
        function: String,
        arguments: Vec<Node>,
    },
}

impl Node {
    /// Whether it is a row of operators of this precedence.
    pub(crate) fn is_chain(&self, precedence: Precedence) -> bool {
        matches!(self, Self::Chain { .. }) && self.precedence() == precedence
    }

    /// `left operator right`, where right binds tighter than the operator. A row of its precedence on the left goes on.
    pub(crate) fn chain(left: Self, operator: Binary, right: Self) -> Self {
        let goes_on = left.is_chain(operator.precedence());
        match left {
            Self::Chain { first, mut rest } if goes_on => {
                rest.push((operator, right));
                Self::Chain { first, rest }
            }
            _ => Self::Chain {
                first: Box::new(left),
                rest: vec![(operator, right)],
            },
        }
    }

    fn precedence(&self) -> Precedence {
        match self {
            Self::Literal(_) | Self::Attribute(_) | Self::Exists(_) | Self::Call { .. } => {
                Precedence::Closed
            }
            Self::Not(_) | Self::Negate(_) => Precedence::Unary,
            Self::Like { .. } => Precedence::Like,
            Self::In { .. } => Precedence::In,
            Self::Chain { rest, .. } => rest
                .first()
                .map_or(Precedence::Closed, |(operator, _)| operator.precedence()),
        }
    }

    /// What it is made of directly.
    pub(crate) fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Literal(_) | Self::Attribute(_) | Self::Exists(_) => Vec::new(),
            Self::Not(operand) | Self::Negate(operand) | Self::Like { operand, .. } => {
                vec![operand]
            }
            Self::In { operand, set, .. } => [&**operand].into_iter().chain(set).collect(),
            Self::Chain { first, rest } => {
                let rest = rest.iter().map(|(_, node)| node);
                [&**first].into_iter().chain(rest).collect()
            }
            Self::Call { arguments, .. } => arguments.iter().collect(),
        }
    }

    /// All parts, this one first.
    pub(crate) fn visit<'n>(&'n self, visitor: &mut impl FnMut(&'n Self)) {
        visitor(self);
        for part in self.parts() {
            part.visit(visitor);
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(Value::String(text)) => f.write_str(&quoted(text)),
            Self::Literal(value) => write!(f, "{value}"),
            Self::Attribute(name) => f.write_str(name),
            Self::Exists(name) => write!(f, "EXISTS {name}"),
            Self::Not(operand) => write!(f, "NOT {}", Operand(operand, Precedence::Unary)),
            Self::Negate(operand) => write_negation(f, operand),
            Self::Like {
                operand,
                negated,
                pattern,
            } => {
                let operand = Operand(operand, Precedence::Like);
                let pattern = quoted(pattern.source());
                write!(f, "{operand} {}LIKE {pattern}", not(*negated))
            }
            Self::In {
                operand,
                negated,
                set,
            } => {
                let operand = Operand(operand, Precedence::In);
                write!(f, "{operand} {}IN ", not(*negated))?;
                write_list(f, set)
            }
            Self::Chain { first, rest } => {
                let precedence = self.precedence();
                write!(f, "{}", Operand(first, precedence))?;
                rest.iter().try_for_each(|(operator, node)| {
                    let operand = Operand(node, precedence.tighter());
                    write!(f, " {} {operand}", operator.symbol())
                })
            }
            Self::Call {
                function,
                arguments,
            } => {
                f.write_str(function)?;
                write_list(f, arguments)
            }
        }
    }
}

/// An operand, in parentheses if it binds less than its place asks for.
struct Operand<'n>(&'n Node, Precedence);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.precedence() < self.1 {
            write!(f, "({})", self.0)
        } else {
            self.0.fmt(f)
        }
    }
}

/// A minus directly before a digit would make a negative literal of the two.
fn write_negation(f: &mut fmt::Formatter<'_>, operand: &Node) -> fmt::Result {
    let space = match operand {
        Node::Literal(Value::Integer(number)) if *number >= 0 => " ",
        _ => "",
    };
    write!(f, "-{space}{}", Operand(operand, Precedence::Unary))
}

fn write_list(f: &mut fmt::Formatter<'_>, nodes: &[Node]) -> fmt::Result {
    f.write_str("(")?;
    for (at, node) in nodes.iter().enumerate() {
        let separator = if at > 0 { ", " } else { "" };
        write!(f, "{separator}{node}")?;
    }
    f.write_str(")")
}

fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}

/// A text as a literal, in the quotes that need no escaping if there are such.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut written = String::from(quote);
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        // A backslash stands for itself unless what follows would be taken with it.
        let escaped = match character {
            '\\' => rest
                .peek()
                .is_none_or(|next| *next == '\\' || *next == quote),
            _ => character == quote,
        };
        if escaped {
            written.push('\\');
        }
        written.push(character);
    }
    written.push(quote);
    written
}
