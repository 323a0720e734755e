//! Makes a tree of a text, by precedence climbing (Pratt).
//!
//! Bounds keep hostile texts from the stack: of the parser, which calls itself for what stands in parentheses, and of
//! all that walks the tree later.

use crate::{
    MAX_DEPTH, MAX_LENGTH,
    parse_error::{Fault, ParseError},
    pattern::Pattern,
    syntax::{Binary, Node, Precedence},
    token::{Operator, Token, Tokens},
    value::Value,
};

/// What belongs where an operand begins.
const OPERAND: &str = "an attribute, a literal, a function, NOT, EXISTS, - or (";

/// What belongs after an operand.
const CONTINUATION: &str = "an operator or the end";

/// The tree of a text.
pub(crate) fn parse(text: &str) -> Result<Node, ParseError> {
    if text.len() > MAX_LENGTH {
        return Err(ParseError::new(Fault::TooLong(text.len()), text, 0));
    }
    let mut tokens = Tokens::new(text);
    let (token, position) = tokens.next()?;
    let mut parser = Parser {
        tokens,
        token,
        position,
        depth: 0,
    };
    if parser.token == Token::End {
        return Err(parser.fault(Fault::Empty));
    }
    let tree = parser.expression(Precedence::Logic)?;
    match parser.token {
        Token::End => Ok(tree.node),
        _ => Err(parser.expected(CONTINUATION)),
    }
}

/// A tree and the number of nodes from its root to its farthest leaf.
struct Tree {
    node: Node,
    height: usize,
}

impl Tree {
    fn leaf(node: Node) -> Self {
        Self { node, height: 1 }
    }
}

struct Parser<'t> {
    tokens: Tokens<'t>,
    /// The next token, not yet taken.
    token: Token<'t>,
    position: usize,
    /// How many expressions are open, each inside of the one before.
    depth: usize,
}

impl<'t> Parser<'t> {
    fn fault(&self, fault: Fault) -> ParseError {
        self.tokens.fault(fault, self.position)
    }

    fn expected(&self, expected: &'static str) -> ParseError {
        let found = self.tokens.written(self.position);
        self.fault(Fault::expected(expected, found))
    }

    /// Takes the next token, and gives it with its position.
    fn take(&mut self) -> Result<(Token<'t>, usize), ParseError> {
        let (token, position) = self.tokens.next()?;
        let taken = std::mem::replace(&mut self.token, token);
        Ok((taken, std::mem::replace(&mut self.position, position)))
    }

    /// Takes the next token if it is this one.
    fn take_if(&mut self, token: &Token<'_>) -> Result<bool, ParseError> {
        let is_next = self.token == *token;
        if is_next {
            self.take()?;
        }
        Ok(is_next)
    }

    /// A tree above others.
    fn above(&self, node: Node, height: usize, position: usize) -> Result<Tree, ParseError> {
        if height >= MAX_DEPTH {
            return Err(self.tokens.fault(Fault::TooDeep, position));
        }
        Ok(Tree {
            node,
            height: height + 1,
        })
    }

