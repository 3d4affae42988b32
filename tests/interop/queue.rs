//! jobsender and workers on ElasticMQ: a queue with Amazon's API that others wrote. The records are embedded, both
//! stores the crate's own.

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sqs::types::QueueAttributeName as Name;

use crate::harness::{Case, Outcome};
use crate::objects::{Object, assert_arrived, put, some_noise};
use crate::rows::{MINISTACK, OWN};
use crate::servers::{self, ACCESS_KEY, Daemon, SECRET_KEY, Servers};
use crate::stage::Stage;
use crate::tools::Missing;
use testkit::local::MIB;
use testkit::process::until;
use testkit::proxy::{Fault, Proxy, Rule};
use testkit::resources::{Queues, queues};

/// The cases of this file.
pub fn cases(servers: &Arc<Servers>) -> Vec<Case> {
    let [one, two, three] = [0; 3].map(|_| Arc::clone(servers));
    vec![
        Case::new("elasticmq::messages_and_batches", move || messages_and_batches(one)),
        Case::new("elasticmq::dead_letters", move || dead_letters(two)),
        Case::new("elasticmq::a_lost_worker", move || a_lost_worker(three)),
    ]
}

/// The shortest that there is, in seconds.
const VISIBILITY: &str = "10";
/// A heartbeat comes every third of that, so that after these a message has been held for longer.
const BEATS: usize = 4;

/// A queue with dead letters, and a stage whose jobs go through it.
struct Cluster {
    _queue: Daemon,
    /// The queue's address.
    url: String,
    client: aws_sdk_sqs::Client,
    queues: Queues,
    stage: Stage,
}

