//! Dead letters: the bodies of `/deadlettershow`, `/deadletterrequeue` and `/deadletterdelete`.

use crate::wire::wire;

wire! {
    /// Which dead letters.
    pub struct DeadLetterRequest {
        /// Their ids. None: to show, all; else those that `AllFlag` means.
        ids: Vec<String> = "IDs",
        /// All of them.
        all_flag: bool = "AllFlag",
        /// Version of the client.
        client_version: String = "ClientVersion",
    }
}

wire! {
    /// A message that nobody could handle.
    pub struct DeadLetterDetail {
        /// Its name.
        id: String = "ID",
        /// What it was published to.
        topic: String = "Topic",
        /// Whose reader could not handle it.
        channel: String = "Channel",
        /// How often nsqd had delivered it.
        attempts: u32 = "Attempts",
        /// When it was given up, RFC 3339.
        time: String = "Time",
        /// Why.
        reason: String = "Reason",
        /// What was published, as text; its beginning where all are shown.
        body: String = "Body",
        /// Bytes of the whole body.
        size: u64 = "Size",
    }
}

wire! {
    /// Answer of `/deadlettershow`.
    pub response ShowDeadLetterResponse {
        /// The oldest first.
        results: Vec<DeadLetterDetail> = "Results",
        /// How many had to go because there was no room, since the event service was started.
        dropped: u64 = "Dropped",
    }
}

wire! {
    /// Answer of `/deadletterrequeue` and `/deadletterdelete`.
    pub response DeadLetterResponse {
        /// One text per thing done.
        results: Vec<String> = "Results",
    }
}
