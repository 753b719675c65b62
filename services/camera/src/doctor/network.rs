//! The way to the servers, and what it says of what lies between.

use sightline_rtmp::url::RtmpUrl;
use std::{net::IpAddr, sync::Arc};

use super::{
    Finding, NEEDS_CONFIG, Subject,
    certificates::Identity,
    reach::{self, Fault},
};
use crate::{
    cloud::link::{Link, Stream},
    cloud::tcp::Probe,
    config::local::Broker,
};

/// Why a server's certificate can't be checked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthorityError {
    #[error("no authority is named to check an rtmps server with")]
    NotNamed,
    #[error("mqtt.ca can't be used")]
    Unusable,
    #[error(transparent)]
    File(sightline_capture::tls::TlsFileError),
}

/// A server to be reached.
pub(super) struct Target {
    host: String,
    port: u16,
    is_secure: bool,
    /// The setting that names it.
    url_key: &'static str,
    /// The setting that names its authority.
    ca_key: &'static str,
}

/// What became of a connection.
pub(super) struct Dialled {
    name: String,
    port: u16,
    address: Option<IpAddr>,
    fault: Option<Fault>,
}

impl Target {
    pub(super) fn of_rtmp(url: &str, url_key: &'static str, ca_key: &'static str) -> Option<Self> {
        let parsed = RtmpUrl::parse(url).ok()?;
        Some(Self { host: parsed.host.to_owned(), port: parsed.port, is_secure: parsed.tls, url_key, ca_key })
    }

    /// `host:port`.
    pub(super) fn name(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }
}

/// Name, TCP, and TLS where the server has it.
pub(super) async fn dial(
    target: &Target,
    authority: &Result<Arc<rustls::ClientConfig>, AuthorityError>,
    dialled: &mut Vec<Dialled>,
) -> (Finding, Option<Link>) {
    let name = target.name();
    let (address, connected) = reach::connect(&target.host, target.port).await;
    let mut unchecked = None;
    let probe = connected.as_ref().ok().and_then(|stream| Probe::attach(stream).ok());
    let outcome = match (connected, target.is_secure, authority) {
        (Ok(stream), false, _) => Ok(Some(Box::new(stream) as Box<dyn Stream>)),
        (Ok(stream), true, Ok(tls)) => reach::secure(stream, &target.host, tls.clone()).await.map(Some),
        (Ok(_), true, Err(problem)) => {
            unchecked = Some(problem.to_string());
            Ok(None)
        }
        (Err(fault), _, _) => Err(fault),
    };
    let (finding, link, fault) = match outcome {
        Ok(Some(stream)) => {
            let steps = if target.is_secure { "DNS, TCP and TLS" } else { "DNS and TCP" };
            (Finding::Passed(format!("{name}: {steps}")), probe.map(|probe| Link::over(stream, probe)), None)
        }
        Ok(None) => {
            let problem = unchecked.unwrap_or_default();
            let mend = format!("set {} to the authority (PEM) that the server's certificate comes from", target.ca_key);
            (Finding::failed(format!("{name}: TCP is open; TLS can't be tried: {problem}"), mend), None, None)
        }
        Err(fault) => {
            let mend = fault.mend(target.port, target.url_key, target.ca_key);
            (Finding::failed(format!("{name}: {}", fault.detail()), mend), None, Some(fault))
        }
    };
    dialled.push(Dialled { name, port: target.port, address, fault });
    (finding, link)
}

/// The way to the broker. The connection is closed again.
pub(super) async fn mqtt(subject: Option<&Subject>, identity: Option<&Identity>, dialled: &mut Vec<Dialled>) -> Finding {
    let Some(subject) = subject else { return Finding::not_applicable(NEEDS_CONFIG) };
    let Some(identity) = identity else { return Finding::not_applicable("this configuration asks no cloud") };
    let Some(Broker { host, port }) = subject.checked.local.cloud.broker.clone() else {
        return Finding::not_applicable("this configuration asks no cloud");
    };
    let target = Target { host, port, is_secure: true, url_key: "mqtt.url", ca_key: "mqtt.ca" };
    // Without the device's own files the way can be tried all the same.
    let authority = identity.client.clone().or_else(|| identity.authority.clone());
    dial(&target, &authority.ok_or(AuthorityError::Unusable), dialled).await.0
}

/// One finding of several: what failed, or all that passed.
pub(super) fn all(findings: Vec<Finding>, none: &str) -> Finding {
    let (mut passed, mut details, mut mends) = (Vec::new(), Vec::new(), Vec::new());
    for finding in findings {
        match finding {
            Finding::Passed(detail) | Finding::NotApplicable(detail) => passed.push(detail),
            Finding::Failed { detail, mend } => {
                details.push(detail);
                if !mends.contains(&mend) {
                    mends.push(mend);
                }
            }
        }
    }
    match (passed.is_empty(), details.is_empty()) {
        (true, true) => Finding::not_applicable(none),
        (_, true) => Finding::Passed(passed.join("; ")),
        (_, false) => Finding::Failed { detail: details.join("; "), mend: mends.join("; ") },
    }
}

