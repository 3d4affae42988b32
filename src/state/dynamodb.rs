//! The record in Amazon DynamoDB.
