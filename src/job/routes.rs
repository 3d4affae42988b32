//! Where the objects of events go; events name no destination.
//!
//! Pure: the bucket list is an argument.

use super::MessageRefusal;
use crate::object::ObjectId;
use crate::params::Pair;

/// Where the objects of events go. The bucket list decides, as it does for a comparison. Without
/// one, everything goes to one place, which then serves a single source bucket: the keys of two
/// would overwrite each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// The bucket list.
    pub pairs: Vec<Pair>,
    /// `Des_bucket_default`, used if there is no bucket list; empty: events are refused.
    pub bucket: String,
    /// `Des_prefix_default`.
    pub prefix: String,
    /// `PropagateDelete`: an object whose event says that it was deleted is deleted there too.
    pub deletions: bool,
}

impl Routes {
    /// Every place to which a comparison would copy this object: one for each pair that contains
    /// it. Empty if its bucket is listed but no pair's prefix matches its key.
    pub fn of(&self, src: &ObjectId) -> Result<Vec<ObjectId>, MessageRefusal> {
        if self.pairs.is_empty() {
            return match self.bucket.is_empty() {
                true => Err(MessageRefusal::NoDestination),
                false => Ok(vec![self.default_pair(&src.bucket).target(&src.key)]),
            };
        }
        let mut listed = self.pairs.iter().filter(|pair| pair.src_bucket == src.bucket).peekable();
        if listed.peek().is_none() {
            return Err(MessageRefusal::NotListed(src.bucket.clone()));
        }
        let mut places: Vec<ObjectId> = listed
            .filter(|pair| src.key.as_str().starts_with(&pair.src_prefix))
            .map(|pair| pair.target(&src.key))
            .collect();
        places.sort();
        places.dedup();
        Ok(places)
    }

    /// Everything in this bucket goes to the default place.
    fn default_pair(&self, src_bucket: &str) -> Pair {
        Pair {
            src_bucket: src_bucket.to_owned(),
            src_prefix: String::new(),
            des_bucket: self.bucket.clone(),
            des_prefix: self.prefix.clone(),
            strip: false,
        }
    }

    /// The single place for all events, if there is no bucket list.
    pub fn default_place(&self) -> Option<(&str, &str)> {
        (self.pairs.is_empty() && !self.bucket.is_empty()).then_some((&self.bucket, &self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(src_bucket: &str, src_prefix: &str, des_bucket: &str, des_prefix: &str) -> Pair {
        Pair {
            src_bucket: src_bucket.into(),
            src_prefix: src_prefix.into(),
            des_bucket: des_bucket.into(),
            des_prefix: des_prefix.into(),
            strip: false,
        }
    }

    fn routes(pairs: Vec<Pair>) -> Routes {
        Routes { pairs, bucket: "default".into(), prefix: "p".into(), deletions: false }
    }

    /// Promise 1.
    #[test]
    fn the_bucket_list_decides_and_the_default_serves_where_there_is_none() {
        let listed = routes(vec![
            pair("a", "", "d", ""),
            pair("a", "x/", "e", "q"),
            pair("a", "x/", "d", "/"),
            pair("b", "y", "f", ""),
        ]);
        let of = |routes: &Routes, bucket: &str, key: &str| {
            let places = routes.of(&ObjectId::new(bucket, key));
            places.map(|places| places.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(of(&listed, "a", "k"), Ok(vec!["d/k".to_owned()]));
        assert_eq!(of(&listed, "a", "x/k"), Ok(vec!["d/x/k".to_owned(), "e/q/x/k".to_owned()]));
        assert_eq!(of(&listed, "b", "y k"), Ok(vec!["f/y k".to_owned()]));
        assert_eq!(of(&listed, "b", "k"), Ok(vec![]));
        assert_eq!(of(&listed, "c", "k"), Err(MessageRefusal::NotListed("c".into())));
        assert_eq!(listed.default_place(), None);

        let default = routes(vec![]);
        assert_eq!(of(&default, "c", "/k"), Ok(vec!["default/p//k".to_owned()]));
        assert_eq!(default.default_place(), Some(("default", "p")));
        let nowhere = Routes::default();
        assert_eq!(of(&nowhere, "c", "k"), Err(MessageRefusal::NoDestination));
        assert_eq!(nowhere.default_place(), None);
    }
}
