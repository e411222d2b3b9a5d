//! The HTTP client of what goes outward, to where the [`guard`](crate::guard) lets it.
//!
//! Redirects are not followed, and the body of an answer is never read, so there is nothing in it that could be too large.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use reqwest::{
    Client, Request, RequestBuilder, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use thiserror::Error;

use crate::{
    guard::{EgressError, Guard, REFUSED, Way, was_refused},
    user_agent::USER_AGENT,
};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept; most load balancers close theirs after a minute.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// An HTTP client that connects to public addresses, and to the hosts that are allowed by name.
#[derive(Clone, Debug)]
pub struct Egress {
    guarded: Client,
    open: Client,
    guard: Guard,
    transport: Option<Arc<dyn Transport>>,
}

/// Takes requests to where they go in place of the network, so that a test can decide what becomes of them.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends one request, within its own time limit.
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Response, SendError>>;
}

/// Why there is no answer. What was sent may have taken effect, unless it was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SendError {
    /// The guard did not let it out.
    #[error("{REFUSED}")]
    Refused,
    /// It can't be sent at all.
    #[error("the request is not valid")]
    Invalid,
    /// None came in time.
    #[error("no answer in time")]
    Timeout,
    /// Nobody could be connected to.
    #[error("could not be reached")]
    Unreachable,
    /// The connection ended before it.
    #[error("the connection broke")]
    Broken,
}

impl SendError {
    pub(crate) fn of(error: &reqwest::Error) -> Self {
        match () {
            () if was_refused(error) => Self::Refused,
            () if error.is_timeout() => Self::Timeout,
            () if error.is_connect() => Self::Unreachable,
            () if error.is_builder() => Self::Invalid,
            () => Self::Broken,
        }
    }
}

impl Egress {
    /// A client that makes an exception for `allowed` (`host` or `host:port`).
    ///
    /// # Errors
    /// When the TLS roots of the system can't be read.
    pub fn new(allowed: &[String]) -> Result<Self, reqwest::Error> {
        Self::guarded_by(Guard::new(allowed))
    }

    /// The same, with a resolver of one's own, which is asked once for each connection and may block.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_lookup(
        allowed: &[String],
        lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Result<Self, reqwest::Error> {
        Self::guarded_by(Guard::with_lookup(allowed, lookup))
    }

    fn guarded_by(guard: Guard) -> Result<Self, reqwest::Error> {
        let builder = || {
            Client::builder()
                .redirect(redirect::Policy::none())
                // A proxy would connect to unchecked addresses for us.
                .no_proxy()
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .user_agent(USER_AGENT)
        };
        Ok(Self {
            guarded: builder().dns_resolver(guard.clone()).build()?,
            open: builder().build()?,
            guard,
            transport: None,
        })
    }

    /// The client without the guard, for hosts that no configuration of a destination names. It follows no redirects.
    pub(crate) const fn open(&self) -> &Client {
        &self.open
    }

    /// The same, with something else in place of the network.
    #[must_use]
    pub fn over(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Sends a request that one of these clients has begun.
    ///
    /// # Errors
    /// [`SendError`]
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, SendError> {
        let (client, request) = request.build_split();
        let request = request.map_err(|error| SendError::of(&error))?;
        match &self.transport {
            None => client.execute(request).await.map_err(|error| SendError::of(&error)),
            Some(transport) => transport.send(request).await,
        }
    }

    /// The client for one address, with the address parsed.
    ///
    /// # Errors
    /// [`EgressError`] when nothing may be posted there.
    pub fn client(&self, url: &str) -> Result<(&Client, Url), EgressError> {
        Ok(match self.guard.judge(url)? {
            (Way::Open, url) => (&self.open, url),
            (Way::Checked, url) => (&self.guarded, url),
        })
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, name) = (self.clone(), name.as_str().to_owned());
        Box::pin(async move {
            // Port 0 becomes that of the URL.
            let checked = guard.addresses(name).await?.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(checked) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::guard::testing::changing;

    #[tokio::test]
    async fn a_name_that_moves_between_check_and_connection_is_connected_to_where_it_was_checked() {
        // 127.0.0.1 stands for an address of the public internet here, and 127.0.0.2 for one inside.
        let (asked, lookup) = changing(&[&["127.0.0.1"], &["127.0.0.2"]]);
        let outside = |address: IpAddr| address == IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut guard = Guard::with_lookup(&[], lookup);
        guard.permits = outside;
        let egress = Egress::guarded_by(guard).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("http://moving.example:{port}/");
        let taken = Arc::new(AtomicUsize::new(0));
        tokio::spawn({
            let taken = taken.clone();
            async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    taken.fetch_add(1, Ordering::SeqCst);
                    let mut request = [0; 1024];
                    let read = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
                    assert!(read.is_ok_and(|bytes| bytes > 0));
                    let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                    tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
                }
            }
        });
        let send = async || {
            let (client, url) = egress.client(&url).unwrap();
            egress.send(client.get(url)).await
        };
        // Had it been looked up once more to connect, it would have been 127.0.0.2, where nobody listens.
        assert_eq!(send().await.unwrap().status(), 204);
        assert_eq!(asked.load(Ordering::SeqCst), 1, "one lookup for one connection");
        assert_eq!(send().await.unwrap_err(), SendError::Refused);
        assert_eq!((asked.load(Ordering::SeqCst), taken.load(Ordering::SeqCst)), (2, 1));
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_not_connected_to() {
        let egress = Egress::new(&[]).unwrap();
        let (client, url) = egress.client("http://localhost:8080/").unwrap();
        assert_eq!(egress.send(client.get(url)).await.unwrap_err(), SendError::Refused);
    }
}
