//! Which kernel modules there are, what they need, and which devices they are for, as depmod writes it.
//!
//! Formats: kmod's `modules.dep(5)`; `modules.alias` holds lines `alias PATTERN MODULE` with the patterns of
//! `fnmatch(3)`. A hyphen and an underscore are the same in both, as in kmod.

use std::collections::BTreeMap;

/// The modules of the initrd.
#[derive(Debug, Default)]
pub struct Index {
    /// The file of a module, below the modules' directory, and the names of those it needs, by name.
    modules: BTreeMap<String, (String, Vec<String>)>,
    /// Pattern and module's name, in the order of the file.
    aliases: Vec<(String, String)>,
}

impl Index {
    /// Reads `modules.dep` and `modules.alias`. A line that is none of theirs is not taken.
    #[must_use]
    pub fn parse(dependencies: &str, aliases: &str) -> Self {
        let module = |line: &str| {
            let (file, needs) = line.split_once(':')?;
            let needs = needs.split_ascii_whitespace().map(name_of).collect();
            Some((name_of(file), (file.to_owned(), needs)))
        };
        let alias = |line: &str| {
            let (pattern, module) = line.strip_prefix("alias ")?.rsplit_once(' ')?;
            Some((pattern.replace('-', "_"), name_of(module)))
        };
        Self {
            modules: dependencies.lines().filter_map(module).collect(),
            aliases: aliases.lines().filter_map(alias).collect(),
        }
    }

    /// The modules for a device with that `modalias`, by name.
    #[must_use]
    pub fn for_device(&self, modalias: &str) -> Vec<&str> {
        let modalias = modalias.replace('-', "_");
        let matching = self.aliases.iter().filter(|(pattern, _)| matches(pattern.as_bytes(), modalias.as_bytes()));
        let mut found: Vec<&str> = Vec::new();
        for (_, module) in matching {
            if !found.contains(&module.as_str()) {
                found.push(module);
            }
        }
        found
    }

    /// The names and files to load for the module `name`, in this order, itself last. Empty if there is no such module:
    /// then it is part of the kernel, or the kernel has not got it.
    #[must_use]
    pub fn order(&self, name: &str) -> Vec<(&str, &str)> {
        let mut order = Vec::new();
        self.append(&name_of(name), &mut Vec::new(), &mut order);
        order
    }

    fn append<'a>(&'a self, name: &str, above: &mut Vec<&'a str>, order: &mut Vec<(&'a str, &'a str)>) {
        let Some((name, (file, needs))) = self.modules.get_key_value(name) else { return };
        // Modules that need one another are no kernel's; here they would be no end.
        if above.contains(&name.as_str()) || order.iter().any(|(known, _)| known == name) {
            return;
        }
        above.push(name);
        needs.iter().for_each(|needed| self.append(needed, above, order));
        above.pop();
        order.push((name, file));
    }
}

/// A module's name, of its file or of a name with hyphens.
fn name_of(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split(".ko").next().unwrap_or(name).replace('-', "_")
}

/// Whether `text` matches the shell pattern, whose `*` matches anything.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => matches(rest, text) || !text.is_empty() && matches(pattern, &text[1..]),
        (Some((b'?', rest)), Some((_, text))) => matches(rest, text),
        (Some((b'[', rest)), Some((c, text))) => {
            let Some(end) = rest.iter().position(|c| *c == b']') else { return false };
            in_set(&rest[..end], *c) && matches(&rest[end + 1..], text)
        }
        (Some((p, pattern)), Some((c, text))) => p == c && matches(pattern, text),
        _ => false,
    }
}

/// Whether `c` is one of the characters and ranges of `set`; `_` stands for the hyphen of a range too.
fn in_set(set: &[u8], c: u8) -> bool {
    match set {
        [first, b'-' | b'_', last, rest @ ..] => (*first..=*last).contains(&c) || in_set(rest, c),
        [one, rest @ ..] => *one == c || in_set(rest, c),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "kernel/d/dm-verity.ko: kernel/d/dm-bufio.ko kernel/l/reed_solomon.ko\n\
        kernel/d/dm-bufio.ko:\nkernel/l/reed_solomon.ko: kernel/l/base.ko\nkernel/l/base.ko:\n\
        kernel/n/nvme.ko: kernel/n/nvme-core.ko\nkernel/n/nvme-core.ko:\nno line of depmod's\n";
    const ALIASES: &str = "# Aliases extracted from modules themselves.\n\
        alias pci:v*d*sv*sd*bc01sc08i02* nvme\nalias pci:v00001D0Fd00008061sv*sd*bc*sc*i* nvme\n\
        alias scsi:t-0x00* sd_mod\nalias of:N*T*Cfoo,a[0-9]x nvme\n";

    fn order(name: &str) -> Vec<String> {
        let index = Index::parse(DEPENDENCIES, ALIASES);
        index.order(name).iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    #[test]
    fn what_a_module_needs_comes_first_and_once() {
        assert_eq!(order("dm-verity"), ["dm_bufio", "base", "reed_solomon", "dm_verity"]);
        assert_eq!(order("dm_bufio"), ["dm_bufio"]);
        assert_eq!(order("ext4"), [""; 0]);
        let index = Index::parse(DEPENDENCIES, ALIASES);
        assert_eq!(index.order("nvme").last(), Some(&("nvme", "kernel/n/nvme.ko")));
        let circle = Index::parse("a.ko: b.ko\nb.ko: a.ko\n", "");
        assert_eq!(circle.order("a").iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn devices_find_their_modules_once() {
        let index = Index::parse(DEPENDENCIES, ALIASES);
        let amazon = "pci:v00001D0Fd00008061sv00001D0Fsd00008061bc01sc08i02";
        assert_eq!(index.for_device(amazon), ["nvme"]);
        assert_eq!(index.for_device("scsi:t-0x00"), ["sd_mod"]);
        assert_eq!(index.for_device("of:NaTbCfoo,a7x"), ["nvme"]);
        for none in ["scsi:t-0x05", "pci:v00008086d00001237sv00001AF4sd00001100bc06sc00i00", "of:NaTbCfoo,axx", ""] {
            assert_eq!(index.for_device(none), [""; 0], "{none}");
        }
    }
}
