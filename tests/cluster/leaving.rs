//! A worker's instance goes, and its metadata service says so: the worker drains in time.

use crate::door::Door;
use testkit::metadata::{INSTANCE, Surroundings};
use testkit::ministack::ACCOUNT_A;
use testkit::stage::{MIB, Stage, Worker, noise, until};

const PART: usize = 5 * MIB;
const GROUP: [(&str, &str); 2] = [("AutoScalingGroup", "workers"), ("LifecycleHook", "drain")];
const IN_GROUP: [(&str, &str); 2] =
    [("AutoScalingGroupName", "workers"), ("InstanceIds.member.1", INSTANCE)];

/// A worker in the middle of an object of eight parts: two are at the destination, and a piece of
/// the third has been read. It has room for more jobs, and whatever it does not give back stays
/// hidden for longer than any test waits.
struct Scene {
    stage: Stage,
    around: Surroundings,
    door: Door,
    worker: Worker,
}

impl Scene {
    async fn begin(grace: &str) -> Self {
        Self::begin_in(Surroundings::begin().await, grace).await
    }

    async fn begin_in(around: Surroundings, grace: &str) -> Self {
        let stage = Stage::put(20).await;
        stage.put_source("large", &noise(8 * PART, 7)).await;
        assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
        let door = Door::after(stage.server.address(), (2 * PART + PART / 2) as u64).await;
        let mut settings = vec![
            ("VisibilityTimeout", "3600"),
            ("MaxThread", "1"),
            ("GraceTime", grace),
            ("Source_Endpoint", door.url()),
        ];
        settings.extend(around.environment());
        settings.extend(GROUP);
        let worker = stage.worker(&settings);
        until("two parts are there", async || (stage.parts().await.len() == 2).then_some(())).await;
        Self { stage, around, door, worker }
    }

    /// A protected worker whose instance the group is ending, and a further job.
    async fn that_the_group_ends() -> Self {
        let scene = Self::begin("60").await;
        scene.until_protected("true").await;
        scene.around.say("autoscaling/target-lifecycle-state", "Terminated");
        scene.worker.until_logged("termination by the autoscaling group: draining").await;
        scene.another_job().await;
        scene
    }

    async fn until_protected(&self, on: &str) {
        let parameters = [IN_GROUP[0], IN_GROUP[1], ("ProtectedFromScaleIn", on)];
        until(&format!("the protection is {on}"), async || {
            (self.around.called("SetInstanceProtection", &parameters) > 0).then_some(())
        })
        .await;
    }

    /// A further job, while the worker has room.
    async fn another_job(&self) {
        self.stage.put_source("later", b"later").await;
        let (source, destination) = (&self.stage.source, &self.stage.destination);
        let job = serde_json::json!({
            "Src_bucket": source, "Src_key": "later", "Des_bucket": destination,
            "Des_key": "moved/later", "Size": 5, "versionId": "null",
        });
        self.stage.send(&job.to_string()).await;
    }

    /// The same, when the worker takes none any more.
    async fn another_job_after_sigterm(&self) {
        self.worker.terminate().await;
        self.worker.until_logged("SIGTERM: stopping").await;
        self.another_job().await;
    }

    /// The worker ends well: its object's message and the later one can be received at once.
    async fn ends(&mut self, parts: usize) {
        let log = self.worker.log();
        assert_eq!(self.worker.ended().await.code(), Some(0), "{log}");
        let log = self.worker.log();
        assert_eq!(self.stage.depth().await, (2, 0), "both can be received: {log}");
        assert_eq!(self.stage.parts().await, vec![PART as i64; parts], "{log}");
        assert_eq!(self.stage.arrived("moved/later").await, None, "no new job was taken");
    }

    /// Another worker finishes what is left.
    async fn is_finished_by_another(&self) {
        let _second = self.stage.worker(&[]);
        self.stage.until_done(2).await;
        let arrived = self.stage.arrived("moved/large").await;
        assert!(arrived.is_some_and(|arrived| arrived == noise(8 * PART, 7)));
    }
}

