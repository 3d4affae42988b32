//! What the services charge: the dated file that ships with the product, or a replacement.
//!
//! Pure: the text of a price file is an argument; whoever reads the file is elsewhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::estimate::bill::{ARCHIVES, GB};

/// `prices.json` of the repository: its note says which figures are uncertain.
const SHIPPED: &str = include_str!("../../prices.json");

/// The storage class whose prices replace those that a region does not have, and apply to lists,
/// tags and the parts of archived objects.
pub const STANDARD: &str = "STANDARD";

/// List prices, all in one currency.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// Year and month of the prices.
    pub as_of: String,
    /// The currency's three letters.
    pub currency: String,
    /// How certain they are, for people.
    pub note: String,
    /// URLs of their sources.
    pub sources: Vec<String>,
    regions: BTreeMap<String, Region>,
    default_code: String,
    default_region: Region,
}

/// The prices of one region.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    standard: Requests,
    /// Requests to Amazon S3, by storage class.
    s3: BTreeMap<String, Requests>,
    /// Data that leaves the region.
    pub transfer: Transfer,
    /// Amazon SQS, standard queues.
    pub sqs: Sqs,
    /// Amazon DynamoDB, on demand.
    pub dynamodb: DynamoDb,
    /// Machines, functions and what is around them, each price under a name that tells its unit; no
    /// estimate uses them, docs/which.md does.
    pub compute: BTreeMap<String, f64>,
}

/// The format of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    as_of: String,
    currency: String,
    note: String,
    sources: Vec<String>,
    default_region: String,
    regions: BTreeMap<String, FileRegion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRegion {
    s3: BTreeMap<String, Requests>,
    transfer: Transfer,
    sqs: Sqs,
    dynamodb: DynamoDb,
    #[serde(default)]
    compute: BTreeMap<String, f64>,
}

/// Prices of requests for objects of one storage class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// Per thousand PUT, COPY, POST or LIST.
    pub write_per_1000: f64,
    /// Per thousand GET, HEAD and others.
    pub read_per_1000: f64,
    /// Per GB (2^30 bytes) read.
    #[serde(default)]
    pub retrieval_per_gb: f64,
    /// Per GB (2^30 bytes) kept for a month, first tier; `None`: the file does not say.
    #[serde(default)]
    pub storage_per_gb_month: Option<f64>,
    /// The figures are uncertain.
    #[serde(default)]
    pub estimated: bool,
}

/// Prices per GB (2^30 bytes) of data that leaves a region.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// To the internet, which includes other partitions and providers: the first tier.
    pub internet_per_gb: f64,
    /// To another region of the same partition.
    pub other_region_per_gb: f64,
    /// The figures are uncertain.
    #[serde(default)]
    pub estimated: bool,
}

/// Prices of requests to a standard queue.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sqs {
    /// Per million requests of up to 64 KiB.
    pub per_million: f64,
    /// The figure is uncertain.
    #[serde(default)]
    pub estimated: bool,
}

/// Prices of request units of an on-demand table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DynamoDb {
    /// Per million write units of 1 KiB.
    pub write_per_million: f64,
    /// Per million read units of 4 KiB, strongly consistent.
    pub read_per_million: f64,
    /// The figures are uncertain.
    #[serde(default)]
    pub estimated: bool,
}

impl Prices {
    /// The prices that ship with the product.
    ///
    /// # Errors None in a release: a test reads the file.
    pub fn shipped() -> Result<Self> {
        Self::parse("prices.json", SHIPPED)
    }

    /// Reads the text of the file `name`.
    ///
    /// # Errors A usage error that names the file, the position and the problem: no JSON, an
    /// unknown or missing field, a negative price, a missing default region or class STANDARD.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let file: File = serde_json::from_str(text)
            .map_err(|error| Error::usage(format!("the price file {name}: {error}")))?;
        file.checked().map_err(|problems| {
            let problems = problems.join("; ");
            Error::usage(format!("the price file {name}: {problems}"))
        })
    }

    /// The prices of a region; those of the default region if it is not in the file.
    pub fn region(&self, code: &str) -> Priced<'_> {
        match self.regions.get_key_value(code) {
            Some((code, region)) => Priced { code, region, substitute: false },
            None => {
                let (code, region) = (&self.default_code, &self.default_region);
                Priced { code, region, substitute: true }
            }
        }
    }
}

