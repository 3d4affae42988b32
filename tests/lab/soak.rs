//! The mix of everything: some hundred objects, a jobsender and three workers on SQS and DynamoDB,
//! faults on every line, workers that are killed and stopped, a queue and a table that go away,
//! messages that come twice, sources that are replaced.
//!
//! A run prints its seed. `S3_MIGRATION_SOAK_SEED=7` runs that one, `S3_MIGRATION_SOAK_SEEDS=10` the
//! first ten. The seed decides on the objects, on what goes wrong with which call, and on the number
//! of requests after which something happens; in which order requests come, the machine decides.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_ssm::types::ParameterType;
use fastrand::Rng;
use s3_migration::job::Job;
use s3_migration::object::ObjectId;
use serde_json::Value;

use crate::bench::{Bench, Object};
use testkit::local::{ACCESS_KEYS, BUCKETS, Local, MIB, SECRETS};
use testkit::ministack::{ACCOUNT_A, Ministack, REGION};
use testkit::process::{BOUND, Running, signal, until};
use testkit::proxy::{Call, Fault, Outcome, Proxy, Rule, Seen};
use testkit::resources::{self, Queues};

/// Between two looks at what cannot be waited on.
const LOOK: Duration = Duration::from_millis(50);
/// The product gives an object that is in trouble again and again a rest of up to 300 s: only what
/// rests for longer will never come.
const PATIENCE: Duration = Duration::from_secs(300 + BOUND.as_secs());
const WORKERS: usize = 3;
/// In the key of an object that the destination refuses by 503, and no other.
const POISONED: &str = "poisoned";
/// So often the table refuses while it is away.
const TABLE_REFUSALS: u64 = 5;
/// What each of them may have in memory.
const MAX_MEMORY_MIB: u64 = 64;
/// What it may use beyond that, as PRODUCT promises, in kB.
const BESIDE_KB: u64 = 64 * 1024;

/// Promises 1, 2, 3, 4, 5, 6, 7, 8, 9.
#[tokio::test]
async fn everything_at_once_loses_mixes_and_damages_nothing() {
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse().expect("a number"));
    let seeds = match (number("S3_MIGRATION_SOAK_SEED"), number("S3_MIGRATION_SOAK_SEEDS")) {
        (Some(seed), _) => seed..=seed,
        (None, seeds) => 1..=seeds.unwrap_or(1),
    };
    for seed in seeds {
        println!("soak: S3_MIGRATION_SOAK_SEED={seed}");
        Soak::new(seed).await.run().await;
    }
}

/// Whether no ETag of the source is an MD5, and of the destination.
fn own_etags(seed: u64) -> [bool; 2] {
    [seed.is_multiple_of(3), seed.is_multiple_of(2)]
}

struct Soak {
    rng: Rng,
    seed: u64,
    bench: Bench,
    config: aws_config::SdkConfig,
    queues: Queues,
    queue: Proxy,
    table: Proxy,
    /// The parameter with the destination's key, which is rotated.
    parameter: String,
    workers: Vec<Running>,
    /// The largest peak of a worker so far, in kB.
    peak_kb: u64,
    /// How many ended by themselves.
    restarts: u32,
    /// How many ended before the work did.
    ended: usize,
}

