//! The generator's random numbers: a seeded stream with the handful of draws that the generators use.

use pktwalk_linux::choice::Seeded;

/// A stream that depends on its seed alone.
#[derive(Clone, Debug)]
pub struct Rng(Seeded);

impl Rng {
    /// Every value is a good seed.
    pub fn new(seed: u64) -> Rng {
        Rng(Seeded::new(seed))
    }

    /// A stream of its own for part `number` of whatever `self` generates, so that parts can be dropped without changing the others.
    pub fn fork(&mut self, number: u64) -> Rng {
        Rng::new(self.0.next_u64() ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// In `0..n`; 0 for `n` 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % (n.max(1) as u64)) as usize
    }

    /// In `lo..=hi`.
    pub fn between(&mut self, lo: u32, hi: u32) -> u32 {
        lo + self.below((hi - lo) as usize + 1) as u32
    }

    /// True in `percent` of 100 draws.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// `Some(make)` in `percent` of 100 draws.
    pub fn maybe<T>(&mut self, percent: usize, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
        self.chance(percent).then(|| make(self))
    }
}
