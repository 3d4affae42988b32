//! The content of the synthetic objects: one block of noise, repeated.
//!
//! Any range is a slice, every digest is computed only once, and incoming bytes are compared with the
//! expected ones at the speed of memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use md5::{Digest, Md5};

/// The size of the block in bytes.
pub const BLOCK: u64 = 8 * 1024 * 1024;
/// Objects and parts begin at multiples of this offset in the block.
const GRAIN: u64 = 4096;
/// Up to this size, 2,048 consecutive objects all begin at different offsets.
const SMALL: u64 = 64 * 1024;

/// The block with its known digests.
pub struct Content {
    /// The block twice, so that a slice never wraps.
    twice: Bytes,
    /// The offset of every grain by its first eight bytes.
    starts: HashMap<[u8; 8], u64>,
    digests: Mutex<HashMap<(u64, u64), [u8; 16]>>,
}

impl Content {
    /// The same on every machine.
    pub fn new() -> Self {
        let mut twice = vec![0; BLOCK as usize];
        fastrand::Rng::with_seed(8).fill(&mut twice);
        twice.extend_from_within(..);
        let start = |at: u64| (first_eight(&twice[at as usize..]).expect("long enough"), at);
        let starts = (0..BLOCK / GRAIN).map(|grain| start(grain * GRAIN)).collect();
        Self { twice: twice.into(), starts, digests: Mutex::default() }
    }

    /// The offset in the block at which the object with this number begins.
    pub fn start_of(number: u64, size: u64) -> u64 {
        let step = if size <= SMALL { GRAIN } else { 1024 * 1024 };
        number * step % BLOCK
    }

    /// The pieces of a range that begins at this offset in the block.
    pub fn pieces(
        &self,
        start: u64,
        length: u64,
        piece: u64,
    ) -> impl Iterator<Item = Bytes> + use<> {
        let twice = self.twice.clone();
        (0..length.div_ceil(piece)).map(move |n| {
            let at = ((start + n * piece) % BLOCK) as usize;
            twice.slice(at..at + piece.min(length - n * piece) as usize)
        })
    }

    /// The MD5 of such a range.
    pub fn md5(&self, start: u64, length: u64) -> [u8; 16] {
        let known =
            |key| self.digests.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied();
        let key = (start % BLOCK, length);
        if let Some(md5) = known(&key) {
            return md5;
        }
        let mut hash = Md5::new();
        self.pieces(start, length, BLOCK).for_each(|piece| hash.update(&piece));
        let md5 = hash.finalize().into();
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).insert(key, md5);
        md5
    }

    /// The ETag that S3 would give an object: written in one piece, or in parts of this size.
    pub fn etag(&self, start: u64, size: u64, part: Option<u64>) -> String {
        let Some(part) = part else { return hex::encode(self.md5(start, size)) };
        let parts = (0..size.div_ceil(part)).map(|n| {
            let at = n * part;
            self.md5(start + at, part.min(size - at))
        });
        etag_of_parts(parts)
    }
}

/// The ETag of an object whose parts have these MD5s.
pub fn etag_of_parts(parts: impl Iterator<Item = [u8; 16]>) -> String {
    let mut hash = Md5::new();
    let count = parts.inspect(|md5| hash.update(md5)).count();
    format!("{}-{count}", hex::encode(hash.finalize()))
}

fn first_eight(bytes: &[u8]) -> Option<[u8; 8]> {
    bytes.get(..8)?.try_into().ok()
}

/// A body that is discarded. If it begins like the block, it is compared with the block and its MD5
/// is looked up; otherwise it is hashed.
pub struct Arrival<'a> {
    content: &'a Content,
    start: Option<u64>,
    hash: Option<Md5>,
    length: u64,
    differs: bool,
}

impl<'a> Arrival<'a> {
    /// A body of which nothing has arrived yet.
    pub fn new(content: &'a Content) -> Self {
        Self { content, start: None, hash: None, length: 0, differs: false }
    }

    /// Compares the next bytes with the expected ones.
    pub fn take(&mut self, bytes: &[u8]) {
        if self.length == 0 {
            self.start = first_eight(bytes).and_then(|b| self.content.starts.get(&b).copied());
            self.hash = self.start.is_none().then(Md5::new);
        }
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        } else if let Some(start) = self.start {
            for piece in bytes.chunks(BLOCK as usize) {
                let at = ((start + self.length) % BLOCK) as usize;
                self.differs |= self.content.twice[at..at + piece.len()] != *piece;
                self.length += piece.len() as u64;
            }
            return;
        }
        self.length += bytes.len() as u64;
    }

    /// The number of bytes so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The MD5; `None` if the body began like the block but did not continue like it.
    pub fn md5(self) -> Option<[u8; 16]> {
        match (self.hash, self.start) {
            (Some(hash), _) => Some(hash.finalize().into()),
            (None, Some(start)) => (!self.differs).then(|| self.content.md5(start, self.length)),
            (None, None) => Some(Md5::digest(b"").into()),
        }
    }
}
