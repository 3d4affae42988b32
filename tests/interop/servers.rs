//! Servers that others wrote, each a process of its own on a free port of loopback.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::Client;
use crate::rows::{MINISTACK, MOTO, RCLONE, Row, S3PROXY, VERSITYGW};
use crate::tools::{self, Missing};
use testkit::ministack::Ministack;

/// A Java that starts next to a build takes this long.
const START_LIMIT: Duration = Duration::from_secs(90);
/// Between two looks at whether a server is there.
const LOOK: Duration = Duration::from_millis(50);

/// The account at servers that ask who calls.
pub const ACCESS_KEY: &str = "interopaccess";
/// Its secret.
pub const SECRET_KEY: &str = "interop+secret/0123456789";

/// Starts the program when its first argument is there, and kills it once the pipe to this shell is closed:
/// that happens however the test binary ends.
const KEEPER: &str = "exec 3<&0; \"$@\" </dev/null 3<&- & child=$!; \
                      (cat <&3 >/dev/null; kill -9 $child) 2>/dev/null & exec 3<&-; wait $child";

/// A running program, ended when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    keeper: Child,
    pub address: SocketAddr,
    folder: TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

impl Daemon {
    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Starts what `command` makes of a free address and an empty folder, and waits until something listens.
    pub fn start(
        name: &str,
        command: impl Fn(SocketAddr, &Path) -> (Vec<OsString>, Vec<(String, String)>),
    ) -> Self {
        let mut last = String::new();
        // Between finding a free port and its use another process may take it.
        for _ in 0..3 {
            match Self::launch(&command) {
                Ok(daemon) => return daemon,
                Err(why) => last = why,
            }
        }
        panic!("{name} did not start: {last}");
    }

    fn launch(
        command: impl Fn(SocketAddr, &Path) -> (Vec<OsString>, Vec<(String, String)>),
    ) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let log_path = folder.path().join("log");
        let log = File::create(&log_path).map_err(|error| error.to_string())?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        drop(listener);
        let (arguments, settings) = command(address, folder.path());
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args(&arguments)
            .env("HOME", folder.path())
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env_remove("AWS_SESSION_TOKEN")
            .envs(settings)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut daemon = Self { keeper, address, folder };
        let started = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            let ended = daemon.keeper.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || started.elapsed() > START_LIMIT {
                let log = fs::read_to_string(&log_path).unwrap_or_default();
                return Err(format!("{arguments:?} ended as {ended:?}: {log}"));
            }
            thread::sleep(LOOK);
        }
        Ok(daemon)
    }
}

/// A running store.
pub struct Server {
    pub address: SocketAddr,
    pub client: Client,
    _process: Process,
}

