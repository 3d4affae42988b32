//! Computed keys: the i-th key is arithmetic, and so is the position of any text among them.

/// The length of the longest key, in bytes.
pub const LONGEST: usize = 48;

/// The form of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One prefix: `data/000000000042-9f86d081884c7d65.bin`.
    Flat,
    /// `2023/06/15/00/part-0000042-9f86d081.parquet`, with some folders far larger than others.
    Tree,
}

/// Years of folders. A year has twelve months of 28 days, so that no calendar is needed.
const FIRST_YEAR: u64 = 2022;
const YEARS: u64 = 3;
const HOURS_OF_YEAR: u64 = 12 * 28 * 24;
const FOLDERS: u64 = YEARS * HOURS_OF_YEAR;
/// The folder of noon has this many times the keys of another hour.
const NOON: u64 = 30;
/// The folder that has a third of all keys.
const HUGE_FOLDER: u64 = FOLDERS / 2;

/// `count` keys in byte order, numbered from 0.
#[derive(Debug)]
pub struct Keyspace {
    count: u64,
    /// The number of each folder's first key; empty without folders.
    folders: Vec<u64>,
}

impl Keyspace {
    /// `count` keys of this form.
    pub fn new(layout: Layout, count: u64) -> Self {
        let folders = match layout {
            Layout::Flat => Vec::new(),
            Layout::Tree => folders(count),
        };
        Self { count, folders }
    }

    /// Appends the key of this number.
    pub fn write(&self, number: u64, to: &mut Vec<u8>) {
        if self.folders.is_empty() {
            to.extend_from_slice(b"data/");
            digits(number, 12, to);
            to.push(b'-');
            hex(hash(number), 16, to);
            to.extend_from_slice(b".bin");
            return;
        }
        let folder = self.folders.partition_point(|first| *first <= number) - 1;
        write_folder(folder as u64, to);
        to.extend_from_slice(b"/part-");
        digits(number - self.folders[folder], 7, to);
        to.push(b'-');
        hex(hash(number), 8, to);
        to.extend_from_slice(b".parquet");
    }

    /// The number of the first key for which `before` is false; it is true for all keys below.
    fn first_not(&self, before: impl Fn(&[u8]) -> bool) -> u64 {
        let (mut low, mut high) = (0, self.count);
        let mut key = Vec::with_capacity(LONGEST);
        while low < high {
            let middle = low + (high - low) / 2;
            key.clear();
            self.write(middle, &mut key);
            match before(&key) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// The number of the first key at or above `text`.
    pub fn from(&self, text: &[u8]) -> u64 {
        self.first_not(|key| key < text)
    }

    /// The number of the first key above `text`.
    pub fn after(&self, text: &[u8]) -> u64 {
        self.first_not(|key| key <= text)
    }

    /// The number of the first key above all that begin with `prefix`.
    pub fn behind(&self, prefix: &[u8]) -> u64 {
        self.first_not(|key| key < prefix || key.starts_with(prefix))
    }
}

/// The numbers of the folders' first keys, by weight; the huge folder gets its third apart from that.
fn folders(count: u64) -> Vec<u64> {
    let weight = |folder: u64| if folder % 24 == 12 { NOON } else { 1 };
    let common: u64 = (0..FOLDERS).map(weight).sum();
    let huge = common / 2;
    let mut firsts = Vec::with_capacity(FOLDERS as usize);
    let mut above = 0;
    for folder in 0..FOLDERS {
        firsts.push((u128::from(count) * u128::from(above) / u128::from(common + huge)) as u64);
        above += weight(folder) + if folder == HUGE_FOLDER { huge } else { 0 };
    }
    firsts
}

fn write_folder(folder: u64, to: &mut Vec<u8>) {
    let (year, hour) = (FIRST_YEAR + folder / HOURS_OF_YEAR, folder % HOURS_OF_YEAR);
    digits(year, 4, to);
    for part in [hour / (28 * 24) + 1, hour / 24 % 28 + 1, hour % 24] {
        to.push(b'/');
        digits(part, 2, to);
    }
}

/// Appends a number with this many digits, with leading zeros.
pub fn digits(mut number: u64, width: usize, to: &mut Vec<u8>) {
    let end = to.len() + width;
    to.resize(end, b'0');
    for place in to[end - width..].iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Appends the lowest `width` hexadecimal digits.
pub fn hex(mut number: u64, width: usize, to: &mut Vec<u8>) {
    let end = to.len() + width;
    to.resize(end, b'0');
    for place in to[end - width..].iter_mut().rev() {
        *place = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

/// Bits that look random (the finalizer of SplitMix64, <https://prng.di.unimi.it/splitmix64.c>).
pub fn hash(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
