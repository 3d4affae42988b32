//! What `status` says of a fleet while it works, and its full screen on a terminal.

use std::process::Stdio;

use testkit::gate::Hold;
use testkit::local::{ALL, Local, noise};
use testkit::process::until;
use tokio::io::AsyncWriteExt;

/// Runs the program on a terminal of 80 columns and 24 lines, types one line of stdin after the
/// other, each as it is (`\t` after it: and waits until the text is on the screen), and writes all
/// that the terminal got.
const ON_A_TERMINAL: &str = r#"
import fcntl, os, pty, select, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
seen = b""
def read():
    global seen
    if not select.select([terminal], [], [], 90)[0]:
        sys.exit("nothing more on the screen: " + repr(seen[-3000:]))
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        piece = b""
    seen += piece
    return piece
for line in iter(sys.stdin.readline, ""):
    keys, text = line.rstrip("\n").split("\t")
    at = len(seen)
    os.write(terminal, keys.replace("ENTER", "\r").encode())
    while text.encode() not in seen[at:]:
        if not read():
            sys.exit("the program ended before " + text + ": " + repr(seen[-3000:]))
os.write(terminal, b"q")
while read():
    pass
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// A run that is held at its `pass`th object.
async fn held(pass: u64) -> (std::sync::Arc<Hold>, Local) {
    let hold = Hold::new("PutObject", pass);
    let local = Local::gated(Some(hold.clone())).await;
    for n in 0..40 {
        local.source.put(&format!("object/{n:02}"), noise(1000, n)).await;
    }
    (hold, local)
}

async fn fleet(local: &Local) -> serde_json::Value {
    let mut fleets = local.run(&["status", "--fleet", "--json"]).await.with_status(0).json();
    fleets[0].take()
}

#[tokio::test]
async fn a_fleet_tells_phases_pairs_processes_and_what_they_hold() {
    let (hold, local) = held(10).await;
    let run = local.spawn(&["run", ALL[0], ALL[1]]);
    hold.reached().await;
    until("it says what it has copied", async || {
        let fleet = fleet(&local).await;
        fleet["pairs"][0]["copied"]["objects"].as_u64().is_some_and(|copied| copied > 0)
            && fleet["phases"][0]["active"] == false
    })
    .await;
    let shown = fleet(&local).await;
    let copying = &shown["phases"][1];
    assert_eq!(
        (&copying["phase"], &copying["active"]),
        (&"copying".into(), &true.into()),
        "{shown}"
    );
    assert_eq!(
        (&copying["of_objects"], &copying["of_bytes"]),
        (&40.into(), &40_000.into()),
        "{shown}"
    );
    let pair = &shown["pairs"][0];
    assert_eq!((&pair["source"], &pair["to_copy"]["objects"]), (&"from-here".into(), &40.into()));
    let worker = &shown["workers"][0];
    assert_eq!((&worker["kind"], &worker["lives"]), (&"run".into(), &true.into()), "{shown}");
    let held = worker["holds"][0]["object"].as_str().unwrap();
    assert!(held.starts_with("from-here/object/"), "{shown}");
    assert!(shown["total"]["source_requests"].as_u64().unwrap() >= 10, "{shown}");
    let text = local.run(&["status", "--fleet"]).await.with_status(0).stdout;
    assert!(text.contains("pair      from-here -> to-there: "), "{text}");
    hold.open();
    run.ended().await.with_status(0);
    let after = fleet(&local).await;
    let done: Vec<_> = (0..3).map(|at| after["phases"][at]["objects"].as_u64().unwrap()).collect();
    assert_eq!((done, &after["total"]["copied"]), (vec![40; 3], &40.into()), "{after}");
    assert_eq!(after["workers"].as_array().unwrap().len(), 0, "{after}");
}

#[tokio::test]
async fn the_screen_pauses_resumes_and_limits_the_run() {
    let (hold, local) = held(10).await;
    let mut run = local.spawn(&["run", ALL[0], ALL[1]]);
    hold.reached().await;
    let program = testkit::process::binary();
    let mut terminal = tokio::process::Command::new("python3");
    let watch = local.command(&["status", "--watch"]);
    terminal.args(["-c", ON_A_TERMINAL]).arg(program).args(watch.as_std().get_args());
    terminal.env_clear().current_dir(local.work()).env("PATH", std::env::var_os("PATH").unwrap());
    terminal.envs(watch.as_std().get_envs().filter_map(|(key, value)| Some((key, value?))));
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut terminal = terminal.kill_on_drop(true).spawn().unwrap();
    let mut stdin = terminal.stdin.take().unwrap();
    // The run has heard of each before the next key is typed.
    for (step, said) in [
        ("\tcopying\np\tPAUSED\n", "paused: the command pause"),
        ("r\tresumed\n", "resumed"),
        ("l50MENTER\tMiB/s\n", "source bandwidth 50M"),
    ] {
        stdin.write_all(step.as_bytes()).await.unwrap();
        run.logs(said).await;
    }
    drop(stdin);
    let ended = terminal.wait_with_output().await.unwrap();
    let said = [&ended.stdout, &ended.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(ended.status.success(), "{}\n{}", said[0].escape_debug(), said[1]);
    // What was there before is there again.
    assert!(said[0].contains("\u{1b}[?1049h") && said[0].contains("\u{1b}[?1049l"), "{}", said[0]);
    hold.open();
    run.ended().await.with_status(0);
}
