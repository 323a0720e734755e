//! Which table a file is loaded into, and which file that is.

/// Reads the name of a table as SQL has it: with its schema or without, quoted or not, and maybe with columns behind it, such as
/// `public.t (a, b)`. Nothing else comes through.
///
/// # Errors
/// It is no such name.
pub fn table(text: &str) -> Result<String, String> {
    read(text).ok_or_else(|| {
        format!(
            "TableToLoad {text:?} is the name of no table; write table, schema.table or table (column, column)"
        )
    })
}

fn read(text: &str) -> Option<String> {
    let (mut name, mut rest) = identifier(text)?;
    if let Some(behind) = rest.strip_prefix('.') {
        let (table, behind) = identifier(behind)?;
        name = format!("{name}.{table}");
        rest = behind;
    }
    let Some(mut rest) = rest.trim_start().strip_prefix('(') else {
        return rest.trim().is_empty().then_some(name);
    };
    let mut columns = Vec::new();
    loop {
        let (column, behind) = identifier(rest.trim_start())?;
        columns.push(column);
        let behind = behind.trim_start();
        if let Some(further) = behind.strip_prefix(',') {
            rest = further;
            continue;
        }
        let end = behind.strip_prefix(')')?;
        let all = format!("{name} ({})", columns.join(", "));
        return end.trim().is_empty().then_some(all);
    }
}

/// An identifier at the beginning, and what is behind it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let end = match text.strip_prefix('"') {
        Some(quoted) => 1 + quoted_end(quoted)?,
        None => {
            let is_inner = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            let first = text.chars().next()?;
            if !first.is_alphabetic() && first != '_' {
                return None;
            }
            text.find(|c: char| !is_inner(c)).unwrap_or(text.len())
        }
    };
    let (name, rest) = text.split_at_checked(end)?;
    Some((name.to_owned(), rest))
}

/// Where a quoted identifier ends, behind its quote; two quotes are one of the name.
fn quoted_end(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' if characters.peek().is_some_and(|(_, next)| *next == '"') => {
                characters.next();
            }
            '"' => return (at > 0).then_some(at + 1),
            c if c.is_control() => return None,
            _ => {}
        }
    }
    None
}

/// Reads where a file is in its volume.
///
/// # Errors
/// It is no file in that.
pub fn file(text: &str) -> Result<String, String> {
    let path = text.trim_start_matches('/');
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    let is_path = path.split('/').all(is_part) && !path.chars().any(char::is_control);
    match is_path {
        true => Ok(path.to_owned()),
        false => Err(format!(
            "FilePath {text:?} is no file of the claim; write its path there, such as data/people.csv"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_as_in_sql_and_nothing_else_comes_through() {
        for (text, is) in [
            ("people", "people"),
            ("public.people", "public.people"),
            ("\"Big \"\"one\"\"\".t", "\"Big \"\"one\"\"\".t"),
            ("t(a,  \"B c\")", "t (a, \"B c\")"),
            ("straße ", "straße"),
        ] {
            assert_eq!(table(text).as_deref(), Ok(is), "{text}");
        }
        for wrong in [
            "",
            "1t",
            "a.b.c",
            "t; DROP TABLE t",
            "t FROM PROGRAM 'id'",
            "\"\"",
            "\"open",
            "t (",
            "t ()",
            "t (a) x",
            "t --",
            "(SELECT 1)",
        ] {
            let why = table(wrong).expect_err(wrong);
            assert!(why.contains("is the name of no table"), "{why}");
        }
    }

    #[test]
    fn a_file_stays_in_its_volume() {
        assert_eq!(file("data/people.csv").as_deref(), Ok("data/people.csv"));
        assert_eq!(
            file("/people.csv").as_deref(),
            Ok("people.csv"),
            "4.1 put /pgdata/ before it"
        );
        for wrong in ["", "/", "../etc/passwd", "a/../../b", "a//b", "./a", "a\nb"] {
            assert!(file(wrong).is_err(), "{wrong:?}");
        }
    }
}
