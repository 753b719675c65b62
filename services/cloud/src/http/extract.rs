//! What handlers take from a request. What can't be read is refused in the API's own form.

use super::error::ApiError;
use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request, rejection::JsonRejection},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A body of JSON. `20.0` is as good a whole number as `20`: JSON Schema says so, and some languages write no other.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let Json(mut body) = Json::<Value>::from_request(request, state).await?;
        make_whole(&mut body);
        serde_path_to_error::deserialize(body).map(Self).map_err(|error| {
            let problem = match error.path().to_string().as_str() {
                "." => error.inner().to_string(),
                path => format!("{path}: {}", error.inner()),
            };
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "BAD_REQUEST", problem)
        })
    }
}

/// Writes numbers without a fraction as whole numbers. As deep as the reader of JSON lets a body be: 128 levels.
fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|_| number.is_f64()).and_then(whole) {
                *value = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_whole),
        Value::Object(fields) => fields.values_mut().for_each(make_whole),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Up to where each whole number is a float of its own.
fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "checked: it has no fraction and fits")]
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

/// A report, as long as a thousand streams make it: read in one go, unless its whole numbers are written as [`Body`]'s may be.
#[derive(Debug)]
pub(super) struct Report<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequest<S> for Report<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await.map_err(JsonRejection::from)?;
        match Json::from_request(Request::from_parts(parts.clone(), bytes.clone().into()), state).await {
            Ok(Json(report)) => Ok(Self(report)),
            Err(JsonRejection::JsonDataError(_)) => {
                let Body(report) = Body::from_request(Request::from_parts(parts, bytes.into()), state).await?;
                Ok(Self(report))
            }
            Err(problem) => Err(problem.into()),
        }
    }
}

/// The `{id}` of a path.
#[derive(Debug)]
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(id) = Path::from_request_parts(parts, state).await?;
        Ok(Self(id))
    }
}

/// The `{id}` and the `{name}` of a path.
#[derive(Debug)]
pub(super) struct IdAndName(pub(super) String, pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for IdAndName {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((id, name)) = Path::from_request_parts(parts, state).await?;
        Ok(Self(id, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_without_a_fraction_are_whole_and_others_stay() {
        let mut body = json!({ "fps": 20.0, "deep": [{ "bitrate_bps": 1e6 }], "share": 0.5, "huge": 1e300, "text": "20.0", "less": -3.0 });
        make_whole(&mut body);
        let expected =
            json!({ "fps": 20, "deep": [{ "bitrate_bps": 1_000_000 }], "share": 0.5, "huge": 1e300, "text": "20.0", "less": -3 });
        assert_eq!(body.to_string(), expected.to_string());
    }
}
