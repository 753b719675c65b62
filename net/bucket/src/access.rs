//! Where a bucket is, and by which key.

use crate::seal::SealKey;
use crate::secret::Secret;

/// Where a bucket is, and by which key.
#[derive(Clone, Debug)]
pub struct Access {
    /// `s3://BUCKET` or `s3://BUCKET/PREFIX`.
    pub url: String,
    /// The store's address, `http(s)://HOST:PORT`; `None`: Amazon's, in the region.
    pub endpoint: Option<String>,
    /// What requests are signed for.
    pub region: String,
    /// The name of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: Secret,
    /// By which copies are sealed before they go out; `None`: the store can read them.
    pub seal_key: Option<SealKey>,
    /// At an endpoint: the bucket is the first part of the path; else the first of the host's name.
    pub is_path_style: bool,
}

impl Access {
    /// Bucket and prefix of `s3://BUCKET/PREFIX`; `None`: it is no such address.
    pub(crate) fn place(&self) -> Option<(&str, &str)> {
        place(&self.url)
    }

    /// Whether `url` names a bucket.
    #[must_use]
    pub fn is_bucket(url: &str) -> bool {
        place(url).is_some()
    }

    /// Whether this is the address of a store: a server, and nothing more.
    #[must_use]
    pub fn is_endpoint(endpoint: &str) -> bool {
        let Some((scheme, host)) = endpoint.split_once("://") else { return false };
        let host = host.trim_end_matches('/');
        matches!(scheme, "http" | "https") && !host.is_empty() && !host.contains(['/', '@', '?', '#', ' '])
    }

    /// The endpoint as requests are sent to it.
    pub(crate) fn server(&self) -> Option<String> {
        let endpoint = self.endpoint.as_deref()?.trim_end_matches('/');
        let (bucket, _) = self.place()?;
        Some(match endpoint.split_once("://") {
            Some((scheme, host)) if !self.is_path_style => format!("{scheme}://{bucket}.{host}"),
            _ => endpoint.to_owned(),
        })
    }
}

fn place(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("s3://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_end_matches('/');
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    let is_prefix = prefix.is_empty() || prefix.split('/').all(|part| is_name(part) && part != "." && part != "..");
    (is_name(bucket) && is_prefix).then_some((bucket, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_s_address_has_a_name_and_maybe_a_prefix_and_a_key_is_never_shown() {
        assert_eq!(place("s3://video"), Some(("video", "")));
        assert_eq!(place("s3://video/site-1/a/"), Some(("video", "site-1/a")));
        for wrong in ["video", "s3://", "https://video", "s3:///a", "s3://video//a", "s3://video/../a", "s3://u:p@video", "s3://v?x"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
        for (endpoint, is) in
            [("http://h:9000", true), ("https://h/", true), ("h:9000", false), ("http://u:p@h", false), ("http://h/b", false)]
        {
            assert_eq!(Access::is_endpoint(endpoint), is, "{endpoint}");
        }
        let secret = Secret::from("hunter2");
        assert!(!format!("{secret} {secret:?}").contains("hunter2"));
    }

    #[test]
    fn the_bucket_is_in_the_path_or_in_the_host_s_name() {
        let access = |is_path_style| Access {
            url: "s3://video/a".to_owned(),
            endpoint: Some("https://store:9000/".to_owned()),
            region: "us-east-1".to_owned(),
            access_key: "k".to_owned(),
            secret_key: "s".into(),
            seal_key: None,
            is_path_style,
        };
        assert_eq!(access(true).server().as_deref(), Some("https://store:9000"));
        assert_eq!(access(false).server().as_deref(), Some("https://video.store:9000"));
    }
}
