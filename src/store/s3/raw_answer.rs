//! The body of an answer as it arrived, independent of the SDK's reading of it.

use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use bytes::Bytes;

/// Keeps the answer of a call whose status is a success, whether or not the SDK can read its
/// document.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Option<Success>>>);

/// An answer of status 2xx.
#[derive(Debug, Default)]
pub(super) struct Success {
    /// The whole body.
    pub(super) body: Bytes,
    /// `x-amz-server-side-encryption`.
    pub(super) sse: Option<String>,
}

impl Kept {
    /// The answer, if it was a success and arrived whole.
    pub(super) fn take(&self) -> Option<Success> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[dyn_dispatch_hint]
impl Intercept for Kept {
    fn name(&self) -> &'static str {
        "Kept"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        // A body that did not arrive whole has not been loaded.
        if let Some(body) = response.body().bytes().filter(|_| response.status().is_success()) {
            let sse = response.headers().get("x-amz-server-side-encryption").map(str::to_owned);
            let success = Success { body: Bytes::copy_from_slice(body), sse };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(success);
        }
        Ok(())
    }
}
