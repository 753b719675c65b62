//! AMF0, and the URL of a publish.

/// The input as AMF0, and as a URL where it is text.
pub fn run(data: &[u8]) {
    let count = sightline_rtmp::fuzzing::amf0(data);
    assert!(count <= data.len(), "each value takes a byte at least");
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = sightline_rtmp::url::RtmpUrl::parse(text);
    if let Err(error) = parsed {
        assert!(!error.to_string().is_empty() && !format!("{error:?}").is_empty());
    }
    if let Ok(url) = parsed {
        assert!(url.port > 0 && !url.host.is_empty());
        assert!(!format!("{url:?}").contains('?'), "no query is ever shown");
        let scheme = if url.tls { "rtmps" } else { "rtmp" };
        let again = format!("{scheme}://[{}]:{}/{}/{}", url.host, url.port, url.app, url.name);
        if url.host.contains(':') && !url.app.is_empty() && !url.name.is_empty() {
            let again = sightline_rtmp::url::RtmpUrl::parse(&again);
            assert_eq!(again.map(|url| (url.host, url.port, url.app, url.name)), Ok((url.host, url.port, url.app, url.name)));
        }
    }
}