impl Soak {
    async fn new(seed: u64) -> Self {
        let server = Ministack::shared();
        let config = server.sdk_config(ACCOUNT_A);
        let queues = resources::queues(&config, 40).await;
        let table = resources::table(&config).await;
        let mut bench = Bench::of(Local::with_own_etags(own_etags(seed)).await).await;
        let key = stored_key(ACCESS_KEYS[1], SECRETS[1]);
        let parameter = resources::parameter(&config, ParameterType::SecureString, &key).await;
        let (queue, records) =
            (Proxy::before(server.address()).await, Proxy::before(server.address()).await);
        for (key, value) in [
            ("sqs_queue_name", queues.name.as_str()),
            ("table_queue_name", &table),
            ("AWS_ENDPOINT_URL_SQS", queue.url()),
            ("AWS_ENDPOINT_URL_DYNAMODB", records.url()),
            ("AWS_ENDPOINT_URL_SSM", &format!("http://{}", server.address())),
            ("Destination_Profile", ""),
            ("Destination_Credentials", "ssm"),
            ("ssm_parameter_credentials", &parameter),
            ("AWS_REGION", REGION),
            ("bucket_para_file", "pairs.json"),
            ("ssm_parameter_ignore_list", ""),
            ("ResumableThreshold", "1"),
            ("MaxMemory", &MAX_MEMORY_MIB.to_string()),
            ("VisibilityTimeout", "10"),
            ("GraceTime", "2"),
            ("LoggingLevel", "INFO"),
        ] {
            bench.local.set(key, value);
        }
        let [from, to] = BUCKETS;
        let pairs = format!(r#"[{{"src_bucket":"{from}","des_bucket":"{to}"}}]"#);
        bench.local.write("pairs.json", &pairs);
        // Whoever names no profile is ministack's account.
        let credentials = bench.local.work().with_file_name("credentials");
        let keys =
            format!("\n[default]\naws_access_key_id = {ACCOUNT_A}\naws_secret_access_key = test\n");
        append(&credentials, &keys);
        let (rng, workers) = (Rng::with_seed(seed), Vec::new());
        let (table, peak_kb) = (records, 0);
        let (restarts, ended) = (0, 0);
        Self {
            rng,
            seed,
            bench,
            config,
            queues,
            queue,
            table,
            parameter,
            workers,
            peak_kb,
            restarts,
            ended,
        }
    }

    async fn run(mut self) {
        for (key, object) in objects(&mut self.rng) {
            self.bench.put_object(&key, object).await;
        }
        self.break_everything();
        let listed = self.send_jobs().await;
        assert_eq!(listed, self.bench.objects().len() as u64, "a listing that ended early");
        self.send_some_twice().await;
        for _ in 0..WORKERS {
            self.workers.push(self.bench.local.spawn(&["worker"]));
        }
        self.disturb().await;
        let injected = [&self.bench.source, &self.bench.destination, &self.queue, &self.table]
            .map(|proxy| proxy.injected().values().sum::<usize>());
        println!("soak: faults at source, destination, queue, table: {injected:?}");
        assert!(injected.iter().all(|count| *count > 0), "{injected:?}");
        self.heal();
        self.drained().await;
        // What was replaced after it had been copied is found by comparing again.
        self.send_jobs().await;
        self.drained().await;
        self.stop_workers().await;
        self.assert_accounts().await;
        self.tell_of_uploads().await;
        self.bench.assert_equal().await;
        self.assert_uploads().await;
        self.bench.assert_same_headers().await;
        println!("soak: peak of a worker {} MiB", self.peak_kb / 1024);
    }

    /// Faults on all four lines.
    fn break_everything(&self) {
        // A CreateMultipartUpload whose answer is lost is left to `line.rs`: together with a worker's
        // death it may leave an empty upload until the object is worked on again.
        let lost = ["GetObject", "PutObject", "UploadPart", "CompleteMultipartUpload", "ListParts"];
        let lost = lost.map(|operation| Rule::on(operation, Fault::LostAnswer).chance(0.02));
        let s3 = [
            Rule::always(Fault::slow_down()).chance(0.05),
            Rule::always(Fault::internal_error()).chance(0.02),
            Rule::always(Fault::Reset).chance(0.02),
            Rule::on("GetObject", Fault::ResetInAnswer(3000)).chance(0.03),
            Rule::on("GetObject", Fault::CutAnswer(700)).chance(0.03),
            Rule::on("GetObject", Fault::StallInAnswer(100)).chance(0.02).most(1),
            Rule::on("PutObject", Fault::ResetInRequest(500)).chance(0.03),
            Rule::on("UploadPart", Fault::ResetInRequest(70_000)).chance(0.03),
            Rule::on("PutObject", Fault::FlipInRequest(20)).chance(0.03),
            Rule::on("UploadPart", Fault::FlipInRequest(100_000)).chance(0.03),
            Rule::on("CompleteMultipartUpload", Fault::error(200, "InternalError")).chance(0.2),
            Rule::on("CompleteMultipartUpload", Fault::error(409, "OperationAborted")).chance(0.1),
            Rule::always(Fault::Delay(Duration::from_millis(20))).chance(0.1),
            Rule::on("ListObjectsV2", Fault::Rewritten("listing ended early", end_early)),
        ];
        let s3 = || [&s3[..], &lost].concat();
        self.bench.source.inject(self.seed, s3());
        // The destination is full for a while, and one object is refused as long as there are faults.
        let full = Rule::on("PutObject", Fault::error(403, "QuotaExceeded")).after(60).most(20);
        let poisoned = Rule::on("PutObject", Fault::slow_down()).containing(POISONED);
        let destination = [vec![poisoned, full], s3()].concat();
        self.bench.destination.inject(self.seed + 1000, destination);
        let service = |throttled| {
            vec![
                // Few calls are made of these: one is throttled whatever the seed decides.
                Rule::always(Fault::error(400, throttled)).after(10).once(),
                Rule::always(Fault::error(400, throttled)).chance(0.05),
                Rule::always(Fault::error(500, "InternalFailure")).chance(0.02),
                Rule::always(Fault::Reset).chance(0.02),
                Rule::always(Fault::LostAnswer).chance(0.02),
            ]
        };
        self.queue.inject(self.seed + 2000, service("ThrottlingException"));
        self.table.inject(self.seed + 3000, service("ProvisionedThroughputExceededException"));
    }

    fn heal(&self) {
        for proxy in [&self.bench.source, &self.bench.destination, &self.queue, &self.table] {
            proxy.heal();
        }
    }

    /// The jobsender tries a wrong endpoint only a few times: whoever runs it on a bad line runs it
    /// again, jobs that are there already or not.
    async fn send_jobs(&self) -> u64 {
        for _ in 0..10 {
            let sent = self.bench.local.run(&["jobsender", "--force", "--json"]).await;
            if sent.status == Some(0) {
                return sent.json()[0]["listed"].as_u64().expect("a number");
            }
            assert_eq!(sent.status, Some(3), "{}", sent.all());
        }
        panic!("the jobsender never came through");
    }

    async fn send_some_twice(&mut self) {
        let keys: Vec<String> = self.bench.objects().keys().cloned().collect();
        let client = aws_sdk_sqs::Client::new(&self.config);
        for _ in 0..20 {
            let key = &keys[self.rng.usize(..keys.len())];
            let [from, to] = BUCKETS;
            let size = self.bench.objects()[key].body.len() as u64;
            let (src, des) = (ObjectId::new(from, key.clone()), ObjectId::new(to, key.clone()));
            let job = Job::copy(src, des, size, None);
            let message = client.send_message().queue_url(&self.queues.url);
            message.message_body(job.to_message()).send().await.expect("SendMessage");
        }
    }

    /// Lets things happen while the work goes on.
    async fn disturb(&mut self) {
        let objects = self.bench.objects().len();
        let begun = self.bench.destination.seen().len();
        let mut moments: Vec<usize> =
            (0..8).map(|_| begun + self.rng.usize(objects / 20..objects)).collect();
        moments.sort_unstable();
        for (n, moment) in moments.into_iter().enumerate() {
            self.reached(moment).await;
            match n {
                1 | 5 => self.replace_an_object().await,
                2 => self.rotate_the_key().await,
                3 => self.take_queue_and_table_away().await,
                6 => self.end_a_worker("TERM").await,
                _ => self.end_a_worker("KILL").await,
            }
        }
    }

    async fn end_a_worker(&mut self, name: &str) {
        let worker = self.workers.swap_remove(self.rng.usize(..self.workers.len()));
        self.note_peak(&worker);
        signal(name, &worker.id().to_string());
        let ended = worker.ended().await;
        // By the signal; or by itself, because it could not even begin on such a line.
        // Or because its key was rotated before the new one was in the parameter.
        let unfit = ["given up after 3 tries", "InvalidAccessKeyId"];
        let ok = matches!(ended.status, None | Some(0))
            || ended.status == Some(3) && unfit.iter().any(|why| ended.stderr.contains(why));
        assert!(ok, "{}", ended.all());
        self.ended += 1;
        self.workers.push(self.bench.local.spawn(&["worker"]));
    }

    /// The table first: as long as there is a queue, there is work whose end is to be put on record.
    /// Without either, nobody might ask the table any more.
    async fn take_queue_and_table_away(&mut self) {
        self.table.go_out();
        let begun = Instant::now();
        while self.table.refusals() < TABLE_REFUSALS && self.depth().await > 0 {
            self.supervise().await;
            assert!(begun.elapsed() < PATIENCE, "the table is not asked, and the queue not empty");
            tokio::time::sleep(LOOK).await;
        }
        self.queue.go_out();
        self.queue.refused(WORKERS as u64).await;
        println!("soak: the table has refused {} times", self.table.refusals());
        self.queue.come_back();
        self.table.come_back();
    }

    /// The destination takes another key from now on, which is in the parameter a moment later.
    async fn rotate_the_key(&mut self) {
        let (key, secret) = ("AKIAROTATED", SECRETS[1]);
        self.bench.local.destination.rotate(key, secret);
        let refused = |seen: &[Seen]| {
            let refused = |seen: &&Seen| seen.outcome == Outcome::Status(403);
            seen.iter().filter(refused).count() > WORKERS
        };
        self.bench.destination.until("the old key is refused", refused).await;
        let stored = stored_key(key, secret);
        resources::put_parameter(&self.config, &self.parameter, &stored).await;
    }

    async fn replace_an_object(&mut self) {
        let keys: Vec<String> = self.bench.objects().keys().cloned().collect();
        let large = |key: &&String| self.bench.objects()[*key].body.len() > 6 * MIB;
        let key = keys.iter().filter(large).nth(self.rng.usize(..4)).expect("a large one").clone();
        let mut object = self.bench.objects()[&key].clone();
        // Another size, so that the next comparison finds it; still in parts.
        object.body = noise(&mut self.rng, object.body.len() - 1);
        self.bench.put_object(&key, object).await;
    }

    /// Starts another worker for each that has ended by itself, as systemd does: because
    /// it could not even begin on such a line.
    async fn supervise(&mut self) {
        while let Some(at) = self.workers.iter().position(has_ended) {
            let ended = self.workers.swap_remove(at).ended().await.with_status(3);
            println!("soak: a worker ended: {}", ended.stderr.lines().last().unwrap_or_default());
            self.restarts += 1;
            self.ended += 1;
            assert!(self.restarts < 20, "{}", ended.all());
            self.workers.push(self.bench.local.spawn(&["worker"]));
        }
    }

    /// Waits until this much was asked of the destination, or nothing is left to do.
    async fn reached(&mut self, requests: usize) {
        let begun = Instant::now();
        while self.bench.destination.seen().len() < requests && self.depth().await > 0 {
            self.supervise().await;
            assert!(begun.elapsed() < PATIENCE, "never {requests} requests to the destination");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the queue has nothing to do, as long as it has less and less.
    async fn drained(&mut self) {
        let (mut least, mut since) = (u64::MAX, Instant::now());
        loop {
            match self.depth().await {
                0 => return,
                depth if depth < least => (least, since) = (depth, Instant::now()),
                depth => assert!(since.elapsed() < PATIENCE, "{depth} messages are never done"),
            }
            self.supervise().await;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How many messages there are, held or not.
    async fn depth(&self) -> u64 {
        use aws_sdk_sqs::types::QueueAttributeName as Name;
        let client = aws_sdk_sqs::Client::new(&self.config);
        let names =
            [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
        let ask = client.get_queue_attributes().queue_url(&self.queues.url);
        let answer = ask.set_attribute_names(Some(names.to_vec())).send().await;
        let counts = answer.expect("GetQueueAttributes").attributes.unwrap_or_default();
        counts.values().map(|count| count.parse::<u64>().expect("a count")).sum()
    }

    async fn stop_workers(&mut self) {
        // One may have ended at the very end of the faults; its successor has to be there first, since
        // a signal before it listens to it ends it at once.
        self.supervise().await;
        for worker in std::mem::take(&mut self.workers) {
            until("the worker listens to SIGTERM", async || listens_to_sigterm(&worker)).await;
            self.note_peak(&worker);
            worker.signal("TERM");
            worker.ended().await.with_status(0);
        }
    }

    fn note_peak(&mut self, worker: &Running) {
        // Whoever has just ended uses nothing any more.
        let Some(peak) = said_of(worker, "VmHWM") else { return };
        let kb: u64 = peak.trim_end_matches(" kB").parse().expect("a number of kB");
        self.peak_kb = self.peak_kb.max(kb);
        let bound = MAX_MEMORY_MIB * 1024 + BESIDE_KB;
        assert!(kb <= bound, "a worker used {kb} kB, more than {bound} kB");
    }

    /// The jobs that failed, for whoever asks why.
    async fn tell_of_dead_letters(&self) {
        let client = aws_sdk_sqs::Client::new(&self.config);
        let receive = client.receive_message().queue_url(&self.queues.dead_url);
        let letters =
            receive.max_number_of_messages(10).message_attribute_names("All").send().await;
        for letter in letters.expect("ReceiveMessage").messages() {
            let attributes = letter.message_attributes().map(|all| format!("{all:?}"));
            println!("soak: dead letter {:?} {attributes:?}", letter.body());
        }
    }

    /// Of an upload that is left, all that was asked about its object, in order.
    async fn tell_of_uploads(&self) {
        let list = self.bench.local.destination.client.list_multipart_uploads();
        let left = list.bucket(BUCKETS[1]).send().await.expect("ListMultipartUploads");
        for key in left.uploads().iter().filter_map(|upload| upload.key()) {
            println!("soak: an upload of {key:?} is left");
            for (name, proxy) in [("destination", &self.bench.destination), ("table", &self.table)]
            {
                for seen in proxy.seen().iter().filter(|seen| seen.call.key.contains(key)) {
                    let Call { operation, part, .. } = &seen.call;
                    println!("{name}: {operation} {part:?}: {:?} {:?}", seen.outcome, seen.fault);
                }
            }
        }
    }

    /// No upload is left. Whether a store with ETags of its own verifies Content-MD5, each worker asks by
    /// an upload: one that dies just then, or whose key is rotated, may leave it, without a part.
    async fn assert_uploads(&self) {
        let destination = &self.bench.local.destination;
        let most = if own_etags(self.seed)[1] { self.ended } else { 0 };
        let left = destination.uploads().await;
        assert!(left <= most, "{left} uploads are left, of {} workers that ended", self.ended);
        assert_eq!(destination.parts_left().await, 0, "parts are left");
    }

    /// Everything is on record as done; nothing failed, nothing is a dead letter, and a comparison
    /// finds nothing to copy.
    async fn assert_accounts(&self) {
        let all = Value::from(self.bench.objects().len());
        let status = self.bench.local.run(&["status", "--json"]).await.with_status(0).json();
        self.tell_of_dead_letters().await;
        // The poisoned one may have failed, before it was sent again and copied.
        assert!(status["dead"].as_u64() <= Some(1), "{status}");
        for (name, expected) in [("done", &all), ("failed", &0.into()), ("running", &0.into())] {
            assert_eq!(&status[name], expected, "{name} of {status}");
        }
        let closing = self.bench.local.run(&["jobsender", "--json"]).await.with_status(0).json();
        let accounts =
            [&closing[0]["listed"], &closing[0]["already_there"], &closing[0]["to_copy"]];
        assert_eq!(accounts, [&all, &all, &0.into()], "{closing}");
    }
}

/// What Linux says of a process under this name; less once it has ended.
fn said_of(worker: &Running, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id()));
    let status = status.expect("it was not waited for yet");
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| *field == name).map(|(_, value)| value.trim().to_owned())
}

/// Whether it has ended, and was not waited for yet.
fn has_ended(worker: &Running) -> bool {
    said_of(worker, "State").is_some_and(|state| state.starts_with('Z'))
}

fn listens_to_sigterm(worker: &Running) -> bool {
    const SIGTERM: u32 = 15;
    let caught = said_of(worker, "SigCgt").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    caught.is_some_and(|mask| mask >> (SIGTERM - 1) & 1 == 1)
}

/// The other account's credentials, as the parameter has them.
fn stored_key(access_key: &str, secret: &str) -> String {
    serde_json::json!({ "aws_access_key_id": access_key, "aws_secret_access_key": secret, "region": REGION })
        .to_string()
}

/// A page that calls itself the last after its first hundred keys.
fn end_early(page: Vec<u8>) -> Vec<u8> {
    const END: &str = "</Contents>";
    let text = String::from_utf8(page).expect("a listing");
    let Some((at, _)) = text.match_indices(END).nth(99) else { return text.into_bytes() };
    let kept = &text[..at + END.len()];
    let rest = text[at + END.len()..].rsplit_once(END).map_or("", |(_, rest)| rest);
    let text = format!("{kept}{rest}");
    let count = text.split_once("<KeyCount>").and_then(|(_, rest)| rest.split_once('<'));
    let count = count.map_or(String::new(), |(count, _)| format!("<KeyCount>{count}</KeyCount>"));
    text.replace(&count, "<KeyCount>100</KeyCount>")
        .replace("<IsTruncated>true<", "<IsTruncated>false<")
        .into_bytes()
}

fn append(file: &Path, text: &str) {
    let before = std::fs::read_to_string(file).expect("the file is there");
    std::fs::write(file, before + text).expect("it can be written");
}

fn noise(rng: &mut Rng, length: usize) -> Vec<u8> {
    testkit::local::noise(length, rng.u64(..))
}

/// From nothing to 20 MiB, under plain and odd keys, with and without headers.
fn objects(rng: &mut Rng) -> BTreeMap<String, Object> {
    let odd =
        ["a//b", "./x", "../y", "/leading", "trailing/", " space ", "+", "%2F", "ü/文件", "e\u{1}"];
    let mut sizes: Vec<usize> = vec![0; 10];
    sizes.extend((0..120).map(|_| rng.usize(1..1000)));
    sizes.extend((0..60).map(|_| rng.usize(1000..100_000)));
    sizes.extend((0..20).map(|_| rng.usize(100_000..MIB)));
    sizes.extend((0..8).map(|_| rng.usize(MIB..6 * MIB)));
    sizes.extend((0..5).map(|_| rng.usize(7 * MIB..12 * MIB)));
    sizes.push(20 * MIB - 1);
    rng.shuffle(&mut sizes);
    let mut objects = BTreeMap::new();
    for (n, size) in sizes.into_iter().enumerate() {
        let key = match n {
            n if n < odd.len() => odd[n].to_owned(),
            n if n < 2 * odd.len() => format!("{}/{n}", odd[n - odd.len()]),
            n if n == 2 * odd.len() => "k".repeat(1024),
            n if n == 2 * odd.len() + 1 => POISONED.to_owned(),
            n => format!("dir-{}/{:016x}", n % 7, rng.u64(..)),
        };
        let object = Object { body: noise(rng, size), headers: rng.bool(), tags: rng.u8(..) < 80 };
        objects.insert(key, object);
    }
    objects
}
