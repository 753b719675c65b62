//! An answer read to where it is kept. What serde derives makes each field, then the answer of the fields, then the result of the answer, on the
//! stack and side by side: 17 KB on a chip for an answer of 2 KB.

use core::fmt;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{Response, SERVERS_MAX, Server, json};

impl Response {
    /// Reads an answer into this one, field by field. Begin with [`Response::default`]: what the message leaves out stays as it was, and after
    /// an error the fields before the mistake are the message's. Of a field that comes twice the last counts.
    ///
    /// # Errors
    /// [`json::Error::Malformed`]: as [`json::read`].
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), json::Error> {
        json::read_to(InPlace(self), bytes)
    }
}

/// Names of the fields.
#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Success,
    RequestId,
    RtmpUrl,
    StreamKey,
    ServerName,
    ServerRegion,
    MaxBitrate,
    RecommendedFps,
    SupportsAdaptive,
    ExpiresAt,
    Token,
    Servers,
    RefreshAt,
    ServerTime,
    ServerTimeMs,
    StreamId,
    ErrorCode,
    ErrorMessage,
    RetryAfter,
    #[serde(other)]
    Unknown,
}

struct InPlace<'r>(&'r mut Response);

impl<'de> DeserializeSeed<'de> for InPlace<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for InPlace<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer to a request for a server")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(response) = self;
        let mut has_success = false;
        while let Some(field) = map.next_key()? {
            match field {
                Field::Success => (response.success, has_success) = (map.next_value()?, true),
                Field::RequestId => put(&mut map, &mut response.request_id)?,
                Field::RtmpUrl => put(&mut map, &mut response.rtmp_url)?,
                Field::StreamKey => put(&mut map, &mut response.stream_key)?,
                Field::ServerName => put(&mut map, &mut response.server_name)?,
                Field::ServerRegion => put(&mut map, &mut response.server_region)?,
                Field::MaxBitrate => put(&mut map, &mut response.max_bitrate)?,
                Field::RecommendedFps => put(&mut map, &mut response.recommended_fps)?,
                Field::SupportsAdaptive => put(&mut map, &mut response.supports_adaptive)?,
                Field::ExpiresAt => put(&mut map, &mut response.expires_at)?,
                Field::Token => put(&mut map, &mut response.token)?,
                Field::Servers => map.next_value_seed(List(&mut response.servers))?,
                Field::RefreshAt => put(&mut map, &mut response.refresh_at)?,
                Field::ServerTime => put(&mut map, &mut response.server_time)?,
                Field::ServerTimeMs => put(&mut map, &mut response.server_time_ms)?,
                Field::StreamId => put(&mut map, &mut response.stream_id)?,
                Field::ErrorCode => put(&mut map, &mut response.error_code)?,
                Field::ErrorMessage => put(&mut map, &mut response.error_message)?,
                Field::RetryAfter => put(&mut map, &mut response.retry_after)?,
                Field::Unknown => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        if has_success { Ok(()) } else { Err(A::Error::missing_field("success")) }
    }
}

/// The servers, one after the other.
struct List<'r>(&'r mut heapless::Vec<Server, SERVERS_MAX>);

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    #[inline(never)]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {SERVERS_MAX} servers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self(servers) = self;
        servers.clear();
        while let Some(server) = list.next_element()? {
            servers.push(server).map_err(|_| A::Error::invalid_length(SERVERS_MAX + 1, &"at most three servers"))?;
        }
        Ok(())
    }
}

/// A field. Not inlined: only one of them is on the stack at a time.
#[inline(never)]
fn put<'de, T: serde::Deserialize<'de>, A: MapAccess<'de>>(map: &mut A, place: &mut T) -> Result<(), A::Error> {
    *place = map.next_value()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR_SERVERS: &str = r#"{"success":true,"servers":[{"rtmp_url":"a","priority":1},{"rtmp_url":"b","priority":1},{"rtmp_url":"c","priority":1},{"rtmp_url":"d","priority":1}]}"#;

    fn in_place(text: &str) -> Result<Response, json::Error> {
        let mut response = Response::default();
        response.read(text.as_bytes()).map(|()| response)
    }

    #[test]
    fn an_answer_with_every_field_is_the_one_that_serde_derives() {
        let text = r#"{"success":true,"request_id":"r1","rtmp_url":"rtmp://a/live","stream_key":"k","server_name":"n","server_region":"eu","max_bitrate":4000000,"recommended_fps":30,"supports_adaptive":true,"expires_at":4600,"token":"t","servers":[{"rtmp_url":"rtmp://a/live","priority":1,"server_name":"n"},{"rtmp_url":"rtmp://b/live","priority":2}],"refresh_at":4000,"server_time":1000,"server_time_ms":1000250,"stream_id":"s","error_code":"NO_SERVER_AVAILABLE","error_message":"a \"reason\"","retry_after":7,"epoch":3,"later":{"a":[1]}} "#;
        let response = in_place(text).unwrap();
        assert_eq!(Ok(&response), json::read(text.as_bytes()).as_ref());
        // No `..`: a field that is added to the answer has to be added to the text here, and is then seen to be read.
        let Response {
            success,
            request_id: _,
            rtmp_url: Some(_),
            stream_key: Some(_),
            server_name: Some(_),
            server_region: Some(_),
            max_bitrate: Some(4_000_000),
            recommended_fps: Some(30),
            supports_adaptive: Some(true),
            expires_at: Some(4600),
            token: Some(_),
            servers,
            refresh_at: Some(4000),
            server_time: Some(1000),
            server_time_ms: Some(1_000_250),
            stream_id: Some(_),
            error_code: Some(_),
            error_message: Some(_),
            retry_after: Some(7),
        } = response
        else {
            panic!("{response:?}")
        };
        assert!(success && servers.len() == 2);
    }

    #[test]
    fn what_serde_refuses_is_refused() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"success":1}"#,
            r#"{"success":true"#,
            r#"{"success":true} x"#,
            r#"{"success":true,"rtmp_url":7}"#,
            FOUR_SERVERS,
        ] {
            assert_eq!(in_place(text).err(), Some(json::Error::Malformed), "{text}");
            assert_eq!(json::read::<Response>(text.as_bytes()).err(), Some(json::Error::Malformed), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: std::vec::Vec<u8>) {
            let _ = Response::default().read(&bytes);
        }
    }
}
