//! What is printed.

use anyhow::Context as _;

/// How many are measured of what is counted, where that is not as many as the figure is meant to have: a few show that a row
/// can be measured, and nothing of its aim.
const COUNT: &str = "BENCH_COUNT";

/// How many to measure: as the environment says, else as many as `usual`.
///
/// # Errors
/// What the environment says is no number from 1 on.
pub fn count(usual: usize) -> anyhow::Result<usize> {
    match std::env::var(COUNT) {
        Ok(text) if !text.is_empty() => read(&text),
        _ => Ok(usual),
    }
}

fn read(text: &str) -> anyhow::Result<usize> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.with_context(|| format!("{COUNT} is {text:?}; give a number from 1 on"))
}

/// Whether an aim was met, where as many were measured as are needed to tell.
pub fn verdict(is_met: bool, (count, usual): (usize, usize)) -> Option<bool> {
    (count >= usual).then_some(is_met)
}

/// A measured figure and what it is held to.
pub struct Figure {
    /// What was measured, and how often.
    pub what: String,
    /// The aim, as it is written; empty where there is none.
    pub aim: &'static str,
    /// What came out.
    pub measured: String,
    /// Whether the aim was met; none where there is none, or too few were measured to tell.
    pub met: Option<bool>,
}

/// Durations in milliseconds, sorted.
pub struct Sample(Vec<f64>);

impl Sample {
    /// Of durations in milliseconds, in any order.
    pub fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        Self(all)
    }

    /// The value below which this share (0 to 1) of the values lie; the nearest that was measured.
    pub fn quantile(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0
            .get(rank.saturating_sub(1).min(last))
            .copied()
            .unwrap_or(f64::NAN)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// The figures as a table of Markdown.
pub fn table(figures: &[Figure]) -> String {
    let mut lines = vec!["| figure | aim | measured | met |".to_owned()];
    lines.push("|---|---|---|---|".to_owned());
    for figure in figures {
        let met = match figure.met {
            None if figure.aim.is_empty() => "",
            None => "too few",
            Some(true) => "yes",
            Some(false) => "no",
        };
        lines.push(format!(
            "| {} | {} | {} | {met} |",
            figure.what, figure.aim, figure.measured
        ));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_of_a_few_is_not_held_to_its_aim() {
        let of = |count| {
            let figure = Figure {
                what: format!("{count} runs"),
                aim: "under 1 s",
                measured: "0.5 s".to_owned(),
                met: verdict(true, (count, 20)),
            };
            table(&[figure]).lines().last().map(str::to_owned)
        };
        assert_eq!(
            of(2).as_deref(),
            Some("| 2 runs | under 1 s | 0.5 s | too few |")
        );
        assert_eq!(
            of(20).as_deref(),
            Some("| 20 runs | under 1 s | 0.5 s | yes |")
        );
    }

    #[test]
    fn a_count_is_a_number_from_one_on() {
        assert_eq!(read("2").ok(), Some(2));
        for wrong in ["0", "-1", "two", "1.5"] {
            let told = read(wrong).unwrap_err().to_string();
            assert!(told.contains("BENCH_COUNT"), "{told}");
        }
    }

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let sample = Sample::of((1..=100).rev().map(f64::from).collect());
        let quantiles = [0.0, 0.5, 0.99, 1.0].map(|share| sample.quantile(share));
        assert_eq!(quantiles, [1.0, 50.0, 99.0, 100.0]);
        assert_eq!(Sample::of(vec![7.0]).quantile(0.5), 7.0);
    }
}