impl Cluster {
    async fn start(servers: &Servers, max_receives: u32) -> Result<Self, Missing> {
        let queue = servers::elasticmq()?;
        let url = format!("http://{}", queue.address);
        let identity = servers.get(&MINISTACK)?.url();
        let config = sdk_config(&url);
        let queues = queues(&config, max_receives).await;
        let mut stage = Stage::new(servers, &OWN, &OWN).await?;
        for (name, value) in [
            ("AWS_ENDPOINT_URL_SQS", url.as_str()),
            ("AWS_ENDPOINT_URL_STS", identity.as_str()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", "us-east-1"),
            ("sqs_queue_name", queues.name.as_str()),
            ("Backend_Queue", "sqs"),
            ("PackObjects", "10"),
            ("VisibilityTimeout", VISIBILITY),
        ] {
            stage.set(name, value);
        }
        Ok(Self { _queue: queue, url, client: aws_sdk_sqs::Client::new(&config), queues, stage })
    }

    async fn fill(&self, objects: &[Object]) {
        for object in objects {
            let place = &self.stage.source;
            assert!(put(&place.client, &place.bucket, object, &OWN).await.is_ok());
        }
    }

    /// Messages that can be received, and messages that somebody holds.
    async fn depth(&self, url: &str) -> [u64; 2] {
        let names =
            [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
        let asked = self.client.get_queue_attributes().queue_url(url);
        let answer = asked.set_attribute_names(Some(names.to_vec())).send().await;
        let counts = answer.expect("GetQueueAttributes").attributes.unwrap_or_default();
        names.map(|name| counts[&name].parse().expect("a count"))
    }

    async fn until_done(&self) {
        until("the queue is empty", async || self.depth(&self.queues.url).await == [0, 0]).await;
    }

    async fn send(&self, body: &str) {
        let send = self.client.send_message().queue_url(&self.queues.url).message_body(body);
        send.send().await.expect("SendMessage");
    }

    /// The bodies of the dead letters, in order.
    async fn letters(&self) -> Vec<String> {
        let receive = self.client.receive_message().queue_url(&self.queues.dead_url);
        let answer = receive.max_number_of_messages(10).send().await.expect("ReceiveMessage");
        let messages = answer.messages.unwrap_or_default().into_iter();
        let mut bodies: Vec<String> = messages.filter_map(|message| message.body).collect();
        bodies.sort();
        bodies
    }

    async fn assert_arrived(&self, objects: &[Object]) {
        let place = &self.stage.destination;
        assert_arrived(&place.client, &place.bucket, objects, [&OWN, &OWN]).await;
        assert_eq!(place.client.uploads(&place.bucket).await, 0, "no upload is left");
    }
}

fn sdk_config(url: &str) -> SdkConfig {
    let credentials = Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "interop");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

fn large() -> Object {
    let sizes = vec![5 * MIB, 5 * MIB, 5 * MIB, 1];
    let body = some_noise(13, sizes.iter().sum());
    Object { body, parts: sizes, ..Object::small("large") }
}

/// A comparison, a worker, and a second comparison that finds nothing to do.
async fn messages_and_batches(servers: Arc<Servers>) -> Outcome {
    let cluster = Cluster::start(&servers, 10).await?;
    let mut objects = vec![large()];
    objects.extend((0..135).map(|number| Object::small(format!("small/ü+ {number:03}"))));
    cluster.fill(&objects).await;
    let checked = cluster.stage.run(&["check"]).await;
    assert_eq!(checked.status, Some(0), "{}", checked.all());
    cluster.stage.run(&["jobsender"]).await.with_status(0);
    // 14 packs and the large one: more than a batch takes.
    assert_eq!(cluster.depth(&cluster.queues.url).await, [15, 0]);
    let status = cluster.stage.run(&["status", "--json"]).await.with_status(0).json();
    assert_eq!(status["waiting"], 15, "{status}");
    let worker = cluster.stage.spawn(&["worker"]);
    cluster.until_done().await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    cluster.assert_arrived(&objects).await;
    cluster.stage.run(&["jobsender"]).await.with_status(0);
    assert_eq!(cluster.depth(&cluster.queues.url).await, [0, 0], "nothing is left to do");
    assert_eq!(cluster.depth(&cluster.queues.dead_url).await, [0, 0]);
    Ok(())
}

/// What is no job, and a job that cannot be done: both end as dead letters, and the next job is done.
async fn dead_letters(servers: Arc<Servers>) -> Outcome {
    let cluster = Cluster::start(&servers, 10).await?;
    let objects = [Object::small("good")];
    cluster.fill(&objects).await;
    let (source, destination) = (&cluster.stage.source.bucket, &cluster.stage.destination.bucket);
    let job = |key: &str| {
        serde_json::json!({"Src_bucket": source, "Src_key": key, "Des_bucket": destination,
                           "Des_key": key, "Size": 15, "versionId": "null"})
        .to_string()
    };
    let absent = job("absent");
    for body in ["hello", &absent, &job("good")] {
        cluster.send(body).await;
    }
    let worker = cluster.stage.spawn(&["worker"]);
    let dead = &cluster.queues.dead_url;
    until("both are dead letters", async || cluster.depth(dead).await.iter().sum::<u64>() == 2)
        .await;
    cluster.until_done().await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    let letters = cluster.letters().await;
    assert_eq!(letters.len(), 2, "{letters:?}");
    assert!(letters.iter().any(|letter| letter == "hello"), "{letters:?}");
    assert!(letters.iter().any(|letter| letter.contains("absent")), "{letters:?}");
    cluster.assert_arrived(&objects).await;
    Ok(())
}

/// A worker that dies in the middle of an object: its message is seen again, and the next worker sends what is
/// missing.
async fn a_lost_worker(servers: Arc<Servers>) -> Outcome {
    let mut cluster = Cluster::start(&servers, 10).await?;
    let objects = [large()];
    cluster.fill(&objects).await;
    let proxy = Proxy::before_url(&cluster.stage.destination.url).await;
    let queue = Proxy::before_url(&cluster.url).await;
    cluster.stage.set("AWS_ENDPOINT_URL_SQS", queue.url());
    cluster.stage.set("Destination_Endpoint", proxy.url());
    cluster.stage.set("MaxThread", "1");
    cluster.stage.run(&["jobsender"]).await.with_status(0);
    let faults = proxy.inject(1, vec![Rule::on("UploadPart", Fault::Hold).after(2)]);
    let first = cluster.stage.spawn(&["worker"]);
    faults.held().await;
    assert_eq!(cluster.depth(&cluster.queues.url).await, [0, 1], "its lease hides the message");
    queue.until_calls("ChangeMessageVisibility", BEATS).await;
    assert_eq!(cluster.depth(&cluster.queues.url).await, [0, 1], "the heartbeat holds the lease");
    first.kill().await;
    faults.drop_held();
    let held = proxy.calls("UploadPart") - 2;
    let second = cluster.stage.spawn(&["worker"]);
    cluster.until_done().await;
    second.signal("TERM");
    second.ended().await.with_status(0);
    cluster.assert_arrived(&objects).await;
    assert_eq!(proxy.calls("UploadPart") - held, 4, "no part goes twice but what was under way");
    Ok(())
}
