//! A message to an endpoint, signed as Standard Webhooks has it (<https://www.standardwebhooks.com>): most languages have a library that checks it.

use crate::{
    events::kind::Event,
    secrets::{CryptoError, Secret, random_hook_key},
};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sightline_endpoint::Ask;

/// What a secret begins with, so that tools which look for leaked secrets know it.
const PREFIX: &str = "whsec_";

/// A secret to sign with.
pub(super) fn new_secret() -> Result<Secret<String>, CryptoError> {
    Ok(Secret::new(format!("{PREFIX}{}", STANDARD.encode(random_hook_key()?))))
}

/// The message about an event: the event as the API has it. The id is the same each time that it is told.
pub(super) fn of(event: &Event, hook: &str, secret: &Secret<String>, unix_secs: i64) -> Ask {
    let body = serde_json::to_string(event).unwrap_or_default();
    let id = format!("{hook}-{}", event.seq);
    let key = STANDARD.decode(secret.reveal().trim_start_matches(PREFIX)).unwrap_or_default();
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), format!("{id}.{unix_secs}.{body}").as_bytes());
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("webhook-id", id),
        ("webhook-timestamp", unix_secs.to_string()),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(signature))),
    ];
    Ask::Post { headers, body: body.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::kind::EventKind;
    use serde_json::json;

    #[test]
    fn a_message_bears_the_signature_that_python_makes_of_it() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let event =
            Event { seq: 7, time: 1_700_000_000, device: "cam".into(), event: EventKind::Motion, detail: json!({ "motion": true }) };
        let Ask::Post { headers, body } = of(&event, "h1", &secret, 1_700_000_001) else { panic!() };
        assert_eq!(body, r#"{"seq":7,"time":1700000000,"device":"cam","event":"motion","detail":{"motion":true}}"#);
        // import base64, hmac; base64.b64encode(hmac.digest(base64.b64decode("MfKQ9…"), b"h1-7.1700000001." + body, "sha256"))
        let expected = [
            ("content-type", "application/json"),
            ("webhook-id", "h1-7"),
            ("webhook-timestamp", "1700000001"),
            ("webhook-signature", "v1,VLmpsPZWpLhwzQ/wwmnKYFjM6x+jDGix3Sdnz8wc04Y="),
        ];
        assert_eq!(headers.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>(), expected);
        assert!(new_secret().unwrap().reveal().starts_with("whsec_"));
    }
}
