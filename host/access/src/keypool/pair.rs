//! One RSA session key pair.

use std::fmt;

use getrandom::SysRng;
use rand_core::UnwrapErr;
use rsa::RsaPrivateKey;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey, LineEnding};
use rsa::traits::PublicKeyParts;
use russh::keys::PublicKey;
use russh::keys::ssh_key::public::{KeyData, RsaPublicKey};
use russh::keys::ssh_key::{self, Mpint};

/// Size of the modulus in bits: what clients of RSA session keys have always got.
const BITS: usize = 2048;

/// A generated session key pair.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The private half: PKCS#1 PEM text.
    pub private_pem: String,
    /// The public half: an OpenSSH line, `ssh-rsa AAAA…`.
    pub public_line: String,
}

/// Why there is no pair.
#[derive(Debug, thiserror::Error)]
pub(super) enum PairError {
    #[error("entropy: {0}")]
    Entropy(#[from] getrandom::Error),
    #[error("rsa: {0}")]
    Rsa(#[from] rsa::Error),
    #[error("pkcs#1: {0}")]
    Pkcs1(#[from] rsa::pkcs1::Error),
    #[error("openssh: {0}")]
    OpenSsh(#[from] ssh_key::Error),
    #[error("its size is {0} bits")]
    Size(usize),
}

impl KeyPair {
    /// Makes a new pair from the system's entropy: about a twenty-fifth of a second of a core.
    pub(super) fn generate() -> Result<KeyPair, PairError> {
        // Asked first, and as an error: the generator itself cannot say that there is no entropy.
        getrandom::fill(&mut [0; 32])?;
        KeyPair::of(&RsaPrivateKey::new(&mut UnwrapErr(SysRng), BITS)?)
    }

    /// Reads a private half back; checks that it is whole and consistent.
    pub(super) fn from_pem(pem: &str) -> Result<KeyPair, PairError> {
        let key = RsaPrivateKey::from_pkcs1_pem(pem)?;
        key.validate()?;
        match key.size() * 8 {
            BITS => KeyPair::of(&key),
            other => Err(PairError::Size(other)),
        }
    }

    fn of(key: &RsaPrivateKey) -> Result<KeyPair, PairError> {
        let private_pem = key.to_pkcs1_pem(LineEnding::LF)?.as_str().to_owned();
        let e = Mpint::from_positive_bytes(&key.e_bytes());
        let n = Mpint::from_positive_bytes(&key.n_bytes());
        let public = PublicKey::from(KeyData::Rsa(RsaPublicKey::new(e, n)?));
        Ok(KeyPair { private_pem, public_line: public.to_openssh()? })
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public_line", &self.public_line).finish_non_exhaustive()
    }
}
