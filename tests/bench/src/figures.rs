//! What is printed.

/// A measured figure and what it is held to.
pub struct Figure {
    /// What was measured, and how often.
    pub what: String,
    /// The aim, as it is written; empty where there is none.
    pub aim: &'static str,
    /// What came out.
    pub measured: String,
    /// Whether the aim was met; none where there is none.
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
            None => "",
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
    fn a_quantile_is_a_value_that_was_measured() {
        let sample = Sample::of((1..=100).rev().map(f64::from).collect());
        let quantiles = [0.0, 0.5, 0.99, 1.0].map(|share| sample.quantile(share));
        assert_eq!(quantiles, [1.0, 50.0, 99.0, 100.0]);
        assert_eq!(Sample::of(vec![7.0]).quantile(0.5), 7.0);
    }
}
