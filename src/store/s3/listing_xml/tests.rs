//! Documents of listings: whole, cut, odd, and those that are none.

use std::time::Duration;

use super::super::key_encoding::KeyReading;
use super::*;
use crate::store::ListPage;

const PAGE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- a note -->\n\
    <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix/>\
    <NextContinuationToken>1/a&amp;b+c==</NextContinuationToken><KeyCount>2</KeyCount>\
    <IsTruncated>true</IsTruncated><Contents><Key>a%2Fb+c%0A&lt;</Key>\
    <LastModified>2026-01-01T00:00:00.500Z</LastModified><ETag>&quot;e-2&quot;</ETag>\
    <Size>5</Size><Owner><ID>x</ID><Key>not this</Key></Owner>\
    <StorageClass>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>false\
    </IsRestoreInProgress><RestoreExpiryDate>2026-02-01T00:00:00.000Z</RestoreExpiryDate>\
    </RestoreStatus></Contents>\
    <Contents><Size>0</Size><Key> k&#x41;</Key></Contents>\
    <EncodingType>url</EncodingType></ListBucketResult>\n";

/// Promise 1.
#[test]
fn a_page_is_read_with_all_that_counts() {
    let mut page = read(PAGE.as_bytes()).unwrap();
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_500);
    let first = Listed {
        etag: Some("e-2"),
        last_modified: Some(at),
        storage_class: Some("GLACIER"),
        restored: true,
        ..Listed::new("a/b c\n<", 5)
    };
    let expected: Vec<_> = vec![first, Listed::new(" kA", 0)];
    assert_eq!(page.decoded(KeyReading::Form).iter().collect::<Vec<_>>(), expected);
    assert_eq!(page.token.as_deref(), Some("1/a&b+c=="));
    assert!(page.truncated == Some(true) && page.encoded);
    let upper = PAGE.replace("ListBucketResult", "LISTOBJECTSV2Response");
    assert_eq!(read(upper.as_bytes()).unwrap().shown, 2, "a root of another name");
}

/// Promise 1.
#[test]
fn of_versions_the_current_ones_count() {
    let document = "<ListVersionsResult><NextKeyMarker>k%20</NextKeyMarker>\
        <NextVersionIdMarker>m</NextVersionIdMarker><IsTruncated>true</IsTruncated>\
        <Version><Key>a+b</Key><VersionId>2</VersionId><IsLatest>true</IsLatest>\
        <Size>1</Size></Version>\
        <Version><Key>a+b</Key><VersionId>1</VersionId><IsLatest>false</IsLatest>\
        <Size>9</Size></Version>\
        <DeleteMarker><Key>gone</Key><VersionId>3</VersionId><IsLatest>true</IsLatest>\
        </DeleteMarker></ListVersionsResult>";
    let page = read(document.as_bytes()).unwrap();
    let expected = Listed { version: Some("2"), ..Listed::new("a+b", 1) };
    assert_eq!(page.objects.iter().collect::<Vec<_>>(), [expected]);
    let next = (page.next.as_deref(), page.next_version.as_deref());
    assert_eq!(next, (Some(&b"k%20"[..]), Some("m")));
}

/// Promise 1.
#[test]
fn a_document_that_was_cut_is_no_page() {
    let end = PAGE.trim_end().len();
    for at in 0..end {
        let error = read(&PAGE.as_bytes()[..at]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "cut at {at}: {error}");
    }
    assert!(read(&PAGE.as_bytes()[..end]).is_ok());
    let longer = format!("{PAGE}and more");
    assert_eq!(read(longer.as_bytes()).unwrap_err().kind(), ErrorKind::Unavailable);
}

fn listing(inner: &str) -> String {
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{inner}</ListBucketResult>")
}

fn read_all(inner: &str) -> ListPage {
    let mut page = read(listing(inner).as_bytes()).unwrap();
    page.decoded(KeyReading::Form)
}

#[test]
fn a_folder_marker_without_a_size_is_empty() {
    for (key, encoding) in [("a/", ""), ("a%2F", "<EncodingType>url</EncodingType>")] {
        let page = read_all(&format!("<Contents><Key>{key}</Key></Contents>{encoding}"));
        assert_eq!(page.iter().collect::<Vec<_>>(), [Listed::new("a/", 0)], "{key}");
        assert_eq!(page.odd, []);
    }
}

/// Promises 0, 1.
#[test]
fn one_object_that_cannot_be_leaves_the_others() {
    let good = "<Contents><Key>k</Key><Size>1</Size></Contents>";
    let url = "<EncodingType>url</EncodingType>";
    for (inner, key, flaw) in [
        ("<Key>x</Key>", "x", Flaw::NoSize),
        ("<Key>x</Key><Size>-1</Size>", "x", Flaw::NoSize),
        ("<Key>x</Key><Size/>", "x", Flaw::NoSize),
        ("<Size>1</Size>", "", Flaw::NoKey),
        ("<Key></Key><Size>1</Size>", "", Flaw::NoKey),
        ("<Key/><Size>1</Size>", "", Flaw::NoKey),
        ("<Key>a&unknown;b</Key><Size>1</Size>", "a&unknown;b", Flaw::Unreadable),
        ("<Key>a&#xFFFFFFFFFF;</Key><Size>1</Size>", "a&#xFFFFFFFFFF;", Flaw::Unreadable),
    ] {
        for end in ["", url] {
            let page = read_all(&format!("{good}<Contents>{inner}</Contents>{end}"));
            assert_eq!(page.iter().collect::<Vec<_>>(), [Listed::new("k", 1)], "{inner}");
            let [odd] = page.odd.as_slice() else { panic!("{inner}: {page:?}") };
            assert_eq!((odd.key.as_slice(), odd.flaw), (key.as_bytes(), flaw), "{inner}");
        }
    }
    let page = read_all(&format!("{good}<Contents><Key>%E9</Key><Size>7</Size></Contents>{url}"));
    let (at, key) = (b"\xe9".to_vec(), b"\xe9".to_vec());
    assert_eq!(page.odd, [Odd { at, key, size: Some(7), flaw: Flaw::NotUtf8 }]);
    assert_eq!((page.len(), page.end()), (1, Some(&b"\xe9"[..])));
}

