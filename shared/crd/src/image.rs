//! Names and tags of images, as registries have them (OCI Distribution Specification 1.1, "Pulling manifests").

use pgo_core::Image;

/// A text that no registry has an image under.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ImageError {
    #[error(
        "{0:?} is no name of an image; use a-z and 0-9, between them '.', '_', '__' or any number of '-', and '/' between parts, at most 255 characters, without prefix and tag"
    )]
    Name(String),
    #[error(
        "{0:?} is no tag of an image; use letters, digits, '_', '-' and '.', the last two not at the beginning, at most 128 characters"
    )]
    Tag(String),
}

/// The image of this name and tag under `prefix`.
pub(crate) fn image(prefix: &str, name: &str, tag: &str) -> Result<Image, ImageError> {
    if name.len() > 255 || !name.split('/').all(is_part) {
        return Err(ImageError::Name(name.to_owned()));
    }
    if !is_tag(tag) {
        return Err(ImageError::Tag(tag.to_owned()));
    }
    Ok(Image(format!("{prefix}/{name}:{tag}")))
}

/// Whether a text can stand between two slashes.
fn is_part(text: &str) -> bool {
    let in_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separates =
        |gap: &str| matches!(gap, "" | "." | "_" | "__") || gap.chars().all(|c| c == '-');
    text.starts_with(in_word) && text.ends_with(in_word) && text.split(in_word).all(separates)
}

fn is_tag(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=128).contains(&text.len()) && text.chars().all(fits) && !text.starts_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_prefix_name_and_tag() {
        let made = image("localhost/pgo", "crunchy-postgres", "debian12-15");
        let expected = Image("localhost/pgo/crunchy-postgres:debian12-15".to_owned());
        assert_eq!(made, Ok(expected));
        for name in [
            "a",
            "a.b",
            "a_b",
            "a__b",
            "a---b",
            "a/b-c/d0",
            &"a".repeat(255),
        ] {
            assert!(image("p", name, "t").is_ok(), "{name}");
        }
        for tag in ["1", "_", "v1.0-rc_2", &"t".repeat(128)] {
            assert!(image("p", "a", tag).is_ok(), "{tag}");
        }
    }

    #[test]
    fn what_no_registry_takes_is_refused() {
        for name in [
            "",
            "A",
            "a b",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a___b",
            "a._b",
            "-a",
            "a-",
            "a:b",
            "a@b",
            &"a".repeat(256),
        ] {
            let refused = image("p", name, "t");
            assert_eq!(refused, Err(ImageError::Name(name.to_owned())));
        }
        for tag in ["", "a b", "a:b", "-a", ".a", "ä", &"t".repeat(129)] {
            let refused = image("p", "a", tag);
            assert_eq!(refused, Err(ImageError::Tag(tag.to_owned())));
        }
    }
}