/// No stranger is asked: the servers that lie out there say whether the internet is reached.
pub(super) fn internet(dialled: &[Dialled]) -> Finding {
    let out_there: Vec<&Dialled> = dialled.iter().filter(|dialled| dialled.address.is_some_and(is_public)).collect();
    // What refuses has been reached.
    let answers =
        |dialled: &&Dialled| !dialled.fault.as_ref().is_some_and(|fault| matches!(fault, Fault::Unanswered | Fault::Unreachable(_)));
    match out_there.iter().find(|dialled| answers(dialled)) {
        Some(reached) => Finding::Passed(format!("{} answers", reached.name)),
        None if out_there.is_empty() => Finding::not_applicable("no server that this configuration asks is known to be on the internet"),
        None => Finding::failed(
            format!("nothing out there answers: {}", names(&out_there)),
            "look at the gateway and at the provider's line: ping the gateway first (ip route)",
        ),
    }
}

/// Which ports are open, and which are not for what lies between.
pub(super) fn firewall(dialled: &[Dialled]) -> Finding {
    let is_stopped = |dialled: &&Dialled| dialled.fault.as_ref().is_some_and(Fault::is_of_firewall);
    let stopped: Vec<&Dialled> = dialled.iter().filter(is_stopped).collect();
    if !stopped.is_empty() {
        let details: Vec<String> = stopped
            .iter()
            .map(|dialled| format!("{}: {}", dialled.name, dialled.fault.as_ref().map(Fault::detail).unwrap_or_default()))
            .collect();
        let mut ports: Vec<String> = stopped.iter().map(|dialled| dialled.port.to_string()).collect();
        ports.dedup();
        return Finding::failed(details.join("; "), format!("let outgoing TCP pass to these ports: {}", ports.join(", ")));
    }
    let refused: Vec<&Dialled> = dialled.iter().filter(|dialled| dialled.fault == Some(Fault::Refused)).collect();
    if !refused.is_empty() {
        return Finding::not_applicable(format!("can't be told: {} refuses, or a firewall does in its name", names(&refused)));
    }
    let open: Vec<&Dialled> = dialled.iter().filter(|dialled| dialled.address.is_some()).collect();
    if open.is_empty() {
        Finding::not_applicable("no connection could be tried")
    } else {
        Finding::Passed(format!("open: {}", names(&open)))
    }
}

fn names(dialled: &[&Dialled]) -> String {
    dialled.iter().map(|dialled| dialled.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            // 100.64.0.0/10 is a provider's own, RFC 6598.
            let is_shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            !(v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified() || is_shared)
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public(IpAddr::V4(v4)),
            None => !(v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialled(address: &str, fault: Option<Fault>) -> Dialled {
        Dialled { name: format!("{address}:8883"), port: 8883, address: address.parse().ok(), fault }
    }

    #[test]
    fn a_firewall_is_blamed_for_silence_and_not_for_a_server_that_is_down() {
        assert!(matches!(firewall(&[dialled("8.8.8.8", Some(Fault::Unanswered))]), Finding::Failed { mend, .. } if mend.contains("8883")));
        assert!(
            matches!(firewall(&[dialled("8.8.8.8", Some(Fault::Refused))]), Finding::NotApplicable(detail) if detail.contains("8.8.8.8"))
        );
        assert!(matches!(firewall(&[dialled("8.8.8.8", Some(Fault::UnknownIssuer))]), Finding::Passed(_)));
        assert!(matches!(firewall(&[dialled("a.example", Some(Fault::Name(String::new())))]), Finding::NotApplicable(_)));
    }

    #[test]
    fn the_internet_is_what_lies_outside_of_ones_own_networks() {
        for own in ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.1.1", "100.64.0.1", "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"] {
            assert!(matches!(internet(&[dialled(own, None)]), Finding::NotApplicable(_)), "{own}");
        }
        assert!(matches!(internet(&[dialled("8.8.8.8", Some(Fault::Refused))]), Finding::Passed(_)));
        assert!(matches!(internet(&[dialled("2001:4860:4860::8888", Some(Fault::Unanswered))]), Finding::Failed { .. }));
    }

    #[test]
    fn one_server_that_fails_is_named_and_the_mend_said_once() {
        let failed = || Finding::failed("b:1935: TCP: refused", "start it");
        let Finding::Failed { detail, mend } = all(vec![Finding::Passed("a".into()), failed(), failed()], "none") else { panic!("passed") };
        assert_eq!((detail.as_str(), mend.as_str()), ("b:1935: TCP: refused; b:1935: TCP: refused", "start it"));
        assert!(matches!(all(Vec::new(), "none"), Finding::NotApplicable(detail) if detail == "none"));
    }
}
