//! CRC-64 of ISO 3309, as Docker's tar-split records it for each file.
//!
//! The polynomial is x⁶⁴ + x⁴ + x³ + x + 1: so few terms that shifts are quicker than tables. Bits are reversed: the top
//! one of a word is x⁰, and a shift to the right multiplies by x.

/// Words that are taken side by side.
const LANES: usize = 8;

/// A checksum under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crc64(u64);

impl Crc64 {
    /// The checksum of nothing.
    pub(super) fn new() -> Self {
        Self(0)
    }

    /// Goes on with `bytes`.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let (blocks, words) = words.as_chunks::<LANES>();
        let mut crc = !self.0;
        if let Some((first, blocks)) = blocks.split_first() {
            let mut lanes = first.map(u64::from_le_bytes);
            lanes[0] ^= crc;
            for block in blocks {
                for (lane, word) in lanes.iter_mut().zip(block) {
                    *lane = times_x_512(*lane) ^ u64::from_le_bytes(*word);
                }
            }
            crc = lanes.into_iter().fold(0, |crc, lane| times_x_64(crc ^ lane));
        }
        for word in words {
            crc = times_x_64(crc ^ u64::from_le_bytes(*word));
        }
        for byte in rest {
            crc ^= u64::from(*byte);
            crc = (crc >> 8) ^ times_tail(crc << 56);
        }
        self.0 = !crc;
    }

    /// The checksum, most significant byte first.
    pub(super) fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// Times x⁴ + x³ + x + 1, which is what x⁶⁴ leaves: for a product below x⁶⁴.
fn times_tail(word: u64) -> u64 {
    word ^ word >> 1 ^ word >> 3 ^ word >> 4
}

/// What goes beyond x⁶³ comes back by its tail.
fn times_x_64(word: u64) -> u64 {
    times_tail(word) ^ times_tail(word << 63 ^ word << 61 ^ word << 60)
}

/// The tail squared three times: x³² + x²⁴ + x⁸ + 1.
fn times_x_512(word: u64) -> u64 {
    word ^ word >> 8 ^ word >> 24 ^ word >> 32 ^ times_tail(word << 56 ^ word << 40 ^ word << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> u64 {
        let mut crc = Crc64::new();
        crc.update(bytes);
        u64::from_be_bytes(crc.bytes())
    }

    /// Bit by bit, as the standard describes it.
    fn slowly(bytes: &[u8]) -> u64 {
        let bit = |crc: u64| if crc & 1 == 1 { crc >> 1 ^ 0xd800_0000_0000_0000 } else { crc >> 1 };
        !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u64::from(*byte), |crc, _| bit(crc)))
    }

    #[test]
    fn agrees_with_the_catalogue_and_with_itself_in_parts() {
        // The check value that the algorithm is published with.
        assert_eq!(of(b"123456789"), 0xb909_56c7_75a4_1001);
        assert_eq!(of(b""), 0);
        let bytes: Vec<u8> = (0..1000_u32).map(|n| (n * n * 7 % 251) as u8).collect();
        for length in 0..300 {
            assert_eq!(of(&bytes[..length]), slowly(&bytes[..length]), "{length} bytes");
        }
        for cut in [1, 7, 8, 9, 63, 500] {
            let mut crc = Crc64::new();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            assert_eq!(u64::from_be_bytes(crc.bytes()), slowly(&bytes));
        }
    }
}
