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
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// The `cursor` of the next page.
    pub(super) next: Option<String>,
}

/// Of a list that is sorted by name.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Items of the page: 100 without it, 1,000 at most.
    #[param(minimum = 0)]
    limit: Option<i64>,
    /// `next` of the page before.
    pub(super) cursor: Option<String>,
}

/// Of a list that begins with the newest.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct NewestQuery {
    /// Items of the page: 100 without it, 1,000 at most.
    #[param(minimum = 0)]
    limit: Option<i64>,
    /// `next` of the page before: a number of the list.
    #[param(minimum = 0)]
    cursor: Option<i64>,
    /// Of this device alone; the audit log has no such choice.
    pub(super) device: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Query(query) = Query::<Self>::from_request_parts(parts, state).await?;
        not_negative("limit", query.limit)?;
        Ok(query)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NewestQuery {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Query(query) = Query::<Self>::from_request_parts(parts, state).await?;
        not_negative("limit", query.limit)?;
        not_negative("cursor", query.cursor)?;
        Ok(query)
    }
}

fn not_negative(name: &str, value: Option<i64>) -> ApiResult<()> {
    match value {
        Some(..0) => Err(ApiError::bad_request(format!("{name} is a number from 0 on"))),
        Some(_) | None => Ok(()),
    }
}

/// How many items a page of `limit` has.
pub(super) fn page_items(limit: Option<i64>) -> ApiResult<u32> {
    not_negative("limit", limit)?;
    Ok(items(limit))
}

fn items(limit: Option<i64>) -> u32 {
    limit.map_or(PAGE_ITEMS_DEFAULT, |limit| u32::try_from(limit).unwrap_or(PAGE_ITEMS_MAX).clamp(1, PAGE_ITEMS_MAX))
}

impl PageQuery {
    pub(super) fn limit(&self) -> u32 {
        items(self.limit)
    }
}

impl NewestQuery {
    pub(super) fn limit(&self) -> u32 {
        items(self.limit)
    }

    /// The numbers below it come next.
    pub(super) fn before(&self) -> Option<i64> {
        self.cursor
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
        let query = |cursor: Option<&str>| PageQuery { limit: Some(2), cursor: cursor.map(str::to_owned) };
        let first = page_by_name(names(), &query(None));
        assert_eq!((first.items, first.next.as_deref()), (vec!["a", "b"], Some("b")));
        let last = page_by_name(names(), &query(Some("b")));
        assert_eq!((last.items, last.next), (vec!["c"], None));
        assert_eq!((PageQuery::default().limit(), PageQuery { limit: Some(0), ..PageQuery::default() }.limit()), (100, 1));
        assert_eq!(PageQuery { limit: Some(i64::MAX), ..PageQuery::default() }.limit(), 1000);
        assert!(not_negative("cursor", Some(-1)).is_err());
    }
}
