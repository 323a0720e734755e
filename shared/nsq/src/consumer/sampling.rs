//! Reading a part of a channel.

/// A part of a channel's messages, in percent: 1 to 99. nsqd throws dice for each message.
///
/// Messages that are left out count as done for the channel: so this is for channels of one's own, to look at a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SampleRate(u8);

/// A number that is no [`SampleRate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sample rate {0}; 1 to 99 (percent) are possible, and none at all for all messages")]
pub struct SampleRateError(u8);

impl SampleRate {
    /// The rate in percent.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for SampleRate {
    type Error = SampleRateError;

    fn try_from(percent: u8) -> Result<Self, SampleRateError> {
        if (1..=99).contains(&percent) {
            Ok(Self(percent))
        } else {
            Err(SampleRateError(percent))
        }
    }
}
