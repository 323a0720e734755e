//! Which nsqd have a topic, as nsqlookupd knows.

mod directory;
mod poller;
mod query;

use std::{fmt, sync::Arc, time::Duration};

use serde::Deserialize;

pub(crate) use self::poller::{Listing, poll};
pub use self::query::LookupError;
use crate::server::Server;

/// Whom to ask for the nsqd that have a topic, and how to speak with those.
///
/// All nsqlookupd are asked, and what one of them lists counts. One that does not answer keeps its last word for five
/// minutes, and as long as none of the others says anything newer. A topic that nobody knows yet is no error: it is asked
/// for again.
///
/// ```
/// use nsq::{Discovery, Server};
///
/// let mut discovery = Discovery::new(["lookup-1:4161", "lookup-2:4161"]);
/// discovery.poll_interval = std::time::Duration::from_secs(15);
///
/// let mut template = Server::new("");
/// template.heartbeat = std::time::Duration::from_secs(10);
/// let discovery = discovery.with_template(template);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Discovery {
    /// `host:port` of each nsqlookupd's HTTP port.
    pub lookupds: Vec<String>,
    /// How often they are asked; 60 s unless set. Each pause is shortened by chance, by up to 30 %, so that consumers do not
    /// ask all at once. When a connection to an nsqd was lost they are asked at once.
    pub poll_interval: Duration,
    /// How long the answer of one may take; 5 s unless set.
    pub timeout: Duration,
    choose: Arc<Choose>,
}

type Choose = dyn Fn(&Node) -> Option<Server> + Send + Sync;

/// An nsqd, as nsqlookupd describes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Node {
    /// The name or address under which clients reach it (nsqd's `--broadcast-address`).
    pub broadcast_address: String,
    /// Its TCP port.
    pub tcp_port: u16,
    /// Its HTTP port; 0 if it has none.
    #[serde(default)]
    pub http_port: u16,
    /// The name of its machine.
    #[serde(default)]
    pub hostname: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
}

impl Node {
    /// `host:port` of its TCP port.
    pub fn address(&self) -> String {
        let (host, port) = (&self.broadcast_address, self.tcp_port);
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}

impl Discovery {
    /// Asks these nsqlookupd (`host:port` of the HTTP port), and speaks with each nsqd in plain and with default settings.
    pub fn new(lookupds: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            lookupds: lookupds.into_iter().map(Into::into).collect(),
            poll_interval: Duration::from_secs(60),
            timeout: Duration::from_secs(5),
            choose: Arc::new(|node| Some(Server::new(node.address()))),
        }
    }

    /// Speaks with each nsqd as with `template`, whose address does not count.
    #[must_use]
    pub fn with_template(self, template: Server) -> Self {
        self.with(move |node| {
            let mut server = template.clone();
            server.address = node.address();
            Some(server)
        })
    }

    /// Speaks with each nsqd as the function says: where its certificate carries a name of its own, or it is reached by
    /// another address. Those for which it says `None` are left out.
    #[must_use]
    pub fn with(
        mut self,
        choose: impl Fn(&Node) -> Option<Server> + Send + Sync + 'static,
    ) -> Self {
        self.choose = Arc::new(choose);
        self
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("lookupds", &self.lookupds)
            .field("poll_interval", &self.poll_interval)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
