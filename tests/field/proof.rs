//! Bytes, ETags and parts that are not what they are said to be.
