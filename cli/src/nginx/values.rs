//! Values as nginx writes them.

/// `10s`, `1m30s`, `500ms`, `2h`, or a number of `unit_ms` each: in milliseconds.
pub(super) fn time_ms(text: &str, unit_ms: u64) -> Option<u64> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        rest = &rest[digits..];
        let (unit, after) = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)]
            .iter()
            .find_map(|(name, ms)| rest.strip_prefix(name).map(|after| (*ms, after)))
            .or_else(|| rest.is_empty().then_some((unit_ms, "")))?;
        sum = sum.checked_add(number.checked_mul(unit)?)?;
        rest = after.trim_start();
    }
    Some(sum)
}

/// `4096`, `128k`, `1M`, `2g`: in bytes.
pub(super) fn size_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
    let unit: u64 = match text.strip_prefix(digits)?.to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// `1935`, `*:1935`, `0.0.0.0:1935`, `[::]:1935`: an address to listen on.
pub(super) fn listen(text: &str) -> Option<std::net::SocketAddr> {
    let text = text.strip_prefix("*:").unwrap_or(text);
    match text.parse::<u16>() {
        Ok(port) => Some((std::net::Ipv4Addr::UNSPECIFIED, port).into()),
        Err(_) => match text.parse() {
            Ok(address) => Some(address),
            Err(_) => Some((text.parse::<std::net::IpAddr>().ok()?, 1935).into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_nginx_reads_them() {
        assert_eq!(
            ["3", "3s", "500ms", "1m", "1m30s", "2h", "", "x", "3q"].map(|text| time_ms(text, 1000)),
            [Some(3000), Some(3000), Some(500), Some(60_000), Some(90_000), Some(7_200_000), None, None, None]
        );
        assert_eq!(
            ["4096", "128k", "1M", "1g", "k", "1x"].map(size_bytes),
            [Some(4096), Some(131_072), Some(1 << 20), Some(1 << 30), None, None]
        );
        assert_eq!(
            ["1935", "*:1936", "127.0.0.1:1935", "[::]:1935", "10.0.0.1", "unix:/x"].map(|text| listen(text).map(|at| at.to_string())),
            [
                Some("0.0.0.0:1935".into()),
                Some("0.0.0.0:1936".into()),
                Some("127.0.0.1:1935".into()),
                Some("[::]:1935".into()),
                Some("10.0.0.1:1935".into()),
                None
            ]
        );
    }
}