/// Promises 0, 1.
#[test]
fn characters_that_xml_cannot_have_are_read_as_they_are_meant() {
    for (written, key) in [
        ("a&#x1;&#10;", "a\u{1}\n"),
        ("&#0;&#xFFFE;", "\0\u{fffe}"),
        ("&#xD83D;&#xDE00;", "\u{1f600}"),
        ("&#55357;&#56832;", "\u{1f600}"),
        ("a & b", "a & b"),
        ("&#X41;&amp;", "A&"),
        (" a ", " a "),
    ] {
        let page = read_all(&format!("<Contents><Key>{written}</Key><Size>1</Size></Contents>"));
        assert_eq!(page.get(0).map(|listed| listed.key), Some(key), "{written} {page:?}");
    }
    // Half a character stays half, whatever is next to it; the bits of "m`a" are those of one.
    for half in ["&#xD83D;a", "&#xDEA7;", "abc&#xDEA7;", "m`a&#xDE00;", "é\u{ff}&#56999;"] {
        let page = read_all(&format!("<Contents><Key>{half}</Key><Size>1</Size></Contents>"));
        assert_eq!(page.odd[0].flaw, Flaw::NotUtf8, "{half}");
    }
}

/// Promises 0, 1.
#[test]
fn whether_it_is_the_last_is_said_in_two_words_or_by_what_follows() {
    let page = |said: &str| {
        let text = format!(
            "<ListBucketResult>{said}<Contents><Key>k</Key><Size>1</Size></Contents>\
             </ListBucketResult>"
        );
        read(text.as_bytes())
    };
    for (said, expected) in [
        ("true", true),
        (" TRUE\n", true),
        ("True", true),
        ("1", true),
        ("false", false),
        ("False", false),
    ] {
        let read = page(&format!("<IsTruncated>{said}</IsTruncated>")).unwrap();
        assert_eq!(read.truncated, Some(expected), "{said}");
    }
    for wrong in ["yes", "", "truefalse", "null"] {
        let error = page(&format!("<IsTruncated>{wrong}</IsTruncated>")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(&format!("IsTruncated is {wrong:?}")), "{error}");
    }
    let token = "<NextContinuationToken>t</NextContinuationToken>";
    let read = page(token).unwrap();
    assert_eq!((read.truncated, read.token.as_deref()), (None, Some("t")));
    assert_eq!(page("").unwrap().truncated, None);
    let marker = page("<Marker/><NextMarker>m</NextMarker>").unwrap();
    assert!(marker.is_version_1() && marker.next.as_deref() == Some(b"m"));
    assert!(!page(&format!("<KeyCount>1</KeyCount>{token}")).unwrap().is_version_1());
    assert!(page("<KeyCount>2</KeyCount>").unwrap().is_short());
    let folders = "<KeyCount>2</KeyCount><CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>";
    let read = page(folders).unwrap();
    assert_eq!((read.is_short(), read.folders), (false, vec![b"a/".to_vec()]));
}

/// Promise 1.
#[test]
fn what_cannot_be_is_named() {
    for (document, expected) in [
        ("<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>", "IsTruncated"),
        (&listing("<Contents><Key>k</Key></Contents>"), "size"),
    ] {
        let error = read(document.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// Promises 0, 1.
#[test]
fn tags_and_times_come_in_more_than_one_form() {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    for (tag, etag) in [
        ("&quot;e&quot;", Some("e")),
        ("e", Some("e")),
        ("W/&quot;e&quot;", Some("e")),
        ("", None),
        ("&quot;&quot;", None),
    ] {
        for time in [
            "2026-01-01T00:00:00.000Z",
            "2026-01-01T01:00:00+01:00",
            "Thu, 01 Jan 2026 00:00:00 GMT",
        ] {
            let page = read_all(&format!(
                "<Contents><Key>k</Key><Size> 1 </Size><ETag>{tag}</ETag>\
                 <LastModified>{time}</LastModified></Contents>"
            ));
            let expected = Listed { etag, last_modified: Some(at), ..Listed::new("k", 1) };
            assert_eq!(page.get(0), Some(expected), "{tag} {time}");
        }
    }
}

/// Promise 1.
#[test]
fn what_is_no_listing_is_no_empty_one() {
    let end = "<IsTruncated>false</IsTruncated>";
    for document in [
        "<ListBucketResult/>".to_owned(),
        "<Error><Code>InternalError</Code></Error>".to_owned(),
        format!("<html><body>{end}</body></html>"),
        format!("<ListBucketResult>{end}</ListBucketResult><ListBucketResult></ListBucketResult>"),
        String::new(),
    ] {
        let error = read(document.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{document}: {error}");
    }
}
