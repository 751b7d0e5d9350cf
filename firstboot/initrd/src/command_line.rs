//! What the kernel's command line says to the initrd.
//!
//! Words are split as the kernel splits them (`lib/cmdline.c`, `next_arg`): at white space outside of double quotes, and
//! what follows `--` is init's own.

use crate::failure::Failure;

/// The parameter that names the root hash. Not `roothash=`: systemd's generator in the node's own root would read that
/// too and open the same device a second time.
pub const ROOT: &str = "habuild.root";

/// The parameter that asks for a shell.
pub const DEBUG: &str = "habuild.debug";

/// The root hash of dm-verity: SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootHash(pub [u8; 32]);

impl RootHash {
    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
        let mut bytes = [0; 32];
        (digits.len() == 64).then_some(())?;
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Some(Self(bytes))
    }
}

impl std::fmt::Display for RootHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What the command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The root hash of the image that was started.
    pub root: RootHash,
    /// `init=`: the program to start; `/sbin/init` if it is not there.
    pub init: String,
    /// `habuild.debug`: a shell before the state is touched, and one when the node cannot be started.
    pub debug: bool,
}

impl CommandLine {
    /// Reads `/proc/cmdline`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let words = words(text);
        let values = |name: &str| -> Vec<&str> {
            let named = words.iter().filter_map(|word| word.split_once('=')).filter(|(known, _)| *known == name);
            named.map(|(_, value)| value).collect()
        };
        let roots = values(ROOT);
        let root = match roots.as_slice() {
            [root] => RootHash::parse(root).ok_or_else(|| Failure::RootHash { text: (*root).to_owned() })?,
            [] => return Err(Failure::NoRootHash),
            many => return Err(Failure::ManyRootHashes { count: many.len() }),
        };
        // The last one counts, as in the kernel.
        let init = values("init").last().map_or("/sbin/init", |init| init).to_owned();
        Ok(Self { root, init, debug: words.iter().any(|word| word == DEBUG) })
    }
}

/// The words up to `--`, without the quotes around them or around their values.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_ascii_whitespace() && !quoted => words.push(String::new()),
            c => words.iter_mut().next_back().into_iter().for_each(|word| word.push(c)),
        }
    }
    words.into_iter().filter(|word| !word.is_empty()).take_while(|word| word != "--").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdeffedcba9876543210fedcba9876543210";

    fn root_of(text: &str) -> Result<String, String> {
        CommandLine::parse(text).map(|line| line.root.to_string()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_root_hash_is_found_among_others_and_init_can_be_named() {
        let line = format!("BOOT_IMAGE=/vmlinuz ro console=tty0 habuild.root={HASH} panic=10\n");
        let read = CommandLine::parse(&line).unwrap();
        assert_eq!((read.root.to_string().as_str(), read.init.as_str(), read.debug), (HASH, "/sbin/init", false));
        let read = CommandLine::parse(&format!("init=/bin/a init=/bin/b habuild.root={HASH}")).unwrap();
        assert_eq!(read.init, "/bin/b");
        assert!(CommandLine::parse(&format!("habuild.root={HASH} habuild.debug quiet")).unwrap().debug);
    }

    #[test]
    fn quoted_words_and_inits_own_hold_no_root_hash() {
        assert_eq!(root_of(&format!("\"habuild.root={HASH}\" a=\"b c\"")).unwrap(), HASH);
        for line in [format!("a=\"b habuild.root={HASH}\""), format!("ro -- habuild.root={HASH}"), String::new()] {
            assert!(root_of(&line).unwrap_err().contains("no habuild.root="), "{line}");
        }
    }

    #[test]
    fn a_hash_that_is_none_or_one_too_many_is_refused() {
        for wrong in ["", "0123", &HASH.replace('f', "g"), &format!("{HASH}00"), &HASH.replacen("01", "ä", 1)] {
            let said = root_of(&format!("habuild.root={wrong}")).unwrap_err();
            assert!(said.contains("64 hexadecimal digits"), "{said}");
        }
        assert!(root_of(&format!("habuild.root={HASH} habuild.root={HASH}")).unwrap_err().contains("2 times"));
    }
}
