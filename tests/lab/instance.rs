//! A worker as on an instance of its own: its metadata service, its way to the destination, and no
//! more memory than the kernel gives it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::cloud::Cloud;
use testkit::metadata::Surroundings;
use testkit::proxy::{Faults, Outcome, Proxy, Rule};
use testkit::stage::{MIB, Worker};

/// Bytes that a process may have for its data, all its threads' stacks included: the kernel refuses
/// more, and a process that is refused aborts.
///
/// Not `RLIMIT_AS`, which would count the program's file and what is only reserved, and not
/// `RLIMIT_RSS`, which Linux does not enforce
/// (<https://man7.org/linux/man-pages/man2/getrlimit.2.html>).
pub const MEMORY: u64 = 128 * MIB as u64;
/// Between two looks at how much there has been at once; the kernel keeps the most of it.
const LOOK: Duration = Duration::from_millis(20);
/// Its group and the group's hook.
const GROUP: [(&str, &str); 2] = [("AutoScalingGroup", "workers"), ("LifecycleHook", "drain")];

/// A running worker and what is around it. Dropping it kills it.
pub struct Instance {
    /// As its metadata service says it.
    pub id: String,
    pub around: Surroundings,
    pub destination: Proxy,
    /// What of its calls is held.
    pub held: Arc<Faults>,
    pub worker: Worker,
    peak: Arc<AtomicU64>,
    looks: JoinHandle<()>,
}

impl Instance {
    /// Starts the `number`th worker of the fleet. Calls of the destination are held as `rules` say.
    pub async fn start(cloud: &Cloud, number: u32, rules: Vec<Rule>) -> Self {
        let id = format!("i-{number:017x}");
        let around = Surroundings::begin().await;
        around.say("instance-id", &id);
        let destination = Proxy::before(cloud.stage.server.address()).await;
        let held = destination.inject(1, rules);
        let mut program = limited(&cloud.program(&["worker"]), MEMORY);
        program.envs(around.environment()).envs(GROUP);
        program.env("Destination_Endpoint", destination.url());
        // One message at a time, as on a small instance; of its object or objects two things at once.
        program.envs([("MaxParallelFile", "1"), ("MaxThread", "2"), ("MaxMemory", "16")]);
        let worker = Worker::start(program);
        let peak = Arc::new(AtomicU64::new(0));
        let looks = tokio::spawn(look(worker.id(), Arc::clone(&peak)));
        Self { id, around, destination, held, worker, peak, looks }
    }

    /// The most memory that it has had, in bytes; waits until it has ended.
    pub async fn peak(&mut self) -> u64 {
        (&mut self.looks).await.expect("somebody has looked");
        self.peak.load(Ordering::Relaxed)
    }

    /// The keys, and the numbers of parts, that this call of the worker has brought to the
    /// destination.
    pub fn brought(&self, operation: &str) -> Vec<(String, Option<u32>)> {
        let seen = self.destination.seen().into_iter();
        let there = seen.filter(|seen| {
            seen.call.operation == operation && seen.outcome == Outcome::Status(200)
        });
        there.map(|seen| (seen.call.key, seen.call.part)).collect()
    }
}

/// The same program, with this many bytes for its data.
pub fn limited(program: &Command, data: u64) -> Command {
    let program = program.as_std();
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--data={data}")).arg(program.get_program()).args(program.get_args());
    limited.env_clear().envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
    limited.current_dir(program.get_current_dir().expect("a stage's program has a folder"));
    limited.stdin(std::process::Stdio::null()).kill_on_drop(true);
    limited.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    limited
}

/// Looks at the most memory that a process has had, as long as it is there.
async fn look(process: u32, peak: Arc<AtomicU64>) {
    let file = format!("/proc/{process}/status");
    while let Some(bytes) = std::fs::read_to_string(&file).ok().and_then(|text| most(&text)) {
        peak.store(bytes, Ordering::Relaxed);
        tokio::time::sleep(LOOK).await;
    }
}

/// The high-water mark of what was in memory, in bytes
/// (<https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>); none of a process that has ended.
fn most(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
