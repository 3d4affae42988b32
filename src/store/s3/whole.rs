//! Answers in XML that must have come whole.
//!
//! The SDK reads a document that ends too soon as one with fewer elements: a listing whose end was lost
//! on the way, where its length was announced as it came, would be a shorter listing.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use crate::error::{Error, ErrorKind};

/// Fails a call with `Unavailable` whose answer's document is not whole.
#[derive(Debug)]
pub(super) struct Whole;

#[dyn_dispatch_hint]
impl Intercept for Whole {
    fn name(&self) -> &'static str {
        "Whole"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let is_cut = |document: &[u8]| !is_whole(document);
        if response.status().is_success() && response.body().bytes().is_some_and(is_cut) {
            let message = "the answer ends in the middle of its document";
            return Err(Error::new(ErrorKind::Unavailable, message).into());
        }
        Ok(())
    }
}

/// Whether the document ends with the end of its root element.
fn is_whole(document: &[u8]) -> bool {
    let document = document.trim_ascii();
    let starts = (0..document.len()).filter(|at| document[*at] == b'<');
    let mut elements =
        starts.filter(|at| document.get(at + 1).is_some_and(|next| !b"?!".contains(next)));
    let Some(root) = elements.next().map(|at| &document[at + 1..]) else { return false };
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"/>".contains(byte);
    let name = &root[..root.iter().position(is_end).unwrap_or(root.len())];
    let closed = document.strip_suffix(b">").and_then(|rest| rest.strip_suffix(name));
    closed.is_some_and(|rest| rest.ends_with(b"</"))
        || (elements.next().is_none() && document.ends_with(b"/>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_whole_at_its_very_end_only() {
        let document = "<?xml version=\"1.0\"?>\n<!-- a note -->\n<List xmlns=\"x\"><Is>false</Is>\
                        <Key>a/></Key></List>";
        assert!(is_whole(document.as_bytes()));
        assert!(is_whole(format!("{document}\r\n ").as_bytes()));
        for end in 0..document.len() {
            assert!(!is_whole(&document.as_bytes()[..end]), "{}", &document[..end]);
        }
        for (document, expected) in
            [("<List/>", true), ("<List></List>", true), ("<List><Key/>", false), ("", false)]
        {
            assert_eq!(is_whole(document.as_bytes()), expected, "{document}");
        }
    }
}