/// Promise 7.
#[tokio::test]
async fn a_spot_interruption_drains_the_worker() {
    let mut scene = Scene::begin("60").await;
    scene.until_protected("true").await;
    let notice = r#"{"action": "terminate", "time": "2126-01-01T00:00:00Z"}"#;
    scene.around.say("spot/instance-action", notice);
    scene.worker.until_logged("Spot interruption: draining").await;
    scene.another_job().await;
    scene.door.open();
    scene.ends(3).await;
    scene.until_protected("false").await;
    assert_eq!(scene.around.called("CompleteLifecycleAction", &[]), 0);
    scene.is_finished_by_another().await;
}

/// Promise 7.
/// The door stays shut: the part can never finish.
#[tokio::test]
async fn a_spot_instance_without_time_gives_back_what_it_cannot_finish() {
    let mut scene = Scene::begin("3600").await;
    let notice = r#"{"action": "stop", "time": "2026-01-01T00:00:00Z"}"#;
    scene.around.say("spot/instance-action", notice);
    scene.worker.until_logged("running parts have 0 s to finish").await;
    scene.another_job().await;
    scene.ends(2).await;
    scene.door.open();
    scene.is_finished_by_another().await;
}

/// Promise 7.
#[tokio::test]
async fn a_rebalance_recommendation_drains_the_worker() {
    let mut scene = Scene::begin("60").await;
    let notice = r#"{"noticeTime": "2026-01-01T00:00:00Z"}"#;
    scene.around.say("events/recommendations/rebalance", notice);
    scene.worker.until_logged("rebalance recommendation: draining").await;
    scene.another_job().await;
    scene.door.open();
    scene.ends(3).await;
    scene.is_finished_by_another().await;
}

/// Promise 7.
/// systemd's SIGTERM comes when the instance shuts down; it must not cut what has its grace time.
#[tokio::test]
async fn the_end_by_the_autoscaling_group_is_completed_when_the_worker_has_drained() {
    let mut scene = Scene::that_the_group_ends().await;
    scene.worker.terminate().await;
    assert_eq!(scene.around.called("CompleteLifecycleAction", &[]), 0, "it still works");
    scene.door.open();
    scene.ends(3).await;
    let completed = [
        ("AutoScalingGroupName", "workers"),
        ("LifecycleHookName", "drain"),
        ("InstanceId", INSTANCE),
        ("LifecycleActionResult", "CONTINUE"),
    ];
    let calls = scene.around.calls();
    assert_eq!(scene.around.called("CompleteLifecycleAction", &completed), 1, "{calls:?}");
    // An instance that is being ended has none to give back: the group would refuse.
    assert_eq!(scene.around.protections().last(), Some(&true), "{calls:?}");
    scene.is_finished_by_another().await;
}

/// Promise 7.
/// What was read before counts if nothing can be read any more.
#[tokio::test]
async fn the_hook_is_completed_where_the_metadata_service_has_fallen_silent() {
    let mut scene = Scene::that_the_group_ends().await;
    scene.around.fail("");
    scene.door.open();
    scene.ends(3).await;
    let calls = scene.around.calls();
    assert_eq!(scene.around.called("CompleteLifecycleAction", &[]), 1, "{calls:?}");
}

/// Promise 7.
/// The group has done what it was asked, and the worker does not know: an instance without a worker
/// must not stay protected for good.
#[tokio::test]
async fn a_protection_whose_answer_was_lost_is_given_back() {
    let around = Surroundings::begin().await;
    around.lose("ProtectedFromScaleIn=true");
    let mut scene = Scene::begin_in(around, "60").await;
    scene.until_protected("true").await;
    scene.another_job_after_sigterm().await;
    scene.door.open();
    scene.ends(3).await;
    let calls = scene.around.calls();
    assert_eq!(scene.around.protections().last(), Some(&false), "{calls:?}");
}