    /// An operand, and all operators after it that bind at least as tightly as given.
    fn expression(&mut self, least: Precedence) -> Result<Tree, ParseError> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault(Fault::TooDeep));
        }
        self.depth += 1;
        let mut left = self.operand()?;
        while let Token::Operator(operator) = self.token {
            left = match operator {
                Operator::Binary(binary) if binary.precedence() >= least => {
                    self.binary(left, binary)?
                }
                Operator::Like if Precedence::Like >= least => self.like(left, false)?,
                Operator::In if Precedence::In >= least => self.membership(left, false)?,
                Operator::Not if Precedence::In >= least => self.negated(left)?,
                Operator::Exists => return Err(self.expected(CONTINUATION)),
                _ => break,
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn binary(&mut self, left: Tree, operator: Binary) -> Result<Tree, ParseError> {
        let (_, position) = self.take()?;
        let right = self.expression(operator.precedence().tighter())?;
        // A row that goes on grows in length, not in height.
        let beside = left.height - usize::from(left.node.is_chain(operator.precedence()));
        let node = Node::chain(left.node, operator, right.node);
        self.above(node, beside.max(right.height), position)
    }

    /// `NOT LIKE` or `NOT IN`.
    fn negated(&mut self, left: Tree) -> Result<Tree, ParseError> {
        self.take()?;
        match self.token {
            Token::Operator(Operator::Like) => self.like(left, true),
            Token::Operator(Operator::In) => self.membership(left, true),
            _ => Err(self.expected("LIKE or IN after NOT")),
        }
    }

    fn like(&mut self, left: Tree, negated: bool) -> Result<Tree, ParseError> {
        let (_, position) = self.take()?;
        let Token::Text(pattern) = &mut self.token else {
            return Err(self.expected("a pattern in quotes after LIKE"));
        };
        let node = Node::Like {
            operand: Box::new(left.node),
            negated,
            pattern: Pattern::new(std::mem::take(pattern)),
        };
        self.take()?;
        self.above(node, left.height, position)
    }

    fn membership(&mut self, left: Tree, negated: bool) -> Result<Tree, ParseError> {
        let (_, position) = self.take()?;
        if !self.take_if(&Token::Open)? {
            return Err(self.expected("( and a list after IN"));
        }
        let (set, height) = self.list()?;
        let node = Node::In {
            operand: Box::new(left.node),
            negated,
            set,
        };
        self.above(node, left.height.max(height), position)
    }

    /// One expression or more, and the parenthesis that closes them; also the greatest height among them.
    fn list(&mut self) -> Result<(Vec<Node>, usize), ParseError> {
        let mut nodes = Vec::new();
        let mut height = 0;
        loop {
            let tree = self.expression(Precedence::Logic)?;
            nodes.push(tree.node);
            height = height.max(tree.height);
            if self.take_if(&Token::Close)? {
                return Ok((nodes, height));
            }
            if !self.take_if(&Token::Comma)? {
                return Err(self.expected("an operator, a comma or )"));
            }
        }
    }

    /// An operand, with the operators before it.
    fn operand(&mut self) -> Result<Tree, ParseError> {
        match self.token {
            Token::Open => self.parenthesized(),
            Token::Word(word) => self.named(word),
            Token::Operator(Operator::Not) => {
                let (_, position) = self.take()?;
                self.prefixed(Node::Not, position)
            }
            Token::Operator(Operator::Binary(sign @ (Binary::Add | Binary::Subtract))) => {
                self.signed(sign)
            }
            _ => self.leaf(),
        }
    }

    /// EXISTS, or a literal without a sign.
    fn leaf(&mut self) -> Result<Tree, ParseError> {
        let value = match self.token {
            Token::Operator(Operator::Exists) => return self.exists(),
            Token::Digits(digits) => return self.integer("", digits, self.position),
            Token::Boolean(value) => Value::Boolean(value),
            Token::Text(ref mut text) => Value::String(std::mem::take(text)),
            _ => return Err(self.expected(OPERAND)),
        };
        self.take()?;
        Ok(Tree::leaf(Node::Literal(value)))
    }

    fn parenthesized(&mut self) -> Result<Tree, ParseError> {
        self.take()?;
        let inner = self.expression(Precedence::Logic)?;
        if !self.take_if(&Token::Close)? {
            return Err(self.expected("an operator or )"));
        }
        Ok(inner)
    }

    /// The operand of a prefix operator, which stands at the position and has been taken.
    fn prefixed(
        &mut self,
        node: fn(Box<Node>) -> Node,
        position: usize,
    ) -> Result<Tree, ParseError> {
        let operand = self.expression(Precedence::Unary)?;
        self.above(node(Box::new(operand.node)), operand.height, position)
    }

    /// A sign belongs to the digits that directly follow it, where an operand begins. Elsewhere it is an operator.
    fn signed(&mut self, sign: Binary) -> Result<Tree, ParseError> {
        let (_, position) = self.take()?;
        match self.token {
            Token::Digits(digits) if self.position == position + 1 => {
                self.integer(sign.symbol(), digits, position)
            }
            _ if sign == Binary::Subtract => self.prefixed(Node::Negate, position),
            _ => Err(self.tokens.fault(Fault::expected(OPERAND, "+"), position)),
        }
    }

    /// The digits are the next token; with its sign, the number begins at the position.
    fn integer(&mut self, sign: &str, digits: &str, position: usize) -> Result<Tree, ParseError> {
        let written = format!("{sign}{digits}");
        let Ok(number) = written.parse() else {
            return Err(self.tokens.fault(Fault::integer(&written), position));
        };
        self.take()?;
        Ok(Tree::leaf(Node::Literal(Value::Integer(number))))
    }

    fn exists(&mut self) -> Result<Tree, ParseError> {
        self.take()?;
        let Token::Word(word) = self.token else {
            return Err(self.expected("the name of an attribute after EXISTS"));
        };
        let (_, position) = self.take()?;
        Ok(Tree::leaf(Node::Exists(self.attribute(word, position)?)))
    }

    /// An attribute or, with a list after it, a function.
    fn named(&mut self, word: &str) -> Result<Tree, ParseError> {
        let (_, position) = self.take()?;
        if !self.take_if(&Token::Open)? {
            let name = self.attribute(word, position)?;
            return Ok(Tree::leaf(Node::Attribute(name)));
        }
        if !is_function_name(word) {
            return Err(self.tokens.fault(Fault::name(word), position));
        }
        let (arguments, height) = if self.take_if(&Token::Close)? {
            (Vec::new(), 0)
        } else {
            self.list()?
        };
        let function = word.to_ascii_uppercase();
        let node = Node::Call {
            function,
            arguments,
        };
        self.above(node, height, position)
    }

    /// Attributes have lower case names only (CloudEvents 1.0, naming conventions), so that case carries no meaning.
    fn attribute(&self, word: &str, position: usize) -> Result<String, ParseError> {
        if word.bytes().all(|b| b.is_ascii_alphanumeric()) {
            Ok(word.to_ascii_lowercase())
        } else {
            Err(self.tokens.fault(Fault::name(word), position))
        }
    }
}

/// Whether a word can name a function: letters, and `_` behind the first (section 2.4).
pub(crate) fn is_function_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
}
