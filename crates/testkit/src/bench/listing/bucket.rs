//! Which of the computed keys a bucket has, and their objects.

use super::keys::hash;

/// Of a thousand source objects, the number missing at the destination.
const MISSING: u64 = 20;
/// Of a thousand source objects, the number with another size at the destination.
const DIFFERENT: u64 = 20;
/// All sizes are below this, in bytes: most objects fit into a pack.
const LARGEST: u64 = 8 * 1024 * 1024;

/// Which bucket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Every key.
    Source,
    /// The same keys, a few of them missing and a few of another size.
    Destination,
    /// None.
    Empty,
}

/// What a listing says of an object besides its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Bytes.
    pub size: u64,
    /// The number that the ETag is computed from.
    pub etag: u64,
}

/// How the destination differs from the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Missing objects.
    pub missing: u64,
    /// Objects with another size.
    pub different: u64,
}

impl Lacks {
    /// Of the first `count` keys.
    pub fn of(count: u64) -> Self {
        let mut lacks = Self::default();
        for number in 0..count {
            match lot(number) {
                lot if lot < MISSING => lacks.missing += 1,
                lot if lot < MISSING + DIFFERENT => lacks.different += 1,
                _ => {}
            }
        }
        lacks
    }
}

fn lot(number: u64) -> u64 {
    hash(number ^ 0x5eed) % 1000
}

impl Side {
    /// The object with this number, if there is one.
    pub fn object(self, number: u64) -> Option<Object> {
        let bits = hash(number.wrapping_mul(3));
        let same = Object { size: bits % LARGEST, etag: bits };
        match (self, lot(number)) {
            (Self::Empty, _) => None,
            (Self::Source, _) => Some(same),
            (Self::Destination, lot) if lot < MISSING => None,
            (Self::Destination, lot) if lot < MISSING + DIFFERENT => {
                Some(Object { size: same.size + 1, etag: bits ^ 1 })
            }
            (Self::Destination, _) => Some(same),
        }
    }
}
