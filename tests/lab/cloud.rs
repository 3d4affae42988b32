//! SQS, DynamoDB, SSM and the S3 of two accounts on ministack, a proxy before each of them.

use std::collections::BTreeMap;

use s3_migration::job::Job;
use s3_migration::object::ObjectId;
use serde_json::Value;
use tokio::process::Command;

use testkit::proxy::Proxy;
use testkit::resources;
use testkit::stage::{Stage, Worker, noise};

/// A stage, a proxy before each of its services, and what is to be moved. Only workers go by the
/// proxies.
pub struct Cloud {
    pub stage: Stage,
    pub queue: Proxy,
    pub table: Proxy,
    pub parameters: Proxy,
    pub source: Proxy,
    pub destination: Proxy,
    pub objects: BTreeMap<String, Vec<u8>>,
}

impl Cloud {
    /// With objects of these sizes in the source.
    pub async fn of(sizes: &[usize]) -> Self {
        let stage = Stage::put(20).await;
        let proxy = || Proxy::before(stage.server.address());
        let (queue, table, parameters) = (proxy().await, proxy().await, proxy().await);
        let (source, destination) = (proxy().await, proxy().await);
        let objects = (0..).zip(sizes);
        let objects: BTreeMap<String, Vec<u8>> =
            objects.map(|(n, size)| (format!("object/{n:02}"), noise(*size, n))).collect();
        for (key, body) in &objects {
            stage.put_source(key, body).await;
        }
        Self { stage, queue, table, parameters, source, destination, objects }
    }

    /// A job for each object, as the jobsender sends it.
    pub async fn send(&self) {
        let ran = self.stage.run(&["jobsender"]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }

    /// The job of one object.
    pub fn job(&self, key: &str) -> Job {
        let src = ObjectId::new(&self.stage.source, key);
        let des = ObjectId::new(&self.stage.destination, format!("moved/{key}"));
        Job::copy(src, des, self.objects.get(key).map_or(0, |body| body.len() as u64), None)
    }

    /// A worker that goes by the proxies.
    pub fn worker(&self, settings: &[(&str, &str)]) -> Worker {
        let mut program = self.program(&["worker"]);
        program.envs(settings.iter().copied());
        Worker::start(program)
    }

    /// The program, which goes by the proxies.
    pub fn program(&self, args: &[&str]) -> Command {
        let proxies = [
            ("AWS_ENDPOINT_URL_SQS", self.queue.url()),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.table.url()),
            ("AWS_ENDPOINT_URL_SSM", self.parameters.url()),
            ("Source_Endpoint", self.source.url()),
            ("Destination_Endpoint", self.destination.url()),
        ];
        let mut program = self.stage.program(args);
        program.envs(proxies);
        program
    }

    /// Everything is at the destination and on record as done, and nothing is left of the work: no
    /// message, no dead letter, no upload. The closing comparison finds nothing to copy.
    pub async fn assert_finished(&self) {
        self.stage.until_done(self.objects.len() as u64).await;
        for (key, body) in &self.objects {
            let arrived = self.stage.arrived(&format!("moved/{key}")).await;
            assert!(arrived.as_ref() == Some(body), "{key} is not what it was");
        }
        assert_eq!(self.stage.arrived_keys().await.len(), self.objects.len());
        assert_eq!(self.uploads().await, 0, "no upload is left");
        let status = self.stage.status().await;
        let all = Value::from(self.objects.len());
        for (name, expected) in
            [("done", &all), ("failed", &0.into()), ("dead", &0.into()), ("waiting", &0.into())]
        {
            assert_eq!(&status[name], expected, "{name} of {status}");
        }
        let closing = self.stage.run(&["jobsender", "--json"]).await;
        assert_eq!(closing.code, Some(0), "{closing:?}");
        let closing: Value = serde_json::from_str(&closing.stdout).expect("JSON");
        let accounts = (&closing[0]["already_there"], &closing[0]["to_copy"]);
        assert_eq!(accounts, (&all, &0.into()), "{closing}");
    }

    /// How many uploads are unfinished.
    pub async fn uploads(&self) -> usize {
        let client = resources::s3(self.stage.at_destination());
        let listed = client.list_multipart_uploads().bucket(&self.stage.destination).send().await;
        listed.expect("ListMultipartUploads").uploads().len()
    }
}
