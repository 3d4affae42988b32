//! Compares the bytes of two objects as they arrive, in bounded memory.

use bytes::{Buf, Bytes};
use futures_util::TryStreamExt;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::object::{ByteRange, Etag, MIB, ObjectId};
use crate::retry::{Policy, retry};
use crate::store::{Body, GetRequest, Reads};

/// A larger object is read in pieces of this size, so that a broken connection costs one piece.
const PIECE: u64 = 64 * MIB;

/// An object and where it is.
pub type At<'a> = (&'a dyn Reads, &'a ObjectId);

/// Whether both objects, which must have `size` bytes, have the same bytes. An object that is
/// replaced while it is read is an error.
pub async fn same_objects(
    sides: [At<'_>; 2],
    size: u64,
    max_retry: u32,
    cancel: &CancellationToken,
) -> Result<bool> {
    let (mut start, mut pins) = (0, [None, None]);
    while start < size {
        let piece = ByteRange { start, len: PIECE.min(size - start) };
        let policy = Policy::data(max_retry, 2 * piece.len);
        let compared = retry(policy, cancel, || same_piece(sides, size, piece, &pins)).await?;
        if !compared.is_same {
            return Ok(false);
        }
        pins = compared.etags;
        start += piece.len;
    }
    Ok(true)
}

struct Piece {
    is_same: bool,
    etags: [Option<Etag>; 2],
}

async fn same_piece(
    [source, destination]: [At<'_>; 2],
    size: u64,
    piece: ByteRange,
    pins: &[Option<Etag>; 2],
) -> Result<Piece> {
    // One after the other, since each holds a permit of its side until its body ends: if some held
    // the source's and others the destination's, they could wait for each other.
    let (one, original) = open(source, size, piece, pins[0].as_ref()).await?;
    let (other, copy) = open(destination, size, piece, pins[1].as_ref()).await?;
    Ok(Piece { is_same: same_bytes(original, copy).await?, etags: [Some(one), Some(other)] })
}

async fn open(
    (store, id): At<'_>,
    size: u64,
    piece: ByteRange,
    pin: Option<&Etag>,
) -> Result<(Etag, Body)> {
    let range = Some(piece).filter(|piece| piece.len < size);
    let request = GetRequest { id: id.clone(), version: None, range, if_match: pin.cloned() };
    let answer = store.get(&request).await?;
    let etag = answer.meta.etag;
    let changed = |what: &str| {
        Error::new(ErrorKind::SourceChanged, format!("{id} was replaced meanwhile: {what}"))
    };
    if pin.is_some_and(|pin| *pin != etag) {
        return Err(changed("it has another ETag"));
    }
    let (begins, length) = (answer.start, answer.body.length());
    if answer.whole.is_some_and(|whole| whole != size) {
        return Err(changed("it has another size"));
    }
    match (begins, length) {
        (begins, length) if begins == piece.start && length == piece.len => Ok((etag, answer.body)),
        // A store that ignores ranges sends the whole object.
        (0, length) if length == size => Ok((etag, answer.body.cut(piece.start, piece.len))),
        _ => Err(Error::invalid(format!(
            "GetObject {id} answered {length} bytes from byte {begins} to {}",
            piece.header()
        ))),
    }
}

/// Compares two bodies as they arrive, however they are split into pieces.
pub async fn same_bytes(mut left: Body, mut right: Body) -> Result<bool> {
    let (mut a, mut b) = (Bytes::new(), Bytes::new());
    loop {
        refill(&mut a, &mut left).await?;
        refill(&mut b, &mut right).await?;
        let common = a.len().min(b.len());
        if common == 0 {
            return Ok(a.is_empty() && b.is_empty());
        }
        if a[..common] != b[..common] {
            return Ok(false);
        }
        a.advance(common);
        b.advance(common);
    }
}

/// Leaves `piece` empty only at the end of the body.
async fn refill(piece: &mut Bytes, body: &mut Body) -> Result<()> {
    while piece.is_empty()
        && let Some(next) = body.try_next().await?
    {
        *piece = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn body(pieces: &[&'static [u8]]) -> Body {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        let pieces: Vec<Result<Bytes>> =
            pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        Body::new(stream::iter(pieces), length)
    }

    #[tokio::test]
    async fn bodies_are_equal_by_bytes_not_by_pieces() {
        assert!(same_bytes(body(&[b"ab", b"cd"]), body(&[b"a", b"bcd"])).await.unwrap());
        assert!(!same_bytes(body(&[b"ab"]), body(&[b"ab", b"c"])).await.unwrap());
        assert!(!same_bytes(body(&[b"ab"]), body(&[b"ax"])).await.unwrap());
        assert!(same_bytes(body(&[]), body(&[])).await.unwrap());
    }
}
