//! A connection made a step at a time, so that what fails is known: the name, TCP, or TLS.

use std::{io, net::IpAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};

use crate::cloud::link::Stream;
use sightline_capture::tls;

/// For a name: a resolver's own first try is five seconds.
const NAME_TIMEOUT: Duration = Duration::from_secs(6);
/// For TCP, of each address: three SYNs of the kernel's.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
/// For TLS: two round trips of a bad link, and a slow chip's arithmetic.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses of a name that are tried: one of each family, and a second one.
const ADDRESSES_MAX: usize = 4;

/// The step that failed, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// DNS: what the resolver said.
    Name(String),
    /// TCP: no answer.
    Unanswered,
    /// TCP: the far end, or something before it, said no.
    Refused,
    /// TCP: the system knows no way, or a router said no.
    Unreachable(String),
    /// TLS: the connection was cut, or nothing came.
    Cut(String),
    /// TLS: it is something else that listens there.
    NotTls,
    /// TLS: the server's certificate comes from another authority.
    UnknownIssuer,
    /// TLS: the server's certificate is for other names.
    OtherName,
    /// TLS: the server's certificate is out of date, or this machine's clock is.
    OutOfDate(String),
    /// TLS: anything else.
    Tls(String),
}

impl Fault {
    /// What failed, for people.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::Name(problem) => format!("DNS: the name has no address ({problem})"),
            Self::Unanswered => format!("TCP: no answer within {} s", TCP_TIMEOUT.as_secs()),
            Self::Refused => "TCP: refused".to_owned(),
            Self::Unreachable(problem) => format!("TCP: {problem}"),
            Self::Cut(problem) => format!("TLS: the connection was cut ({problem})"),
            Self::NotTls => "TLS: what listens there does not speak TLS".to_owned(),
            Self::UnknownIssuer => "TLS: the server's certificate comes from another authority".to_owned(),
            Self::OtherName => "TLS: the server's certificate does not name this host".to_owned(),
            Self::OutOfDate(problem) => format!("TLS: the server's certificate is out of date by this machine's clock ({problem})"),
            Self::Tls(problem) => format!("TLS: {problem}"),
        }
    }

    /// What to do. The keys: the setting that names the server, and the one that names its authority.
    pub(super) fn mend(&self, port: u16, url_key: &str, ca_key: &str) -> String {
        match self {
            Self::Name(_) => format!("correct the name in {url_key}, or the name server in /etc/resolv.conf"),
            Self::Unanswered => {
                format!("let outgoing TCP to port {port} pass every firewall on the way, or correct the address in {url_key}")
            }
            Self::Refused => format!("start the server that should listen on port {port}, or correct the port in {url_key}"),
            Self::Unreachable(_) => format!("give this machine a route to the server, or correct the address in {url_key}"),
            Self::Cut(_) => format!("let TLS to port {port} pass: a firewall or proxy on the way, or the server itself, ends it"),
            Self::NotTls => format!("correct the port in {url_key} to one that speaks TLS"),
            Self::UnknownIssuer => {
                format!("set {ca_key} to the authority (PEM) that the server's certificate comes from")
            }
            Self::OtherName => {
                format!(
                    "name the server in {url_key} as its certificate does, or add the name to the certificate (host_names in the cloud)"
                )
            }
            Self::OutOfDate(_) => "set this machine's clock (NTP); where it is right, renew the server's certificate".to_owned(),
            Self::Tls(_) => format!("look at the server's log; {url_key} and {ca_key} say whom this device expects there"),
        }
    }

    /// What a firewall on the way does. A refusal is not: a server that is down does the same.
    pub(super) fn is_of_firewall(&self) -> bool {
        matches!(self, Self::Unanswered | Self::Unreachable(_) | Self::Cut(_))
    }
}

/// Name and TCP. The address is that of the last one tried.
pub(super) async fn connect(host: &str, port: u16) -> (Option<IpAddr>, Result<TcpStream, Fault>) {
    let found = match timeout(NAME_TIMEOUT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => found.take(ADDRESSES_MAX).collect::<Vec<_>>(),
        Ok(Err(error)) => return (None, Err(Fault::Name(error.to_string()))),
        Err(_) => return (None, Err(Fault::Name("no name server answers".to_owned()))),
    };
    let mut last = (None, Fault::Name("an empty answer".to_owned()));
    for address in found {
        last = match timeout(TCP_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return (Some(address.ip()), Ok(stream)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => (Some(address.ip()), Fault::Refused),
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => (Some(address.ip()), Fault::Unanswered),
            Ok(Err(error)) => (Some(address.ip()), Fault::Unreachable(error.to_string())),
            Err(_) => (Some(address.ip()), Fault::Unanswered),
        };
    }
    (last.0, Err(last.1))
}

/// TLS on top.
pub(super) async fn secure(stream: TcpStream, host: &str, tls: Arc<rustls::ClientConfig>) -> Result<Box<dyn Stream>, Fault> {
    match timeout(TLS_TIMEOUT, tls::handshake(stream, host, tls)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(fault_of(&error)),
        Err(_) => Err(Fault::Cut(format!("nothing came within {} s", TLS_TIMEOUT.as_secs()))),
    }
}

fn fault_of(error: &io::Error) -> Fault {
    use rustls::{CertificateError as Bad, Error};
    let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return Fault::Cut(error.to_string());
    };
    let Error::InvalidCertificate(bad) = inner else {
        return if matches!(inner, Error::InvalidMessage(_)) { Fault::NotTls } else { Fault::Tls(inner.to_string()) };
    };
    if matches!(bad, Bad::UnknownIssuer | Bad::BadSignature) {
        Fault::UnknownIssuer
    } else if matches!(bad, Bad::NotValidForName | Bad::NotValidForNameContext { .. }) {
        Fault::OtherName
    } else if matches!(bad, Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. }) {
        Fault::OutOfDate(bad.to_string())
    } else {
        Fault::Tls(inner.to_string())
    }
}
