//! A folder as `ls -lh` prints it, whose output 4.1 hands on.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use pgo_proto::agent::{Entry, ListFolderResponse};

/// What is older, or of the future, is shown with its year instead of its time: half of the mean Gregorian year, as ls has it.
const RECENT: SignedDuration = SignedDuration::from_secs(31_556_952 / 2);

/// Bytes of one of stat's blocks.
const BLOCK: u64 = 512;

/// A folder, or a file alone, with a line each.
pub(super) fn text(listed: &ListFolderResponse, now: Timestamp) -> String {
    let width = |of: fn(&Entry) -> String| {
        let lengths = listed.entries.iter().map(|one| of(one).chars().count());
        lengths.max().unwrap_or_default()
    };
    let (links, owner, group, size) = (
        width(|one| one.links.to_string()),
        width(|one| one.owner.clone()),
        width(|one| one.group.clone()),
        width(|one| human(one.size)),
    );
    let mut text = String::new();
    if listed.folder {
        let blocks: u64 = listed.entries.iter().map(|one| one.blocks).sum();
        text.push_str(&format!("total {}\n", human(blocks * BLOCK)));
    }
    for entry in &listed.entries {
        let target = match entry.target.as_str() {
            "" => String::new(),
            target => format!(" -> {target}"),
        };
        text.push_str(&format!(
            "{} {:>links$} {:<owner$} {:<group$} {:>size$} {} {}{target}\n",
            mode(entry.mode),
            entry.links,
            entry.owner,
            entry.group,
            human(entry.size),
            time(entry, now),
            entry.name,
        ));
    }
    if listed.left_out > 0 {
        text.push_str(&format!("({} more are not listed)\n", listed.left_out));
    }
    text
}

/// Kind and permissions, as `ls` writes them.
fn mode(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o060_000 => 'b',
        0o020_000 => 'c',
        _ => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, sign) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 > 0 { 'r' } else { '-' });
        text.push(if bits & 2 > 0 { 'w' } else { '-' });
        text.push(match (mode & special > 0, bits & 1 > 0) {
            (true, true) => sign,
            (true, false) => sign.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// Bytes as `ls -h` writes them: rounded up, with one decimal below ten of a unit.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    if bytes < 1024 {
        return bytes.to_string();
    }
    let bytes = u128::from(bytes);
    let mut unit = 1;
    loop {
        let size = 1_u128 << (10 * unit);
        let tenths = (bytes * 10).div_ceil(size);
        if tenths < 100 {
            return format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit]);
        }
        let whole = bytes.div_ceil(size);
        if whole < 1024 || unit + 1 == UNITS.len() {
            return format!("{whole}{}", UNITS[unit]);
        }
        unit += 1;
    }
}

fn time(entry: &Entry, now: Timestamp) -> String {
    let modified = entry.modified.as_ref();
    let modified = modified.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok());
    let modified = modified.unwrap_or(Timestamp::UNIX_EPOCH);
    let age = now.duration_since(modified);
    let is_recent = age <= RECENT && age >= SignedDuration::ZERO;
    let form = if is_recent {
        "%b %e %H:%M"
    } else {
        "%b %e  %Y"
    };
    modified.to_zoned(TimeZone::UTC).strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, mode: u32, size: u64, modified: &str) -> Entry {
        let modified: Timestamp = modified.parse().expect("a time");
        Entry {
            name: name.to_owned(),
            mode,
            links: 2,
            owner: "root".to_owned(),
            group: "root".to_owned(),
            size,
            blocks: 8,
            modified: Some(prost_types::Timestamp {
                seconds: modified.as_second(),
                nanos: 0,
            }),
            target: String::new(),
        }
    }

    #[test]
    fn a_folder_looks_as_in_the_recording() {
        let listed = ListFolderResponse {
            folder: true,
            entries: vec![
                entry("apt.conf.d", 0o040_755, 4096, "2026-11-22T13:20:00Z"),
                entry("auth.conf.d", 0o040_755, 4096, "2023-05-25T00:00:00Z"),
                Entry {
                    links: 1,
                    ..entry("sources.list", 0o100_644, 47, "2026-11-22T13:20:00Z")
                },
            ],
            left_out: 0,
        };
        let now = "2026-11-23T00:00:00Z".parse().expect("a time");
        let expected = "total 12K\n\
            drwxr-xr-x 2 root root 4.0K Nov 22 13:20 apt.conf.d\n\
            drwxr-xr-x 2 root root 4.0K May 25  2023 auth.conf.d\n\
            -rw-r--r-- 1 root root   47 Nov 22 13:20 sources.list\n";
        assert_eq!(text(&listed, now), expected);
    }

    #[test]
    fn a_file_alone_has_no_total_and_what_is_left_out_is_said() {
        let link = Entry {
            target: "b".to_owned(),
            ..entry("a", 0o120_777, 1, "2026-11-05T13:20:00Z")
        };
        let listed = ListFolderResponse {
            folder: false,
            entries: vec![link],
            left_out: 3,
        };
        let now = "2026-11-23T00:00:00Z".parse().expect("a time");
        let expected = "lrwxrwxrwx 2 root root 1 Nov  5 13:20 a -> b\n(3 more are not listed)\n";
        assert_eq!(text(&listed, now), expected);
    }

    #[test]
    fn sizes_are_rounded_up() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1025, "1.1K"),
            (10_189, "10K"),
            (10_240, "10K"),
            (10_241, "11K"),
            (1_048_575, "1.0M"),
            (16_777_216, "16M"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(human(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn special_bits_are_shown() {
        assert_eq!(mode(0o104_755), "-rwsr-xr-x");
        assert_eq!(mode(0o041_777), "drwxrwxrwt");
        assert_eq!(mode(0o102_644), "-rw-r-Sr--");
        assert_eq!(mode(0o010_600), "prw-------");
    }
}