/// Promise 7.
#[tokio::test]
async fn a_notice_is_heeded_though_another_cannot_be_read() {
    let around = Surroundings::begin().await;
    around.fail("events/recommendations/rebalance");
    let mut scene = Scene::begin_in(around, "60").await;
    let notice = r#"{"action": "terminate", "time": "2126-01-01T00:00:00Z"}"#;
    scene.around.say("spot/instance-action", notice);
    scene.worker.until_logged("Spot interruption: draining").await;
    scene.another_job().await;
    scene.door.open();
    scene.ends(3).await;
}

/// Promise 7.
/// The recommendation leaves the whole grace time, the interruption none of it; the door stays shut.
#[tokio::test]
async fn a_second_notice_shortens_the_time_that_the_first_one_left() {
    let mut scene = Scene::begin("3600").await;
    scene
        .around
        .say("events/recommendations/rebalance", r#"{"noticeTime": "2026-01-01T00:00:00Z"}"#);
    scene.worker.until_logged("rebalance recommendation: draining").await;
    scene.another_job().await;
    scene
        .around
        .say("spot/instance-action", r#"{"action": "stop", "time": "2026-01-01T00:00:00Z"}"#);
    scene.ends(2).await;
}

/// Promise 7.
/// A second notice may come while the group says nothing.
#[tokio::test]
async fn notices_are_looked_for_while_the_group_does_not_answer() {
    let scene = Scene::begin("3600").await;
    scene.around.hold("Action=RecordLifecycleActionHeartbeat");
    scene.around.say("autoscaling/target-lifecycle-state", "Terminated");
    scene.worker.until_logged("termination by the autoscaling group: draining").await;
    until("all three are read while the group is waited for", async || {
        (scene.around.readings_while_held() > 3).then_some(())
    })
    .await;
}

/// Promise 7.
/// The hook waits as long as the worker needs.
#[tokio::test]
async fn a_long_drain_prolongs_the_hooks_time() {
    let mut scene = Scene::begin("3600").await;
    scene.around.say("autoscaling/target-lifecycle-state", "Terminated");
    scene.worker.until_logged("termination by the autoscaling group: draining").await;
    let prolonged = [("LifecycleHookName", "drain"), ("InstanceId", INSTANCE)];
    until("the hook's time is prolonged", async || {
        (scene.around.called("RecordLifecycleActionHeartbeat", &prolonged) > 0).then_some(())
    })
    .await;
    scene.another_job().await;
    scene.door.open();
    scene.ends(3).await;
}

/// Promise 7.
/// The instance's role is the only one who could have asked: there are no other credentials.
#[tokio::test]
async fn an_idle_worker_may_be_scaled_in_and_works_by_the_instances_role() {
    let stage = Stage::put(20).await;
    let around = Surroundings::begin().await;
    around.lend_role(ACCOUNT_A, "test");
    stage.put_source("small", b"small").await;
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    let mut program = stage.program(&["worker"]);
    program.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    program.envs(around.environment()).envs(GROUP);
    let mut worker = Worker::start(program);
    stage.until_done(1).await;
    // It may have been through with the object before anybody looked.
    until("the idle worker is not protected", async || {
        (around.protections().last() == Some(&false)).then_some(())
    })
    .await;
    worker.terminate().await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.log());
    assert!(around.readings() > 0);
}

/// Promise 7.
#[tokio::test]
async fn a_worker_without_a_metadata_service_works_and_says_nothing() {
    let stage = Stage::put(20).await;
    stage.put_source("small", b"small").await;
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    let nobody = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9"),
        ("LoggingLevel", "DEBUG"),
    ];
    let mut worker = stage.worker(&nobody);
    stage.until_done(1).await;
    worker.until_logged("not an EC2 instance").await;
    worker.terminate().await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.log());
    let log = worker.log();
    let mut loud = log.lines().filter(|line| !line.starts_with("DEBUG"));
    assert!(!loud.any(|line| line.contains("metadata") || line.contains("instance met")), "{log}");
}

#[tokio::test]
async fn a_group_without_a_metadata_service_is_said() {
    let stage = Stage::put(20).await;
    let nobody = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9"),
        GROUP[0],
    ];
    let worker = stage.worker(&nobody);
    worker.until_logged("AutoScalingGroup is workers, but no instance metadata service").await;
}
