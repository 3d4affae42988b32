//! Clean roots: an empty folder, or Debian's essential packages and systemd, in namespaces of their own.
//!
//! Whoever runs the tests is root inside. The network is the machine's, since the tests' servers are on
//! its loopback interface. Needs util-linux, mmdebstrap, and a kernel that gives user namespaces.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use testkit::process::{Ended, Running};
use testkit::python::cache;

/// A binary of another architecture runs by qemu, which only this namespace learns of (Linux 6.7 or later;
/// before that the machine has to know it). The magic number is an ELF header's for that machine, see
/// <https://docs.kernel.org/admin-guide/binfmt-misc.html>; F: the interpreter is opened here, outside of the
/// root.
const ENTER: &str = r#"
set -eu
root=$1 home=$2 folder=$3 qemu=$4
shift 4
mkdir -p "$root/dev" "$root/proc" "$root/tmp" "$root$home"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount --bind "$home" "$root$home"
if [ -n "$qemu" ]; then
    mount -t binfmt_misc binfmt_misc "$root/proc/sys/fs/binfmt_misc"
    magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":aarch64:M::$magic:$mask:$qemu:F" > "$root/proc/sys/fs/binfmt_misc/register"
fi
exec unshare --root="$root" --wd="$folder" "$@"
"#;

const QEMU: &str = "/usr/bin/qemu-aarch64-static";

/// A folder that a program sees as the whole machine.
pub struct Root {
    root: TempDir,
    home: TempDir,
    qemu: &'static str,
}

impl Root {
    /// Nothing at all.
    pub fn empty(architecture: &str) -> Self {
        let foreign = architecture != std::env::consts::ARCH;
        if foreign {
            assert!(
                architecture == "aarch64" && Path::new(QEMU).exists(),
                "{architecture} runs here by {QEMU}: apt install qemu-user-static"
            );
        }
        let [root, home] = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
        Self { root, home, qemu: if foreign { QEMU } else { "" } }
    }

    /// Debian's essential packages and systemd.
    pub async fn debian(architecture: &str) -> Self {
        let made = Self::empty(architecture);
        let mut unpack = Command::new("unshare");
        unpack.args(["--user", "--map-root-user", "tar", "--extract", "--no-same-owner"]);
        unpack.args(["--exclude=./dev/*", "--directory"]).arg(made.path());
        unpack.arg("--file").arg(debian());
        Running::start(unpack).ended().await.with_status(0);
        made
    }

    /// Its place on the machine.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// A folder that has the same name inside and outside.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs `program` inside, with the arguments, environment and folder of `command`. All of the folder
    /// above that folder can be seen inside.
    pub async fn run(&self, program: &str, command: &Command) -> Ended {
        let given = command.as_std();
        let folder = given.get_current_dir().expect("it has a folder");
        let mut outer = Command::new("unshare");
        outer.args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"]);
        outer.args(["sh", "-c", ENTER, "enter"]).arg(self.path());
        outer.arg(folder.parent().expect("it is in another one")).arg(folder).arg(self.qemu);
        outer.arg(program).args(given.get_args()).kill_on_drop(true);
        outer.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        outer.envs(given.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Running::start(outer).ended().await
    }

    /// Runs a command of the root's own and returns what it printed.
    pub async fn own(&self, line: &[&str]) -> String {
        let folder = self.home().join("own");
        fs::create_dir_all(&folder).expect("a folder");
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).current_dir(&folder);
        self.run(line[0], &command).await.with_status(0).stdout
    }

    /// What a binary that is not static needs of this machine.
    pub async fn copy_libraries_of(&self, binary: &Path) {
        let mut ldd = Command::new("ldd");
        let listed = Running::start({
            ldd.arg(binary);
            ldd
        });
        let listed = listed.ended().await.with_status(0).stdout;
        for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
            let to = self.path().join(library.trim_start_matches('/'));
            fs::create_dir_all(to.parent().expect("a file")).expect("a folder");
            fs::copy(library, to).expect("the library can be copied");
        }
    }
}

/// An archive of such a root, which is made once and kept.
fn debian() -> PathBuf {
    let suite = suite();
    let kept = cache().join(format!("debian-{suite}.tar"));
    fs::create_dir_all(cache()).expect("the test cache can be created");
    let lock = File::create(cache().join(format!("debian-{suite}.lock"))).expect("a lock file");
    lock.lock().expect("the lock file can be locked");
    if !kept.exists() {
        let unfinished = cache().join(format!("debian-{suite}-unfinished.tar"));
        let mut make = std::process::Command::new("mmdebstrap");
        make.args(["--quiet", "--variant=essential", "--include=systemd", &suite]);
        let made = make.arg(&unfinished).stdin(Stdio::null()).output();
        let made = made.expect("mmdebstrap is installed (Debian: apt install mmdebstrap)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::rename(unfinished, &kept).expect("the archive can be renamed");
    }
    kept
}

/// This machine's own, if it is Debian's: a binary that was linked here runs there.
fn suite() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    match value("VERSION_CODENAME") {
        Some(codename) if value("ID").as_deref() == Some("debian") => codename,
        _ => "stable".to_owned(),
    }
}
