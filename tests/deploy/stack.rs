//! A stack of the cluster's template in ministack's CloudFormation.

use std::fs;

use aws_config::SdkConfig;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use testkit::iam::{element, query};
use testkit::ministack::{ACCOUNT_A, Ministack, unique};
use testkit::process;
use testkit::resources;

/// The template's text.
pub fn template() -> String {
    fs::read_to_string("cloudformation/cluster.yaml").expect("the template is there")
}

/// One call of CloudFormation as the account's root user.
pub fn call(server: &Ministack, form: &[(&str, &str)]) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = form.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    let form = pairs.collect::<Vec<_>>().join("&") + "&Version=2010-05-15";
    query(server, ACCOUNT_A, "cloudformation", &form)
}

/// A stack with these parameters, by way of a bucket as `aws cloudformation deploy --s3-bucket` does it;
/// the answer to the call that makes it, and its name.
pub async fn create(
    server: &Ministack,
    config: &SdkConfig,
    parameters: &[(&str, &str)],
) -> (String, String) {
    let bucket = resources::bucket(config).await;
    let put = resources::s3(config).put_object().bucket(&bucket).key("cluster.yaml");
    put.body(template().into_bytes().into()).send().await.expect("PutObject");
    let (name, url) = (unique("stack"), format!("{}/{bucket}/cluster.yaml", server.endpoint()));
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
