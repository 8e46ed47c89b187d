//! Tokens that boards show. Only their digests are kept and compared.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grove_domain::introspection::TokenDigest;
use grove_wire::{Code, Problem};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};

use super::refuse::Refuse;

/// Random bytes in a token.
const BYTES: usize = 32;
/// Longest that is looked at.
const LONGEST: usize = 1024;

/// Fresh bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Refuse> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "the system gives no random bytes");
                return Err(Problem::new(Code::Internal, "the system gives no random bytes").into());
            }
        }
    }
    Ok(bytes)
}

/// A new token.
pub(crate) fn make() -> Result<String, Refuse> {
    Ok(URL_SAFE_NO_PAD.encode(random::<BYTES>()?))
}

/// What is kept of a token.
pub fn digest(token: &str) -> TokenDigest {
    TokenDigest(Sha256::digest(token).into())
}

/// What the caller shows.
pub(crate) fn shown(headers: &HeaderMap) -> Result<TokenDigest, Refuse> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (lines.next(), lines.next());
    let text = first.and_then(|line| line.to_str().ok()).unwrap_or_default();
    let token = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let token = token.map(|(_, token)| token.trim()).filter(|token| !token.is_empty());
    match token {
        Some(token) if second.is_none() && token.len() <= LONGEST => Ok(digest(token)),
        _ => {
            let detail = match first {
                None => "there is no header Authorization",
                Some(_) => "the header Authorization holds no one bearer token",
            };
            Err(Problem::new(Code::MissingToken, detail).field("Authorization").into())
        }
    }
}
