//! A side whose role is assumed: two accounts, on a server that enforces their policies and has an STS.

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::iam::{self, User};
use testkit::ministack::{ACCOUNT_A, ACCOUNT_B, Ministack};
use testkit::process::{self, Ended, Running};
use testkit::resources;

/// The source is the machine's own account's; the destination is reached by a role of the other's.
struct Accounts {
    server: Ministack,
    source: String,
    destination: String,
    machine: User,
    role: String,
    folder: TempDir,
}

fn document(statements: Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// Trusts the whole account A, as somebody might who has no external id.
fn trust(id: Option<&str>) -> Value {
    let mut statement = json!({"Effect": "Allow", "Action": "sts:AssumeRole",
                               "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT_A}:root")}});
    if let Some(id) = id {
        statement["Condition"] = json!({"StringEquals": {"sts:ExternalId": id}});
    }
    document(json!([statement]))
}

impl Accounts {
    async fn new() -> Self {
        let server = Ministack::start(&[("AUTH", "true")]);
        let [a, b] = [ACCOUNT_A, ACCOUNT_B].map(|account| server.sdk_config(account));
        let (source, destination) = (resources::bucket(&a).await, resources::bucket(&b).await);
        let on = |bucket: &str| {
            json!([format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")])
        };
        let all =
            |resource: Value| json!([{"Effect": "Allow", "Action": "s3:*", "Resource": resource}]);
        let role =
            iam::role(&server, ACCOUNT_B, &trust(Some("agreed")), &document(all(on(&destination))));
        let machine = iam::user(&server, ACCOUNT_A);
        let mut statements = all(on(&source));
        let assume = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role});
        statements.as_array_mut().expect("a list").push(assume);
        iam::allow(&server, ACCOUNT_A, &machine, &document(statements));
        let put = resources::s3(&a).put_object().bucket(&source).key("k");
        put.body(b"content".to_vec().into()).send().await.expect("PutObject");
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { server, source, destination, machine, role, folder }
    }

    async fn run(&self, command: &str, further: &[&str]) -> Ended {
        let (from, to) = (format!("s3://{}", self.source), format!("s3://{}", self.destination));
        let mut program = process::program(self.folder.path(), self.folder.path());
        program.envs(self.server.environment(&self.machine.key));
        program.env("AWS_SECRET_ACCESS_KEY", &self.machine.secret);
        program.args([command, &from, &to]).args(further);
        Running::start(program).ended().await
    }

    fn options(&self) -> [String; 2] {
        [format!("--destination-role={}", self.role), "--destination-external-id=agreed".to_owned()]
    }
}

/// Promise 10.
#[tokio::test]
async fn the_other_account_is_reached_by_its_role() {
    let accounts = Accounts::new().await;
    let [role, id] = accounts.options();
    let alone = accounts.run("run", &[]).await.with_status(3);
    alone.says(&["(destination)"]);
    accounts.run("run", &[&role, &id]).await.with_status(0);
    let b = resources::s3(&accounts.server.sdk_config(ACCOUNT_B));
    let get = b.get_object().bucket(&accounts.destination).key("k").send().await;
    assert_eq!(&*get.expect("it is there").body.collect().await.unwrap().into_bytes(), b"content");
    accounts.run("verify", &[&role, &id]).await.with_status(0);
    // In the ini as well, and the role signs: what it may not do is said of it.
    let ini = format!("[Destination]\nRoleArn = {}\nExternalId = agreed\n", accounts.role);
    std::fs::write(accounts.folder.path().join("s3_migration_config.ini"), ini).expect("written");
    accounts.run("run", &[]).await.with_status(0);
    let elsewhere = format!("s3://{}", accounts.source);
    let mut program = process::program(accounts.folder.path(), accounts.folder.path());
    program.envs(accounts.server.environment(&accounts.machine.key));
    program.env("AWS_SECRET_ACCESS_KEY", &accounts.machine.secret);
    program.args([
        "run",
        &elsewhere,
        &format!("{elsewhere}-not-there"),
        "--source-role",
        &accounts.role,
    ]);
    let ended = Running::start(program).ended().await.with_status(3);
    ended.says(&["AssumeRole", "the source's role"]);
}

/// Promise 10.
#[tokio::test]
async fn a_role_that_cannot_be_assumed_is_named_with_what_to_do() {
    let accounts = Accounts::new().await;
    let [role, id] = accounts.options();
    let what_to_do =
        ["the destination's role", &*accounts.role, "AccessDenied", "trust policy", "ExternalId"];
    accounts.run("run", &[&role]).await.with_status(3).says(&what_to_do);
    accounts
        .run("run", &[&role, "--destination-external-id=other"])
        .await
        .with_status(3)
        .says(&what_to_do);
    iam::trust(&accounts.server, ACCOUNT_B, &accounts.role, &trust(None));
    accounts.run("run", &[&role]).await.with_status(0);
    let elsewhere = json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]);
    iam::allow(&accounts.server, ACCOUNT_A, &accounts.machine, &document(elsewhere));
    accounts.run("run", &[&role]).await.with_status(3).says(&what_to_do);
    for (options, words) in [
        (&["--destination-role=admin"][..], "allowed: arn:aws:iam::123456789012:role/NAME"),
        (&[&*id], "ExternalId has no meaning without RoleArn"),
        (&[&*role, "--destination-credentials=anonymous"], "needs credentials to assume it with"),
    ] {
        let ended = accounts.run("run", options).await.with_status(2);
        assert!(ended.stderr.contains(words), "no {words:?} in {}", ended.all());
    }
}

/// Promise 10.
#[tokio::test]
async fn check_assumes_the_role_and_prints_whom_it_must_trust() {
    let accounts = Accounts::new().await;
    let [role, id] = accounts.options();
    let ended = accounts.run("check", &[&role, &id, "--policies"]).await.with_status(0);
    let machine = format!("arn:aws:iam::{ACCOUNT_A}:user/{}", accounts.machine.name);
    let (looks, policies) = ended.stdout.split_once(" 0 failed\n").expect("nothing failed");
    let one_line = looks.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        format!("identity at the source: this machine's, {machine}, account {ACCOUNT_A}"),
        format!("role at the destination: arn:aws:sts::{ACCOUNT_B}:assumed-role/"),
    ] {
        assert!(one_line.contains(&words), "no {words:?} in {looks}");
    }
    for words in [
        &format!("The trust policy of {}:", accounts.role),
        &format!("\"AWS\": \"{machine}\""),
        "\"sts:ExternalId\": \"agreed\"",
        "\"sts:AssumeRole\"",
    ] {
        assert!(policies.contains(words), "no {words:?} in {policies}");
    }
    // The trust policy that it prints is enough.
    let json = accounts.run("check", &[&role, &id, "--json"]).await.json();
    iam::trust(&accounts.server, ACCOUNT_B, &accounts.role, &json["trust"][0]["policy"]);
    accounts.run("run", &[&role, &id]).await.with_status(0);
    // And its absence is a finding of its own.
    let failed = accounts.run("check", &[&role]).await.with_status(1);
    assert!(
        failed.stdout.contains("failed   role at the destination: AssumeRole"),
        "{}",
        failed.all()
    );
    assert!(failed.stdout.contains("The trust policy of"), "{}", failed.all());
}
