//! The socket that systemd listens on, and the words sent to it in one datagram. Nothing waits for
//! systemd: if its socket is full, the words have not been sent.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tracing::warn;

/// Where systemd listens: a path, or after `@` a Linux abstract name.
const SOCKET: &str = "NOTIFY_SOCKET";

/// A word of systemd's protocol.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word<'a> {
    Ready,
    Stopping,
    /// What the service does; one line.
    Status(&'a str),
    Watchdog,
    ExtendTimeout(Duration),
}

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("READY=1"),
            Self::Stopping => f.write_str("STOPPING=1"),
            Self::Status(text) => write!(f, "STATUS={text}"),
            Self::Watchdog => f.write_str("WATCHDOG=1"),
            Self::ExtendTimeout(by) => write!(f, "EXTEND_TIMEOUT_USEC={}", by.as_micros()),
        }
    }
}

/// Whether systemd listens.
pub(super) fn is_heard() -> bool {
    address().is_some()
}

fn address() -> Option<OsString> {
    std::env::var_os(SOCKET).filter(|address| !address.is_empty())
}

/// How often systemd expects a sign of life, if it expects any from this process
/// (<https://www.freedesktop.org/software/systemd/man/latest/sd_watchdog_enabled.html>).
pub(super) fn watchdog() -> Option<Duration> {
    let value = |name| std::env::var(name).ok();
    let is_of_another =
        value("WATCHDOG_PID").is_some_and(|id| id != std::process::id().to_string());
    let microseconds = value("WATCHDOG_USEC")?.parse().ok().filter(|asked| *asked > 0)?;
    (!is_of_another).then(|| Duration::from_micros(microseconds))
}

/// Sends these words in one datagram; returns whether it was taken. A failure does not stop the
/// work.
pub(super) fn tell(words: &[Word<'_>]) -> bool {
    let Some(address) = address() else { return true };
    let text: String = words.iter().map(|word| format!("{word}\n")).collect();
    match send(&address, text.as_bytes()) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => {
            warn!("could not notify systemd: {error}");
            false
        }
    }
}

fn send(address: &OsStr, datagram: &[u8]) -> io::Result<()> {
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(datagram, &address).map(|_| ())
}
