//! A fleet's rehearsal: six workers in the middle of their work, two are killed and two asked
//! to go by their metadata services; three new ones come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::cloud::Cloud;
use crate::instance::{Instance, MEMORY, limited};
use testkit::proxy::{Fault, Proxy, Rule};
use testkit::stage::{MIB, PATIENCE, noise, ran, until_within};

/// Objects in parts, each followed by as many small ones as go into one message.
const ROUNDS: u64 = 7;
const SMALL: u64 = 25;
/// Six parts of the smallest size.
const LARGE: usize = 5 * 5 * MIB + 1;
const PARTS: u64 = 6;
/// So many small objects are at the destination when a worker is held in their message ...
const PUTS: usize = 5;
/// ... and this many calls are held: those that a worker makes at once.
const AT_ONCE: u64 = 2;
/// Seconds within which another worker has a dead one's message, at most.
const LEASE: u64 = 60;

/// Objects in parts and small ones in turn, with their jobs in the queue.
async fn filled() -> Cloud {
    let mut cloud = Cloud::of(&[]).await;
    cloud.stage.pack_objects = SMALL as u32;
    for round in 0..ROUNDS {
        cloud.objects.insert(format!("{round}/large"), noise(LARGE, round));
        for n in 0..SMALL {
            let body = noise(1000 + n as usize, 100 * round + n);
            cloud.objects.insert(format!("{round}/small/{n:02}"), body);
        }
    }
    for (key, body) in &cloud.objects {
        cloud.stage.put_source(key, body).await;
    }
    cloud.send().await;
    assert_eq!(cloud.stage.depth().await, (2 * ROUNDS, 0));
    cloud
}

/// What holds a worker in the middle of whatever it has: in the third and the fourth part, or in the
/// sixth and the seventh of many small objects.
fn in_the_middle() -> Vec<Rule> {
    let part = |number| Rule::on("UploadPart", Fault::Hold).part(number);
    vec![part(3), part(4), Rule::on("PutObject", Fault::Hold).after(PUTS as u64)]
}

/// Six workers in the middle of a message each.
struct Fleet {
    in_parts: [Instance; 3],
    in_packs: [Instance; 3],
}

impl Fleet {
    async fn at_work(cloud: &Cloud) -> Self {
        let mut all = Vec::new();
        for number in 0..6 {
            all.push(Instance::start(cloud, number, in_the_middle()).await);
        }
        for instance in &all {
            instance.held.held_at_least(AT_ONCE).await;
        }
        let (in_parts, in_packs): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|instance| !instance.brought("UploadPart").is_empty());
        let three = |instances: Vec<Instance>| {
            let three: Result<[Instance; 3], _> = instances.try_into();
            three.unwrap_or_else(|other| panic!("{} workers of a kind, not three", other.len()))
        };
        Self { in_parts: three(in_parts), in_packs: three(in_packs) }
    }
}

/// Promises 6, 7.
#[tokio::test]
async fn a_fleet_that_loses_a_third_by_kills_and_a_third_by_notices_loses_and_repeats_nothing() {
    let cloud = filled().await;
    let fleet = Fleet::at_work(&cloud).await;
    let ([killed_in_parts, interrupted, stays_in_parts], [killed_in_pack, ended, stays_in_pack]) =
        (fleet.in_parts, fleet.in_packs);
    let mut drained = [interrupted, ended];
    drain(&mut drained).await;
    // What they gave back can be received at once, as can what nobody has had; four are at work.
    assert_eq!(cloud.stage.depth().await, (2 * ROUNDS - 6 + 2, 4));

    let mut killed = [killed_in_parts, killed_in_pack];
    for instance in &mut killed {
        instance.worker.kill().await;
        instance.held.drop_held();
        instance.held.end();
    }
    let mut living = vec![stays_in_parts, stays_in_pack];
    for number in 6..9 {
        living.push(Instance::start(&cloud, number, Vec::new()).await);
    }
    living.iter().for_each(|instance| instance.held.let_go());
    // Nothing can be done about the dead workers' messages before their leases have ended.
    until_within(PATIENCE + Duration::from_secs(LEASE), "the queue is empty", async || {
        (cloud.stage.depth().await == (0, 0)).then_some(())
    })
    .await;
    cloud.assert_finished().await;

    assert_leases(&cloud.queue);
    let all: Vec<&Instance> = killed.iter().chain(&drained).chain(&living).collect();
    assert_every_part_once(&all);
    assert_every_object_once(&all, &killed[1]);
    for instance in &mut living {
        instance.worker.terminate().await;
        assert_eq!(instance.worker.ended().await.code(), Some(0), "{}", instance.worker.log());
    }
    for instance in killed.iter_mut().chain(&mut drained).chain(&mut living) {
        let peak = instance.peak().await;
        assert!((1..MEMORY).contains(&peak), "{}: {peak} bytes", instance.id);
    }
}

