//! Servers that others wrote, from the registries of their languages: each pinned, built or fetched once, below
//! `S3_MIGRATION_TEST_CACHE` or the build's own folder. What this machine lacks is said by name.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use testkit::python;

/// Why something cannot run on this machine.
#[derive(Clone, Debug)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub const VERSITYGW: &str = "1.8.0";
pub const RCLONE: &str = "1.76.0";
/// It has no releases that Go knows.
const LAMBDA_RIE: &str = "v0.0.0-20261030222936-bef5c4ba774d";
const LAMBDA_RIE_MODULE: &str =
    "github.com/aws/aws-lambda-runtime-interface-emulator/cmd/aws-lambda-rie";
pub const S3PROXY: &str = "3.2.0";
pub const ELASTICMQ: &str = "1.6.12";
pub const MOTO: &str = "5.2.5";
/// It drives the browser that is there, and brings none.
pub const PLAYWRIGHT: &str = "1.65.2";
/// The older of the Go versions that the two modules ask for is refused by the go command itself; this one
/// serves both.
const GO: (u32, u32) = (1, 26);
/// The oldest Java that runs both servers.
const JAVA: u32 = 17;

/// Only what serves a folder by S3: the whole of it takes minutes to build.
const RCLONE_MAIN: &str = r#"package main

import (
	_ "github.com/rclone/rclone/backend/local"
	"github.com/rclone/rclone/cmd"
	_ "github.com/rclone/rclone/cmd/serve/s3"
)

func main() { cmd.Main() }
"#;

/// The versitygw binary.
pub fn versitygw() -> Result<PathBuf, Missing> {
    static BUILT: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    let build = |folder: &Path, go: &mut dyn FnMut() -> Command| {
        let module = format!("github.com/versity/versitygw/cmd/versitygw@v{VERSITYGW}");
        run(go().args(["install", &module]).env("GOBIN", folder))
    };
    BUILT.get_or_init(|| go_built(&format!("versitygw-{VERSITYGW}"), "versitygw", build)).clone()
}

/// AWS's runtime interface emulator.
pub fn lambda_rie() -> Result<PathBuf, Missing> {
    static BUILT: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    let build = |folder: &Path, go: &mut dyn FnMut() -> Command| {
        let module = format!("{LAMBDA_RIE_MODULE}@{LAMBDA_RIE}");
        run(go().args(["install", &module]).env("GOBIN", folder))
    };
    let name = format!("aws-lambda-rie-{LAMBDA_RIE}");
    BUILT.get_or_init(|| go_built(&name, "aws-lambda-rie", build)).clone()
}

/// An rclone that knows local folders and `serve s3`.
pub fn rclone() -> Result<PathBuf, Missing> {
    static BUILT: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    let build = |folder: &Path, go: &mut dyn FnMut() -> Command| {
        let module = format!(
            "module interop/rclone\n\ngo {}.{}\n\nrequire github.com/rclone/rclone v{RCLONE}\n",
            GO.0, GO.1
        );
        written(&folder.join("go.mod"), &module)?;
        written(&folder.join("main.go"), RCLONE_MAIN)?;
        run(go().args(["build", "-mod=mod", "-o", "rclone", "."]).current_dir(folder))
    };
    BUILT.get_or_init(|| go_built(&format!("rclone-{RCLONE}"), "rclone", build)).clone()
}

/// The command line of s3proxy, up to its options.
pub fn s3proxy() -> Result<Vec<OsString>, Missing> {
    static FETCHED: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    let artifact = format!(
        "<groupId>org.gaul</groupId><artifactId>s3proxy</artifactId><version>{S3PROXY}</version>\
         <classifier>jar-with-dependencies</classifier>\
         <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
    );
    let jars = FETCHED.get_or_init(|| maven(&format!("s3proxy-{S3PROXY}"), &artifact)).clone()?;
    Ok(java(&jars, "org.gaul.s3proxy.Main"))
}

/// The command line of ElasticMQ, up to its options.
pub fn elasticmq() -> Result<Vec<OsString>, Missing> {
    static FETCHED: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    let artifact = format!(
        "<groupId>org.elasticmq</groupId><artifactId>elasticmq-server_2.13</artifactId>\
         <version>{ELASTICMQ}</version>"
    );
    let jars =
        FETCHED.get_or_init(|| maven(&format!("elasticmq-{ELASTICMQ}"), &artifact)).clone()?;
    Ok(java(&jars, "org.elasticmq.server.Main"))
}

/// The Python that has moto's server.
pub fn moto() -> PathBuf {
    python::python_with("moto[server,s3]", MOTO, "import moto.server")
}

/// A browser, and the Python that drives it.
pub fn browser() -> Result<(PathBuf, PathBuf), Missing> {
    let chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    let Some(chromium) = chromium.into_iter().map(PathBuf::from).find(|path| path.exists()) else {
        return Err(Missing("no chromium on this machine".to_owned()));
    };
    Ok((chromium, python::python_with("playwright", PLAYWRIGHT, "import playwright.sync_api")))
}

