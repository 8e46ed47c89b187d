//! Which TCP peers a driver may reach: numeric hosts or networks, and a port.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `10.0.0.0/8:22`, `192.168.1.4:*`, `[fd00::/8]:443`. Names are not accepted: a name could resolve to anything.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TcpRule {
    network: IpAddr,
    prefix: u8,
    /// `None` = every port.
    port: Option<u16>,
}

/// A text that is no [`TcpRule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not ADDRESS[/PREFIX]:PORT; write a numeric address such as `10.0.0.0/8:22` or `[fd00::1]:443`, \
     with `*` for every port"
)]
pub struct TcpRuleError(String);

impl TcpRule {
    /// Whether `peer` lies in the network and has the port. An IPv4 address inside IPv6 counts as the IPv4 address.
    pub fn allows(&self, peer: SocketAddr) -> bool {
        if self.port.is_some_and(|port| port != peer.port()) {
            return false;
        }
        match (self.network, peer.ip().to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                same_prefix(network.to_bits().into(), ip.to_bits().into(), self.prefix, 32)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                same_prefix(network.to_bits(), ip.to_bits(), self.prefix, 128)
            }
            _ => false,
        }
    }
}

fn same_prefix(a: u128, b: u128, prefix: u8, width: u8) -> bool {
    let ignored = u32::from(width.saturating_sub(prefix));
    (a ^ b).checked_shr(ignored).unwrap_or(0) == 0
}

impl FromStr for TcpRule {
    type Err = TcpRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || TcpRuleError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = if port == "*" { None } else { Some(port.parse().map_err(|_| wrong())?) };
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(inside) => inside,
            // Without brackets, `::1:22` could be read in two ways.
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        let (address, prefix) = match host.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| wrong())?)),
            None => (host, None),
        };
        let network: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if network.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(width);
        if prefix > width {
            return Err(wrong());
        }
        Ok(TcpRule { network, prefix, port })
    }
}

impl TryFrom<String> for TcpRule {
    type Error = TcpRuleError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl std::fmt::Display for TcpRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.network {
            IpAddr::V4(network) => write!(f, "{network}/{}", self.prefix)?,
            IpAddr::V6(network) => write!(f, "[{network}/{}]", self.prefix)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => write!(f, ":*"),
        }
    }
}

impl From<TcpRule> for String {
    fn from(rule: TcpRule) -> Self {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rule: &str, peer: &str) -> bool {
        rule.parse::<TcpRule>().unwrap().allows(peer.parse().unwrap())
    }

    #[test]
    fn network_host_and_port_decide() {
        assert!(allows("10.0.0.0/8:22", "10.200.3.4:22"));
        assert!(!allows("10.0.0.0/8:22", "10.200.3.4:23"));
        assert!(!allows("10.0.0.0/8:22", "11.0.0.1:22"));
        assert!(allows("127.0.0.1:*", "127.0.0.1:9"));
        assert!(!allows("127.0.0.1:*", "127.0.0.2:9"));
        assert!(allows("0.0.0.0/0:80", "8.8.8.8:80"));
        assert!(allows("[fd00::/8]:443", "[fd12::1]:443"));
        assert!(!allows("[fd00::/8]:443", "[fe80::1]:443"));
        assert!(allows("10.0.0.1:22", "[::ffff:10.0.0.1]:22"), "a mapped address is the IPv4 address");
        assert!(!allows("[::/0]:22", "[::ffff:10.0.0.1]:22"), "and is not reached by an IPv6 network");
    }

    #[test]
    fn names_and_half_rules_are_refused() {
        for text in
            ["", "host:22", "10.0.0.1", "10.0.0.1:", "10.0.0.1/33:1", "::1:22", "10.0.0.1:70000", "*:22"]
        {
            assert!(text.parse::<TcpRule>().is_err(), "{text}");
        }
    }

    #[test]
    fn text_form_is_read_back() {
        for text in ["10.0.0.0/8:22", "[fd00::/8]:*", "127.0.0.1/32:80"] {
            assert_eq!(text.parse::<TcpRule>().unwrap().to_string(), text);
        }
    }
}
