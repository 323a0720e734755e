//! Quoting: texts of users in configuration and SQL.

/// A text with a NUL byte: neither configuration nor SQL can hold one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a value holds a NUL byte, which PostgreSQL cannot store")]
pub struct NulError;

/// A value of postgresql.conf, quoted. Backslashes escape there, and no line may end within quotes.
///
/// # Errors
/// The text has a NUL byte.
pub fn conf_value(text: &str) -> Result<String, NulError> {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\0' => return Err(NulError),
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    Ok(quoted)
}

/// An identifier of SQL, quoted.
///
/// # Errors
/// The text has a NUL byte.
pub fn identifier(text: &str) -> Result<String, NulError> {
    doubled(text, '"')
}

/// A string of SQL, quoted; an escape string where it has a backslash, so that it does not matter how the server is
/// set (`standard_conforming_strings`).
///
/// # Errors
/// The text has a NUL byte.
pub fn literal(text: &str) -> Result<String, NulError> {
    let quoted = doubled(text, '\'')?;
    if quoted.contains('\\') {
        Ok(format!("E{}", quoted.replace('\\', "\\\\")))
    } else {
        Ok(quoted)
    }
}

fn doubled(text: &str, quote: char) -> Result<String, NulError> {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(quote);
    for c in text.chars() {
        if c == '\0' {
            return Err(NulError);
        }
        if c == quote {
            quoted.push(quote);
        }
        quoted.push(c);
    }
    quoted.push(quote);
    Ok(quoted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a quoted value as PostgreSQL's guc-file.l does (`GUC_scanstr`).
    fn unquoted(quoted: &str) -> Option<String> {
        let inner = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
        let mut text = String::new();
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            match c {
                '\n' => return None,
                '\'' if chars.next() == Some('\'') => text.push('\''),
                '\'' => return None,
                '\\' => text.push(match chars.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    c => c,
                }),
                c => text.push(c),
            }
        }
        Some(text)
    }

    proptest! {
        #[test]
        fn a_configured_value_is_read_back_as_it_was(text in "[^\0]*") {
            let quoted = conf_value(&text).expect("no NUL");
            prop_assert_eq!(quoted.lines().count(), 1);
            prop_assert_eq!(unquoted(&quoted), Some(text));
        }

        #[test]
        fn no_text_ends_its_own_quotes(text in "[^\0]*") {
            for (quoted, quote) in [
                (identifier(&text).expect("no NUL"), '"'),
                (literal(&text).expect("no NUL").trim_start_matches('E').to_owned(), '\''),
            ] {
                let inner = &quoted[1..quoted.len() - 1];
                prop_assert_eq!(inner.replace(&format!("{quote}{quote}"), "").find(quote), None);
            }
        }

        #[test]
        fn a_nul_is_refused_everywhere(before in "[a-z]{0,3}", after in "[a-z]{0,3}") {
            let text = format!("{before}\0{after}");
            prop_assert_eq!(conf_value(&text), Err(NulError));
            prop_assert_eq!(identifier(&text), Err(NulError));
            prop_assert_eq!(literal(&text), Err(NulError));
        }
    }
}
