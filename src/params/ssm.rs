//! Parameters in SSM Parameter Store.
