//! Choosing types of events by a pattern.

/// A type's name, or a pattern in which `*` stands for any text; in any case of letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypePattern(Vec<String>);

impl TypePattern {
    /// Any text is a pattern; one without `*` fits just one name.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        Self(lower.split('*').map(str::to_owned).collect())
    }

    /// Whether a name fits.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let (first, middle, last) = match self.0.as_slice() {
            [] => return false,
            [whole] => return name == *whole,
            [first, middle @ .., last] => (first, middle, last),
        };
        let rest = name.strip_prefix(first.as_str());
        let Some(mut rest) = rest.and_then(|rest| rest.strip_suffix(last.as_str())) else {
            return false;
        };
        // The leftmost place of each part leaves the most to those behind it.
        middle.iter().all(|part| match rest.find(part.as_str()) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        TypePattern::of(pattern).fits(name)
    }

    proptest! {
        #[test]
        fn what_was_put_between_the_parts_does_not_matter(
            parts in prop::collection::vec("[a-c]{0,3}", 1..5),
            between in prop::collection::vec("[a-c]{0,3}", 4),
        ) {
            let mut name = String::new();
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    name.push_str(&between[at - 1]);
                }
                name.push_str(part);
            }
            prop_assert!(fits(&parts.join("*"), &name), "{:?} {name}", parts);
        }
    }

    #[test]
    fn a_pattern_fits_in_any_case() {
        for fitting in [
            "CreateCluster",
            "createcluster",
            "create*",
            "*cluster",
            "c*t*r",
            "*",
            "**",
        ] {
            assert!(fits(fitting, "CreateCluster"), "{fitting}");
        }
        for other in ["Create", "*Failure", "create*er*er", "", "x*"] {
            assert!(!fits(other, "CreateCluster"), "{other}");
        }
    }

    #[test]
    fn the_parts_of_a_pattern_do_not_overlap() {
        assert!(!fits("aba*ba", "abab"));
        assert!(fits("ab*ba", "abba"));
        assert!(!fits("ab*ba", "aba"));
    }
}
