//! What text is tested with: regular expressions and networks.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};

use super::short;

/// Bytes that a compiled expression may take.
const MAX_COMPILED: usize = 256 << 10;

/// A regular expression, whose time is linear in what it is tried on.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// One that matches text when the whole of it does.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn whole(text: &str) -> Result<Self, String> {
        // By itself first: so that what stands around it stays around it, and errors are about what was written.
        compile(text)?;
        Ok(Self { text: text.to_owned(), regex: compile(&format!(r"\A(?:{text})\z"))? })
    }

    /// One that matches text when any part of it does.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn anywhere(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), regex: compile(text)? })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

fn compile(text: &str) -> Result<Regex, String> {
    short(text)?;
    let mut builder = RegexBuilder::new(text);
    let built = builder.size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).nest_limit(50).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large when compiled".to_owned(),
        // The last line says what is wrong, those before it show where.
        error => {
            let text = error.to_string();
            let what = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("the pattern cannot be read: {what}")
        }
    })
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl Eq for Pattern {}

/// A network of addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    text: String,
    net: IpNet,
}

impl Network {
    /// The network that `text` is: `10.0.0.0/8`, `fd00::/8`, or one address.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let net = IpNet::from_str(text).or_else(|_| IpAddr::from_str(text).map(IpNet::from));
        let net = net.map_err(|_| format!("{:?} is no network such as 10.0.0.0/8", shown(text)))?;
        Ok(Self { text: text.to_owned(), net })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.net.contains(&address)
    }
}

/// As much of a text as is shown back.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}