enum Process {
    Daemon(#[allow(dead_code, reason = "ends the server when it is dropped")] Daemon),
    Ministack(#[allow(dead_code, reason = "ends the server when it is dropped")] Ministack),
}

impl Server {
    fn of(daemon: Daemon) -> Self {
        let address = daemon.address;
        let client = Client::new(address, ACCESS_KEY, SECRET_KEY);
        Self { address, client, _process: Process::Daemon(daemon) }
    }

    /// The store of this row.
    pub fn start(row: &'static Row) -> Result<Self, Missing> {
        Ok(match row.name {
            "versitygw" => Self::of(versitygw(None, false)?),
            "rclone" => Self::of(rclone(None, None)?),
            "s3proxy" => Self::of(s3proxy()?),
            "moto" => Self::of(moto()),
            "ministack" => {
                let server = Ministack::start(&[]);
                let address = server.address();
                let client = Client::new(address, ACCESS_KEY, SECRET_KEY);
                Self { address, client, _process: Process::Ministack(server) }
            }
            other => unreachable!("no server is called {other}"),
        })
    }

    /// The endpoint's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The servers that are running, each started when it is first asked for.
#[derive(Default)]
pub struct Servers {
    started: [OnceLock<Result<Server, Missing>>; 5],
}

impl Servers {
    /// The one of this row.
    pub fn get(&self, row: &'static Row) -> Result<&Server, Missing> {
        let rows = [&VERSITYGW, &RCLONE, &S3PROXY, &MOTO, &MINISTACK];
        let at = rows.iter().position(|known| known.name == row.name).expect("a known row");
        let started = self.started[at].get_or_init(|| Server::start(row));
        started.as_ref().map_err(Clone::clone)
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// versitygw on a folder, with attributes in files of their own, so that any file system will do.
pub fn versitygw(shared: Option<&Tls>, speaks_tls: bool) -> Result<Daemon, Missing> {
    let program = tools::versitygw()?;
    Ok(Daemon::start("versitygw", |address, folder| {
        let shared_folder = shared.and_then(|tls| tls.folder.clone());
        let folder = shared_folder.unwrap_or_else(|| folder.to_owned());
        let named = |name: &str| {
            let path = folder.join(name);
            fs::create_dir_all(&path).expect("a folder for the store");
            path.display().to_string()
        };
        let mut arguments = vec![program.clone().into_os_string()];
        arguments.extend(words(&["--quiet", "--port", &address.to_string()]));
        if let Some(tls) = shared.filter(|_| speaks_tls) {
            arguments.extend(words(&[
                "--cert",
                &tls.file("cert.pem"),
                "--key",
                &tls.file("key.pem"),
            ]));
        }
        let (sidecar, versions) = (named("attributes"), named("versions"));
        arguments.extend(words(&["posix", "--sidecar", &sidecar, "--versioning-dir", &versions]));
        arguments.push(named("objects").into());
        let account = [("ROOT_ACCESS_KEY", ACCESS_KEY), ("ROOT_SECRET_KEY", SECRET_KEY)];
        (arguments, account.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }))
}

/// `rclone serve s3` on a folder.
pub fn rclone(tls: Option<&Tls>, shared: Option<&Path>) -> Result<Daemon, Missing> {
    let program = tools::rclone()?;
    Ok(Daemon::start("rclone", |address, folder| {
        let objects = shared.map_or_else(|| folder.join("objects"), Path::to_owned);
        fs::create_dir_all(&objects).expect("a folder for the store");
        let mut arguments = vec![program.clone().into_os_string()];
        let key = format!("{ACCESS_KEY},{SECRET_KEY}");
        arguments.extend(words(&["serve", "s3", "--config", "", "--addr", &address.to_string()]));
        arguments.extend(words(&["--auth-key", &key]));
        if let Some(tls) = tls {
            // Its buckets are made as folders while it runs.
            arguments.extend(words(&[
                "--dir-cache-time",
                "1ms",
                "--cert",
                &tls.file("cert.pem"),
                "--key",
                &tls.file("key.pem"),
            ]));
        }
        arguments.push(objects.into_os_string());
        (arguments, Vec::new())
    }))
}

/// Where certificates are, and the folder of a store that another server shares.
pub struct Tls {
    pub certificates: PathBuf,
    pub folder: Option<PathBuf>,
}

impl Tls {
    fn file(&self, name: &str) -> String {
        self.certificates.join(name).display().to_string()
    }
}

fn s3proxy() -> Result<Daemon, Missing> {
    let program = tools::s3proxy()?;
    Ok(Daemon::start("s3proxy", |address, folder| {
        let settings = format!(
            "s3proxy.endpoint=http://{address}\ns3proxy.authorization=aws-v2-or-v4\n\
             s3proxy.identity={ACCESS_KEY}\ns3proxy.credential={SECRET_KEY}\n\
             jclouds.provider=transient-nio2\njclouds.identity=x\njclouds.credential=x\n"
        );
        let file = folder.join("s3proxy.conf");
        fs::write(&file, settings).expect("the settings can be written");
        let mut arguments = program.clone();
        arguments.extend([OsString::from("--properties"), file.into_os_string()]);
        (arguments, Vec::new())
    }))
}

fn moto() -> Daemon {
    let python = tools::moto();
    Daemon::start("moto", |address, _| {
        let mut arguments = vec![python.clone().into_os_string()];
        arguments.extend(words(&["-m", "moto.server", "-H", &address.ip().to_string()]));
        arguments.extend(words(&["-p", &address.port().to_string()]));
        // A page has a few keys only: pages of other sizes than Amazon S3's, and many of them.
        (arguments, vec![("MOTO_S3_DEFAULT_MAX_KEYS".to_owned(), "7".to_owned())])
    })
}

/// ElasticMQ, with no queue yet.
pub fn elasticmq() -> Result<Daemon, Missing> {
    let mut program = tools::elasticmq()?;
    let main = program.pop().expect("the class to run");
    Ok(Daemon::start("ElasticMQ", |address, folder| {
        let (host, port) = (address.ip(), address.port());
        let settings = format!(
            "include classpath(\"application.conf\")\n\
             node-address {{ protocol = http, host = \"{host}\", port = {port}, context-path = \"\" }}\n\
             rest-sqs {{ enabled = true, bind-hostname = \"{host}\", bind-port = {port}, sqs-limits = strict }}\n\
             rest-stats {{ enabled = false }}\n"
        );
        let file = folder.join("elasticmq.conf");
        fs::write(&file, settings).expect("the settings can be written");
        let mut arguments = program.clone();
        arguments.push(format!("-Dconfig.file={}", file.display()).into());
        arguments.push(main.clone());
        (arguments, Vec::new())
    }))
}
