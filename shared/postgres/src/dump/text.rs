//! A dump as text, as it can be restored beside what is there: roles, databases and schemas that are there already are left as
//! they are, a role with its password and attributes, so that psql may stop at the first error. Every cluster of PGO has the same ones.
//!
//! Only statements that `pg_dump` and `pg_dumpall` put before the content of a database are touched: data and bodies of functions
//! are passed on as they are.

use std::{borrow::Cow, collections::BTreeSet};

/// Where in a dump a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Roles, or what makes a database.
    Before,
    /// The first objects of a database, schemas among them.
    Schemas,
    /// All the rest of a database.
    Rest,
    /// Rows.
    Rows,
}

/// Kinds of objects that come before all others, in `pg_dump`'s headings.
const FIRST: [&str; 6] = [
    "SCHEMA",
    "EXTENSION",
    "COMMENT",
    "ACL",
    "DATABASE",
    "DATABASE PROPERTIES",
];

/// Changes the lines of a dump, in their order.
#[derive(Debug)]
pub struct Beside {
    roles: BTreeSet<String>,
    databases: BTreeSet<String>,
    place: Place,
    /// How many statements were left out.
    pub left_out: u32,
}

impl Beside {
    /// Beside these roles and databases, named as SQL names them; `all` where the dump is one of all databases.
    pub fn new(roles: BTreeSet<String>, databases: BTreeSet<String>, all: bool) -> Self {
        Self {
            roles,
            databases,
            place: if all { Place::Before } else { Place::Schemas },
            left_out: 0,
        }
    }

    /// What is to be read in the place of a line, which has no line end; none where nothing is.
    pub fn line<'a>(&mut self, line: &'a str) -> Option<Cow<'a, str>> {
        match self.place {
            Place::Rows => {
                if line == "\\." {
                    self.place = Place::Rest;
                }
            }
            Place::Rest => self.in_the_rest(line),
            Place::Before | Place::Schemas => return self.before(line),
        }
        Some(Cow::Borrowed(line))
    }

    fn in_the_rest(&mut self, line: &str) {
        if line.starts_with("COPY ") && line.ends_with(" FROM stdin;") {
            self.place = Place::Rows;
        } else if line.starts_with("-- Database \"") && line.ends_with("\" dump") {
            self.place = Place::Before;
        }
    }

    fn before<'a>(&mut self, line: &'a str) -> Option<Cow<'a, str>> {
        let heading = line.strip_prefix("-- Name: ");
        if let Some(kind) = heading.and_then(|rest| rest.split("; Type: ").nth(1)) {
            let kind = kind.split(';').next().unwrap_or_default();
            if !FIRST.contains(&kind) {
                self.place = Place::Rest;
            }
        } else if line.starts_with("\\connect ") {
            self.place = Place::Schemas;
        } else if line.starts_with("COPY ") {
            self.in_the_rest(line);
        }
        if let Some(name) = line.strip_prefix("CREATE SCHEMA ") {
            return Some(Cow::Owned(format!("CREATE SCHEMA IF NOT EXISTS {name}")));
        }
        let named = |verb: &str| line.strip_prefix(verb);
        let altered = named("ALTER ROLE ").and_then(|rest| rest.split_once(" WITH "));
        if altered.is_some_and(|(role, _)| self.roles.contains(role)) {
            // It has a password, which the Secrets know and the dump does not.
            return None;
        }
        let role = named("CREATE ROLE ").and_then(|rest| rest.strip_suffix(';'));
        let database = named("CREATE DATABASE ").and_then(|rest| rest.split(" WITH ").next());
        let is_there = role.is_some_and(|role| self.roles.contains(role))
            || database.is_some_and(|database| self.databases.contains(database));
        if is_there {
            self.left_out += 1;
            return None;
        }
        Some(Cow::Borrowed(line))
    }
}

/// The contents of an archive, as `pg_restore --list` prints them, without the schemas that are there already.
pub fn without_schemas(list: &str, schemas: &BTreeSet<String>) -> String {
    let is_there = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        // "6; 2615 16386 SCHEMA - testuser postgres": the last is the owner.
        let is_schema = words.get(3) == Some(&"SCHEMA") && words.get(4) == Some(&"-");
        let name = words.get(5..words.len().saturating_sub(1));
        is_schema && name.is_some_and(|name| schemas.contains(&name.join(" ")))
    };
    let left = list.lines().filter(|line| !is_there(line));
    left.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn beside(all: bool, text: &str) -> (String, u32) {
        let mut beside = Beside::new(set(&["postgres", "\"a b\""]), set(&["userdb"]), all);
        let lines: Vec<String> = text
            .lines()
            .filter_map(|line| beside.line(line).map(Cow::into_owned))
            .collect();
        (lines.join("\n"), beside.left_out)
    }

    #[test]
    fn what_is_there_is_left_out_and_what_is_not_is_made() {
        let text = "CREATE ROLE postgres;\nCREATE ROLE \"a b\";\nCREATE ROLE reader;\nALTER ROLE postgres WITH SUPERUSER PASSWORD 'former';\n\
                    ALTER ROLE reader WITH LOGIN;\nALTER ROLE postgres SET work_mem TO '8MB';\n\
                    CREATE DATABASE userdb WITH TEMPLATE = template0;\nCREATE DATABASE other WITH TEMPLATE = template0;\n\
                    \\connect userdb\n-- Name: x; Type: SCHEMA; Schema: -; Owner: x\nCREATE SCHEMA x;";
        let (left, count) = beside(true, text);
        assert_eq!(
            left,
            "CREATE ROLE reader;\nALTER ROLE reader WITH LOGIN;\nALTER ROLE postgres SET work_mem TO '8MB';\n\
             CREATE DATABASE other WITH TEMPLATE = template0;\n\
             \\connect userdb\n-- Name: x; Type: SCHEMA; Schema: -; Owner: x\nCREATE SCHEMA IF NOT EXISTS x;"
        );
        assert_eq!(count, 3);
    }

    #[test]
    fn data_and_bodies_are_passed_on_whatever_they_say() {
        let text = "-- Name: f(); Type: FUNCTION; Schema: public; Owner: x\nCREATE SCHEMA x;\nCOPY public.t (v) FROM stdin;\n\
                    CREATE ROLE postgres;\n-- Database \"x\" dump\nCREATE ROLE postgres;\n\\.\nCREATE ROLE postgres;";
        assert_eq!(beside(false, text), (text.to_owned(), 0));
        // The next database begins where the program says so.
        let next = "-- Name: t; Type: TABLE; Schema: public; Owner: x\n-- Database \"y\" dump\nCREATE DATABASE userdb WITH X;";
        let (left, count) = beside(true, next);
        assert!(!left.contains("CREATE DATABASE"), "{left}");
        assert_eq!(count, 1);
    }

    #[test]
    fn an_archive_is_restored_without_the_schemas_that_are_there() {
        let list = ";\n; Archive created at 2026-10-15\n6; 2615 16386 SCHEMA - testuser postgres\n7; 2615 16387 SCHEMA - a b postgres\n\
                    8; 2615 16388 SCHEMA - new postgres\n215; 1259 16390 TABLE public SCHEMA postgres\n";
        let left = without_schemas(list, &set(&["testuser", "a b", "public"]));
        assert_eq!(
            left,
            ";\n; Archive created at 2026-10-15\n8; 2615 16388 SCHEMA - new postgres\n215; 1259 16390 TABLE public SCHEMA postgres\n"
        );
    }
}
