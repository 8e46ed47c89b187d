//! Which TCP peers a driver may reach: hosts, by name or number, or networks, and a port.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most addresses that are remembered of the names that a driver asked for.
const MAX_RESOLVED: usize = 256;
/// Longest name of a host, as DNS has it.
const MAX_NAME: usize = 253;

/// `10.0.0.0/8:22`, `192.168.1.4:*`, `[fd00::/8]:443`, `plug7.lab:80`, `*:80`. A name stands for whatever the controller
/// resolves it to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TcpRule {
    host: Host,
    /// `None` = every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// Every host, by number or name.
    Any,
    Network {
        network: IpAddr,
        prefix: u8,
    },
    /// In lower case.
    Name(String),
}

/// A text that is no [`TcpRule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not HOST:PORT; write a name such as `plug7.lab:80`, an address or network such as `10.0.0.0/8:22` or \
     `[fd00::1]:443`, or `*` for every host, with `*` for every port"
)]
pub struct TcpRuleError(String);

/// What the names stand for that a driver had resolved.
#[derive(Debug, Default)]
pub(crate) struct Resolved(BTreeMap<IpAddr, Vec<String>>);

impl Resolved {
    /// A name stands for this address, too. When there is no more room, it does not.
    pub(crate) fn add(&mut self, name: &str, address: IpAddr) {
        if self.0.values().map(Vec::len).sum::<usize>() < MAX_RESOLVED {
            let names = self.0.entry(address.to_canonical()).or_default();
            let name = lower(name);
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }

    /// Names that stand for this address.
    pub(crate) fn names(&self, address: IpAddr) -> &[String] {
        self.0.get(&address.to_canonical()).map_or(&[], Vec::as_slice)
    }
}

/// The form in which names are compared.
fn lower(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

impl TcpRule {
    /// Whether `peer` is of the host or network and has the port. An IPv4 address inside IPv6 counts as the IPv4 address.
    pub(crate) fn allows(&self, peer: SocketAddr, resolved: &Resolved) -> bool {
        if self.port.is_some_and(|port| port != peer.port()) {
            return false;
        }
        match (&self.host, peer.ip().to_canonical()) {
            (Host::Any, _) => true,
            (Host::Name(name), ip) => resolved.names(ip).contains(name),
            (Host::Network { network: IpAddr::V4(network), prefix }, IpAddr::V4(ip)) => {
                same_prefix(network.to_bits().into(), ip.to_bits().into(), *prefix, 32)
            }
            (Host::Network { network: IpAddr::V6(network), prefix }, IpAddr::V6(ip)) => {
                same_prefix(network.to_bits(), ip.to_bits(), *prefix, 128)
            }
            _ => false,
        }
    }

    /// Whether this name may be resolved.
    pub(crate) fn names(&self, name: &str) -> bool {
        match &self.host {
            Host::Any => true,
            Host::Name(own) => *own == lower(name),
            Host::Network { .. } => false,
        }
    }
}

fn same_prefix(a: u128, b: u128, prefix: u8, width: u8) -> bool {
    let ignored = u32::from(width.saturating_sub(prefix));
    (a ^ b).checked_shr(ignored).unwrap_or(0) == 0
}

/// Letters, digits, `-`, `_` and dots between them; at least one that is no digit, so that no number is taken for a name.
fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let number = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    name.len() <= MAX_NAME && name.split('.').all(is_label) && !name.bytes().all(number)
}

impl FromStr for TcpRule {
    type Err = TcpRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || TcpRuleError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = if port == "*" { None } else { Some(port.parse().map_err(|_| wrong())?) };
        if host == "*" {
            return Ok(TcpRule { host: Host::Any, port });
        }
        if is_name(host) {
            return Ok(TcpRule { host: Host::Name(lower(host)), port });
        }
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
        Ok(TcpRule { host: Host::Network { network, prefix }, port })
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
        match &self.host {
            Host::Any => f.write_str("*")?,
            Host::Name(name) => f.write_str(name)?,
            Host::Network { network: IpAddr::V4(network), prefix } => write!(f, "{network}/{prefix}")?,
            Host::Network { network: IpAddr::V6(network), prefix } => write!(f, "[{network}/{prefix}]")?,
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
        rule.parse::<TcpRule>().unwrap().allows(peer.parse().unwrap(), &Resolved::default())
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
    fn a_name_is_what_it_was_resolved_to() {
        let mut resolved = Resolved::default();
        resolved.add("Plug7.lab.", "10.0.0.9".parse().unwrap());
        resolved.add("mapped.lab", "::ffff:10.0.0.8".parse().unwrap());
        let allows = |rule: &str, peer: &str| {
            rule.parse::<TcpRule>().unwrap().allows(peer.parse().unwrap(), &resolved)
        };
        assert!(allows("plug7.lab:80", "10.0.0.9:80") && allows("PLUG7.LAB:*", "10.0.0.9:81"));
        assert!(!allows("plug7.lab:80", "10.0.0.9:81"), "another port");
        assert!(!allows("plug7.lab:80", "10.0.0.8:80"), "another address");
        assert!(!allows("plug8.lab:80", "10.0.0.9:80"), "another name");
        assert!(allows("mapped.lab:80", "10.0.0.8:80"));
        assert!(allows("*:80", "10.9.9.9:80") && !allows("*:80", "10.9.9.9:81"));

        let names = |rule: &str, name: &str| rule.parse::<TcpRule>().unwrap().names(name);
        assert!(names("plug7.lab:80", "PLUG7.lab") && names("*:80", "any.thing"));
        assert!(!names("plug7.lab:80", "plug8.lab") && !names("0.0.0.0/0:*", "plug7.lab"));
    }

    #[test]
    fn what_names_stand_for_is_bounded() {
        let mut resolved = Resolved::default();
        for number in 0..1000 {
            resolved.add(&format!("name{number}"), IpAddr::from([10, 0, 0, 1]));
        }
        assert_eq!(resolved.names([10, 0, 0, 1].into()).len(), MAX_RESOLVED);
    }

    #[test]
    fn half_rules_are_refused() {
        for text in [
            "",
            "host",
            "host:",
            ":22",
            "10.0.0.1",
            "10.0.0.1:",
            "10.0.0.1/33:1",
            "::1:22",
            "10.0.0.1:70000",
            "*.lab:22",
            "a..b:22",
            "10.0.0:22",
            "a b:22",
            "host/8:22",
        ] {
            assert!(text.parse::<TcpRule>().is_err(), "{text}");
        }
    }

    #[test]
    fn text_form_is_read_back() {
        for text in ["10.0.0.0/8:22", "[fd00::/8]:*", "127.0.0.1/32:80", "plug7.lab:80", "*:80"] {
            assert_eq!(text.parse::<TcpRule>().unwrap().to_string(), text);
        }
    }
}
