//! What the real binary tells systemd, read from a socket as systemd's own is one.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::UnixDatagram;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;

use testkit::gate::Hold;
use testkit::local::{Local, noise};
use testkit::process::BOUND;

/// A service manager's end of it.
///
/// It listens all the time, as systemd does: a sender waits if nobody reads.
struct Manager {
    socket: Arc<UnixDatagram>,
    listening: JoinHandle<()>,
    heard: Receiver<Vec<u8>>,
    /// Every line sent so far.
    told: Vec<String>,
}

impl Manager {
    /// Listens in the working folder; the binary is told where, and of a watchdog where there is one
    /// (microseconds).
    fn of(local: &mut Local, watchdog: Option<u64>) -> Self {
        let path = local.work().join("notify");
        let socket = Arc::new(UnixDatagram::bind(&path).unwrap());
        let (hear, heard) = channel(10_000);
        let listening = tokio::spawn({
            let socket = Arc::clone(&socket);
            async move {
                let mut datagram = [0; 4096];
                while let Ok(length) = socket.recv(&mut datagram).await {
                    if hear.send(datagram[..length].to_vec()).await.is_err() {
                        return;
                    }
                }
            }
        });
        local.set("NOTIFY_SOCKET", path.to_str().unwrap());
        if let Some(microseconds) = watchdog {
            local.set("WATCHDOG_USEC", &microseconds.to_string());
        }
        Self { socket, listening, heard, told: Vec::new() }
    }

    /// The lines of the next datagram.
    async fn next(&mut self) -> Vec<String> {
        let received = tokio::time::timeout(BOUND, self.heard.recv()).await;
        let datagram = received.unwrap_or_else(|_| panic!("nothing more: {:?}", self.told));
        self.take(&datagram.unwrap())
    }

    fn take(&mut self, datagram: &[u8]) -> Vec<String> {
        let text = std::str::from_utf8(datagram).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        self.told.extend(lines.iter().cloned());
        lines
    }

    /// Waits until a datagram has a line that begins so: all of it.
    async fn until(&mut self, start: &str) -> Vec<String> {
        // Other lines may come for ever.
        let heard = tokio::time::timeout(BOUND, async {
            loop {
                let lines = self.next().await;
                if lines.iter().any(|line| line.starts_with(start)) {
                    return lines;
                }
            }
        });
        let heard = heard.await;
        heard.unwrap_or_else(|_| panic!("never told: {start}; last {:?}", self.told.last()))
    }

    /// What has been sent by now, without waiting.
    fn rest(&mut self) -> Vec<String> {
        self.listening.abort();
        while let Ok(datagram) = self.heard.try_recv() {
            self.take(&datagram);
        }
        let mut datagram = [0; 4096];
        while let Ok(length) = self.socket.try_recv(&mut datagram) {
            self.take(&datagram[..length]);
        }
        self.told.clone()
    }
}

/// Two sides, the destination with `gate`, on the embedded queue, with one object to copy.
async fn stage(gate: Option<&Arc<Hold>>) -> Local {
    let mut local = Local::gated(gate.cloned()).await;
    local.embedded();
    local.source.put("object", noise(1000, 1)).await;
    local
}

#[tokio::test]
async fn a_worker_tells_that_it_is_ready_works_lives_and_ends() {
    let gate = Hold::new("PutObject", 0);
    let mut local = stage(Some(&gate)).await;
    local.run(&["jobsender"]).await.with_status(0);
    let mut manager = Manager::of(&mut local, Some(150_000));
    let worker = local.spawn(&["worker"]);
    assert_eq!(manager.next().await[0], "READY=1", "nothing before");
    gate.reached().await;
    let lines = manager.until("STATUS=1 message in work, 0 objects done, 0 failed, ").await;
    assert!(lines.contains(&"WATCHDOG=1".to_owned()), "{lines:?}");
    // It is alive as long as the object takes.
    for _ in 0..20 {
        manager.until("WATCHDOG=1").await;
    }
    worker.signal("TERM");
    let lines = manager.until("STOPPING=1").await;
    assert_eq!(lines[1], "STATUS=draining: SIGTERM, 1 message left");
    assert!(lines.contains(&"WATCHDOG=1".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("EXTEND_TIMEOUT_USEC=")), "{lines:?}");
    gate.open();
    worker.ended().await.with_status(0);
    assert_eq!(manager.rest().last().unwrap(), "STATUS=ended; 1 object done, 0 failed");
    assert_eq!(manager.told.iter().filter(|line| *line == "READY=1").count(), 1);
}

