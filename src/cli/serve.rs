//! The options of the page in the browser, the same for all commands that have it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::{Given, listen_address};

/// A page in the browser.
#[derive(Debug, Args)]
#[command(next_help_heading = "A page in the browser")]
pub struct ServeArgs {
    /// Serve a page with throughput, progress and failures, and /metrics, on this address, such as
    /// 127.0.0.1:8080; one that is not loopback needs a token
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    pub serve: Option<SocketAddr>,
    /// A file with the token, readable by this user only (default: ServeTokenFile in the ini; the
    /// variable S3_MIGRATION_SERVE_TOKEN does the same)
    #[arg(long, value_name = "FILE", requires = "serve")]
    pub serve_token_file: Option<PathBuf>,
}

impl ServeArgs {
    /// The key that they set, if any.
    pub fn given(&self) -> Option<Given> {
        let file = self.serve_token_file.as_ref()?;
        Some(Given {
            section: "Basic",
            name: "ServeTokenFile",
            value: file.to_string_lossy().into_owned(),
            option: "--serve-token-file",
        })
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let allowed = "write an IP address and a port, like 127.0.0.1:8080";
    listen_address(text).ok_or_else(|| allowed.to_owned())
}
