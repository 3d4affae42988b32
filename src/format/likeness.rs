//! What a mistyped name is meant as.
//!
//! Pure: a name and the known ones are arguments.

/// The known name nearest to `name`, if one is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .map(|k| (strsim::jaro_winkler(&name, &k.to_lowercase()), k))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_must_be_near() {
        let known = ["MaxThread", "MaxRetry", "ChunkSize"];
        assert_eq!(nearest("maxthreads", known.into_iter()), Some("MaxThread"));
        assert_eq!(nearest("Chunk_Size", known.into_iter()), Some("ChunkSize"));
        assert_eq!(nearest("aws_secret_access_key", known.into_iter()), None);
    }
}