#[tokio::test]
async fn a_worker_without_a_watchdog_feeds_none_and_says_that_it_is_idle() {
    let mut local = stage(None).await;
    let mut manager = Manager::of(&mut local, None);
    let worker = local.spawn(&["worker"]);
    let lines = manager.next().await;
    let status = "STATUS=idle, the queue is empty; 0 objects done, 0 failed";
    assert_eq!(lines, ["READY=1", status]);
    worker.signal("TERM");
    manager.until("STOPPING=1").await;
    worker.ended().await.with_status(0);
    assert!(!manager.rest().iter().any(|line| line == "WATCHDOG=1"));
}

/// A watchdog of another process is none of its business.
#[tokio::test]
async fn a_watchdog_for_another_process_is_not_fed() {
    let mut local = stage(None).await;
    let mut manager = Manager::of(&mut local, Some(150_000));
    local.set("WATCHDOG_PID", "1");
    let worker = local.spawn(&["worker"]);
    manager.until("READY=1").await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    assert!(!manager.rest().iter().any(|line| line == "WATCHDOG=1"));
}

#[tokio::test]
async fn a_worker_that_cannot_begin_is_never_ready() {
    let mut local = stage(None).await;
    let mut manager = Manager::of(&mut local, None);
    local.set("Backend_Path", "no/such/folder/queue.sqlite");
    let ended = local.run(&["worker"]).await;
    assert_ne!(ended.status, Some(0), "{}", ended.all());
    assert!(manager.rest().is_empty(), "{:?}", manager.told);
}

#[tokio::test]
async fn a_jobsender_tells_that_it_compares_and_that_it_ends() {
    // The first look at the destination is the one before anything is sent.
    let gate = Hold::new("ListObjectsV2", 1);
    let mut local = stage(Some(&gate)).await;
    let mut manager = Manager::of(&mut local, None);
    let jobsender = local.spawn(&["jobsender"]);
    let lines = manager.next().await;
    assert_eq!(lines, ["READY=1", "STATUS=comparing, 0 objects listed so far"]);
    gate.reached().await;
    gate.open();
    jobsender.ended().await.with_status(0);
    let told = manager.rest();
    assert_eq!(told[told.len() - 2..], ["STOPPING=1", "STATUS=ended"]);
}

#[tokio::test]
async fn a_jobsender_that_compares_again_and_again_is_ready_once() {
    let mut local = stage(None).await;
    let mut manager = Manager::of(&mut local, Some(150_000));
    let jobsender = local.spawn(&["jobsender", "--every", "1s"]);
    manager.until("READY=1").await;
    manager.until("STATUS=waiting for the next comparison").await;
    // Each comparison asks three times: before it begins, for the page, and after its end.
    local.asked("ListObjectsV2", 5).await;
    jobsender.signal("TERM");
    jobsender.ended().await.with_status(0);
    let told = manager.rest();
    assert!(told.contains(&"STOPPING=1".to_owned()), "{told:?}");
    assert_eq!(told.iter().filter(|line| *line == "READY=1").count(), 1);
}

/// Work does not depend on being heard.
#[tokio::test]
async fn a_manager_that_is_gone_stops_no_worker() {
    let mut local = stage(None).await;
    local.run(&["jobsender"]).await.with_status(0);
    local.set("NOTIFY_SOCKET", Path::new("/no/such/socket").to_str().unwrap());
    let mut worker = local.spawn(&["worker"]);
    worker.logs("could not notify systemd").await;
    local.asked("PutObject", 1).await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    assert_eq!(local.destination.keys().await, ["object"]);
}

/// A manager that reads nothing any more, its socket full: nobody waits for it.
#[tokio::test]
async fn a_manager_that_has_stopped_reading_stops_no_worker() {
    for is_abstract in [false, true] {
        let mut local = stage(None).await;
        local.run(&["jobsender"]).await.with_status(0);
        let path = local.work().join("notify");
        let (name, address) = match is_abstract {
            true => {
                let name = format!("s3-migration-test-{}", std::process::id());
                (format!("@{name}"), SocketAddr::from_abstract_name(name).unwrap())
            }
            false => (path.to_str().unwrap().to_owned(), SocketAddr::from_pathname(&path).unwrap()),
        };
        let manager = std::os::unix::net::UnixDatagram::bind_addr(&address).unwrap();
        let filler = std::os::unix::net::UnixDatagram::unbound().unwrap();
        filler.set_nonblocking(true).unwrap();
        while filler.send_to_addr(b"X=1", &address).is_ok() {}
        local.set("NOTIFY_SOCKET", &name);
        let worker = local.spawn(&["worker"]);
        local.asked("PutObject", 1).await;
        worker.signal("TERM");
        let ended = worker.ended().await.with_status(0);
        assert!(!ended.stderr.contains("could not notify systemd"), "{}", ended.all());
        assert_eq!(local.destination.keys().await, ["object"]);
        drop(manager);
    }
}
