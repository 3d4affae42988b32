//! What requests and bytes cost as they go, by the price file.
//!
//! Pure: the dollars follow from counts and prices.

use super::beat::SideCounts;
use crate::estimate::TransferWay;
use crate::estimate::prices::{Prices, Region, STANDARD};

/// Bytes of a billed GB.
const GB: f64 = (1_u64 << 30) as f64;

/// The prices of both sides; a side without a price costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Pricing {
    source: Option<Region>,
    destination: Option<Region>,
    /// The class that objects are written in.
    class: String,
    way: Option<TransferWay>,
    /// The currency's three letters.
    pub currency: String,
}

impl Pricing {
    /// `regions`: of source and destination; `None`: a store other than Amazon's.
    pub fn new(
        prices: &Prices,
        regions: &[Option<String>; 2],
        way: TransferWay,
        class: Option<String>,
    ) -> Self {
        let region =
            |region: &Option<String>| region.as_ref().map(|r| prices.region(r).region.clone());
        Self {
            source: region(&regions[0]),
            destination: region(&regions[1]),
            class: class.unwrap_or_else(|| STANDARD.to_owned()),
            way: Some(way),
            currency: prices.currency.clone(),
        }
    }

    /// Millionths of the currency. Reads are taken as reads of STANDARD objects: a GET does not say
    /// which class it reads.
    pub fn micros(&self, source: SideCounts, destination: SideCounts) -> u64 {
        let requests = |side: &Option<Region>, class: &str, counts: SideCounts| {
            let Some(region) = side else { return 0.0 };
            let writes = counts.2 as f64 * region.s3(class).write_per_1000;
            (writes + counts.1 as f64 * region.s3(STANDARD).read_per_1000) / 1000.0
        };
        let per_gb = match (&self.source, self.way) {
            (Some(region), Some(TransferWay::Internet)) => region.transfer.internet_per_gb,
            (Some(region), Some(TransferWay::OtherRegion)) => region.transfer.other_region_per_gb,
            _ => 0.0,
        };
        let sum = requests(&self.source, STANDARD, source)
            + requests(&self.destination, &self.class, destination)
            + source.0 as f64 / GB * per_gb;
        (sum * 1e6).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_transfer_are_priced_by_side() {
        let prices = Prices::shipped().unwrap();
        let home = Some("us-east-1".to_owned());
        let counts = SideCounts(1 << 30, 10_000, 1000, 5);
        let both = [home.clone(), home.clone()];
        let near = Pricing::new(&prices, &both, TransferWay::SameRegion, None);
        // 10,000 reads at 0.0004, 1,000 writes at 0.005 for a thousand, on each side.
        assert_eq!(near.micros(counts, counts), 18_000);
        let far = Pricing::new(&prices, &[home, None], TransferWay::Internet, None);
        assert_eq!(far.micros(counts, counts), 9_000 + 90_000);
        assert_eq!(Pricing::default().micros(counts, counts), 0);
        assert_eq!(far.currency, "USD");
    }
}
