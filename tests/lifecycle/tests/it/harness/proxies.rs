//! Who watches where Services lead. What directs connections on a node asks again after its API server was away, and waits
//! longer and longer before it does (client-go's reflector: up to a minute). Until then it does not know of a change.

use std::time::Duration;

use super::{kubectl, until, until::seen};

/// How long after the API server's return all may take to watch again: client-go waits 30 s at most, and as long again by
/// chance.
const WATCHED: Duration = Duration::from_secs(90);

/// Watches of all EndpointSlices: one by each kube-proxy, and by controllers.
pub struct Watches(u32);

impl Watches {
    /// How many there are, while nothing is wrong.
    pub fn count() -> Self {
        let there = now();
        assert!(there > 1, "{there} watches of EndpointSlices");
        Self(there)
    }

    /// Waits until there are as many again.
    pub fn until_all_again(&self) {
        until("all watches of EndpointSlices", WATCHED, || {
            let there = now();
            seen(there >= self.0, || format!("{there} of {}", self.0))
        });
    }
}

/// As the API server counts them (its metric `apiserver_longrunning_requests`).
fn now() -> u32 {
    let metrics = kubectl(&["get", "--raw", "/metrics"]).ok().out;
    let of_slices = metrics.lines().filter(|line| {
        line.starts_with("apiserver_longrunning_requests{")
            && line.contains("resource=\"endpointslices\"")
            && line.contains("scope=\"cluster\"")
            && line.contains("verb=\"WATCH\"")
    });
    of_slices
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok())
        .sum()
}
