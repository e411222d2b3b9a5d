//! Where hookgate may connect to.
//!
//! A destination's address comes from configuration, but a name can point anywhere, now or later: so names are resolved
//! here, every address is checked, and only checked addresses are handed on to be connected to. Nothing is looked up a second
//! time: a connection has the address that was checked for it, whatever the name says a moment later. Ports of other
//! protocols are refused.

use std::{
    error::Error,
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use reqwest::Url;
use thiserror::Error;
use tokio::{sync::Mutex, time::timeout};

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
    /// Something else than HTTP is spoken there.
    #[error(
        "port {port} is one of another protocol; `{host}:{port}` among `allow_hosts` in hookgate.toml allows it by name"
    )]
    Port {
        /// The host as written.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Ports on which another protocol is spoken, some of which take an HTTP request for one of their own: a mail server
/// reads its lines as commands. They are those that browsers refuse («Port blocking» of
/// <https://fetch.spec.whatwg.org/#port-blocking>, read 2026-11-21).
const PORTS_OF_OTHERS: &[u16] = &[
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103,
    104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514,
    515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723,
    2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

/// A name that led to no public address. The text is looked for in the error chain, as HTTP clients do not hand typed
/// errors through.
pub(crate) const REFUSED: &str = "only private addresses";

/// How long a name waits for the one that is looked up before it. A lookup blocks a thread, and one thread for all the
/// names of a start takes 4 to 8 % of its CPU less than one for each; but a name that nobody answers for must not be in
/// the way of another.
const TURN_WAIT: Duration = Duration::from_millis(100);

/// Looks a name up; it may block.
type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Judges addresses, and resolves names to those that may be connected to.
#[derive(Clone)]
pub(crate) struct Guard {
    /// In lower case.
    allowed: Arc<[String]>,
    lookup: Arc<Lookup>,
    /// Whoever looks a name up, where that is done one after the other.
    turn: Option<Arc<Mutex<()>>>,
    pub(crate) permits: fn(IpAddr) -> bool,
}

/// How an address may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is allowed by name, whatever that leads to.
    Open,
    /// With the guard as the resolver.
    Checked,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Guard {
    /// Makes an exception for `allowed` (`host` or `host:port`).
    pub(crate) fn new(allowed: &[String]) -> Self {
        Self::with_lookup(allowed, system_lookup)
    }

    /// The same, with a resolver of one's own, which is asked once for each connection and may block.
    pub(crate) fn with_lookup(
        allowed: &[String],
        lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            allowed: allowed.iter().map(|host| host.to_ascii_lowercase()).collect(),
            lookup: Arc::new(lookup),
            turn: None,
            permits: is_public,
        }
    }

    /// The same resolver, which hands on every address.
    pub(crate) fn opened(&self) -> Self {
        Self { permits: |_| true, ..self.clone() }
    }

    /// How one address may be connected to, with the address parsed.
    ///
    /// # Errors
    /// [`EgressError`] when it may not at all.
    pub(crate) fn judge(&self, url: &str) -> Result<(Way, Url), EgressError> {
        let url = Url::parse(url).map_err(|_| EgressError::Address)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(EgressError::Address);
        }
        let host = url.host_str().ok_or(EgressError::Address)?.to_ascii_lowercase();
        let port = url.port_or_known_default().unwrap_or_default();
        let with_port = format!("{host}:{port}");
        if self.allowed.contains(&with_port) {
            return Ok((Way::Open, url));
        }
        if PORTS_OF_OTHERS.contains(&port) {
            return Err(EgressError::Port { host, port });
        }
        if self.allowed.contains(&host) {
            return Ok((Way::Open, url));
        }
        // An address as the host never gets to the resolver.
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if literal.is_ok_and(|address| !is_public(address)) {
            return Err(EgressError::Private { host });
        }
        Ok((Way::Checked, url))
    }

    /// The same resolver, which looks names up one after the other unless that takes long.
    pub(crate) fn in_turn(self) -> Self {
        Self { turn: Some(Arc::default()), ..self }
    }

    /// The addresses of a name that may be connected to; at least one.
    pub(crate) async fn addresses(&self, name: String) -> Result<Vec<IpAddr>, Box<dyn Error + Send + Sync>> {
        let Self { lookup, permits, turn, .. } = self.clone();
        let _turn = match &turn {
            Some(turn) => timeout(TURN_WAIT, turn.lock()).await.ok(),
            None => None,
        };
        let mut found = tokio::task::spawn_blocking(move || lookup(&name)).await??;
        found.retain(|ip| permits(*ip));
        if found.is_empty() { Err(REFUSED.into()) } else { Ok(found) }
    }
}

impl ResolveDns for Guard {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move { self.addresses(name.to_owned()).await.map_err(ResolveDnsError::new) })
    }
}

