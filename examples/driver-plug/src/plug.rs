//! The plug: HTTP/1.0, a request and an answer for each connection.

use std::io::{Read, Write};
use std::net::TcpStream;

use grove_plugin::driver::Failure;

/// Longest answer that is read, in bytes: plugs say little.
const MAX_ANSWER: u64 = 64 << 10;

/// Where a plug is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plug<'a> {
    host: &'a str,
    port: u16,
}

impl<'a> Plug<'a> {
    /// From HOST:PORT.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let wrong = || format!("plug is {text:?}: write it as HOST:PORT, such as plug7.lab:80");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(wrong());
        }
        Ok(Self { host, port })
    }

    /// Whether it gives power.
    pub fn is_on(&self) -> Result<bool, Failure> {
        self.ask("/relay/0")
    }

    /// Switches it, and sees that it did.
    pub fn turn(&self, on: bool) -> Result<(), Failure> {
        let path = if on { "/relay/0?turn=on" } else { "/relay/0?turn=off" };
        if self.ask(path)? == on {
            return Ok(());
        }
        Err(Failure::device(format!("the plug {} did not switch; look at its relay", self.host)))
    }

    fn ask(&self, path: &str) -> Result<bool, Failure> {
        let failed = |error: std::io::Error| {
            let Self { host, port } = self;
            Failure::environment(format!("the plug {host}:{port} cannot be asked: {error}"))
        };
        let mut stream = TcpStream::connect((self.host, self.port)).map_err(failed)?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.host).map_err(failed)?;
        let mut answer = String::new();
        stream.take(MAX_ANSWER).read_to_string(&mut answer).map_err(failed)?;
        state(&answer).map_err(|what| Failure::environment(format!("the plug {} {what}", self.host)))
    }
}

/// What the plug says of itself: `{"ison": true, …}`.
fn state(answer: &str) -> Result<bool, String> {
    let first = answer.lines().next().unwrap_or_default();
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("gave no answer of HTTP")?;
    if first.split_whitespace().nth(1) != Some("200") {
        return Err(format!("answered {first:?}"));
    }
    let compact: String = body.split_whitespace().collect();
    match (compact.contains(r#""ison":true"#), compact.contains(r#""ison":false"#)) {
        (true, false) => Ok(true),
        (false, true) => Ok(false),
        _ => Err("does not say whether it is on; is it a plug with /relay/0?".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plug_is_a_host_and_a_port() {
        assert_eq!(Plug::parse("plug7.lab:80"), Ok(Plug { host: "plug7.lab", port: 80 }));
        for text in ["plug7.lab", "plug7.lab:", ":80", "a b:80", "plug7.lab:70000", "plug\r\n:80"] {
            assert!(Plug::parse(text).unwrap_err().contains("HOST:PORT"), "{text:?}");
        }
    }

    #[test]
    fn only_a_clear_answer_is_one() {
        let answer = |status: &str, body: &str| state(&format!("HTTP/1.0 {status}\r\nX: y\r\n\r\n{body}"));
        assert_eq!(answer("200 OK", r#"{"ison": true, "timer": 0}"#), Ok(true));
        assert_eq!(answer("200 OK", "{\n  \"ison\": false\n}"), Ok(false));
        assert!(answer("404 Not Found", r#"{"ison":true}"#).unwrap_err().contains("404"));
        assert!(answer("200 OK", "hello").unwrap_err().contains("/relay/0"));
        assert!(state("SSH-2.0-x\r\n").unwrap_err().contains("HTTP"));
    }
}
