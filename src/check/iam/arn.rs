//! A partition, region and account, and the ARNs in it.
//!
//! Pure: an ARN follows from its parts.

use crate::aws::partition::Partition;

/// An account's partition, region and number. A part that is not known is empty, and appears as a
/// word to be replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountPlace {
    /// `aws`, `aws-cn`, `aws-us-gov` and the like.
    pub partition: String,
    /// The region's name.
    pub region: String,
    /// The account's 12 digits.
    pub account: String,
}

impl AccountPlace {
    /// The ARN of a parameter, from its name, with or without a leading slash, or from its ARN.
    pub(super) fn parameter(&self, name: &str) -> String {
        match name.starts_with("arn:") {
            true => name.to_owned(),
            false => self.arn("ssm", &format!("parameter/{}", name.trim_start_matches('/'))),
        }
    }

    /// The ARN of a KMS key, from its id; `*`: all keys.
    pub(super) fn key(&self, id: &str) -> String {
        self.arn("kms", &format!("key/{id}"))
    }

    /// The ARN of an autoscaling group, from its name; the id before it is generated at its
    /// creation.
    pub(super) fn group(&self, name: &str) -> String {
        self.arn("autoscaling", &format!("autoScalingGroup:*:autoScalingGroupName/{name}"))
    }

    /// KMS's name of the service that makes requests on a caller's behalf (`kms:ViaService`)
    /// (<https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html>).
    pub(super) fn service(&self, service: &str) -> String {
        let suffix = Partition::named(&self.partition).domain;
        format!("{service}.{}.{suffix}", known(&self.region, "REGION"))
    }

    /// The ARN of one of the account's resources, such as `table/NAME` of `dynamodb`.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        let partition = known(&self.partition, "aws");
        let (region, account) = (known(&self.region, "REGION"), known(&self.account, "ACCOUNT"));
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

/// The value, or a placeholder if it is empty.
fn known<'a>(value: &'a str, word: &'a str) -> &'a str {
    if value.is_empty() { word } else { value }
}
