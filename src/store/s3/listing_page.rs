//! What a page of a listing says about itself, and its objects with their keys decoded.
//!
//! Pure: a page that was read goes in.

use std::borrow::Cow;

use super::key_encoding::KeyReading;
use crate::store::{Flaw, ListPage, Listed, Odd};

/// What a page says about itself; keys and markers as they are written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The current objects.
    pub objects: ListPage,
    /// `IsTruncated`; `None`: there is no such element.
    pub truncated: Option<bool>,
    /// `NextContinuationToken`.
    pub token: Option<String>,
    /// `NextMarker` or `NextKeyMarker`.
    pub next: Option<Vec<u8>>,
    /// `NextVersionIdMarker`.
    pub next_version: Option<String>,
    /// The page says that its keys, markers included, are percent-encoded.
    pub encoded: bool,
    /// Some key has a percent sign or a plus.
    pub has_codes: bool,
    /// The page has the element `Marker`, as pages of version 1 have.
    pub has_marker: bool,
    /// `KeyCount`.
    pub key_count: Option<u64>,
    /// `MaxKeys`.
    pub max_keys: Option<u64>,
    /// How many keys and folders it shows.
    pub shown: u64,
    /// The prefixes in `CommonPrefixes`.
    pub folders: Vec<Vec<u8>>,
    /// The version of the last key shown.
    pub last_version: String,
}

impl Page {
    /// Whether it shows fewer keys than it says it has.
    pub fn is_short(&self) -> bool {
        self.key_count.is_some_and(|count| count > self.shown)
    }

    /// Whether it answers a version 2 request in the form of version 1.
    pub fn is_version_1(&self) -> bool {
        self.token.is_none()
            && self.key_count.is_none()
            && (self.has_marker || self.next.is_some() || self.truncated == Some(true))
    }

    /// Two keys as they are written that would become the same key under this reading, if the
    /// page's keys are in order.
    pub fn merged(&self, reading: KeyReading) -> Option<[&str; 2]> {
        if !self.encoded || !self.has_codes {
            return None;
        }
        let mut before: Option<(&str, Cow<'_, [u8]>)> = None;
        for Listed { key, .. } in self.objects.iter() {
            let decoded = reading.decode(key.as_bytes());
            if let Some((raw, earlier)) = &before
                && *raw != key
                && *earlier == decoded
            {
                return Some([*raw, key]);
            }
            before = Some((key, decoded));
        }
        None
    }

    /// The objects with their keys decoded.
    pub fn decoded(&mut self, reading: KeyReading) -> ListPage {
        let raw = std::mem::take(&mut self.objects);
        if !self.encoded || !self.has_codes {
            return raw;
        }
        let mut page = ListPage::default();
        for listed in raw.iter() {
            add(&mut page, &reading.decode(listed.key.as_bytes()), listed);
        }
        for odd in raw.odd {
            let at = reading.decode(&odd.at).into_owned();
            let key = if odd.is_known() { at.clone() } else { odd.key };
            page.odd.push(Odd { at, key, ..odd });
        }
        page.odd.sort();
        page.end = raw.end.map(|end| reading.decode(&end).into_owned());
        page.is_full = raw.is_full;
        page
    }
}

/// Adds an object by the bytes of its key.
pub(super) fn add(page: &mut ListPage, key: &[u8], listed: Listed<'_>) {
    match std::str::from_utf8(key) {
        Ok(key) => page.push(Listed { key, ..listed }),
        Err(_) => {
            let (at, key) = (key.to_vec(), key.to_vec());
            page.odd.push(Odd { at, key, size: Some(listed.size), flaw: Flaw::NotUtf8 });
        }
    }
}
