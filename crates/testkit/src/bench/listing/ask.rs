//! A ListObjectsV2 request
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>).

use percent_encoding::percent_decode_str;

/// The maximum number of keys per page.
const PAGE: usize = 1000;

/// A request, parsed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The prefix of the keys.
    pub prefix: Vec<u8>,
    /// Only keys after this one.
    pub start_after: Vec<u8>,
    /// The number of the page's first key.
    pub token: Option<u64>,
    /// The maximum number of keys and folders on the page.
    pub max_keys: usize,
    /// `delimiter=/`: a folder stands for the keys below it.
    pub by_folder: bool,
    /// `encoding-type=url`. The keys need no encoding.
    pub encoded: bool,
}

impl Ask {
    /// Parses a query string; `None` if it asks for something that is not served here.
    pub fn read(query: &str) -> Option<Self> {
        let mut ask = Self { max_keys: PAGE, ..Self::default() };
        let mut version = false;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = || percent_decode_str(&value.replace('+', " ")).collect::<Vec<u8>>();
            let text = || String::from_utf8(value()).ok();
            match name {
                "list-type" => version = value() == b"2",
                "prefix" => ask.prefix = value(),
                "start-after" => ask.start_after = value(),
                "continuation-token" => ask.token = Some(text()?.parse().ok()?),
                "max-keys" => ask.max_keys = text()?.parse::<usize>().ok()?.min(PAGE),
                "delimiter" => match value().as_slice() {
                    b"" => {}
                    b"/" => ask.by_folder = true,
                    _ => return None,
                },
                "encoding-type" => ask.encoded = value() == b"url",
                "fetch-owner" | "x-id" => {}
                _ => return None,
            }
        }
        version.then_some(ask)
    }
}
