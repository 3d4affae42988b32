//! The AWS adapters against servers that we did not write, for what is theirs alone; what they share
//! with the embedded ones is in the conformance suites.

mod dynamodb;
mod failures;
mod harness;
mod sqs;
mod ssm;
