//! Chance from a seed.

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). Its own, so that a seed means the
/// same schedule whatever version of a library is in use.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The same seed gives the same chance.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..below`; 0 where there is none.
    pub fn below(&mut self, below: u64) -> u64 {
        // The bias is 2^-50 for what is drawn here.
        self.next() % below.max(1)
    }

    /// A place in a list of this length.
    pub fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// One of `least..=most`.
    pub fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.place(most - least + 1)
    }

    /// True so many times in a thousand.
    pub fn happens(&mut self, in_thousand: u64) -> bool {
        in_thousand > 0 && self.below(1000) < in_thousand
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_always_the_same_chance() {
        // From the reference implementation in C (prng.di.unimi.it/splitmix64.c) with seed 1234567.
        let mut chance = Chance::new(1_234_567);
        assert_eq!(chance.next(), 6_457_827_717_110_365_317);
        assert_eq!(chance.next(), 3_203_168_211_198_807_973);
    }
}
