//! Chance from a seed, so that what happened can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

/// A row of numbers (xorshift64, Marsaglia 2003).
pub struct Chance(u64);

impl Chance {
    /// That of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// The next number below `below`.
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    /// These in another order (Fisher and Yates).
    pub fn shuffled<T: Copy>(&mut self, all: &[T]) -> Vec<T> {
        let mut all = all.to_vec();
        for at in (1..all.len()).rev() {
            let with = self.below(at as u64 + 1);
            all.swap(at, usize::try_from(with).expect("small"));
        }
        all
    }
}

/// The seed that this variable has, or another one each time.
pub fn seed(variable: &str) -> u64 {
    let given = std::env::var(variable).ok();
    let given = given.map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number"))
    });
    given.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.expect("a time after 1970").as_secs() | 1
    })
}