/// A certificate authority and a certificate of it for 127.0.0.1, in `folder`: `ca.pem`, `cert.pem`, `key.pem`.
pub fn certificates(folder: &Path) -> Result<(), Missing> {
    fs::create_dir_all(folder).expect("a folder for certificates");
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.current_dir(folder).args(arguments.split(' '));
        command
    };
    if !works(openssl("version")) {
        return Err(Missing("no openssl on this machine".to_owned()));
    }
    written(&folder.join("names"), "subjectAltName=IP:127.0.0.1\n")?;
    let key = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for step in [
        format!("{key} -x509 -days 3650 -subj /CN=interop-ca -keyout ca-key.pem -out ca.pem"),
        format!("{key} -subj /CN=interop -keyout key.pem -out request.pem"),
        "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 3650 \
         -extfile names -out cert.pem"
            .to_owned(),
    ] {
        run(&mut openssl(&step))?;
    }
    Ok(())
}

/// Builds once what `build` puts into the folder `name` of the cache, and returns the path of `binary`.
fn go_built(
    name: &str,
    binary: &str,
    build: impl Fn(&Path, &mut dyn FnMut() -> Command) -> Result<(), Missing>,
) -> Result<PathBuf, Missing> {
    let folder = folder(name);
    let _lock = lock(name);
    let built = folder.join(binary);
    if folder.join("complete").exists() && built.exists() {
        return Ok(built);
    }
    has_go()?;
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the test cache can be written");
    // A second build has most of the first one's packages; nothing of it is wanted afterwards.
    let workshop = folder.join("build");
    let mut go = || {
        let mut go = Command::new("go");
        go.env("GOPATH", workshop.join("path")).env("GOCACHE", workshop.join("cache"));
        go.env("GOMODCACHE", workshop.join("modules"));
        go.env("GOFLAGS", "-buildvcs=false -modcacherw -trimpath").env_remove("GOBIN");
        go
    };
    eprintln!("building {name}: minutes, once");
    build(&folder, &mut go)?;
    let _ = fs::remove_dir_all(&workshop);
    complete(&folder);
    Ok(built)
}

/// Whether there is a Go that is new enough.
fn has_go() -> Result<(), Missing> {
    let output = Command::new("go").args(["env", "GOVERSION"]).stdin(Stdio::null()).output();
    let Ok(output) = output else {
        return Err(Missing("no go on this machine".to_owned()));
    };
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut numbers = version.trim_start_matches("go").split('.').map(|part| part.parse::<u32>());
    let found = (numbers.next().and_then(Result::ok), numbers.next().and_then(Result::ok));
    match found {
        (Some(major), Some(minor)) if (major, minor) >= GO => Ok(()),
        _ => Err(Missing(format!("{version:?} is here, go {}.{} is needed", GO.0, GO.1))),
    }
}

/// The jars of one dependency and of what it depends on, fetched once.
fn maven(name: &str, dependency: &str) -> Result<PathBuf, Missing> {
    let folder = folder(name);
    let _lock = lock(name);
    has_java()?;
    if folder.join("complete").exists() {
        return Ok(folder.join("jars"));
    }
    let mut version = Command::new("mvn");
    if !works(version.arg("--version")) {
        return Err(Missing("no mvn on this machine".to_owned()));
    }
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the test cache can be written");
    let project = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>interop</groupId><artifactId>{name}</artifactId><version>1</version>\
         <dependencies><dependency>{dependency}</dependency></dependencies></project>\n"
    );
    written(&folder.join("pom.xml"), &project)?;
    let repository = folder.join("repository");
    let mut mvn = Command::new("mvn");
    mvn.current_dir(&folder).args(["-q", "-B", "dependency:copy-dependencies"]);
    mvn.args(["-DincludeScope=runtime", "-DoutputDirectory=jars"]);
    mvn.arg(format!("-Dmaven.repo.local={}", repository.display()));
    run(&mut mvn)?;
    let _ = fs::remove_dir_all(&repository);
    complete(&folder);
    Ok(folder.join("jars"))
}

/// Whether there is a Java that is new enough.
fn has_java() -> Result<(), Missing> {
    let output = Command::new("java").arg("-version").stdin(Stdio::null()).output();
    let Ok(output) = output else {
        return Err(Missing("no java on this machine".to_owned()));
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = said.split('"').nth(1).unwrap_or_default();
    let major = version.split(['.', '-', '+']).next().and_then(|major| major.parse::<u32>().ok());
    match major.is_some_and(|major| major >= JAVA) {
        true => Ok(()),
        false => Err(Missing(format!("java {version:?} is here, {JAVA} is needed"))),
    }
}

fn java(jars: &Path, main: &str) -> Vec<OsString> {
    let mut all = jars.join("*").into_os_string();
    all.push(":");
    // One of them keeps its objects in memory; neither is worth an optimising compiler's time.
    let options = ["java", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"];
    options.map(OsString::from).into_iter().chain([all, OsString::from(main)]).collect()
}

fn folder(name: &str) -> PathBuf {
    python::cache().join("interop").join(name)
}

/// Held while something is built: test binaries that run at the same time wait for the first one's.
fn lock(name: &str) -> File {
    let all = python::cache().join("interop");
    fs::create_dir_all(&all).expect("the test cache can be written");
    let lock = File::create(all.join(format!("{name}.lock"))).expect("a lock file");
    lock.lock().expect("the lock file can be locked");
    lock
}

fn complete(folder: &Path) {
    File::create(folder.join("complete")).expect("the folder can be marked complete");
}

fn written(file: &Path, text: &str) -> Result<(), Missing> {
    fs::write(file, text).map_err(|error| Missing(format!("{}: {error}", file.display())))
}

fn works(mut command: impl std::borrow::BorrowMut<Command>) -> bool {
    let command = command.borrow_mut();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn run(command: &mut Command) -> Result<(), Missing> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| Missing(format!("{command:?}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Missing(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&said))))
}
