//! Quantities of Kubernetes: what they look like, which is more, and sums of volume sizes.

use std::cmp::Ordering;

/// A text that is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a quantity; give a number with a suffix, such as 512Mi, 1G or 0.1")]
pub struct NotAQuantity(String);

/// Suffixes that multiply by powers of 1024, largest first.
const BINARY: [(&str, u128); 6] = [
    ("Ei", 1 << 60),
    ("Pi", 1 << 50),
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
];

/// Suffixes that multiply by powers of 1000, largest first.
const DECIMAL: [(&str, u128); 6] = [
    ("E", 1_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

/// Suffixes that divide: 1 n = 1e-9.
const FRACTIONS: [(&str, u32); 3] = [("n", 9), ("u", 6), ("m", 3)];

/// Longest digits taken, so that no number overflows; Kubernetes has no use for more either.
const LONGEST: usize = 18;

/// The whole units in a quantity, rounded up: bytes of a volume. The text is one of Kubernetes' forms: decimal number
/// and suffix, or exponent.
///
/// # Errors
/// It is none of them.
pub fn whole(text: &str) -> Result<u128, NotAQuantity> {
    let (product, divisor) = parts(text)?;
    Ok(product.div_ceil(divisor))
}

/// Which of two quantities is more.
///
/// # Errors
/// One is none.
pub fn compare(one: &str, other: &str) -> Result<Ordering, NotAQuantity> {
    let both = (parts(one)?, parts(other)?);
    let ((one, of_one), (other, of_other)) = both;
    // Whole units first: their products with the divisors could be too large.
    let wholes = (one / of_one).cmp(&(other / of_other));
    let rest = |value: u128, divisor: u128, by: u128| (value % divisor).saturating_mul(by);
    Ok(wholes.then(rest(one, of_one, of_other).cmp(&rest(other, of_other, of_one))))
}

/// A quantity as a fraction.
fn parts(text: &str) -> Result<(u128, u128), NotAQuantity> {
    let wrong = || NotAQuantity(text.chars().take(80).collect());
    let end = text
        .find(|c: char| !matches!(c, '0'..='9' | '.'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{integer}{fraction}");
    if digits.is_empty() || digits.len() > LONGEST || fraction.contains('.') {
        return Err(wrong());
    }
    let value: u128 = digits.parse().map_err(|_| wrong())?;
    let (factor, tens) = scale(suffix).ok_or_else(wrong)?;
    let places = u32::try_from(fraction.len()).map_err(|_| wrong())?;
    let divisor = 10_u128.pow(places + tens);
    let product = value.checked_mul(factor).ok_or_else(wrong)?;
    Ok((product, divisor))
}

/// What a suffix multiplies by, and by which power of ten it divides.
fn scale(suffix: &str) -> Option<(u128, u32)> {
    if suffix.is_empty() {
        return Some((1, 0));
    }
    let multiple = BINARY
        .iter()
        .chain(&DECIMAL)
        .find(|(name, _)| *name == suffix);
    if let Some((_, factor)) = multiple {
        return Some((*factor, 0));
    }
    if let Some((_, tens)) = FRACTIONS.iter().find(|(name, _)| *name == suffix) {
        return Some((1, *tens));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    match exponent {
        0..=18 => Some((10_u128.pow(exponent.unsigned_abs()), 0)),
        -9..0 => Some((1, exponent.unsigned_abs())),
        _ => None,
    }
}

/// A sum as Kubernetes would write it: with the largest suffix that leaves a whole number. `binary` is the family of
/// suffixes that the summands had.
pub fn shown(bytes: u128, binary: bool) -> String {
    let family = if binary { &BINARY } else { &DECIMAL };
    family
        .iter()
        .find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor))
        .map_or_else(
            || bytes.to_string(),
            |(suffix, factor)| format!("{}{suffix}", bytes / factor),
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_form_of_kubernetes_is_read() {
        for (text, bytes) in [
            ("0", 0),
            ("300M", 300_000_000),
            ("1Gi", 1 << 30),
            ("1.5Ki", 1536),
            ("0.1", 1),
            ("100m", 1),
            ("2500m", 3),
            ("1e3", 1000),
            ("4.0", 4),
            ("5e-1", 1),
        ] {
            assert_eq!(whole(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn quantities_of_different_forms_are_compared() {
        for (less, more) in [
            ("1Gi", "2Gi"),
            ("1G", "1Gi"),
            ("100m", "0.2"),
            ("999Mi", "1Gi"),
            ("0.1", "1"),
            ("1e3", "1Ki"),
            ("0.5m", "0.001"),
        ] {
            assert_eq!(compare(less, more), Ok(Ordering::Less), "{less} {more}");
            assert_eq!(compare(more, less), Ok(Ordering::Greater), "{less} {more}");
        }
        assert_eq!(compare("1024Mi", "1Gi"), Ok(Ordering::Equal));
        assert_eq!(compare("1500m", "1.5"), Ok(Ordering::Equal));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "",
            "M",
            "1.2.3",
            "1 Gi",
            "-1",
            "1GB",
            "ten",
            "1e99",
            "9999999999999999999",
        ] {
            assert!(whole(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_sum_has_the_largest_suffix_that_fits() {
        assert_eq!(shown(900 << 20, true), "900Mi");
        assert_eq!(shown(2 << 30, true), "2Gi");
        assert_eq!(shown(600_000_000, false), "600M");
        assert_eq!(shown(0, true), "0");
        assert_eq!(shown(1025, true), "1025");
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "\\PC{0,30}") {
            let _ = whole(&text);
        }

        #[test]
        fn a_shown_sum_reads_as_itself(bytes in 0_u64.., binary: bool) {
            let text = shown(u128::from(bytes), binary);
            if text.len() <= LONGEST {
                prop_assert_eq!(whole(&text), Ok(u128::from(bytes)));
            }
        }
    }
}
