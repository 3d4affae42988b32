//! Keys that are made up: the i-th one is arithmetic, and so is where any text stands among them.

/// Bytes that no key is longer than.
pub const LONGEST: usize = 48;

/// How keys look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One prefix: `data/000000000042-9f86d081884c7d65.bin`.
    Flat,
    /// `2023/06/15/00/part-0000042-9f86d081.parquet`, with folders that hold far more than others.
    Tree,
}

/// Years of folders, of twelve months of 28 days, so that no calendar is needed.
const FIRST_YEAR: u64 = 2022;
const YEARS: u64 = 3;
const HOURS_OF_YEAR: u64 = 12 * 28 * 24;
const FOLDERS: u64 = YEARS * HOURS_OF_YEAR;
/// Noon has so many times the keys of another hour.
const NOON: u64 = 30;
/// This folder has a third of all keys.
const HUGE_FOLDER: u64 = FOLDERS / 2;

/// `count` keys in byte order, numbered from 0.
#[derive(Debug)]
pub struct Keyspace {
    count: u64,
    /// The first key's number of each folder; empty in a flat space.
    folders: Vec<u64>,
}

impl Keyspace {
    /// `count` keys of this layout.
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

    /// The number of the first key of which `before` does not hold, as it does of all below.
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

    /// The number of the first key that is `text` or above it.
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

/// Numbers of the folders' first keys: by their weights, the huge one's third apart.
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

/// A number with as many digits, zeros in front.
pub fn digits(mut number: u64, width: usize, to: &mut Vec<u8>) {
    let end = to.len() + width;
    to.resize(end, b'0');
    for place in to[end - width..].iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The lowest `width` hexadecimal digits.
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
