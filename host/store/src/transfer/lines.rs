//! Lines, written and read with their digest. Only one of them is in memory.

use std::io::{self, BufRead, BufReader, Read, Write};

use sha2::{Digest as _, Sha256};

use super::cell::hex;
use super::{ExportError, ImportError};

/// Bytes of the longest line, without its end.
pub const MAX_LINE: usize = 16 << 20;
/// Bytes that are written at once.
const CHUNK: usize = 256 << 10;

/// Where an export is written.
pub(super) struct Writer<'a> {
    out: io::BufWriter<&'a mut dyn Write>,
    sha: Sha256,
    /// The line that is being made.
    pub(super) line: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out: io::BufWriter::with_capacity(CHUNK, out), sha: Sha256::new(), line: Vec::new() }
    }

    /// Writes the line that was made, which is of this table.
    pub(super) fn end(&mut self, table: &str) -> Result<(), ExportError> {
        if self.line.len() > MAX_LINE {
            return Err(ExportError::LongRow { table: table.to_owned(), length: self.line.len() });
        }
        self.line.push(b'\n');
        self.sha.update(&self.line);
        self.out.write_all(&self.line)?;
        self.line.clear();
        Ok(())
    }

    /// The digest of every line so far.
    pub(super) fn digest(&self) -> String {
        hex(&self.sha.clone().finalize())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Where an export is read.
pub(super) struct Lines<'a> {
    from: BufReader<&'a mut dyn Read>,
    sha: Sha256,
    line: Vec<u8>,
    /// Number of the line that was read last.
    pub(super) number: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn new(from: &'a mut dyn Read) -> Self {
        let from = BufReader::with_capacity(CHUNK, from);
        Self { from, sha: Sha256::new(), line: Vec::new(), number: 0 }
    }

    /// Goes to the next line, which there must be.
    pub(super) fn next(&mut self) -> Result<(), ImportError> {
        // The trailer is the only line that nothing follows: what is not the last counts.
        self.sha.update(&self.line);
        self.line.clear();
        self.number += 1;
        let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX).saturating_add(1);
        let read = (&mut self.from).take(most).read_until(b'\n', &mut self.line);
        read.map_err(|error| ImportError::Read { line: self.number, error })?;
        if self.line.last() == Some(&b'\n') {
            return Ok(());
        }
        Err(self.wrong(match self.line.len() {
            0 => "the export breaks off before this line".to_owned(),
            length if length > MAX_LINE => format!("the line is longer than {MAX_LINE} bytes"),
            _ => "the export breaks off in this line".to_owned(),
        }))
    }

    /// The line without its end.
    pub(super) fn line(&self) -> &[u8] {
        self.line.strip_suffix(b"\n").unwrap_or(&self.line)
    }

    /// The digest of every line before this one.
    pub(super) fn digest(&self) -> String {
        hex(&self.sha.clone().finalize())
    }

    /// Nothing may follow.
    pub(super) fn done(&mut self) -> Result<(), ImportError> {
        let rest = self.from.fill_buf().map_err(|error| ImportError::Read { line: self.number, error })?;
        if rest.is_empty() {
            return Ok(());
        }
        Err(ImportError::file(self.number + 1, "something follows on the end"))
    }

    pub(super) fn wrong(&self, problem: impl Into<String>) -> ImportError {
        ImportError::file(self.number, problem)
    }
}
