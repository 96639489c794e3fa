//! A connection of the pool on the wire: requests go out in one write, their replies are read where the batch waits for them.
//! (The redis crate's connection has a task of its own behind two channels: a batch pays for that what several of its
//! operations cost.)

use super::stream::Stream;
use super::target::Target;
use crate::error::{Kind, UpstreamError};
use crate::resp::number::{self, Number};
use crate::resp::{ReplyScanner, write};
use bb8_redis::redis::Value;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a reply of the upstream's says; `Err` is its refusal.
pub type Reply = Result<Value, UpstreamError>;

/// Room for a read: the replies to a batch of usual size come in one.
const READ_BYTES_MIN: usize = 4 * 1024;

/// See the module. It speaks RESP2.
pub struct Wire {
    stream: Stream,
    input: BytesMut,
    scanner: ReplyScanner,
}

impl Wire {
    /// Connects, says who the sidecar is, and selects the database.
    ///
    /// # Errors
    /// `Connect`, with the address in its words; `Auth` and `NoPassword`; `Unfit` of a database that is refused; the upstream's
    /// refusal.
    pub async fn connect(target: &Target) -> Result<Self, UpstreamError> {
        let stream = Stream::connect(target).await?;
        let mut wire = Self { stream, input: BytesMut::new(), scanner: ReplyScanner::new() };
        let password = target.password.as_ref().map_or("", |password| password.expose()).as_bytes();
        let said = match &target.username {
            Some(user) => wire.ask(&[b"AUTH", user.as_bytes(), password]).await,
            None if target.password.is_some() => wire.ask(&[b"AUTH", password]).await,
            None => Ok(Value::Okay),
        };
        said.map_err(|error| match error.kind {
            // It says so before it reads anything.
            Kind::Reply if error.detail.contains("max number of clients") => error,
            Kind::Auth | Kind::Reply => {
                UpstreamError::new(Kind::Auth, format!("it refuses the user name or the password ({})", error.detail))
            }
            _ => error,
        })?;
        if target.db != 0 {
            wire.ask(&[b"SELECT", target.db.to_string().as_bytes()]).await.map_err(|error| match error.kind {
                Kind::Reply => {
                    UpstreamError::new(Kind::Unfit, format!("it refuses database {} ({})", target.db, error.detail))
                }
                _ => error,
            })?;
        }
        Ok(wire)
    }

    /// One request and its reply.
    ///
    /// # Errors
    /// The upstream's refusal; `Io`, and the connection must not be used again.
    pub async fn ask(&mut self, args: &[&[u8]]) -> Reply {
        let mut request = BytesMut::new();
        write::request(&mut request, args);
        let mut replies = self.exchange(&request, 1).await?;
        replies.pop().unwrap_or_else(|| Err(UpstreamError::new(Kind::Io, "no reply")))
    }

    /// A large reply was read: nothing of its size is needed again.
    pub fn shrink(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Sends all and waits for so many replies.
    ///
    /// # Errors
    /// `Io`: the connection must not be used again.
    ///
    /// # Cancel safety
    /// Dropped before it is done the connection must not be used again.
    pub async fn exchange(&mut self, requests: &[u8], count: usize) -> Result<Vec<Reply>, UpstreamError> {
        self.exchange_read(requests, count, reply).await
    }

    /// The same for replies that are read otherwise: `read` gets each as it came.
    ///
    /// # Errors
    /// `Io`: the connection must not be used again. Those of `read`.
    ///
    /// # Cancel safety
    /// As of [`exchange`](Self::exchange).
    pub async fn exchange_read<T>(
        &mut self,
        requests: &[u8],
        count: usize,
        mut read: impl FnMut(&Bytes) -> Result<T, UpstreamError>,
    ) -> Result<Vec<T>, UpstreamError> {
        let lost = |error: std::io::Error| UpstreamError::new(Kind::Io, error.to_string());
        self.stream.write_all(requests).await.map_err(lost)?;
        let (mut replies, mut at) = (Vec::with_capacity(count), 0);
        while replies.len() < count {
            let advance = self.scanner.advance(&self.input[at..]).map_err(|error| {
                UpstreamError::new(Kind::Io, format!("the upstream's reply cannot be read: {error}"))
            })?;
            at += advance.take;
            if advance.done {
                replies.push(read(&self.input.split_to(at).freeze())?);
                at = 0;
                continue;
            }
            self.input.reserve(READ_BYTES_MIN);
            if self.stream.read_buf(&mut self.input).await.map_err(lost)? == 0 {
                return Err(UpstreamError::new(Kind::Io, "closed by the upstream"));
            }
        }
        Ok(replies)
    }

    /// Nobody waits for a reply, so whatever there is to be read is its end, or nothing of ours.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.input.is_empty() || self.stream.has_input()
    }
}

/// What a reply says, of those who take no refusal for an answer.
///
/// # Errors
/// As [`Wire::ask`].
pub fn answer(bytes: &Bytes) -> Result<Value, UpstreamError> {
    reply(bytes)?
}

fn reply(bytes: &Bytes) -> Result<Reply, UpstreamError> {
    if let Some(line) = bytes.strip_prefix(b"-") {
        return Ok(Err(UpstreamError::from_reply(String::from_utf8_lossy(line).trim_end())));
    }
    let unreadable = || UpstreamError::new(Kind::Io, "the upstream's reply is not RESP2");
    Ok(Ok(value(bytes, &mut 0).ok_or_else(unreadable)?))
}

/// One value of RESP2, whole as the scanner found it; None: it is none.
fn value(bytes: &[u8], at: &mut usize) -> Option<Value> {
    let (kind, rest) = bytes.get(*at..)?.split_first()?;
    if *kind == b'+' {
        let line = &rest[..memchr::memchr(b'\r', rest)?];
        *at += 1 + line.len() + 2;
        return Some(match line {
            b"OK" => Value::Okay,
            _ => Value::SimpleString(String::from_utf8_lossy(line).into_owned()),
        });
    }
    let Number::Whole { value: number, len } = number::line(rest) else { return None };
    *at += 1 + len;
    Some(match kind {
        b':' => Value::Int(number),
        b'$' => match usize::try_from(number) {
            Err(_) => Value::Nil,
            Ok(length) => {
                let text = bytes.get(*at..*at + length)?.to_vec();
                *at += length + 2;
                Value::BulkString(text)
            }
        },
        b'*' => match usize::try_from(number) {
            Err(_) => Value::Nil,
            Ok(length) => {
                let mut items = Vec::with_capacity(length.min(bytes.len() / 3));
                for _ in 0..length {
                    items.push(value(bytes, at)?);
                }
                Value::Array(items)
            }
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_resp2_are_read_and_nothing_else() {
        let read = |bytes: &'static [u8]| reply(&Bytes::from_static(bytes));
        assert_eq!(
            read(b"*4\r\n:-7\r\n$3\r\na\r\n\r\n*2\r\n$-1\r\n*-1\r\n+OK\r\n").unwrap().unwrap(),
            Value::Array(vec![
                Value::Int(-7),
                Value::BulkString(b"a\r\n".to_vec()),
                Value::Array(vec![Value::Nil, Value::Nil]),
                Value::Okay,
            ])
        );
        assert_eq!(read(b"-NOSCRIPT no\r\n").unwrap().unwrap_err().detail, "NOSCRIPT no");
        assert!(read(b"%1\r\n:1\r\n:2\r\n").is_err() && read(b"*1\r\n-ERR\r\n").is_err());
    }
}
