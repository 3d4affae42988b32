//! Bodies in `aws-chunked` framing, and the checksums that a store repeats in its answer.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// The text form of a checksum.
pub fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Whether the body of a request with these headers is framed.
pub fn is_framed(headers: &HeaderMap) -> bool {
    let digest = headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
    digest.is_some_and(|digest| digest.starts_with("STREAMING-"))
}

/// The checksums of a request, for its answer.
pub fn checksums(headers: &HeaderMap) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let of_checksum = |name: &HeaderName| {
        name.as_str().starts_with("x-amz-checksum-") && name != "x-amz-checksum-algorithm"
    };
    headers.iter().filter(move |(name, _)| of_checksum(name)).map(|(n, v)| (n.clone(), v.clone()))
}

/// Removes the frames from a body: `HEX[;extension] CRLF data CRLF`, up to a frame of length 0 and
/// the trailer after it.
#[derive(Default)]
pub struct Unframed {
    line: Vec<u8>,
    /// The remaining data bytes of this frame.
    left: usize,
    trailing: bool,
    trailer: Vec<(String, String)>,
}

impl Unframed {
    /// Reads the next bytes of the body; passes the content of the frames to `data`.
    pub fn take(&mut self, mut bytes: &[u8], mut data: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let (now, rest) = bytes.split_at(self.left.min(bytes.len()));
                self.left -= now.len();
                data(now);
                bytes = rest;
                continue;
            }
            let (byte, rest) = (bytes[0], &bytes[1..]);
            bytes = rest;
            match byte {
                b'\n' => self.end_line(),
                b'\r' => {}
                byte => self.line.push(byte),
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        // An empty line follows the data of each frame, and the trailer.
        if line.is_empty() {
            return;
        }
        if self.trailing {
            if let Some((name, value)) = line.split_once(':') {
                self.trailer.push((name.trim().to_owned(), value.trim().to_owned()));
            }
            return;
        }
        let length = line.split(';').next().unwrap_or_default();
        self.left = usize::from_str_radix(length, 16).unwrap_or_default();
        self.trailing = self.left == 0;
    }

    /// The checksums of the trailer.
    pub fn checksums(self) -> Vec<(HeaderName, HeaderValue)> {
        let header = |(name, value): (String, String)| {
            let name = HeaderName::try_from(name).ok()?;
            let checksum = name.as_str().starts_with("x-amz-checksum-");
            checksum.then_some((name, HeaderValue::try_from(value).ok()?))
        };
        self.trailer.into_iter().filter_map(header).collect()
    }
}
