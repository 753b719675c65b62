//! Lists, a page at a time.

use super::error::{ApiError, ApiResult};
use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use serde::{Deserialize, Serialize};

/// Items of a page where the query names no number.
const PAGE_ITEMS_DEFAULT: u32 = 100;
/// Items of a page at the most: what a handler reads and serialises without holding others up.
const PAGE_ITEMS_MAX: u32 = 1000;

/// A page of a list.
#[derive(Debug, Serialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// The `cursor` of the next page.
    pub(super) next: Option<String>,
}

/// `?limit=&cursor=&device=`
#[derive(Debug, Default, Deserialize)]
pub(super) struct PageQuery {
    limit: Option<u32>,
    pub(super) cursor: Option<String>,
    pub(super) device: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Query(query) = Query::from_request_parts(parts, state).await?;
        Ok(query)
    }
}

impl PageQuery {
    pub(super) fn limit(&self) -> u32 {
        self.limit.unwrap_or(PAGE_ITEMS_DEFAULT).clamp(1, PAGE_ITEMS_MAX)
    }

    /// A cursor that counts down.
    pub(super) fn before<T: std::str::FromStr>(&self) -> ApiResult<Option<T>> {
        let parse = |cursor: &String| cursor.parse().map_err(|_| ApiError::bad_request("cursor is no cursor of this list"));
        self.cursor.as_ref().map(parse).transpose()
    }
}

/// A page of items that are sorted by name, from behind the cursor.
pub(super) fn page_by_name<T>(items: impl Iterator<Item = (String, T)>, query: &PageQuery) -> Page<T> {
    let (limit, after) = (usize::try_from(query.limit()).unwrap_or(usize::MAX), query.cursor.as_deref().unwrap_or_default());
    let mut rest = items.filter(|(name, _)| after.is_empty() || name.as_str() > after).peekable();
    let (mut page, mut next) = (Vec::new(), None);
    while let Some((name, item)) = rest.next() {
        page.push(item);
        if page.len() == limit {
            next = rest.peek().is_some().then_some(name);
            break;
        }
    }
    Page { items: page, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_a_gap_and_the_last_one_has_no_next() {
        let names = || ["a", "b", "c"].into_iter().map(|name| (name.to_owned(), name));
        let query = |cursor: Option<&str>| PageQuery { limit: Some(2), cursor: cursor.map(str::to_owned), device: None };
        let first = page_by_name(names(), &query(None));
        assert_eq!((first.items, first.next.as_deref()), (vec!["a", "b"], Some("b")));
        let last = page_by_name(names(), &query(Some("b")));
        assert_eq!((last.items, last.next), (vec!["c"], None));
        assert_eq!((PageQuery::default().limit(), PageQuery { limit: Some(0), ..PageQuery::default() }.limit()), (100, 1));
        assert!(query(Some("x")).before::<u64>().is_err());
    }
}
