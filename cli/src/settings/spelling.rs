//! Names that were mistyped.

/// The known name that is nearest to a mistyped one, if any is near.
pub(crate) fn nearest<'a>(mistyped: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, name) = known.map(|name| (strsim::damerau_levenshtein(mistyped, name), name)).min()?;
    (distance <= 2.max(mistyped.len() / 3)).then_some(name)
}
