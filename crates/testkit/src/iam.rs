//! IAM users, for a server that enforces IAM (`AUTH=true`).
//!
//! On ministack an account's 12-digit number is the access key of its root user, whose secret is not
//! checked. The secret of a user made here is checked, and the user may do nothing until a policy
//! allows it.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::ministack::{Ministack, unique};

/// A user's access key.
#[derive(Clone)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// The access key's id.
    pub key: String,
    /// The secret access key.
    pub secret: String,
}

/// Makes a user of `account` without permissions.
pub fn user(server: &Ministack, account: &str) -> User {
    let name = unique("user");
    call(server, account, &format!("Action=CreateUser&UserName={name}"));
    let answer = call(server, account, &format!("Action=CreateAccessKey&UserName={name}"));
    let key = element(&answer, "AccessKeyId");
    User { name, key, secret: element(&answer, "SecretAccessKey") }
}

/// A new role of `account` with this trust policy and this policy of its own: its ARN.
pub fn role(
    server: &Ministack,
    account: &str,
    trust: &serde_json::Value,
    document: &serde_json::Value,
) -> String {
    let (name, trust, document) = (unique("role"), encoded(trust), encoded(document));
    let form = format!("Action=CreateRole&RoleName={name}&AssumeRolePolicyDocument={trust}");
    let answer = call(server, account, &form);
    let form =
        format!("Action=PutRolePolicy&RoleName={name}&PolicyName=p&PolicyDocument={document}");
    call(server, account, &form);
    element(&answer, "Arn")
}

/// Replaces a role's trust policy.
pub fn trust(server: &Ministack, account: &str, role: &str, document: &serde_json::Value) {
    let name = role.rsplit('/').next().expect("a name");
    let document = encoded(document);
    let form = format!("Action=UpdateAssumeRolePolicy&RoleName={name}&PolicyDocument={document}");
    call(server, account, &form);
}

fn encoded(document: &serde_json::Value) -> String {
    let document = document.to_string();
    percent_encoding::utf8_percent_encode(&document, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Gives the user a policy of its own; `document` is its JSON.
pub fn allow(server: &Ministack, account: &str, user: &User, document: &serde_json::Value) {
    let document = encoded(document);
    let name = &user.name;
    let form =
        format!("Action=PutUserPolicy&UserName={name}&PolicyName=p&PolicyDocument={document}");
    call(server, account, &form);
}

fn call(server: &Ministack, account: &str, form: &str) -> String {
    let answer = query(server, account, "iam", &format!("{form}&Version=2010-05-08"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{form}: {answer}");
    answer
}

/// Makes one call to a service's query API and returns the whole answer. The caller is the account's
/// root user, so the signature need not be right.
pub fn query(server: &Ministack, account: &str, service: &str, form: &str) -> String {
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {service}.us-east-1.amazonaws.com\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
         Authorization: AWS4-HMAC-SHA256 \
         Credential={account}/20240101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=none\r\n\r\n{form}",
        form.len()
    );
    let mut stream = TcpStream::connect(server.address()).expect("the server listens");
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers");
    answer
}

/// The text of the first element with this name.
pub fn element(xml: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let text = xml.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
    text.unwrap_or_else(|| panic!("no {name} in {xml}")).0.to_owned()
}
