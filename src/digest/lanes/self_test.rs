//! The lanes prove themselves before they are used: their crate picks its code by the processor, so
//! a test elsewhere says little about this machine.

use std::sync::OnceLock;

use bytes::Bytes;
use md5_many::{Md5Many, Md5State};

use super::{held, thread};
use crate::digest::md5;

/// Lengths around the ends of a block, of a short piece and of a step; more streams than there are
/// lanes, most of them long enough to share a step.
const LENGTHS: [usize; 24] = [
    0, 1, 55, 56, 63, 64, 65, 119, 511, 512, 513, 576, 1000, 1024, 2047, 4096, 5000, 8191, 9000,
    16_383, 16_384, 16_385, 20_000, 33_000,
];

/// Whether the lanes and the crate's code for a single stream give the digests of `md-5` on this
/// machine. Found out once.
pub(super) fn lanes_are_right() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let engine = Md5Many::new();
        is_right(|inputs| thread::digests(engine, inputs))
            && is_right(one_by_one)
            && is_right(|inputs| held_together(engine, inputs))
    })
}

/// Whether this gives the digests of `md-5`; says so if it does not.
pub(super) fn is_right(digests: impl FnOnce(&[Bytes]) -> Vec<[u8; 16]>) -> bool {
    // Any bytes will do, as long as no two streams have the same.
    let byte = |stream: usize, at: usize| (at * 31 + stream * 7 + at / 251) as u8;
    let input = |(stream, length)| (0..length).map(|at| byte(stream, at)).collect();
    let inputs: Vec<Bytes> = LENGTHS.into_iter().enumerate().map(input).collect();
    let expected: Vec<[u8; 16]> = inputs.iter().map(|input| md5(input)).collect();
    let is_right = digests(&inputs) == expected;
    if !is_right {
        tracing::warn!(
            "hashing in SIMD lanes gives wrong digests on this machine: falling back to md-5, \
             which is slower"
        );
    }
    is_right
}

fn one_by_one(inputs: &[Bytes]) -> Vec<[u8; 16]> {
    let digest = |input: &Bytes| {
        let mut state = Md5State::new();
        state.update(input);
        state.finalize()
    };
    inputs.iter().map(digest).collect()
}

/// In passes of any size, of bodies of any length and of the same.
fn held_together(engine: Md5Many, inputs: &[Bytes]) -> Vec<[u8; 16]> {
    let same = |body: &Bytes| body.slice(..body.len().min(1000));
    let right_if_same = (1..=inputs.len()).all(|most| {
        let bodies: Vec<Bytes> = inputs.iter().rev().take(most).map(same).collect();
        let bodies: Vec<&[u8]> = bodies.iter().map(|body| &body[..]).collect();
        let expected: Vec<[u8; 16]> = bodies.iter().map(|body| md5(body)).collect();
        held::together(engine, &bodies) == expected
    });
    let bodies: Vec<&[u8]> = inputs.iter().map(|body| &body[..]).collect();
    match right_if_same {
        true => bodies.chunks(5).flat_map(|few| held::together(engine, few)).collect(),
        false => Vec::new(),
    }
}
