//! How far a running server is, with the timeline: `IDENTIFY_SYSTEM` of the streaming replication protocol, which no client
//! library for SQL speaks. Whoever asks waits with all that write for another primary, so no program is started for it.
//!
//! Messages are those of the documentation, "Message Formats": a letter, the length with itself, the content.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

use crate::{SUPERUSER, Socket, position::WalEnd, timeline};

/// How long the server may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Version 3.0 of the protocol.
const PROTOCOL: u32 = 3 << 16;

/// The longest message that is read: an error with all its fields is shorter.
const LONGEST: u32 = 1 << 16;

/// Why a server does not tell.
#[derive(Debug, thiserror::Error)]
pub enum IdentifyError {
    /// It cannot be reached, or ends.
    #[error("PostgreSQL cannot be asked how far it is: {0}")]
    Io(#[from] std::io::Error),
    /// It did not answer in time.
    #[error("PostgreSQL did not say within {} s how far it is", DEADLINE.as_secs())]
    Deadline,
    /// It refuses.
    #[error("PostgreSQL does not say how far it is: {0}")]
    Refused(String),
    /// It says something else.
    #[error("PostgreSQL's answer to how far it is has no {0}; is it of another version?")]
    Unclear(&'static str),
}

/// Asks the server behind `socket`, which may be a standby: there it is the further one of what it has replayed and what it
/// has received on the same timeline.
///
/// # Errors
/// It does not answer.
pub async fn ask(socket: &Socket) -> Result<WalEnd, IdentifyError> {
    let path = socket.folder.join(format!(".s.PGSQL.{}", socket.port));
    let asked = async {
        let mut stream = UnixStream::connect(&path).await?;
        stream.write_all(&start()).await?;
        until_ready(&mut stream).await?;
        stream
            .write_all(&message(b'Q', b"IDENTIFY_SYSTEM\0"))
            .await?;
        let row = until_ready(&mut stream).await?;
        let end = row.ok_or(IdentifyError::Unclear("row"))?;
        // So that it need not notice by itself that nobody is there any more; the answer is known either way.
        let _ = stream.write_all(&message(b'X', b"")).await;
        read_row(&end)
    };
    timeout(DEADLINE, asked)
        .await
        .map_err(|_| IdentifyError::Deadline)?
}

/// `StartupMessage`: as the superuser, to replicate.
fn start() -> Vec<u8> {
    let mut content = PROTOCOL.to_be_bytes().to_vec();
    for word in ["user", SUPERUSER, "replication", "true", ""] {
        content.extend_from_slice(word.as_bytes());
        content.push(0);
    }
    with_length(&content)
}

fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(with_length(content));
    message
}

fn with_length(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), content].concat()
}

/// Reads until the server waits for a command; the last row among what it said.
async fn until_ready(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Vec<u8>>, IdentifyError> {
    let mut row = None;
    loop {
        let kind = stream.read_u8().await?;
        let length = stream.read_u32().await?;
        if !(4..=LONGEST).contains(&length) {
            return Err(IdentifyError::Unclear("length"));
        }
        let mut content = vec![0; length as usize - 4];
        stream.read_exact(&mut content).await?;
        match kind {
            b'Z' => return Ok(row),
            b'D' => row = Some(content),
            b'E' => return Err(IdentifyError::Refused(said(&content))),
            // `AuthenticationOk` is 0; pg_hba.conf asks nothing else of us.
            b'R' if content != [0; 4] => {
                return Err(IdentifyError::Refused("it asks for a password".to_owned()));
            }
            _ => {}
        }
    }
}

/// The message of an `ErrorResponse`: fields of a letter and a text each.
fn said(content: &[u8]) -> String {
    let mut fields = content.split(|byte| *byte == 0);
    let message = fields.find_map(|field| field.strip_prefix(b"M"));
    String::from_utf8_lossy(message.unwrap_or(content)).into_owned()
}

/// Reads a `DataRow` with systemid, timeline, xlogpos and dbname.
fn read_row(row: &[u8]) -> Result<WalEnd, IdentifyError> {
    let mut rest = row.get(2..).unwrap_or_default();
    let mut texts = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        // -1 is NULL: nothing follows.
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (text, after) = after
            .split_at_checked(length)
            .ok_or(IdentifyError::Unclear("whole field"))?;
        texts.push(std::str::from_utf8(text).unwrap_or_default());
        rest = after;
    }
    let timeline = texts.get(1).and_then(|text| text.parse().ok());
    let lsn = texts.get(2).and_then(|text| timeline::lsn(text));
    Ok(WalEnd {
        timeline: timeline.ok_or(IdentifyError::Unclear("timeline"))?,
        lsn: lsn.ok_or(IdentifyError::Unclear("place"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fields: &[Option<&str>]) -> Vec<u8> {
        let count = u16::try_from(fields.len()).expect("few");
        let mut row = count.to_be_bytes().to_vec();
        for field in fields {
            let length = field.map_or(-1, |text| i32::try_from(text.len()).expect("short"));
            row.extend(length.to_be_bytes());
            row.extend(field.unwrap_or_default().bytes());
        }
        row
    }

    #[test]
    fn an_answer_is_read_to_the_byte() {
        let row = row(&[
            Some("7576543210987654321"),
            Some("3"),
            Some("0/3000148"),
            None,
        ]);
        let end = read_row(&row).expect("an end");
        assert_eq!((end.timeline, end.lsn), (3, 0x300_0148));
    }

    #[test]
    fn an_answer_that_is_none_is_refused() {
        for wrong in [
            vec![],
            row(&[Some("7")]),
            row(&[Some("7"), Some("x"), Some("0/3")]),
            row(&[Some("7"), Some("3"), Some("03")]),
            [0, 1, 0, 0, 0, 9, b'7'].to_vec(),
        ] {
            read_row(&wrong).expect_err("no answer");
        }
    }

    #[tokio::test]
    async fn what_the_server_refuses_is_told_in_its_words() {
        let error = message(
            b'E',
            b"SFATAL\0C57P03\0Mthe database system is starting up\0\0",
        );
        let refused = until_ready(&mut &error[..]).await.expect_err("refused");
        assert!(refused.to_string().contains("is starting up"), "{refused}");
        let password = message(b'R', &3_u32.to_be_bytes());
        until_ready(&mut &password[..]).await.expect_err("refused");
        // Cut off in the middle.
        until_ready(&mut &error[..9]).await.expect_err("the end");
    }

    #[tokio::test]
    async fn the_row_before_the_server_waits_is_taken() {
        let said = [
            message(b'R', &[0; 4]),
            message(b'S', b"server_version\x0015.18\0"),
            message(b'D', b"row"),
            message(b'C', b"IDENTIFY_SYSTEM\0"),
            message(b'Z', b"I"),
        ];
        let row = until_ready(&mut &said.concat()[..]).await.expect("read");
        assert_eq!(row.as_deref(), Some(&b"row"[..]));
    }
}
