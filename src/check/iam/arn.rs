//! A partition, region and account, and the ARNs in it.
//!
//! Pure: an ARN follows from its parts.

/// Where an account's resources are. A part that is not known is empty, and shows as a word that must
/// be replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// `aws`, `aws-cn`, `aws-us-gov` and the like.
    pub partition: String,
    /// The region's name.
    pub region: String,
    /// The account's 12 digits.
    pub account: String,
}

/// The partition of a region
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>).
pub fn partition(region: &str) -> &'static str {
    let known = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    let found = known.into_iter().find(|(prefix, _)| region.starts_with(prefix));
    found.map_or("aws", |(_, partition)| partition)
}

impl Place {
    /// The ARN of a parameter: of its name, with or without a slash in front, or of its ARN itself.
    pub(super) fn parameter(&self, name: &str) -> String {
        match name.starts_with("arn:") {
            true => name.to_owned(),
            false => self.arn("ssm", &format!("parameter/{}", name.trim_start_matches('/'))),
        }
    }

    /// The ARN of a KMS key by its id; `*`: of all keys.
    pub(super) fn key(&self, id: &str) -> String {
        self.arn("kms", &format!("key/{id}"))
    }

    /// The ARN of an autoscaling group by its name; the id before it is made at its creation.
    pub(super) fn group(&self, name: &str) -> String {
        self.arn("autoscaling", &format!("autoScalingGroup:*:autoScalingGroupName/{name}"))
    }

    /// How KMS names the service that asks on somebody's behalf (`kms:ViaService`)
    /// (<https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html>).
    pub(super) fn service(&self, service: &str) -> String {
        let suffix = match self.partition.as_str() {
            "aws-cn" => "amazonaws.com.cn",
            "aws-iso" => "c2s.ic.gov",
            "aws-iso-b" => "sc2s.sgov.gov",
            "aws-iso-e" => "cloud.adc-e.uk",
            "aws-iso-f" => "csp.hci.ic.gov",
            "aws-eusc" => "amazonaws.eu",
            _ => "amazonaws.com",
        };
        format!("{service}.{}.{suffix}", known(&self.region, "REGION"))
    }

    /// The ARN of something of the account, such as `table/NAME` of `dynamodb`.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        let partition = known(&self.partition, "aws");
        let (region, account) = (known(&self.region, "REGION"), known(&self.account, "ACCOUNT"));
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

/// The value, or the word that stands in its place.
fn known<'a>(value: &'a str, word: &'a str) -> &'a str {
    if value.is_empty() { word } else { value }
}
