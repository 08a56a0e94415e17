//! Where an address of somebody else's leads: its origin, and whether a machine is on the public internet.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Scheme, domain and port of an address, as browsers compare them (RFC 6454).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// `http` or `https`, in lower case.
    pub scheme: String,
    /// A name in lower case, or a number; a number of IPv6 without its brackets.
    pub domain: String,
    /// The port, also where the address leaves it out.
    pub port: u16,
}

/// A text is no address of the web.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address}: {why}")]
pub struct OriginError {
    address: String,
    why: &'static str,
}

impl Origin {
    /// Whether a connection to this origin is encrypted.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.scheme == "https"
    }
}

/// The origin of an address such as `https://example.com/path`.
impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(address: &str) -> Result<Self, OriginError> {
        let bad = |why| OriginError { address: address.chars().take(200).collect(), why };
        let (scheme, rest) =
            address.split_once("://").ok_or_else(|| bad("begins with neither http:// nor https://"))?;
        let scheme = scheme.to_ascii_lowercase();
        let port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return Err(bad("begins with neither http:// nor https://")),
        };
        let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(bad("names a user, which hides where it leads"));
        }
        let (domain, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (number, after) = rest.split_once(']').ok_or_else(|| bad("a bracket does not close"))?;
                let number: Ipv6Addr = number.parse().map_err(|_| bad("no number of IPv6"))?;
                let after = if after.is_empty() { None } else { Some(after.strip_prefix(':')) };
                (number.to_string(), after.map_or(Some(port), |digits| port_of(digits?)))
            }
            None => match authority.split_once(':') {
                Some((domain, digits)) => (domain.to_ascii_lowercase(), port_of(digits)),
                None => (authority.to_ascii_lowercase(), Some(port)),
            },
        };
        let port = port.ok_or_else(|| bad("the port is no number from 1 to 65535"))?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if domain.is_empty() || domain.len() > 253 || !domain.chars().all(is_name) {
            return Err(bad("the domain is empty, too long, or not in ASCII (write it as xn--…)"));
        }
        Ok(Self { scheme, domain, port })
    }
}

fn port_of(digits: &str) -> Option<u16> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok().filter(|port| *port != 0) } else { None }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, domain, port } = self;
        let (open, close) = if domain.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{domain}{close}")?;
        match (scheme.as_str(), port) {
            ("http", 80) | ("https", 443) => Ok(()),
            _ => write!(f, ":{port}"),
        }
    }
}

/// Whether a machine with this number can be reached from the whole internet, and is no part of a private network,
/// this machine, or a range kept for something else (the registries of RFC 6890).
///
/// Numbers that carry one of IPv4 inside (mapped, NAT64, 6to4) are judged by that one.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let kept = match (a, b, c) {
        (0 | 10 | 127, ..) | (224.., ..) => true, // this network, private, loopback; multicast, reserved, broadcast
        (100, 64..=127, _) => true,               // shared by an operator's customers
        (169, 254, _) => true,                    // link-local, and the metadata of clouds
        (172, 16..=31, _) | (192, 168, _) => true, // private
        (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) => true, // protocols, documentation
        (192, 88, 99) | (192, 31, 196) | (192, 52, 193) | (192, 175, 48) => true, // relays and AS112
        (198, 18 | 19, _) => true,                // measurements
        _ => false,
    };
    !kept
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        (0, 0) if (c, d, e, f) == (0, 0, 0, 0xffff) => inner(g, h), // mapped
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => inner(g, h), // NAT64
        (0x2002, _) => inner(b, c),                                 // 6to4
        (0x2001, 0..=0x01ff) | (0x2001, 0x0db8) => false,           // protocols (Teredo too), documentation
        (0x3fff, 0..=0x0fff) => false,                              // documentation
        (0x2000..=0x3fff, _) => true,                               // the global range
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_and_written() {
        for (address, expected) in [
            ("https://Example.com/a?b", "https://example.com"),
            ("http://example.com:80", "http://example.com"),
            ("http://example.com:8080#x", "http://example.com:8080"),
            ("https://[2001:DB8::1]:444/", "https://[2001:db8::1]:444"),
            ("http://127.0.0.1\\@example.com", "http://127.0.0.1"),
        ] {
            assert_eq!(address.parse::<Origin>().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_hides_where_it_leads_is_refused() {
        for address in [
            "ftp://example.com",
            "example.com",
            "http://user@example.com",
            "http://",
            "http://a:b",
            "http://a:",
            "http://a:+80",
            "http://a:0",
            "http://a:65536",
            "http://[::1",
            "http://[::1]x",
            "http://[fe80::1%25eth0]",
            "http://exämple.com",
            "http://a b",
            "http://%31",
        ] {
            assert!(address.parse::<Origin>().is_err(), "{address}");
        }
    }

    #[test]
    fn public_is_what_everybody_reaches() {
        let public =
            ["1.1.1.1", "172.15.0.1", "172.32.0.1", "192.0.1.1", "100.63.0.1", "198.17.0.1", "223.1.2.3"];
        let public_v6 =
            ["2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:0101:0101::1", "3ffe::1"];
        for number in public.iter().chain(&public_v6) {
            assert!(is_public(number.parse().unwrap()), "{number}");
        }
        let kept = [
            "0.0.0.0",
            "10.1.2.3",
            "127.0.0.1",
            "127.255.255.254",
            "100.64.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        ];
        let kept_v6 = [
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "::127.0.0.1",
            "100::1",
            "3fff::1",
            "4000::1",
        ];
        for number in kept.iter().chain(&kept_v6) {
            assert!(!is_public(number.parse().unwrap()), "{number}");
        }
    }
}
