//! How a device renews its certificate before it ends: its key never leaves it, and what goes to the cloud is a request to sign.

use crate::{ErrorCode, Text};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// The longest request to sign, or certificate, as PEM: those of RSA with 4096 bits have some 1,800.
pub const PEM_BYTES_MAX: usize = 2560;
/// A certificate is renewed this long before its end: a camera that is switched off for a fortnight is still in time.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// When the renewal of a certificate begins, in seconds since 1970: 30 days before its end, and not before the last third of its life.
#[must_use]
pub const fn renewal_begins_at(valid_from: i64, valid_until: i64) -> i64 {
    let third = valid_until.saturating_sub(valid_from) / 3;
    let before = RENEW_BEFORE.as_secs().cast_signed();
    valid_until.saturating_sub(if third < before { third } else { before })
}

/// `devices/{id}/certificate/request`: sign this key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CertificateRequest {
    /// Names the request; the answer carries it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = String, max_length = 64))]
    pub request_id: Text<64>,
    /// PKCS #10 as PEM. Only its key counts: the cloud writes the name itself.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub csr: Text<PEM_BYTES_MAX>,
}

/// `devices/{id}/certificate/response`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CertificateResponse {
    /// Whether there is a certificate.
    pub success: bool,
    /// The request's.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = String, max_length = 64))]
    pub request_id: Text<64>,
    /// The device's new certificate, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub certificate: Option<Text<PEM_BYTES_MAX>>,
    /// When it ends, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<i64>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<ErrorCode>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, max_length = 128))]
    pub error_message: Option<Text<128>>,
    /// Seconds after which asking again may help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

impl CertificateResponse {
    /// A new certificate.
    #[must_use]
    pub const fn issued(request_id: Text<64>, certificate: Text<PEM_BYTES_MAX>, valid_until: i64) -> Self {
        Self {
            success: true,
            request_id,
            certificate: Some(certificate),
            valid_until: Some(valid_until),
            error_code: None,
            error_message: None,
            retry_after: None,
        }
    }

    /// None, and why.
    #[must_use]
    pub fn refused(request_id: Text<64>, code: ErrorCode, message: &str, retry_after: Option<u32>) -> Self {
        Self {
            success: false,
            request_id,
            certificate: None,
            valid_until: None,
            error_code: Some(code),
            error_message: Some(crate::text::cut(message)),
            retry_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn a_certificate_of_two_years_is_renewed_in_its_last_30_days_and_a_short_one_in_its_last_third() {
        assert_eq!(renewal_begins_at(0, 730 * DAY), 700 * DAY);
        assert_eq!(renewal_begins_at(DAY, 4 * DAY), 3 * DAY);
    }

    #[test]
    fn messages_read_and_write_byte_for_byte() {
        let text = r#"{"request_id":"c1","csr":"-----BEGIN CERTIFICATE REQUEST-----\nMIH\n"}"#;
        let request: CertificateRequest = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        let answer = CertificateResponse::issued(request.request_id.clone(), "PEM".try_into().unwrap(), 7);
        let text = r#"{"success":true,"request_id":"c1","certificate":"PEM","valid_until":7}"#;
        assert_eq!(serde_json::to_string(&answer).unwrap(), text);
        assert_eq!(serde_json::from_str::<CertificateResponse>(text).unwrap(), answer);
        let refused = CertificateResponse::refused(request.request_id, ErrorCode::PermissionDenied, "no", Some(60));
        let text = r#"{"success":false,"request_id":"c1","error_code":"PERMISSION_DENIED","error_message":"no","retry_after":60}"#;
        assert_eq!(serde_json::to_string(&refused).unwrap(), text);
    }
}
