//! A pair over TLS, with certificates of an authority that nobody else knows.

use std::sync::Arc;

use tempfile::TempDir;

use crate::client::Client;
use crate::harness::{Case, Outcome};
use crate::objects::{Object, plain, put};
use crate::rows::{OWN, VERSITYGW};
use crate::servers::{self, ACCESS_KEY, Daemon, SECRET_KEY, Servers, Tls};
use crate::stage::Stage;
use crate::tools::{self, Missing};

/// The cases of this file.
pub fn cases(servers: &Arc<Servers>) -> Vec<Case> {
    let own = Arc::clone(servers);
    let wrong = Arc::clone(servers);
    let missing = Arc::clone(servers);
    vec![
        Case::new("tls::own_authority", move || own_authority(own)),
        Case::new("tls::wrong_authority", move || wrong_authority(wrong)),
        Case::new("tls::no_such_bundle", move || no_such_bundle(missing)),
    ]
}

/// versitygw twice on one folder, with TLS and without, and rclone with TLS.
struct Pair {
    folder: TempDir,
    _plain: Daemon,
    source: Daemon,
    destination: Daemon,
    client: Client,
}

impl Pair {
    fn start() -> Result<Self, Missing> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for authority in ["ours", "another"] {
            tools::certificates(&folder.path().join(authority))?;
        }
        let tls = Tls {
            certificates: folder.path().join("ours"),
            folder: Some(folder.path().join("versitygw")),
        };
        let source = servers::versitygw(Some(&tls), true)?;
        let plain = servers::versitygw(Some(&tls), false)?;
        let destination = servers::rclone(Some(&tls), Some(&folder.path().join("rclone")))?;
        let client = Client::new(plain.address, ACCESS_KEY, SECRET_KEY);
        Ok(Self { folder, _plain: plain, source, destination, client })
    }

    /// A stage between the two, with a bucket of these objects at the source. Who is trusted is not said yet.
    async fn stage(&self, servers: &Servers, objects: &[Object]) -> Result<Stage, Missing> {
        let mut stage = Stage::new(servers, &OWN, &OWN).await?;
        for (side, daemon) in [("Source", &self.source), ("Destination", &self.destination)] {
            stage.set(&format!("{side}_Endpoint"), &format!("https://{}", daemon.address));
        }
        stage.secrets([SECRET_KEY; 2]);
        self.client.create_bucket(&stage.source.bucket).await;
        for object in objects {
            let answer = put(&self.client, &stage.source.bucket, object, &VERSITYGW).await;
            assert!(answer.is_ok(), "{:?}: {} {}", object.key, answer.status, answer.text());
        }
        // A bucket of rclone's is a folder.
        let bucket = self.folder.path().join("rclone").join(&stage.destination.bucket);
        std::fs::create_dir_all(bucket).expect("a bucket");
        Ok(stage)
    }

    fn authority(&self, name: &str) -> String {
        self.folder.path().join(name).join("ca.pem").display().to_string()
    }

    fn arrived(&self, stage: &Stage, key: &str) -> Option<Vec<u8>> {
        let bucket = self.folder.path().join("rclone").join(&stage.destination.bucket);
        std::fs::read(bucket.join(key)).ok()
    }
}

async fn own_authority(servers: Arc<Servers>) -> Outcome {
    let pair = Pair::start()?;
    let objects = plain();
    for name in ["SSL_CERT_FILE", "AWS_CA_BUNDLE", "Source_CaBundle"] {
        let mut stage = pair.stage(&servers, &objects).await?;
        stage.set(name, &pair.authority("ours"));
        if name.starts_with("Source") {
            stage.set("Destination_CaBundle", &pair.authority("ours"));
        }
        let ended = stage.migrate().await.with_status(0);
        assert_eq!(ended.json()["copied"], objects.len(), "{name}: {}", ended.all());
        for object in &objects {
            let arrived = pair.arrived(&stage, &object.key);
            assert!(arrived.is_some_and(|body| body == object.body), "{name}: {:?}", object.key);
        }
        let second = stage.migrate().await.with_status(0);
        assert_eq!(second.json()["copied"], 0, "{name}: {}", second.all());
    }
    Ok(())
}

async fn wrong_authority(servers: Arc<Servers>) -> Outcome {
    let pair = Pair::start()?;
    let objects = [Object::small("small")];
    for bundle in [None, Some("another")] {
        let mut stage = pair.stage(&servers, &objects).await?;
        if let Some(name) = bundle {
            stage.set("AWS_CA_BUNDLE", &pair.authority(name));
        }
        let ended = stage.migrate().await.with_status(3);
        let said = ended.stderr.to_lowercase();
        assert!(said.contains("certificate") && said.contains("cabundle"), "{}", ended.all());
        assert!(pair.arrived(&stage, "small").is_none());
    }
    Ok(())
}

async fn no_such_bundle(servers: Arc<Servers>) -> Outcome {
    let pair = Pair::start()?;
    let no_pem = pair.folder.path().join("ours").join("names").display().to_string();
    for bundle in ["no-such-file.pem", &no_pem] {
        let mut stage = pair.stage(&servers, &[]).await?;
        stage.set("AWS_CA_BUNDLE", bundle);
        let ended = stage.migrate().await.with_status(2);
        assert!(ended.stderr.contains(bundle), "{}", ended.all());
    }
    Ok(())
}
