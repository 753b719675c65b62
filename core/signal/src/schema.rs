//! What the API's description says of types that write themselves in their own way.

use crate::{ErrorCode, StreamState};
use alloc::{borrow::Cow, vec::Vec};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

impl PartialSchema for ErrorCode {
    fn schema() -> RefOr<Schema> {
        let codes: Vec<_> = Self::ALL.iter().map(|code| code.as_str()).collect();
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes)).description(Some("A stable code.")).into()
    }
}

impl ToSchema for ErrorCode {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ErrorCode")
    }
}

impl PartialSchema for StreamState {
    fn schema() -> RefOr<Schema> {
        let names: Vec<_> = Self::ALL.iter().map(|state| alloc::format!("{} {}", state.number(), state.name())).collect();
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .enum_values(Some(Self::ALL.iter().map(|state| state.number())))
            .description(Some(names.join(", ")))
            .into()
    }
}

impl ToSchema for StreamState {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("StreamState")
    }
}
