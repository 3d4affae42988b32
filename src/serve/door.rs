//! Where is served, and what a request has to bring.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use tokio::net::TcpListener;

use super::token::Token;
use super::{Serving, Shown};
use crate::error::{Error, Result};

/// The environment variable with the token.
pub const TOKEN_VARIABLE: &str = "S3_MIGRATION_SERVE_TOKEN";
/// Whoever may read the file may read what the token protects.
const OTHERS_READ: u32 = 0o004;

/// An address, and the token that is asked for there.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    pub(super) token: Option<Token>,
}

impl Door {
    /// The door at `address`; the token is that of the file, or else that of the environment.
    pub fn new(address: SocketAddr, token_file: Option<&Path>) -> Result<Self> {
        let token = token(token_file)?;
        if token.is_none() && !address.ip().is_loopback() {
            return Err(Error::usage(format!(
                "{address} can be reached from other machines, so it needs a token: write one to a \
                 file for --serve-token-file or ServeTokenFile, or set {TOKEN_VARIABLE}"
            )));
        }
        Ok(Self { address, token })
    }

    /// Takes the address, before any work begins.
    pub async fn open(self) -> Result<Listening> {
        let cannot = |error: std::io::Error| {
            Error::usage(format!("cannot serve at {}: {error}", self.address)).with_source(error)
        };
        let listener = TcpListener::bind(self.address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        Ok(Listening { door: self, listener, address })
    }
}

fn token(file: Option<&Path>) -> Result<Option<Token>> {
    let (text, origin) = match (file, std::env::var(TOKEN_VARIABLE)) {
        (Some(file), _) => (read(file)?, file.display().to_string()),
        (None, Ok(text)) if !text.is_empty() => (text, TOKEN_VARIABLE.to_owned()),
        (None, Ok(_) | Err(std::env::VarError::NotPresent)) => return Ok(None),
        (None, Err(_)) => (String::new(), TOKEN_VARIABLE.to_owned()),
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let salt = format!("{} {}", std::process::id(), now.as_nanos());
    Token::new(&text, &origin, &salt).map(Some)
}

fn read(file: &Path) -> Result<String> {
    let shown = file.display();
    let cannot = |error: std::io::Error| {
        Error::usage(format!("the token in {shown} cannot be read: {error}")).with_source(error)
    };
    let mode = fs::metadata(file).map_err(cannot)?.permissions().mode();
    if mode & OTHERS_READ != 0 {
        return Err(Error::usage(format!(
            "every user of this machine can read the token in {shown}: chmod 600 {shown}"
        )));
    }
    fs::read_to_string(file).map_err(cannot)
}

/// A port that is taken, and serves nothing yet.
#[derive(Debug)]
pub struct Listening {
    pub(super) door: Door,
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
}

impl Listening {
    /// Serves.
    pub fn serve(self, shown: Shown) -> Serving {
        Serving::start(self, shown)
    }
}
