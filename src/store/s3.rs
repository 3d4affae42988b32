//! Object storage by the AWS SDK.
