//! Functions that expressions call, and the set of those that there are (CESQL 1.0, section 3.5).

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock},
};

use crate::{
    builtin,
    error::{Error, ErrorKind, beginning},
    parser::is_function_name,
    token::is_reserved,
    value::{Type, Value},
};

/// What a function takes for an argument. Arguments of other types are cast before the function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// A value of any type, as it is.
    Any,
    /// A value of this type.
    Of(Type),
}

/// What a function gives: a value, errors, or both.
///
/// Made of a value with `into()`, or with [`Outcome::failure`]. If the value is missing or not of the type that the
/// function declares, that type's zero value stands for it, with a `functionEvaluation` error (section 3.5.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    value: Option<Value>,
    errors: Vec<Error>,
}

impl Outcome {
    /// An error without a value.
    pub fn failure(error: Error) -> Self {
        Self::default().with_error(error)
    }

    /// The same with an error more.
    pub fn with_error(mut self, error: Error) -> Self {
        self.errors.push(error);
        self
    }
}

impl<V: Into<Value>> From<V> for Outcome {
    fn from(value: V) -> Self {
        Self {
            value: Some(value.into()),
            errors: Vec::new(),
        }
    }
}

/// What a function does with its arguments.
type Body = dyn Fn(&[Value]) -> Outcome + Send + Sync;

/// A function: its name, its parameters, the type of its result, and what it does. Cheap to clone.
#[derive(Clone)]
pub struct Function {
    name: String,
    parameters: Vec<Parameter>,
    variadic: Option<Parameter>,
    returns: Type,
    body: Arc<Body>,
}

impl Function {
    /// A function of a fixed number of parameters.
    ///
    /// The body gets as many arguments, of these types. It must be pure: the same arguments give the same outcome, and
    /// nothing else happens (section 1).
    ///
    /// # Errors
    ///
    /// [`FunctionError::Name`] if an expression could not call it by this name.
    pub fn new(
        name: &str,
        parameters: impl IntoIterator<Item = Parameter>,
        returns: Type,
        body: impl Fn(&[Value]) -> Outcome + Send + Sync + 'static,
    ) -> Result<Self, FunctionError> {
        if is_function_name(name) && !is_reserved(name) {
            Ok(Self::unchecked(name, parameters, returns, body))
        } else {
            Err(FunctionError::Name(name.to_owned()))
        }
    }

    /// For names that are known to be possible.
    pub(crate) fn unchecked(
        name: &str,
        parameters: impl IntoIterator<Item = Parameter>,
        returns: Type,
        body: impl Fn(&[Value]) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.to_ascii_uppercase(),
            parameters: parameters.into_iter().collect(),
            variadic: None,
            returns,
            body: Arc::new(body),
        }
    }

    /// The same, with any number of arguments after those that it has.
    pub fn variadic(mut self, parameter: Parameter) -> Self {
        self.variadic = Some(parameter);
        self
    }

    /// The name, in upper case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of its result.
    pub fn returns(&self) -> Type {
        self.returns
    }

    /// What it takes for the argument of this number, from 0.
    pub(crate) fn parameter(&self, number: usize) -> Parameter {
        let fixed = self.parameters.get(number).copied();
        fixed.or(self.variadic).unwrap_or(Parameter::Any)
    }

    /// Its value for these arguments, and its errors.
    pub(crate) fn call(&self, arguments: &[Value]) -> (Value, Vec<Error>) {
        let Outcome { value, mut errors } = (self.body)(arguments);
        if let Some(value) = value.filter(|value| value.type_of() == self.returns) {
            return (value, errors);
        }
        if errors
            .iter()
            .all(|e| e.kind() != ErrorKind::FunctionEvaluation)
        {
            errors.push(Error::FunctionEvaluation {
                function: self.name.clone(),
                reason: format!("it gave no {}, as it is declared to", self.returns),
            });
        }
        (self.returns.zero(), errors)
    }
}

/// Writes how it is called, such as `CONCAT_WS(String, String...) -> String`.
impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fixed = self.parameters.iter().map(Parameter::to_string);
        let rest = self.variadic.map(|parameter| format!("{parameter}..."));
        let parameters: Vec<_> = fixed.chain(rest).collect();
        write!(
            f,
            "{}({}) -> {}",
            self.name,
            parameters.join(", "),
            self.returns
        )
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::Of(of) => of.fmt(f),
        }
    }
}