/// Whether a failed request was refused by the guard, and not by the network.
pub(crate) fn was_refused(error: &(dyn Error + 'static)) -> bool {
    let mut source = Some(error);
    while let Some(error) = source {
        if error.to_string().contains(REFUSED) {
            return true;
        }
        source = error.source();
    }
    false
}

fn system_lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

/// Whether an address is on the public internet.
///
/// Everything else is refused: loopback, private, link-local (the metadata service among it), carrier NAT, benchmarks,
/// documentation, multicast, reserved, and IPv6 addresses that carry an IPv4 one by 6to4 or Teredo. An address that is
/// mapped or translated by NAT64 is what the IPv4 address in it is.
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
    let [a, b, c, d, e, f, ..] = address.segments();
    // The prefix of NAT64 (RFC 6052, section 2.1), which a subnet without IPv4 reaches the rest of the internet by. The
    // local one, 64:ff9b:1::/48 (RFC 8215), stays refused: only its own network knows where it leads.
    if [a, b, c, d, e, f] == [0x0064, 0xff9b, 0, 0, 0, 0] {
        let [.., w, x, y, z] = address.octets();
        return is_public_v4(Ipv4Addr::new(w, x, y, z));
    }
    // Only 2000::/3 is handed out. Within it: protocol assignments and Teredo (2001::/23), documentation
    // (2001:db8::/32, 3fff::/20), 6to4 (2002::/16), and AS112.
    let global = a & 0xe000 == 0x2000;
    let special = (a == 0x2001 && (b < 0x0200 || b == 0x0db8))
        || a == 0x2002
        || (a == 0x2620 && b == 0x004f && c == 0x8000)
        || (a == 0x3fff && b < 0x1000);
    global && !special
}

/// A resolver that moves, for tests.
#[cfg(test)]
pub(crate) mod testing {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A resolver that gives other addresses each time that it is asked, and how often it was.
    pub(crate) fn changing(
        answers: &'static [&'static [&'static str]],
    ) -> (Arc<AtomicUsize>, impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) {
        let asked = Arc::new(AtomicUsize::new(0));
        let lookup = {
            let asked = asked.clone();
            move |name: &str| {
                assert_eq!(name, "moving.example");
                let answer = answers[asked.fetch_add(1, Ordering::SeqCst)];
                Ok(answer.iter().map(|address| address.parse().unwrap()).collect())
            }
        };
        (asked, lookup)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{testing::changing, *};

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
            "64:ff9b::808:808",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.1.2.3",
            "100.127.255.255",
            "169.254.169.254",
            "169.254.170.2",
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
            "::127.0.0.1",
            "::ffff:100.64.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::6440:1",
            "64:ff9b::1:808:808",
            "64:ff9b:1::808:808",
            "64:ff9b:1:fffe::808:808",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "3fff::1",
            "5f00::1",
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
    async fn names_are_looked_up_one_after_the_other() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let lookup = {
            let (now, most) = (now.clone(), most.clone());
            move |_: &str| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
            }
        };
        let guard = Guard::with_lookup(&[], lookup).opened().in_turn();
        let all = (0..50).map(|n| guard.addresses(format!("{n}.example")));
        assert!(futures::future::join_all(all).await.iter().all(Result::is_ok));
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_nobody_answers_for_is_in_no_ones_way() {
        let (answer, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let lookup = move |name: &str| {
            if name == "silent.example" {
                wait.lock().unwrap().recv().unwrap();
            }
            Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
        };
        let guard = Guard::with_lookup(&[], lookup).opened().in_turn();
        let silent = tokio::spawn({
            let guard = guard.clone();
            async move { guard.addresses("silent.example".into()).await.is_ok() }
        });
        tokio::task::yield_now().await;
        let other = guard.addresses("other.example".into());
        let (found, ()) = tokio::join!(other, tokio::time::advance(TURN_WAIT));
        assert!(found.is_ok());
        assert!(!silent.is_finished());
        answer.send(()).unwrap();
        assert!(silent.await.unwrap());
    }

    #[test]
    fn a_host_is_judged_however_it_is_written() {
        let guard = Guard::new(&["inside.example".into(), "127.0.0.1:9000".into()]);
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
            assert_eq!(guard.judge(url).is_ok(), ok, "{url}");
        }
    }

    #[test]
    fn a_port_of_another_protocol_is_allowed_with_its_host_only() {
        let guard = Guard::new(&["mail.example:25".into(), "inside.example".into()]);
        for (url, ok) in [
            ("http://example.com/", true),
            ("https://example.com/", true),
            ("https://example.com:8443/", true),
            ("http://example.com:1024/", true),
            ("http://example.com:25/", false),
            ("https://example.com:22/", false),
            ("http://example.com:6667/", false),
            ("http://example.com:0/", false),
            ("http://mail.example:25/", true),
            ("http://mail.example:587/", false),
            ("http://inside.example:8080/", true),
            ("http://inside.example:25/", false),
        ] {
            assert_eq!(guard.judge(url).is_ok(), ok, "{url}");
        }
        let error = guard.judge("http://example.com:25/").unwrap_err().to_string();
        assert!(error.contains("`example.com:25`") && error.contains("allow_hosts"), "{error}");
        assert!(PORTS_OF_OTHERS.is_sorted());
    }

    #[tokio::test]
    async fn only_checked_addresses_of_a_name_are_handed_on() {
        let (asked, lookup) = changing(&[
            &["192.0.0.8", "8.8.8.8", "127.0.0.1", "::1", "2606:4700::1111"],
            &["127.0.0.1"],
            &["169.254.169.254", "fd00:ec2::254"],
            &[],
        ]);
        let guard = Guard::with_lookup(&[], lookup);
        let resolve = async || {
            let found = guard.addresses("moving.example".to_owned()).await;
            found.map(|addresses| addresses.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(resolve().await.unwrap(), ["8.8.8.8", "2606:4700::1111"]);
        for _ in 0..3 {
            assert_eq!(resolve().await.unwrap_err().to_string(), REFUSED);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }
}
