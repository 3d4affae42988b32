//! Measures a process: CPU time, memory, elapsed time.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The pause between polls of a process.
const LOOK: Duration = Duration::from_millis(10);
/// Clock ticks per second in /proc (`getconf CLK_TCK`; always 100 in user space since Linux 2.6).
const TICKS: f64 = 100.0;

/// The cost of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Seconds from start to end.
    pub wall: f64,
    /// User and system CPU seconds of all its threads and of the children it has waited for.
    pub cpu: f64,
    /// Peak resident memory in bytes, without its children's.
    pub peak: u64,
    /// Whether its exit status was 0.
    pub fine: bool,
}

/// Runs a command until it ends. Its output goes to a file, and its log to another one if that is
/// given.
pub fn run(
    command: &mut Command,
    output: fs::File,
    errors: Option<fs::File>,
) -> std::io::Result<Cost> {
    let errors = errors.map_or_else(|| output.try_clone(), Ok)?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let began = Instant::now();
    let mut child = command.spawn()?;
    let mut cost = watch(&child, began);
    cost.fine = child.wait()?.success();
    Ok(cost)
}

/// Polls the process until it is a zombie: ended, with its counts still readable.
fn watch(child: &Child, began: Instant) -> Cost {
    let mut cost = Cost::default();
    loop {
        cost.peak = peak(child.id()).unwrap_or_default().max(cost.peak);
        match stat(child.id()) {
            Some((state, cpu)) => {
                cost.cpu = cpu;
                if state == 'Z' {
                    break;
                }
            }
            None => break,
        }
        std::thread::sleep(LOOK);
    }
    cost.wall = began.elapsed().as_secs_f64();
    cost
}

/// State and CPU seconds (proc(5): fields 3 and 14 to 17, after the name in parentheses).
fn stat(pid: u32) -> Option<(char, f64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
    let ticks: f64 = fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Some((fields.first()?.chars().next()?, ticks / TICKS))
}

/// Peak resident memory so far, in bytes; a zombie has none.
fn peak(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The machine, in one line.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    format!(
        "{cores} cores, {}, Linux {}, load before the run {}",
        model.trim_start_matches([' ', '\t', ':']),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split_whitespace().next().unwrap_or("unknown"),
    )
}