/// Why a function cannot be made or registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// No expression could call it.
    #[error(
        "{0:?} cannot name a function; use letters, and _ behind the first, and no word of the language"
    )]
    Name(String),
    /// A call could not be told from one of the function that is there.
    #[error(
        "{new} cannot be told from {present}; the numbers of arguments that they take must differ"
    )]
    Ambiguous {
        /// The function that was to be registered.
        new: String,
        /// The one that is there.
        present: String,
    },
}

/// The functions of one name.
#[derive(Clone, Debug, Default)]
struct Overloads {
    /// By the number of arguments.
    fixed: BTreeMap<usize, Function>,
    variadic: Option<Function>,
}

impl Overloads {
    fn all(&self) -> impl Iterator<Item = &Function> {
        self.fixed.values().chain(&self.variadic)
    }

    /// A function that takes a call that the new one takes too.
    ///
    /// A variadic one has to ask for more arguments than any other of its name takes.
    fn in_the_way(&self, new: &Function) -> Option<&Function> {
        let count = new.parameters.len();
        if new.variadic.is_some() {
            let longer = self
                .fixed
                .range(count..)
                .next()
                .map(|(_, function)| function);
            return self.variadic.as_ref().or(longer);
        }
        let variadic = self.variadic.as_ref();
        let taken_by_variadic = variadic.filter(|v| v.parameters.len() <= count);
        self.fixed.get(&count).or(taken_by_variadic)
    }
}

/// The functions that an expression can call. Names are the same in either case.
#[derive(Clone, Debug, Default)]
pub struct Functions(BTreeMap<String, Overloads>);

static BUILTINS: LazyLock<Functions> = LazyLock::new(|| {
    let mut functions = Functions::default();
    builtin::all().into_iter().for_each(|f| functions.insert(f));
    functions
});

impl Functions {
    /// Those that the specification asks for, and the casts INT, BOOL, STRING, IS_INT and IS_BOOL.
    pub fn builtin() -> &'static Self {
        &BUILTINS
    }

    /// Adds a function. There may be others of its name, if the number of arguments tells which one is called.
    ///
    /// # Errors
    ///
    /// [`FunctionError::Ambiguous`] if it does not; then nothing is added.
    pub fn register(&mut self, function: Function) -> Result<(), FunctionError> {
        let present = self.0.get(&function.name);
        if let Some(present) = present.and_then(|present| present.in_the_way(&function)) {
            return Err(FunctionError::Ambiguous {
                new: function.to_string(),
                present: present.to_string(),
            });
        }
        self.insert(function);
        Ok(())
    }

    fn insert(&mut self, function: Function) {
        let overloads = self.0.entry(function.name.clone()).or_default();
        match function.variadic {
            Some(_) => overloads.variadic = Some(function),
            None => {
                let count = function.parameters.len();
                overloads.fixed.insert(count, function);
            }
        }
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Function> {
        self.0.values().flat_map(Overloads::all)
    }

    /// The function that a call means, by its name in upper case and the number of its arguments.
    ///
    /// # Errors
    ///
    /// [`Error::MissingFunction`] says what there is instead.
    pub(crate) fn find(&self, name: &str, arguments: usize) -> Result<&Function, Error> {
        let overloads = self.0.get(name);
        let found = overloads.and_then(|overloads| {
            let variadic = overloads.variadic.as_ref();
            let fixed = overloads.fixed.get(&arguments);
            fixed.or(variadic.filter(|v| v.parameters.len() <= arguments))
        });
        found.ok_or_else(|| Error::MissingFunction {
            name: beginning(name),
            arguments,
            known: self.known(overloads),
        })
    }

    fn known(&self, overloads: Option<&Overloads>) -> String {
        match overloads {
            Some(overloads) => {
                let signatures: Vec<_> = overloads.all().map(Function::to_string).collect();
                format!("there is {}", signatures.join(" and "))
            }
            None => {
                let names: Vec<_> = self.0.keys().map(String::as_str).collect();
                format!("there are {}", names.join(", "))
            }
        }
    }
}
