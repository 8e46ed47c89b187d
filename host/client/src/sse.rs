//! Server-sent events: from bytes to frames. Pure; knows nothing of connections.

/// One dispatched frame.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Frame {
    /// Last `id:` that was seen, in this frame or before.
    pub(crate) id: Option<String>,
    /// `event:` of this frame; empty when it named none.
    pub(crate) event: String,
    /// `data:` lines, joined by newlines.
    pub(crate) data: String,
}

/// A frame grew past the limit: whoever sends it is not a farm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooLong;

/// Cuts a byte stream into frames, whatever pieces it arrives in.
#[derive(Debug)]
pub(crate) struct Parser {
    limit: usize,
    line: Vec<u8>,
    after_cr: bool,
    id: Option<String>,
    event: String,
    data: Option<String>,
}

impl Parser {
    /// A parser whose lines and frames hold at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, line: Vec::new(), after_cr: false, id: None, event: String::new(), data: None }
    }

    /// Takes the next bytes; complete frames go to `out`.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut impl Extend<Frame>) -> Result<(), TooLong> {
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => self.end_line(out)?,
                _ if self.line.len() >= self.limit => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    fn end_line(&mut self, out: &mut impl Extend<Frame>) -> Result<(), TooLong> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            // A frame without data is not dispatched: servers send such to keep a connection alive.
            if let Some(data) = self.data.take() {
                out.extend([Frame { id: self.id.clone(), event, data }]);
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event),
            "data" => {
                let data = match &mut self.data {
                    Some(data) => {
                        data.push('\n');
                        data
                    }
                    none => none.insert(String::new()),
                };
                if data.len() + value.len() > self.limit {
                    return Err(TooLong);
                }
                data.push_str(value);
            }
            // Comments, `retry:` and fields of the future.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(pieces: &[&[u8]]) -> Vec<Frame> {
        let mut parser = Parser::new(1000);
        let mut out = Vec::new();
        for piece in pieces {
            parser.feed(piece, &mut out).unwrap();
        }
        out
    }

    fn frame(id: Option<&str>, event: &str, data: &str) -> Frame {
        Frame { id: id.map(str::to_owned), event: event.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn frames_end_with_an_empty_line() {
        let text = b"id: 7\nevent: worker.state\ndata: {\"a\":1}\n\nid: 8\ndata: x\n\ndata: unfinished\n";
        assert_eq!(
            frames(&[text]),
            [frame(Some("7"), "worker.state", "{\"a\":1}"), frame(Some("8"), "", "x")]
        );
    }

    #[test]
    fn comments_and_dataless_frames_are_no_frames() {
        assert_eq!(frames(&[b": keep-alive\n\nevent: ping\n\nretry: 10\n\ndata\n\n"]), [frame(None, "", "")]);
    }

    #[test]
    fn data_lines_are_joined_and_ids_stay() {
        let text = b"id:1\r\ndata:a\r\ndata:  b\r\n\r\ndata: c\r\r";
        assert_eq!(frames(&[text]), [frame(Some("1"), "", "a\n b"), frame(Some("1"), "", "c")]);
    }

    #[test]
    fn long_lines_and_long_frames_are_refused() {
        let mut parser = Parser::new(10);
        let mut out = Vec::new();
        assert_eq!(parser.feed(b"data: 12345", &mut out), Err(TooLong));
        let mut parser = Parser::new(10);
        assert_eq!(parser.feed(b"data:1234\ndata:5678\ndata:9\n", &mut out), Err(TooLong));
        assert!(out.is_empty());
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(cuts in proptest::collection::vec(1_usize..9, 1..40)) {
            let text: &[u8] = b"id: 1\nevent: e\ndata: caf\xc3\xa9\r\ndata: two\r\n\r\n: c\ndata: z\n\nid: 2\ndata: q\n\n";
            let mut parser = Parser::new(1000);
            let mut out = Vec::new();
            let mut rest = text;
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                parser.feed(piece, &mut out).unwrap();
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(out, frames(&[text]));
        }
    }
}