impl File {
    /// Validates the file and returns all problems together.
    fn checked(self) -> Result<Prices, Vec<String>> {
        let (mut problems, mut regions) = (Vec::new(), BTreeMap::new());
        for (code, region) in self.regions {
            let negative = region.figures().filter(|(_, figure)| *figure < 0.0);
            problems.extend(
                negative.map(|(name, figure)| {
                    format!("{code}.{name} is {figure}, a price is 0 or more")
                }),
            );
            match region.s3.get(STANDARD).copied() {
                Some(standard) => {
                    let FileRegion { s3, transfer, sqs, dynamodb, compute } = region;
                    let region = Region { standard, s3, transfer, sqs, dynamodb, compute };
                    regions.insert(code, region);
                }
                None => problems.push(format!("{code}.s3 has no class {STANDARD}")),
            }
        }
        let default_region = regions.get(&self.default_region).cloned();
        let Some(default_region) = default_region.filter(|_| problems.is_empty()) else {
            if problems.is_empty() {
                let there: Vec<&str> = regions.keys().map(String::as_str).collect();
                let (default, there) = (&self.default_region, there.join(", "));
                problems.push(format!(
                    "default_region is {default}, which is not one of its regions ({there})"
                ));
            }
            return Err(problems);
        };
        Ok(Prices {
            as_of: self.as_of,
            currency: self.currency,
            note: self.note,
            sources: self.sources,
            regions,
            default_code: self.default_region,
            default_region,
        })
    }
}

/// A region's prices, and whether they are its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Priced<'a> {
    /// The region whose prices these are.
    pub code: &'a str,
    /// The prices.
    pub region: &'a Region,
    /// The requested region is not in the file; these are the default region's prices.
    pub substitute: bool,
}

impl Region {
    /// The request prices of a storage class; those of STANDARD, marked as estimated, if the class
    /// is not in the file.
    pub fn s3(&self, class: &str) -> Requests {
        match self.s3.get(class) {
            Some(requests) => *requests,
            None => Requests { estimated: true, ..self.standard },
        }
    }

    /// What `bytes` of parts of unfinished uploads with this class cost in a month, and whether that
    /// is an estimate; `None` if the file has no such price. Parts of archived objects are billed as
    /// STANDARD until the upload is completed
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuploadpricing>).
    pub fn parts_per_month(&self, class: &str, bytes: u64) -> Option<(f64, bool)> {
        let class = if ARCHIVES.contains(&class) { STANDARD } else { class };
        let own = self.s3.get(class).filter(|own| own.storage_per_gb_month.is_some());
        let requests = own.unwrap_or(&self.standard);
        let per_gb = requests.storage_per_gb_month?;
        Some((per_gb * bytes as f64 / GB, own.is_none() || requests.estimated))
    }
}

