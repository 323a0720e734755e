//! Functions of one's own, and overloads (sections 3.5 and 3.5.3).

use cesql::{
    Error, Function, FunctionError, Functions, MathFault, Outcome, Parameter, Type, Value,
};

use crate::table::check_with;

const STRING: Parameter = Parameter::Of(Type::String);
const INTEGER: Parameter = Parameter::Of(Type::Integer);

pub const CASES: &str = r#"
# The name and the number of arguments tell which one is called.
ABC('x')                 | | 1 |
ABC('x', 'y')            | | 2 |
ABC('x', 'y', 'z')       | | 103 |
ABC('x', 'y', 'z', 'u')  | | 104 |
abc('x')                 | | 1 |
ABC()                    | | false | missingFunction

# Arguments are cast; Any is not.
EVEN_LENGTH(sequence + 10) | sequence='12'  | true  |
EVEN_LENGTH(sequence + 10) | sequence='100' | false |
EVEN_LENGTH(TRUE)        | | true  |
SUM()                    | | 0     |
SUM(1, '2', TRUE)        | | 4     |
SUM(1, 'two')            | | 1     | cast
TYPE_OF(1)               | | 'Integer' |
TYPE_OF('1')             | | 'String' |
TYPE_OF(1 = 1)           | | 'Boolean' |
TYPE_OF(x)               | x='1' | 'String' |

# Errors come with a value, or with the zero value of the type and an error that says so.
FAIL_WITH_VALUE()        | | 7     | functionEvaluation
FAIL_WITHOUT_VALUE()     | | ''    | functionEvaluation
FAIL_GENERIC()           | | ''    | generic, functionEvaluation
FAIL_TWICE()             | | 3     | generic, math
SILENT()                 | | 0     | functionEvaluation
WRONG_TYPE()             | | ''    | functionEvaluation
FAIL_WITH_VALUE() + 1    | | 8     | functionEvaluation
CONCAT(FAIL_GENERIC(), 'x') | | 'x' | generic, functionEvaluation
"#;

fn function(
    name: &str,
    parameters: &[Parameter],
    returns: Type,
    body: impl Fn(&[Value]) -> Outcome + Send + Sync + 'static,
) -> Function {
    Function::new(name, parameters.to_vec(), returns, body).expect("a function")
}

fn generic() -> Error {
    Error::Generic("the weather is bad".to_owned())
}

fn failure() -> Error {
    Error::FunctionEvaluation {
        function: "F".to_owned(),
        reason: "it does not like it".to_owned(),
    }
}

fn overflow() -> Error {
    Error::Math {
        calculation: "F()".to_owned(),
        fault: MathFault::Overflow,
    }
}

/// How many arguments there were.
fn count(arguments: &[Value]) -> i32 {
    i32::try_from(arguments.len()).expect("few")
}

fn sum(arguments: &[Value]) -> Outcome {
    let numbers = arguments.iter().map(|argument| match argument {
        Value::Integer(number) => *number,
        other => panic!("{other:?} is no Integer"),
    });
    numbers.sum::<i32>().into()
}

pub fn functions() -> Functions {
    let mut functions = Functions::builtin().clone();
    let all = [
        function("ABC", &[STRING], Type::Integer, |a| count(a).into()),
        function("ABC", &[STRING; 2], Type::Integer, |a| count(a).into()),
        function("Abc", &[STRING; 3], Type::Integer, |a| {
            (100 + count(a)).into()
        })
        .variadic(STRING),
        function(
            "EVEN_LENGTH",
            &[STRING],
            Type::Boolean,
            |arguments| match arguments {
                [Value::String(text)] => (text.len() % 2 == 0).into(),
                other => panic!("{other:?} is no String"),
            },
        ),
        function("SUM", &[], Type::Integer, sum).variadic(INTEGER),
        function("TYPE_OF", &[Parameter::Any], Type::String, |a| {
            a[0].type_of().to_string().into()
        }),
        function("FAIL_WITH_VALUE", &[], Type::Integer, |_| {
            Outcome::from(7).with_error(failure())
        }),
        function("FAIL_WITHOUT_VALUE", &[], Type::String, |_| {
            Outcome::failure(failure())
        }),
        function("FAIL_GENERIC", &[], Type::String, |_| {
            Outcome::failure(generic())
        }),
        function("FAIL_TWICE", &[], Type::Integer, |_| {
            Outcome::from(3)
                .with_error(generic())
                .with_error(overflow())
        }),
        function("SILENT", &[], Type::Integer, |_| Outcome::default()),
        function("WRONG_TYPE", &[], Type::String, |_| 5.into()),
    ];
    for function in all {
        functions.register(function).expect("no other of its name");
    }
    functions
}

