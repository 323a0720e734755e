//! Small rules of layout.

use std::time::Duration;

/// The text with blanks up to a width; never shortened.
pub fn pad(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

/// Rows with columns as wide as they need to be, two blanks between them, and none at the end of a line.
pub fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells.map(|(cell, width)| pad(cell, width)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The text on one line and without control characters: what comes from elsewhere must not move the cursor.
pub fn plain(text: &str) -> String {
    let visible = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(visible).collect()
}

/// The text without control characters, but on as many lines, with its tabs: for what we wrote ourselves around
/// something that comes from elsewhere.
pub fn lines(text: &str) -> String {
    let visible = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(visible).collect()
}

/// JSON whose texts have no control characters in them. Those from U+007F to U+009F need no escape there (RFC 8259,
/// section 7), but terminals obey some of them.
pub fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{7f}'..='\u{9f}' => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A duration as people read it: `850ms`, `4.2s`, `3m07s`, `2h05m`.
pub fn ago(duration: Duration) -> String {
    let (ms, s) = (duration.as_millis(), duration.as_secs());
    match s {
        0 => format!("{ms}ms"),
        1..60 => format!("{}.{}s", s, (ms / 100) % 10),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{}h{:02}m", s / 3600, s / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_the_unit_that_fits() {
        let read = |ms| ago(Duration::from_millis(ms));
        assert_eq!(
            [0, 850, 4_260, 59_999, 187_000, 7_500_000].map(read),
            ["0ms", "850ms", "4.2s", "59.9s", "3m07s", "2h05m"]
        );
    }

    #[test]
    fn a_text_from_elsewhere_stays_on_its_line() {
        assert_eq!(plain("a\nb\x1b[2Jc"), "a b\u{fffd}[2Jc");
    }

    #[test]
    fn lines_stay_and_what_moves_the_cursor_does_not() {
        assert_eq!(lines("a\n\tb\r\x1b[2Jc"), "a\n\tb\u{fffd}\u{fffd}[2Jc");
    }

    #[test]
    fn json_stays_the_same_value_without_control_characters_in_it() {
        let value = serde_json::json!({ "a\u{9b}2J": ["\x1b\u{7f}\u{9f}\u{a0}é"] });
        let text = json(&value.to_string());
        assert!(!text.chars().any(char::is_control), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, value);
    }

    #[test]
    fn a_long_text_is_not_shortened() {
        assert_eq!((pad("ab", 4), pad("abc", 2)), ("ab  ".into(), "abc".into()));
    }
}
