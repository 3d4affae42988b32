//! Stacks of the templates in ministack's CloudFormation.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use aws_config::SdkConfig;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use testkit::iam::{element, query};
use testkit::ministack::{ACCOUNT_A, Ministack, unique};
use testkit::process;
use testkit::python::python_with;
use testkit::resources;

/// Pinned: the CLI's own behaviour is no part of this.
pub const AWS_CLI: &str = "1.45.11";
/// The template of the cluster.
pub const CLUSTER: &str = "cluster.yaml";
/// The template of the functions.
pub const SERVERLESS: &str = "serverless.yaml";

/// The text of a template.
pub fn text_of(template: &str) -> String {
    fs::read_to_string(format!("cloudformation/{template}")).expect("the template is there")
}

/// The text of the cluster's template.
pub fn template() -> String {
    text_of(CLUSTER)
}

/// A bucket with a package for functions that are never called.
pub async fn release(config: &SdkConfig) -> String {
    // An archive without files is its end alone.
    release_of(config, [b"PK\x05\x06".as_slice(), &[0; 18]].concat()).await
}

/// A bucket with this package for functions.
pub async fn release_of(config: &SdkConfig, package: Vec<u8>) -> String {
    let bucket = resources::bucket(config).await;
    let put = resources::s3(config).put_object().bucket(&bucket);
    let put = put.key("s3-migration-lambda-aarch64.zip");
    put.body(package.into()).send().await.expect("PutObject");
    bucket
}

/// The package with the binary under test; it is this machine's, whatever its name says.
pub fn package() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    symlink(process::binary(), folder.path().join("bootstrap")).expect("a link");
    let script = "import zipfile\n\
                  with zipfile.ZipFile('package', 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as z:\n    \
                  z.write('bootstrap')";
    let mut python = Command::new("python3");
    let packed = python.args(["-c", script]).current_dir(folder.path()).status();
    assert!(packed.expect("python3 can be run").success());
    fs::read(folder.path().join("package")).expect("a package")
}

/// One call of CloudFormation as the account's root user.
pub fn call(server: &Ministack, form: &[(&str, &str)]) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = form.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    let form = pairs.collect::<Vec<_>>().join("&") + "&Version=2010-05-15";
    query(server, ACCOUNT_A, "cloudformation", &form)
}

/// A stack of the cluster's template with these parameters.
pub async fn create(
    server: &Ministack,
    config: &SdkConfig,
    parameters: &[(&str, &str)],
) -> (String, String) {
    create_of(CLUSTER, server, config, parameters).await
}

/// A stack with these parameters, by way of a bucket as `aws cloudformation deploy --s3-bucket` does it;
/// the answer to the call that makes it, and its name.
pub async fn create_of(
    template: &str,
    server: &Ministack,
    config: &SdkConfig,
    parameters: &[(&str, &str)],
) -> (String, String) {
    let bucket = resources::bucket(config).await;
    let put = resources::s3(config).put_object().bucket(&bucket).key(template);
    put.body(text_of(template).into_bytes().into()).send().await.expect("PutObject");
    let (name, url) = (unique("stack"), format!("{}/{bucket}/{template}", server.endpoint()));
    let mut form = vec![
        ("Action".to_owned(), "CreateStack".to_owned()),
        ("StackName".to_owned(), name.clone()),
        ("TemplateURL".to_owned(), url),
        ("Capabilities.member.1".to_owned(), "CAPABILITY_IAM".to_owned()),
    ];
    for (number, (key, value)) in (1..).zip(parameters) {
        form.push((format!("Parameters.member.{number}.ParameterKey"), (*key).to_owned()));
        form.push((format!("Parameters.member.{number}.ParameterValue"), (*value).to_owned()));
    }
    let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    (call(server, &form), name)
}

/// One call of the real AWS CLI as the account's root user; what it answers.
pub fn aws(server: &Ministack, arguments: &[&str]) -> Value {
    let tool = python_with("awscli", AWS_CLI, "import awscli").with_file_name("aws");
    let mut command = Command::new(tool);
    command.args(arguments).args(["--output", "json"]).env_clear();
    command.env("PATH", "/usr/bin:/bin").envs(server.environment(ACCOUNT_A));
    let output = command.env("AWS_DEFAULT_REGION", "us-east-1").output().expect("it can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}{wrong}");
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"))
}

/// Waits until the stack is there.
pub async fn until_complete(server: &Ministack, name: &str) {
    let state = || call(server, &[("Action", "DescribeStacks"), ("StackName", name)]);
    process::until("the stack is made", async || !state().contains("CREATE_IN_PROGRESS")).await;
    assert!(state().contains("<StackStatus>CREATE_COMPLETE<"), "{}", state());
}

pub async fn parameter(config: &SdkConfig, name: &str) -> String {
    let asked = aws_sdk_ssm::Client::new(config).get_parameter().name(name).send().await;
    let parameter = asked.expect("GetParameter").parameter.and_then(|parameter| parameter.value);
    parameter.expect("a value")
}

/// What AWS calls a resource of the stack.
pub fn physical_id(server: &Ministack, stack: &str, resource: &str) -> String {
    let answer = call(
        server,
        &[
            ("Action", "DescribeStackResource"),
            ("StackName", stack),
            ("LogicalResourceId", resource),
        ],
    );
    element(&answer, "PhysicalResourceId")
}