fn fixed(name: &str, count: usize) -> Function {
    let parameters = vec![STRING; count];
    function(name, &parameters, Type::Integer, |_| 0.into())
}

fn variadic(name: &str, count: usize) -> Function {
    fixed(name, count).variadic(STRING)
}

#[test]
fn functions_of_ones_own_are_called_like_the_others() {
    check_with(CASES, &functions());
}

#[test]
fn functions_that_the_number_of_arguments_tells_apart_can_have_one_name() {
    let mut functions = Functions::default();
    for function in [
        fixed("ABC", 1),
        fixed("abc", 2),
        variadic("ABC", 3),
        fixed("ABC", 0),
    ] {
        functions.register(function).unwrap();
    }
    assert_eq!(functions.iter().count(), 4);
}

#[test]
fn functions_that_it_does_not_tell_apart_are_refused() {
    for (present, new) in [
        (fixed("ABC", 1), fixed("ABC", 1)),
        (fixed("ABC", 1), fixed("abc", 1)),
        (variadic("ABC", 0), fixed("ABC", 3)),
        (fixed("ABC", 3), variadic("ABC", 0)),
        (fixed("ABC", 3), variadic("ABC", 3)),
        (variadic("ABC", 3), fixed("ABC", 3)),
        (variadic("ABC", 3), fixed("ABC", 4)),
        (variadic("ABC", 1), variadic("ABC", 4)),
        (variadic("ABC", 4), variadic("ABC", 1)),
    ] {
        let mut functions = Functions::default();
        functions.register(present.clone()).unwrap();
        assert_eq!(
            functions.register(new.clone()),
            Err(FunctionError::Ambiguous {
                new: new.to_string(),
                present: present.to_string(),
            })
        );
        assert_eq!(functions.iter().count(), 1);
    }
}

#[test]
fn a_built_in_function_is_not_replaced() {
    for new in [
        fixed("LENGTH", 1),
        fixed("CONCAT", 2),
        variadic("SUBSTRING", 2),
    ] {
        let mut functions = Functions::builtin().clone();
        assert!(functions.register(new.clone()).is_err(), "{new}");
    }
    let mut functions = Functions::builtin().clone();
    functions.register(fixed("LENGTH", 2)).unwrap();
    functions.register(variadic("SUBSTRING", 4)).unwrap();
}

#[test]
fn a_name_that_no_expression_could_call_is_refused() {
    for name in [
        "", "_ABC", "ABC1", "A-B", "A B", "Ä", "NOT", "like", "Exists", "TRUE", "xor",
    ] {
        let made = Function::new(name, [], Type::Integer, |_| 0.into());
        assert_eq!(made.err(), Some(FunctionError::Name(name.to_owned())));
    }
}

#[test]
fn every_built_in_function_could_have_been_registered() {
    let mut functions = Functions::default();
    for built_in in Functions::builtin().iter() {
        functions.register(built_in.clone()).unwrap();
        assert!(Function::new(built_in.name(), [], Type::Integer, |_| 0.into()).is_ok());
    }
}

#[test]
fn a_function_tells_how_it_is_called() {
    assert_eq!(
        variadic("Join", 1).to_string(),
        "JOIN(String, String...) -> Integer"
    );
    assert_eq!(fixed("NOW", 0).to_string(), "NOW() -> Integer");
}
