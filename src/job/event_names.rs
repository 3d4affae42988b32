//! The names of events, as stores write them.
//!
//! Pure: a table of names.

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// There is an object to read: written, or restored from the archive.
    Created,
    /// An object is gone.
    Deleted {
        /// Whether a version was permanently deleted (in a bucket with versions), not hidden by a
        /// delete marker.
        for_good: bool,
    },
    /// Any event that does not change an object's bytes.
    Otherwise,
}

impl Happened {
    /// From the name of a notification in the form of Amazon S3
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html>),
    /// MinIO and Ceph (<https://docs.ceph.com/en/latest/radosgw/s3-notification-compatibility/>),
    /// with or without the prefix that subscriptions use.
    pub(super) fn by_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let name = name.strip_prefix("s3:").unwrap_or(&name);
        let (family, kind) = name.split_once(':').unwrap_or((name, ""));
        match (family, kind) {
            ("objectcreated", _) | ("objectrestore", "completed") | ("objectsynced", "create") => {
                Self::Created
            }
            ("objectremoved" | "lifecycleexpiration" | "objectsynced", kind) => {
                let marker = matches!(kind, "deletemarkercreated" | "deletionmarkercreated");
                Self::Deleted { for_good: !marker }
            }
            ("objectlifecycle", "expiration:current" | "expiration:noncurrent") => {
                Self::Deleted { for_good: true }
            }
            _ => Self::Otherwise,
        }
    }

    /// From EventBridge's `detail-type` and `deletion-type`
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>).
    pub(super) fn by_detail(kind: &str, deletion: Option<&str>) -> Self {
        match kind {
            "Object Created" | "Object Restore Completed" => Self::Created,
            // A named version is permanently deleted, unless it is a new delete marker.
            "Object Deleted" => {
                Self::Deleted { for_good: deletion != Some("Delete Marker Created") }
            }
            _ => Self::Otherwise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_known_by_their_names() {
        let (gone, marked) = (true, false);
        let deleted = |for_good| Happened::Deleted { for_good };
        for (name, expected) in [
            ("ObjectCreated:Put", Happened::Created),
            ("s3:ObjectCreated:CompleteMultipartUpload", Happened::Created),
            ("ObjectCreated:SomethingNew", Happened::Created),
            ("ObjectCreated", Happened::Created),
            ("S3:objectcreated:post", Happened::Created),
            ("ObjectRestore:Completed", Happened::Created),
            ("s3:ObjectSynced:Create", Happened::Created),
            ("ObjectRestore:Post", Happened::Otherwise),
            ("ObjectRestore:Delete", Happened::Otherwise),
            ("ObjectRemoved:Delete", deleted(gone)),
            ("s3:ObjectRemoved:DeleteMarkerCreated", deleted(marked)),
            ("LifecycleExpiration:Delete", deleted(gone)),
            ("LifecycleExpiration:DeleteMarkerCreated", deleted(marked)),
            ("s3:ObjectLifecycle:Expiration:Current", deleted(gone)),
            ("ObjectLifecycle:Expiration:AbortMPU", Happened::Otherwise),
            ("LifecycleTransition", Happened::Otherwise),
            ("ObjectTagging:Put", Happened::Otherwise),
            ("Replication:OperationFailedReplication", Happened::Otherwise),
            ("", Happened::Otherwise),
        ] {
            assert_eq!(Happened::by_name(name), expected, "{name}");
        }
        let by_detail = Happened::by_detail;
        assert_eq!(by_detail("Object Deleted", Some("Delete Marker Created")), deleted(marked));
        assert_eq!(by_detail("Object Deleted", None), deleted(gone));
        assert_eq!(by_detail("Object Tags Added", None), Happened::Otherwise);
    }
}
