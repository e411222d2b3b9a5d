//! Where the worker may connect to.
//!
//! A destination's address comes from configuration, but a name can point
//! anywhere, now or later: so names are resolved here, every address is checked, and only checked addresses are
//! handed on to be connected to. Nothing is looked up a second time.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use thiserror::Error;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept; most load balancers close theirs after a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// An HTTP client that connects to public addresses, and to the hosts that are allowed by name.
#[derive(Clone, Debug)]
pub struct Egress {
    guarded: Client,
    open: Client,
    allowed: Arc<[String]>,
}

/// Why a destination is refused. Trying again doesn't help.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EgressError {
    /// Not an address that can be posted to.
    #[error("the destination is no http or https address")]
    Address,
    /// It is inside.
    #[error("{host} is not a public address; `allow_hosts` in hookgate.toml allows it by name")]
    Private {
        /// The host as written.
        host: String,
    },
}

/// A name of the guarded client's resolver that led to no public address. Its text is looked for in the error
/// chain, as the HTTP client does not hand typed errors through.
const REFUSED: &str = "only private addresses";

impl Egress {
    /// A client that makes an exception for `allowed` (`host` or `host:port`).
    ///
    /// # Errors
    /// When the TLS roots of the system can't be read.
    pub fn new(allowed: &[String]) -> Result<Self, reqwest::Error> {
        let builder = || {
            Client::builder()
                .redirect(redirect::Policy::none())
                // A proxy would connect to unchecked addresses for us.
                .no_proxy()
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .user_agent(concat!("hookgate/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            guarded: builder().dns_resolver(PublicOnly).build()?,
            open: builder().build()?,
            allowed: allowed.iter().map(|host| host.to_ascii_lowercase()).collect(),
        })
    }

    /// The client for one address, with the address parsed.
    ///
    /// # Errors
    /// [`EgressError`] when nothing may be posted there.
    pub fn client(&self, url: &str) -> Result<(&Client, Url), EgressError> {
        let url = Url::parse(url).map_err(|_| EgressError::Address)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(EgressError::Address);
        }
        let host = url.host_str().ok_or(EgressError::Address)?.to_ascii_lowercase();
        let with_port = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
        if self.allowed.iter().any(|allowed| *allowed == host || *allowed == with_port) {
            return Ok((&self.open, url));
        }
        // An address as the host never gets to the resolver.
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if literal.is_ok_and(|address| !is_public(address)) {
            return Err(EgressError::Private { host });
        }
        Ok((&self.guarded, url))
    }
}

/// Whether a failed request was refused by the guard, and not by the network.
pub fn was_refused(error: &reqwest::Error) -> bool {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        if error.to_string().contains(REFUSED) {
            return true;
        }
        source = error.source();
    }
    false
}

#[derive(Debug)]
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || (name.as_str(), 0).to_socket_addrs()).await??;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(REFUSED.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is on the public internet.
///
/// Everything else is refused: loopback, private, link-local (the
/// metadata service among it), carrier NAT, benchmarks, documentation, multicast, reserved, and IPv6 addresses
/// that carry an IPv4 one.
///
/// Source: IANA's special-purpose address registries for IPv4 and IPv6, read 2026-11-21.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0
        || a == 10
        || a == 127
        || (a == 100 && (64..128).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 31 && c == 196)
        || (a == 192 && b == 52 && c == 193)
        || (a == 192 && b == 88 && c == 99)
        || (a == 192 && b == 168)
        || (a == 192 && b == 175 && c == 48)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113)
        || a >= 224;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let [a, b, c, ..] = address.segments();
    // Only 2000::/3 is handed out. Within it: protocol assignments and Teredo (2001::/23), documentation
    // (2001:db8::/32, 3fff::/20), 6to4 (2002::/16), and AS112.
    let global = a & 0xe000 == 0x2000;
    let special = (a == 0x2001 && (b < 0x0200 || b == 0x0db8))
        || a == 0x2002
        || (a == 0x2620 && b == 0x004f && c == 0x8000)
        || (a == 0x3fff && b < 0x1000);
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.1.2.3",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "100::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn a_host_is_judged_however_it_is_written() {
        let egress = Egress::new(&["inside.example".into(), "127.0.0.1:9000".into()]).unwrap();
        for (url, ok) in [
            ("https://example.com/x", true),
            ("http://127.0.0.1:9000/inbox", true),
            ("http://INSIDE.example/", true),
            ("http://127.0.0.1/", false),
            ("http://127.1/", false),
            ("http://2130706433/", false),
            ("http://0x7f.0.0.1/", false),
            ("http://[::1]/", false),
            ("http://[::ffff:10.0.0.1]/", false),
            ("http://169.254.169.254/latest/meta-data", false),
            ("ftp://example.com/", false),
            ("file:///etc/passwd", false),
            ("not a url", false),
        ] {
            assert_eq!(egress.client(url).is_ok(), ok, "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_not_connected_to() {
        let egress = Egress::new(&[]).unwrap();
        let (client, url) = egress.client("http://localhost:1/").unwrap();
        let error = client.get(url).send().await.unwrap_err();
        assert!(was_refused(&error), "{error:?}");
    }
}
