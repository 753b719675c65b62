//! Whom an address stands for, and which addresses are believed when they say for whom they stand.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Who counts as one: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer gets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Neighbour(u128);

impl Neighbour {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(u128::from(u32::from(v4))),
            IpAddr::V6(v6) => Self(u128::from(v6) >> 64 << 64 | 1 << 63),
        }
    }
}

/// An address, or a network in the form `10.0.0.0/8`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is neither an address nor a network like 10.0.0.0/8 or fd00::/8")]
pub struct NetworkError(String);

impl Network {
    /// Whether the address is in it. IPv4 that came over an IPv6 socket is IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                let ignored = 32 - u32::from(self.bits.min(32));
                u32::from(ours).checked_shr(ignored) == u32::from(other).checked_shr(ignored)
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => {
                let ignored = 128 - u32::from(self.bits.min(128));
                u128::from(ours).checked_shr(ignored) == u128::from(other).checked_shr(ignored)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.chars().take(64).collect());
        let (address, bits) = text.trim().split_once('/').map_or((text.trim(), None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let address = address.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// The reverse proxies whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<Network>);

impl Proxies {
    /// From a setting's entries.
    ///
    /// # Errors
    /// [`NetworkError`] names the entry.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, NetworkError> {
        entries.iter().map(|entry| entry.as_ref().parse()).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The client that these proxies name: in a list that grows to the right, the last entry that is none of them. What is left of it was
    /// written by the client, who may write anything. `None` when they name nobody.
    pub fn client<'a>(&self, forwarded_for: impl DoubleEndedIterator<Item = &'a str>) -> Option<IpAddr> {
        for entry in forwarded_for.rev().flat_map(|line| line.rsplit(',')) {
            // What can't be read was not written by a proxy that is trusted: nothing left of it is believed.
            let address = address_of(entry.trim())?;
            if !self.contains(address) {
                return Some(address);
            }
        }
        None
    }
}

/// An address, which some proxies write with its port.
fn address_of(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(address, _)| address);
    let parsed = bare.unwrap_or(entry).parse().ok();
    parsed.or_else(|| entry.parse().ok().map(|with_port: std::net::SocketAddr| with_port.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_customer_is_one_neighbour() {
        assert_eq!(Neighbour::of(address("2001:db8::1")), Neighbour::of(address("2001:db8::ffff:2")));
        assert_ne!(Neighbour::of(address("2001:db8::1")), Neighbour::of(address("2001:db8:0:1::1")));
        assert_eq!(Neighbour::of(address("::ffff:10.0.0.1")), Neighbour::of(address("10.0.0.1")));
        assert_ne!(Neighbour::of(address("::1")), Neighbour::of(address("0.0.0.0")));
    }

    #[test]
    fn networks_hold_what_their_bits_say() {
        let holds = |network: &str, other: &str| network.parse::<Network>().unwrap().contains(address(other));
        assert!(holds("10.0.0.0/8", "10.255.1.2") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("192.0.2.7", "::ffff:192.0.2.7") && !holds("192.0.2.7", "192.0.2.8"));
        assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "fe80::1") && !holds("::/0", "10.0.0.1"));
        assert!(holds("0.0.0.0/0", "203.0.113.1"));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "localhost", "::1/129", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_client_is_the_last_one_that_is_no_proxy_of_ours() {
        let proxies = Proxies::parse(&["10.0.0.0/8", "::1"]).unwrap();
        let client = |lines: &[&'static str]| proxies.client(lines.iter().copied());
        assert_eq!(client(&["203.0.113.9"]), Some(address("203.0.113.9")));
        assert_eq!(client(&["1.1.1.1, 203.0.113.9, 10.1.1.1"]), Some(address("203.0.113.9")), "the first is the client's own word");
        assert_eq!(client(&["1.1.1.1", "203.0.113.9:4711"]), Some(address("203.0.113.9")));
        assert_eq!(client(&["[2001:db8::1]:443"]), Some(address("2001:db8::1")));
        assert_eq!(client(&["203.0.113.9, unknown"]), None);
        assert_eq!(client(&["10.0.0.1"]), None);
        assert_eq!(client(&[]), None);
    }
}
