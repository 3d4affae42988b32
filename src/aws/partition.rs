//! The partitions of AWS: which regions and domains are whose.
//!
//! Pure: a table.

/// A part of AWS that shares no account with another.
#[derive(Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name in ARNs.
    pub name: &'static str,
    /// What the names of its regions begin with.
    regions: &'static str,
    /// The domain of its services.
    pub domain: &'static str,
    /// The domain of its services' dual-stack endpoints, if that is another one.
    dual_stack: Option<&'static str>,
}

/// All partitions
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>,
/// <https://docs.aws.amazon.com/general/latest/gr/rande.html>). The last one is the public one, to
/// which every other region belongs.
#[rustfmt::skip]
static PARTITIONS: [Partition; 8] = [
    partition("aws-cn", "cn-", "amazonaws.com.cn", Some("api.amazonwebservices.com.cn")),
    partition("aws-us-gov", "us-gov-", "amazonaws.com", Some("api.aws")),
    partition("aws-iso", "us-iso-", "c2s.ic.gov", None),
    partition("aws-iso-b", "us-isob-", "sc2s.sgov.gov", None),
    partition("aws-iso-e", "eu-isoe-", "cloud.adc-e.uk", None),
    partition("aws-iso-f", "us-isof-", "csp.hci.ic.gov", None),
    partition("aws-eusc", "eusc-", "amazonaws.eu", None),
    partition("aws", "", "amazonaws.com", Some("api.aws")),
];

const fn partition(
    name: &'static str,
    regions: &'static str,
    domain: &'static str,
    dual_stack: Option<&'static str>,
) -> Partition {
    Partition { name, regions, domain, dual_stack }
}

impl Partition {
    fn find(is_it: impl Fn(&Partition) -> bool) -> &'static Self {
        let public = PARTITIONS.len() - 1;
        PARTITIONS.iter().find(|partition| is_it(partition)).unwrap_or(&PARTITIONS[public])
    }

    /// The partition of a region.
    pub fn of_region(region: &str) -> &'static Self {
        Self::find(|partition| region.starts_with(partition.regions))
    }

    /// The partition with this name; the public one if there is none.
    pub fn named(name: &str) -> &'static Self {
        Self::find(|partition| partition.name == name)
    }
}

/// Whether a host, in lower case, is in a domain of AWS.
pub fn is_aws_host(host: &str) -> bool {
    let within = |domain: &str| {
        host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
    };
    PARTITIONS.iter().any(|of| within(of.domain) || of.dual_stack.is_some_and(within))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_has_a_partition_and_every_partition_a_name_of_its_own() {
        for (region, name, domain) in [
            ("eu-west-1", "aws", "amazonaws.com"),
            ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
            ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
            ("us-iso-east-1", "aws-iso", "c2s.ic.gov"),
            ("us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov"),
            ("eusc-de-east-1", "aws-eusc", "amazonaws.eu"),
            ("", "aws", "amazonaws.com"),
        ] {
            let partition = Partition::of_region(region);
            assert_eq!((partition.name, partition.domain), (name, domain), "{region}");
            assert_eq!(Partition::named(name), partition);
        }
        assert_eq!(Partition::named("other").name, "aws");
    }

    #[test]
    fn a_host_is_of_aws_by_the_end_of_its_name() {
        for (host, expected) in [
            ("s3.amazonaws.com", true),
            ("b.s3.cn-north-1.amazonaws.com.cn", true),
            ("s3.eu-west-1.api.aws", true),
            ("amazonaws.com", false),
            ("evilamazonaws.com", false),
            ("amazonaws.com.oss.example", false),
        ] {
            assert_eq!(is_aws_host(host), expected, "{host}");
        }
    }
}
