//! A body that must have the announced length.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::error::{Error, ErrorKind, Result};
use crate::store::Body;

/// The same bytes, or an error before the last of them if there are fewer or more than `length`: a
/// request with that length is then cut short, and the store keeps nothing of it.
pub(super) fn exactly(body: Body, length: u64) -> Body {
    let start = Some((body, length));
    let next = move |state: Option<(Body, u64)>| async move {
        let Some((mut body, left)) = state else { return Ok(None) };
        let Some(chunk) = some(&mut body).await? else {
            return match left {
                0 => Ok(None),
                _ => Err(other_length(format_args!("{} of {length} bytes", length - left))),
            };
        };
        let too_long = || other_length(format_args!("more than {length} bytes"));
        let left = left.checked_sub(chunk.len() as u64).ok_or_else(too_long)?;
        if left > 0 {
            return Ok(Some((chunk, Some((body, left)))));
        }
        match some(&mut body).await? {
            None => Ok(Some((chunk, None))),
            Some(_) => Err(too_long()),
        }
    };
    stream::try_unfold(start, next).boxed()
}

async fn some(body: &mut Body) -> Result<Option<Bytes>> {
    while let Some(chunk) = body.try_next().await? {
        if !chunk.is_empty() {
            return Ok(Some(chunk));
        }
    }
    Ok(None)
}

fn other_length(came: std::fmt::Arguments<'_>) -> Error {
    Error::new(ErrorKind::Damaged, format!("the body to send had {came}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 3.
    #[tokio::test]
    async fn a_body_of_another_length_fails_before_its_last_byte() {
        let sent = |length| async move {
            let pieces = ["ab", "", "c", ""].map(|piece| Ok(Bytes::from(piece)));
            let body = exactly(stream::iter(pieces).boxed(), length);
            body.collect::<Vec<_>>().await
        };
        let whole: Result<Vec<_>> = sent(3).await.into_iter().collect();
        assert_eq!(whole.unwrap().concat(), b"abc");
        for (length, before) in [(2, 0), (4, 3), (1, 0), (0, 0)] {
            let mut items = sent(length).await;
            let error = items.pop().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{length}");
            let bytes: usize = items.into_iter().map(|item| item.unwrap().len()).sum();
            assert_eq!(bytes, before, "{length}");
        }
        let empty = exactly(stream::empty().boxed(), 0);
        assert_eq!(empty.collect::<Vec<_>>().await.len(), 0);
    }
}
