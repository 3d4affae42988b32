//! Parameters: the bucket list, the ignore list and the other account's credentials.

pub mod ssm;
