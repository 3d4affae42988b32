//! A row as bytes, in memory and in the temporary files of this process: no other version ever has
//! to read them.
//!
//! `key length, rest length, key, rest`; the rest is the size, a byte of flags, and the fields that
//! the flags announce. Numbers are little-endian; a text is preceded by its length.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::KeyRow;
use crate::object::{Etag, ObjectKey};

/// Bytes of the two lengths.
pub(super) const HEAD: usize = 8;

const ETAG: u8 = 1;
const MODIFIED: u8 = 2;
const BEFORE_1970: u8 = 4;
const CLASS: u8 = 8;
const VERSION: u8 = 16;
const RESTORED: u8 = 32;

/// Appends `row` to `out`.
pub(super) fn encode(row: &KeyRow, out: &mut Vec<u8>) {
    let start = out.len();
    let key = row.key.as_str().as_bytes();
    out.extend([0; HEAD]);
    out.extend(key);
    out.extend(row.size.to_le_bytes());
    let flags_at = out.len();
    out.push(if row.restored { RESTORED } else { 0 });
    if let Some(etag) = &row.etag {
        out[flags_at] |= ETAG;
        text(etag.as_str(), out);
    }
    if let Some(time) = row.last_modified {
        out[flags_at] |= MODIFIED;
        let distance = time.duration_since(UNIX_EPOCH).unwrap_or_else(|before| {
            out[flags_at] |= BEFORE_1970;
            before.duration()
        });
        out.extend(distance.as_secs().to_le_bytes());
        out.extend(distance.subsec_nanos().to_le_bytes());
    }
    if let Some(class) = &row.storage_class {
        out[flags_at] |= CLASS;
        text(class, out);
    }
    if let Some(version) = &row.version {
        out[flags_at] |= VERSION;
        text(version, out);
    }
    let rest = out.len() - start - HEAD - key.len();
    out[start..start + 4].copy_from_slice(&length(key.len()));
    out[start + 4..start + HEAD].copy_from_slice(&length(rest));
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.extend(length(text.len()));
    out.extend(text.as_bytes());
}

/// No text from a service comes near 4 GiB; if one did, it could not be read back.
fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}

/// Bytes of key and rest, from a record's first [`HEAD`] bytes.
pub(super) fn lengths(head: [u8; HEAD]) -> (usize, usize) {
    let [a, b, c, d, e, f, g, h] = head;
    (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize)
}

/// The key of the record at the start of `bytes`; empty if there is none.
pub(super) fn key(bytes: &[u8]) -> &[u8] {
    let key = bytes.first_chunk().and_then(|head| bytes.get(HEAD..HEAD + lengths(*head).0));
    key.unwrap_or_default()
}

/// The record at the start of `bytes`; empty if there is none.
pub(super) fn first(bytes: &[u8]) -> &[u8] {
    let whole = bytes.first_chunk().map(|head| {
        let (key, rest) = lengths(*head);
        HEAD + key + rest
    });
    whole.and_then(|length| bytes.get(..length)).unwrap_or_default()
}

/// The row of one record; `None` if it is not one.
pub(super) fn decode(bytes: &[u8]) -> Option<KeyRow> {
    let (key, _) = lengths(*bytes.first_chunk()?);
    let mut rest = &bytes[HEAD..];
    let key = ObjectKey::new(take_text(&mut rest, key)?);
    let size = u64::from_le_bytes(take(&mut rest)?);
    let [flags] = take(&mut rest)?;
    let next_text = |flag: u8, rest: &mut &[u8]| match flags & flag {
        0 => Some(None),
        _ => {
            let length = u32::from_le_bytes(take(rest)?) as usize;
            take_text(rest, length).map(Some)
        }
    };
    let etag = next_text(ETAG, &mut rest)?.map(Etag::new);
    let last_modified = match flags & MODIFIED {
        0 => None,
        _ => Some(time(flags, &mut rest)?),
    };
    let storage_class = next_text(CLASS, &mut rest)?;
    let version = next_text(VERSION, &mut rest)?;
    let restored = flags & RESTORED != 0;
    Some(KeyRow { key, size, etag, last_modified, storage_class, version, restored })
}

fn time(flags: u8, rest: &mut &[u8]) -> Option<SystemTime> {
    let seconds = u64::from_le_bytes(take(rest)?);
    let distance = Duration::new(seconds, u32::from_le_bytes(take(rest)?));
    match flags & BEFORE_1970 {
        0 => UNIX_EPOCH.checked_add(distance),
        _ => UNIX_EPOCH.checked_sub(distance),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(*first)
}

fn take_text(rest: &mut &[u8], length: usize) -> Option<String> {
    let (first, others) = rest.split_at_checked(length)?;
    *rest = others;
    std::str::from_utf8(first).ok().map(str::to_owned)
}
