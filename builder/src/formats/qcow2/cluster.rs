//! What becomes of a cluster's bytes: nothing, themselves, or a deflate stream.

use anyhow::{Context as _, Result};
use flate2::{Compress, Compression, FlushCompress, Status};

use super::CLUSTER;
use crate::sys::sparse;

/// QEMU inflates with a window of 2^12 bytes (`block/qcow2-threads.c`), as do other readers. A longer reach happens to
/// work where all is inflated in one call, and would save 2.6 %; it is not promised.
const WINDOW_BITS: u8 = 12;
/// Clusters that shrink by less than a sixteenth are stored: they would be inflated at every read for next to nothing.
const WORTHWHILE: usize = CLUSTER - CLUSTER / 16;
/// Room for any cluster's stream: level 1 takes up to 9 bits a byte. zlib-rs 0.6.8 panics at level 1 when the output
/// is too short, so it never is.
const LONGEST: usize = CLUSTER + CLUSTER / 4;

/// What a cluster becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// All zeros: not stored.
    Zero,
    /// As it is.
    Stored,
    /// A deflate stream of this many bytes.
    Deflated(usize),
}

/// Deflates clusters one by one, each on its own: what became of one never changes another.
#[derive(Debug)]
pub(super) struct Squeezer {
    deflate: Compress,
    stream: Vec<u8>,
}

impl Squeezer {
    /// `level` is zlib's, 1 to 9.
    pub(super) fn new(level: u32) -> Self {
        let deflate = Compress::new_with_window_bits(Compression::new(level), false, WINDOW_BITS);
        Self { deflate, stream: vec![0; LONGEST] }
    }

    /// Decides on a whole cluster and appends the deflate stream, if there is one, to `packed`.
    pub(super) fn squeeze(&mut self, cluster: &[u8], packed: &mut Vec<u8>) -> Result<Fate> {
        if sparse::is_zero(cluster) {
            return Ok(Fate::Zero);
        }
        if looks_random(cluster) {
            return Ok(Fate::Stored);
        }
        self.deflate.reset();
        let status =
            self.deflate.compress(cluster, &mut self.stream, FlushCompress::Finish).context("deflate failed")?;
        let length = usize::try_from(self.deflate.total_out())?;
        if status != Status::StreamEnd || length > WORTHWHILE {
            return Ok(Fate::Stored);
        }
        packed.extend_from_slice(&self.stream[..length]);
        Ok(Fate::Deflated(length))
    }
}

/// Whether bytes are distributed so evenly that they were compressed or encrypted before: deflate would take its time
/// and gain nothing.
fn looks_random(bytes: &[u8]) -> bool {
    // Four counts, so that equal neighbours do not wait for each other.
    let mut counts = [[0u32; 256]; 4];
    for quad in bytes.chunks_exact(4) {
        for (count, &byte) in counts.iter_mut().zip(quad) {
            count[usize::from(byte)] += 1;
        }
    }
    let squares: u64 = (0..256).map(|b| counts.iter().map(|count| u64::from(count[b])).sum::<u64>().pow(2)).sum();
    // Within 3 % of the least possible sum, that of equal counts, the collision entropy is above 7.95 bits a byte.
    let length = bytes.len() as u64;
    squares * 256 * 100 < length * length * 103
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise() -> Vec<u8> {
        let mut state = 1u64;
        let step = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        std::iter::repeat_with(step).take(CLUSTER).collect()
    }

    #[test]
    fn every_level_takes_bytes_that_grow() {
        // Static codes give bytes above 143 nine bits each, and such bytes alone do not look random.
        let high: Vec<u8> = noise().into_iter().map(|byte| 144 + byte % 112).collect();
        for level in 1..=9 {
            Squeezer::new(level).squeeze(&high, &mut Vec::new()).unwrap();
        }
    }

    #[test]
    fn no_level_reaches_beyond_the_window_of_qemu() {
        // Six random bits a byte, over and over: only a reach of a whole period makes them less.
        let noise = noise();
        let repeated = |period: usize| -> Vec<u8> { (0..CLUSTER).map(|i| noise[i % period] & 63).collect() };
        for level in 1..=9 {
            let squeeze = |cluster: &[u8]| Squeezer::new(level).squeeze(cluster, &mut Vec::new()).unwrap();
            assert!(matches!(squeeze(&repeated(3500)), Fate::Deflated(..10_000)), "level {level}");
            assert!(matches!(squeeze(&repeated(4200)), Fate::Stored | Fate::Deflated(48_000..)), "level {level}");
        }
    }

    #[test]
    fn zeros_vanish_text_shrinks_and_noise_stays() {
        let noise = noise();
        let text: Vec<u8> = b"the quick brown fox ".iter().copied().cycle().take(CLUSTER).collect();
        let (mut squeezer, mut packed) = (Squeezer::new(3), Vec::new());
        assert_eq!(squeezer.squeeze(&vec![0; CLUSTER], &mut packed).unwrap(), Fate::Zero);
        assert_eq!(squeezer.squeeze(&noise, &mut packed).unwrap(), Fate::Stored);
        assert!(packed.is_empty());
        let Fate::Deflated(length) = squeezer.squeeze(&text, &mut packed).unwrap() else { panic!("text must shrink") };
        assert_eq!(packed.len(), length);

        // The same again, whatever the squeezer did before.
        let first = packed.clone();
        squeezer.squeeze(&noise[..CLUSTER], &mut Vec::new()).unwrap();
        squeezer.squeeze(&text, &mut packed).unwrap();
        assert!(packed[length..] == first);
    }
}
