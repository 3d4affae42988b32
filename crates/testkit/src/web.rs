//! Asks the page that the binary serves, as a browser or a scraper does, one request a connection.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::{BOUND, Running};

/// The answer to one request.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, by names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// Asserts the status.
    pub fn with_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_lowercase(), value.trim().to_owned())
        };
        let headers = lines.map(header).collect();
        Self { status: status.parse().unwrap(), headers, body: body.to_owned() }
    }
}

/// The address that the binary says it serves at.
pub async fn served(running: &mut Running) -> String {
    let words = " at http://";
    running.logs(words).await;
    let said = running.logged();
    let rest = said.split_once(words).unwrap().1;
    rest.split('/').next().unwrap().to_owned()
}

/// GETs a path.
pub async fn get(address: &str, path: &str) -> Answer {
    ask(address, "GET", path, &[]).await
}

/// Makes a request with these headers in addition to its Host.
pub async fn ask(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let host = ("Host", address);
    let headers: Vec<_> = match headers.iter().any(|(name, _)| *name == "Host") {
        true => headers.to_vec(),
        false => [&[host], headers].concat(),
    };
    let lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request =
        format!("{method} {path} HTTP/1.1\r\n{}Connection: close\r\n\r\n", lines.concat());
    let asked = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.unwrap();
        Answer::parse(&String::from_utf8(text).unwrap())
    };
    tokio::time::timeout(BOUND, asked).await.expect("an answer")
}

/// The events of a page, as they come.
pub struct Events {
    stream: TcpStream,
    text: String,
}

impl Events {
    /// Begins to watch.
    pub async fn watch(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /api/events HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self { stream, text: String::new() }
    }

    /// Waits until this has come, and tells all that has.
    pub async fn until(&mut self, wanted: &str) -> &str {
        let come = async {
            let mut piece = [0; 65536];
            while !self.text.contains(wanted) {
                let read = self.stream.read(&mut piece).await.unwrap();
                assert!(read > 0, "the stream ended before {wanted}");
                self.text.push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        };
        let come = tokio::time::timeout(BOUND, come).await;
        assert!(come.is_ok(), "{wanted} has not come");
        &self.text
    }
}
