//! Requests that `check` makes of a bucket, and no transfer: a few keys instead of a page of them.

use super::listing::place;
use super::*;
use crate::aws::clock::Clock;

const A_FEW: u32 = 20;

impl S3Store {
    /// One of the first objects below a prefix; the first that is not empty, if there is one: the
    /// folder markers that consoles create are empty. ListObjectsV2 with a few keys. `clock` sees
    /// the answer.
    pub async fn an_object(
        &self,
        bucket: &str,
        prefix: &str,
        clock: &Clock,
    ) -> Result<Option<ObjectId>> {
        let request = ListRequest { max_keys: Some(A_FEW), ..asked(bucket, prefix) };
        let page = self.list_few(&request, clock).await?;
        let found = page.iter().find(|object| object.size > 0).or(page.iter().next());
        Ok(found.map(|object| ObjectId::new(bucket, object.key)))
    }

    /// Whether versions below a prefix may be listed: ListObjectVersions with one key.
    pub async fn lists_versions(&self, bucket: &str, prefix: &str) -> Result<()> {
        let answer = self
            .client
            .list_object_versions()
            .bucket(bucket)
            .prefix(prefix)
            .max_keys(1)
            .set_request_payer(self.request_payer.clone())
            .send()
            .await;
        let place = place(&asked(bucket, prefix));
        let failed = |e| self.error("ListObjectVersions", "s3:ListBucketVersions", place, e);
        answer.map(drop).map_err(failed)
    }

    /// Whether the bucket keeps versions, or did so in the past: GetBucketVersioning.
    pub async fn keeps_versions(&self, bucket: &str) -> Result<bool> {
        let answer = self.client.get_bucket_versioning().bucket(bucket).send().await;
        let place = place(&asked(bucket, ""));
        let failed = |e| self.error("GetBucketVersioning", "s3:GetBucketVersioning", place, e);
        Ok(answer.map_err(failed)?.status().is_some())
    }
}

fn asked(bucket: &str, prefix: &str) -> ListRequest {
    ListRequest { bucket: bucket.to_owned(), prefix: prefix.to_owned(), ..ListRequest::default() }
}