impl FileRegion {
    /// Every figure with the path of its field.
    fn figures(&self) -> impl Iterator<Item = (String, f64)> {
        let classes = self.s3.iter().flat_map(|(class, requests)| {
            [
                (format!("s3.{class}.write_per_1000"), requests.write_per_1000),
                (format!("s3.{class}.read_per_1000"), requests.read_per_1000),
                (format!("s3.{class}.retrieval_per_gb"), requests.retrieval_per_gb),
                (
                    format!("s3.{class}.storage_per_gb_month"),
                    requests.storage_per_gb_month.unwrap_or_default(),
                ),
            ]
        });
        let others = [
            ("transfer.internet_per_gb", self.transfer.internet_per_gb),
            ("transfer.other_region_per_gb", self.transfer.other_region_per_gb),
            ("sqs.per_million", self.sqs.per_million),
            ("dynamodb.write_per_million", self.dynamodb.write_per_million),
            ("dynamodb.read_per_million", self.dynamodb.read_per_million),
        ];
        let compute =
            self.compute.iter().map(|(name, figure)| (format!("compute.{name}"), *figure));
        classes.chain(others.map(|(name, figure)| (name.to_owned(), figure))).chain(compute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// The shipped file with one piece of text replaced.
    fn changed(from: &str, to: &str) -> Result<Prices> {
        assert!(SHIPPED.contains(from), "{from}");
        Prices::parse("mine.json", &SHIPPED.replacen(from, to, 1))
    }

    fn refused(from: &str, to: &str) -> String {
        let error = changed(from, to).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        let text = error.to_string();
        assert!(text.contains("the price file mine.json: "), "{text}");
        text
    }

    /// Promise 1.
    #[test]
    fn the_shipped_prices_are_read_dated_and_have_their_sources() {
        let prices = Prices::shipped().unwrap();
        assert_eq!((prices.as_of.as_str(), prices.currency.as_str()), ("2026-11", "USD"));
        assert!(prices.sources.iter().all(|source| source.starts_with("https://")));
        assert!(!prices.sources.is_empty());
        let home = prices.region("us-east-1");
        assert!(!home.substitute);
        let standard = home.region.s3(STANDARD);
        assert_eq!((standard.write_per_1000, standard.read_per_1000), (0.005, 0.0004));
        assert!(!standard.estimated);
        for region in ["cn-north-1", "cn-northwest-1"] {
            let region = prices.region(region).region;
            let uncertain = [
                region.s3(STANDARD).estimated,
                region.transfer.estimated,
                region.sqs.estimated,
                region.dynamodb.estimated,
            ];
            assert_eq!(uncertain, [true; 4], "China's prices are conversions");
        }
    }

    /// Promise 1.
    #[test]
    fn what_is_not_in_the_file_is_priced_as_something_else_and_says_so() {
        let prices = Prices::shipped().unwrap();
        let elsewhere = prices.region("mars-1");
        assert_eq!((elsewhere.code, elsewhere.substitute), ("us-east-1", true));
        let standard = elsewhere.region.s3(STANDARD);
        assert_eq!(elsewhere.region.s3("SNOW"), Requests { estimated: true, ..standard });
    }

    #[test]
    fn parts_cost_what_their_class_does_until_the_upload_is_completed() {
        let prices = Prices::shipped().unwrap();
        let home = prices.region("us-east-1").region;
        let gb = 1 << 30;
        for (class, bytes, cents, estimated) in [
            (STANDARD, 10 * gb, 23.0, false),
            ("STANDARD_IA", 2 * gb, 2.5, false),
            ("DEEP_ARCHIVE", gb, 2.3, false),
            ("SNOW", gb, 2.3, true),
        ] {
            let (amount, is_estimated) = home.parts_per_month(class, bytes).unwrap();
            assert!((amount * 100.0 - cents).abs() < 1e-9, "{class}: {amount}");
            assert_eq!(is_estimated, estimated, "{class}");
        }
        let silent =
            changed("\"storage_per_gb_month\": 0.023 }", "\"estimated\": false }").unwrap();
        assert_eq!(silent.region("us-east-1").region.parts_per_month(STANDARD, gb), None);
    }

    /// Promise 1.
    #[test]
    fn a_field_that_is_unknown_or_missing_is_named_with_its_place() {
        let text = refused("\"per_million\"", "\"per_milion\"");
        assert!(text.contains("per_milion") && text.contains("line"), "{text}");
        let text = refused("\"as_of\": \"2026-11\",", "");
        assert!(text.contains("as_of"), "{text}");
        let text = refused("0.005", "\"0.005\"");
        assert!(text.contains("expected f64"), "{text}");
        assert!(refused("{", "[").contains("line"));
    }

    /// Promise 1.
    #[test]
    fn a_negative_price_is_named_with_its_path() {
        let text = refused("\"internet_per_gb\": 0.09", "\"internet_per_gb\": -0.09");
        assert!(text.contains("us-east-1.transfer.internet_per_gb is -0.09"), "{text}");
        let text = refused("\"retrieval_per_gb\": 0.03", "\"retrieval_per_gb\": -1");
        assert!(text.contains("us-east-1.s3.GLACIER_IR.retrieval_per_gb is -1"), "{text}");
        assert!(changed("0.09", "0").is_ok(), "free of charge is a price");
    }

    #[test]
    fn the_default_region_and_the_standard_class_must_be_there() {
        let text = refused("\"default_region\": \"us-east-1\"", "\"default_region\": \"us-east\"");
        assert!(
            text.contains("us-east, which is not one of its regions (ap-northeast-1, "),
            "{text}"
        );
        let text = refused("\"STANDARD\"", "\"STANDART\"");
        assert!(text.contains("us-east-1.s3 has no class STANDARD"), "{text}");
    }
}
