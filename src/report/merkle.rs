//! A Merkle root over lines, as in RFC 6962, section 2.1: one hash that changes with any line, with
//! their order and with their number.
//!
//! Pure: the root follows from the lines.

use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// What is hashed before a line and before two hashes, so that neither can be taken for the other.
const LEAF: [u8; 1] = [0];
const NODE: [u8; 1] = [1];

/// The tree of the lines so far: for each full subtree its height and root, the highest first. So a
/// billion lines take thirty hashes.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    subtrees: Vec<(u32, Hash)>,
    lines: u64,
}

impl Tree {
    /// Adds a line, which has no line end.
    pub fn add(&mut self, line: &[u8]) {
        let mut top = (0, hash(&[&LEAF, line]));
        while let Some((height, left)) = self.subtrees.pop_if(|(height, _)| *height == top.0) {
            top = (height + 1, node(&left, &top.1));
        }
        self.subtrees.push(top);
        self.lines += 1;
    }

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The root over all of them.
    pub fn root(&self) -> Hash {
        let roots = self.subtrees.iter().rev().map(|(_, root)| *root);
        roots.reduce(|right, left| node(&left, &right)).unwrap_or_else(|| hash(&[]))
    }
}

fn node(left: &Hash, right: &Hash) -> Hash {
    hash(&[&NODE, left, right])
}

/// The SHA-256 of these texts one after the other.
pub fn hash(texts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    texts.iter().for_each(|text| hasher.update(text));
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_of(lines: &[&[u8]]) -> String {
        let mut tree = Tree::default();
        lines.iter().for_each(|line| tree.add(line));
        hex::encode(tree.root())
    }

    /// The definition in RFC 6962, which holds all lines.
    fn defined(lines: &[&[u8]]) -> Hash {
        match lines {
            [] => hash(&[]),
            [line] => hash(&[&LEAF, line]),
            _ => {
                let half = lines.len().next_power_of_two() / 2;
                node(&defined(&lines[..half]), &defined(&lines[half..]))
            }
        }
    }

    /// The vectors of Certificate Transparency's own implementations.
    #[test]
    fn the_root_is_that_of_rfc_6962() {
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        for (count, root) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(root_of(&inputs[..count]), root, "{count}");
        }
    }

    #[test]
    fn a_stream_gives_the_root_of_all_lines_together() {
        let lines: Vec<String> = (0..70).map(|n| format!("line {n}")).collect();
        let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        for count in 0..lines.len() {
            assert_eq!(root_of(&lines[..count]), hex::encode(defined(&lines[..count])), "{count}");
        }
        assert_ne!(root_of(&lines[..2]), root_of(&[lines[1], lines[0]]));
    }
}
