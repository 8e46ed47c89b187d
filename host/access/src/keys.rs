//! Public keys as users give them, checked and made uniform before they reach a board's `authorized_keys`.

use std::fmt;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{HashAlg, PublicKey};

/// Longest line taken, in bytes.
pub const MAX_LINE: usize = 16 * 1024;
/// Longest comment kept, in characters.
const MAX_COMMENT: usize = 128;
/// Sizes of RSA keys taken, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=16_384;

/// A public key that may be authorized. Displays as its `authorized_keys` line, without options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthorizedKey {
    kind: String,
    base64: String,
    comment: String,
    fingerprint: String,
}

impl AuthorizedKey {
    /// Its type, such as `ssh-ed25519`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The key itself, in base64.
    pub fn base64(&self) -> &str {
        &self.base64
    }

    /// What its owner calls it; may be empty.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl fmt::Display for AuthorizedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.base64)?;
        if !self.comment.is_empty() {
            write!(f, " {}", self.comment)?;
        }
        Ok(())
    }
}

/// Why a public key is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Nothing there.
    #[error("the public key is empty: give the line of your .pub file")]
    Empty,
    /// Too much there.
    #[error("the public key is longer than {MAX_LINE} bytes: give the one line of your .pub file")]
    TooLong,
    /// A secret was pasted.
    #[error("this is a private key: never give it to anyone; give the line of the .pub file beside it")]
    Private,
    /// More than a line.
    #[error("the public key has more than one line: give one key")]
    ManyLines,
    /// Bytes that do not belong into a line.
    #[error("the public key holds control characters: give the plain line of your .pub file")]
    ControlCharacters,
    /// Options before the key.
    #[error("the line begins with `{0}`, not with a key type: leave options out")]
    Options(String),
    /// A type of key that is not taken.
    #[error("keys of type {0} are not taken: use ssh-ed25519, ecdsa, ssh-rsa or a security key")]
    Kind(String),
    /// An RSA key of the wrong size.
    #[error("an rsa key of {0} bits is not taken: use {min} to {max} bits, or ssh-ed25519", min = RSA_BITS.start(), max = RSA_BITS.end())]
    RsaSize(usize),
    /// Not a key.
    #[error("not a public key: {0}")]
    Malformed(String),
}

/// Checks one OpenSSH public key line (`type base64 [comment]`).
pub fn parse_public_line(line: &str) -> Result<AuthorizedKey, KeyError> {
    if line.len() > MAX_LINE {
        return Err(KeyError::TooLong);
    }
    let line = line.trim();
    if line.is_empty() {
        return Err(KeyError::Empty);
    }
    if line.contains("PRIVATE KEY") || line.starts_with("PuTTY-User-Key-File") {
        return Err(KeyError::Private);
    }
    if line.contains(['\n', '\r', '\u{2028}', '\u{2029}']) {
        return Err(KeyError::ManyLines);
    }
    if line.contains(char::is_control) {
        return Err(KeyError::ControlCharacters);
    }
    let mut words = line.splitn(3, ' ').map(str::trim);
    let kind = words.next().unwrap_or_default();
    let base64 = words.next().unwrap_or_default();
    let comment = words.next().unwrap_or_default();
    if !looks_like_a_kind(kind) {
        return Err(KeyError::Options(kind.chars().take(32).collect()));
    }
    if !is_taken(kind) {
        return Err(KeyError::Kind(kind.chars().take(64).collect()));
    }
    let key = PublicKey::from_openssh(&format!("{kind} {base64}"))
        .map_err(|error| KeyError::Malformed(error.to_string()))?;
    if let KeyData::Rsa(rsa) = key.key_data() {
        let bits = bits(rsa.n().as_positive_bytes().unwrap_or_default());
        if !RSA_BITS.contains(&bits) {
            return Err(KeyError::RsaSize(bits));
        }
    }
    Ok(AuthorizedKey {
        kind: kind.to_owned(),
        base64: base64.to_owned(),
        comment: printable(comment),
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
    })
}

fn looks_like_a_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|prefix| word.starts_with(prefix)) && !word.contains(['"', '=', ','])
}

fn is_taken(kind: &str) -> bool {
    matches!(
        kind,
        "ssh-ed25519"
            | "ssh-rsa"
            | "ecdsa-sha2-nistp256"
            | "ecdsa-sha2-nistp384"
            | "ecdsa-sha2-nistp521"
            | "sk-ssh-ed25519@openssh.com"
            | "sk-ecdsa-sha2-nistp256@openssh.com"
    )
}

/// Bits of a big-endian number.
fn bits(number: &[u8]) -> usize {
    let significant = number.iter().skip_while(|byte| **byte == 0);
    let first = significant.clone().next().map_or(0, |byte| byte.leading_zeros() as usize);
    (significant.count() * 8).saturating_sub(first)
}

/// A comment is for people who read lists of keys: letters, digits, and what is on a keyboard.
fn printable(comment: &str) -> String {
    let kept = comment.chars().filter(|c| c.is_alphanumeric() || c.is_ascii_graphic() || *c == ' ');
    kept.take(MAX_COMMENT).collect::<String>().trim().to_owned()
}