/// One gets a Spot notice, the other is ended by its group; both finish what they are in the middle of
/// and end well.
async fn drain([interrupted, ended]: &mut [Instance; 2]) {
    let notice = r#"{"action": "terminate", "time": "2126-01-01T00:00:00Z"}"#;
    interrupted.around.say("spot/instance-action", notice);
    ended.around.say("autoscaling/target-lifecycle-state", "Terminated");
    for (instance, why) in
        [(&*interrupted, "Spot interruption"), (&*ended, "termination by the autoscaling group")]
    {
        instance.worker.until_logged(&format!("{why}: draining")).await;
        instance.worker.until_logged("stopping: running parts finish").await;
        instance.held.let_go();
    }
    for (instance, completed) in [(interrupted, 0), (ended, 1)] {
        let status = instance.worker.ended().await;
        assert_eq!(status.code(), Some(0), "{}", instance.worker.log());
        let calls =
            instance.around.called("CompleteLifecycleAction", &[("InstanceId", &instance.id)]);
        assert_eq!(calls, completed, "{:?}", instance.around.calls());
    }
}

/// No message is hidden for longer at a time: a dead worker's comes back within this.
fn assert_leases(queue: &Proxy) {
    let mut leases = BTreeSet::new();
    let mut receipts = 0;
    for seen in queue.seen() {
        let asked: Value = serde_json::from_str(&seen.call.key).expect("SQS is asked in JSON");
        if let Some(seconds) = asked["VisibilityTimeout"].as_u64() {
            receipts += usize::from(seen.call.operation == "ReceiveMessage");
            leases.insert(seconds);
        }
    }
    assert_eq!(receipts, queue.calls("ReceiveMessage"), "each says for how long");
    assert!(leases.last().is_some_and(|longest| *longest <= LEASE), "{leases:?}");
}

/// How often each part or object was brought to the destination.
fn counts<'a>(
    all: impl IntoIterator<Item = &'a Instance>,
    operation: &str,
) -> BTreeMap<(String, Option<u32>), u64> {
    let mut counts = BTreeMap::new();
    for brought in all.into_iter().flat_map(|instance| instance.brought(operation)) {
        *counts.entry(brought).or_default() += 1;
    }
    counts
}

/// What a worker had sent before it was killed or had to go was not sent again by anybody.
fn assert_every_part_once(all: &[&Instance]) {
    for (operation, expected) in [
        ("CreateMultipartUpload", ROUNDS),
        ("UploadPart", ROUNDS * PARTS),
        ("CompleteMultipartUpload", ROUNDS),
    ] {
        let counts = counts(all.iter().copied(), operation);
        assert_eq!(counts.len() as u64, expected, "{operation}");
        let twice: Vec<_> = counts.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{operation}: {twice:?}");
    }
}

/// No small object was written twice, except for those that the killed worker had written and not yet
/// put on record: nobody else can know of them, and all of its message is done again.
fn assert_every_object_once(all: &[&Instance], killed: &Instance) {
    let unrecorded = counts([killed], "PutObject");
    assert_eq!(unrecorded.len(), PUTS);
    let written = counts(all.iter().copied(), "PutObject");
    assert_eq!(written.len(), (ROUNDS * SMALL) as usize);
    for (object, times) in written {
        let most = if unrecorded.contains_key(&object) { 2 } else { 1 };
        assert!(times <= most, "{object:?} was written {times} times");
    }
}

/// The limit is the kernel's, not the program's own: with too little of it the program cannot even
/// begin.
#[tokio::test]
async fn the_limit_on_a_workers_memory_is_enforced() {
    let cloud = Cloud::of(&[]).await;
    let ended = ran(limited(&cloud.program(&["status"]), MIB as u64)).await;
    assert_eq!(ended.code, None, "{ended:?}");
    let ended = ran(limited(&cloud.program(&["status"]), MEMORY)).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
