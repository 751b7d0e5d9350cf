//! CRC-64 of ISO 3309, as Docker's tar-split records it for each file.

/// The polynomial, bits reversed.
const POLYNOMIAL: u64 = 0xd800_0000_0000_0000;

/// Eight bytes a step: one table for each place.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut n = 0;
    while n < 256 {
        let mut value = n as u64;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        tables[0][n] = value;
        n += 1;
    }
    let mut place = 1;
    while place < 8 {
        let mut n = 0;
        while n < 256 {
            let before = tables[place - 1][n];
            tables[place][n] = tables[0][(before & 0xff) as usize] ^ (before >> 8);
            n += 1;
        }
        place += 1;
    }
    tables
}

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
        let mut crc = !self.0;
        let (eights, rest) = bytes.as_chunks::<8>();
        for eight in eights {
            let word = crc ^ u64::from_le_bytes(*eight);
            let look = |place: usize, shift: u32| TABLES[place][(word >> shift & 0xff) as usize];
            crc = look(7, 0)
                ^ look(6, 8)
                ^ look(5, 16)
                ^ look(4, 24)
                ^ look(3, 32)
                ^ look(2, 40)
                ^ look(1, 48)
                ^ look(0, 56);
        }
        for byte in rest {
            crc = TABLES[0][((crc ^ u64::from(*byte)) & 0xff) as usize] ^ (crc >> 8);
        }
        self.0 = !crc;
    }

    /// The checksum, most significant byte first.
    pub(super) fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> u64 {
        let mut crc = Crc64::new();
        crc.update(bytes);
        u64::from_be_bytes(crc.bytes())
    }

    #[test]
    fn agrees_with_the_catalogue_and_with_itself_in_parts() {
        // The check value that the algorithm is published with.
        assert_eq!(of(b"123456789"), 0xb909_56c7_75a4_1001);
        assert_eq!(of(b""), 0);
        let bytes: Vec<u8> = (0..1000_u32).map(|n| (n * 7 % 251) as u8).collect();
        for cut in [1, 7, 8, 9, 63, 500] {
            let mut crc = Crc64::new();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            assert_eq!(u64::from_be_bytes(crc.bytes()), of(&bytes));
        }
    }
}
