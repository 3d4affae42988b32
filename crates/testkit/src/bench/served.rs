//! Endpoints in a separate process: the benchmark itself, started to serve.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// The process of the endpoints. Dropping this ends it.
pub struct Served {
    process: Child,
    addresses: Vec<String>,
}

impl Served {
    /// Starts this same program with `arguments`. It must print the expected number of addresses, one a
    /// line, and end when its stdin does.
    pub fn start(
        arguments: impl IntoIterator<Item = String>,
        addresses: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        let mut served = Self { process, addresses: Vec::new() };
        for line in lines.take(addresses) {
            served.addresses.push(line?);
        }
        match served.addresses.len() == addresses {
            true => Ok(served),
            false => Err("the endpoints do not start".into()),
        }
    }

    /// The URL of an endpoint.
    pub fn url(&self, at: usize) -> String {
        format!("http://{}", self.addresses[at])
    }

    /// The first endpoint's answer for this path.
    pub fn get(&self, path: &str) -> Result<String, Box<dyn Error>> {
        let mut stream = TcpStream::connect(&self.addresses[0])?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        Ok(body.to_owned())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
