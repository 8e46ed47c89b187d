//! Compiled code on disk, so that a start need not compile.
//!
//! Compiled code is trusted blindly by the engine: a changed byte is arbitrary native code. So it lives in a folder
//! that only we can enter, and every file carries a MAC under a key that lies beside it; what does not verify is
//! thrown away and compiled anew.

use std::hash::{Hash, Hasher};
use std::io::{Read, Write};

use cap_std::fs::{
    Dir, DirBuilder, DirBuilderExt, MetadataExt, OpenOptions, OpenOptionsExt, Permissions, PermissionsExt,
};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::compiler::{CompileLimits, MAX_CODE};

/// First bytes of every file; another layout gets another number.
const MAGIC: &[u8; 8] = b"grovecw1";
const MAC_LEN: usize = 32;
const KEY_FILE: &str = "key";
/// Most entries kept; the oldest go.
const MAX_ENTRIES: usize = 128;
/// Biggest file that is read, in bytes.
const MAX_FILE: u64 = MAX_CODE + 4096;

/// SHA-256 of a component, as lower-case hex.
pub(crate) fn digest(component: &[u8]) -> String {
    hex(&Sha256::digest(component))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) struct CodeCache {
    dir: Dir,
    key: [u8; 32],
}

impl CodeCache {
    /// Opens (and if need be makes) folder `name` in `parent`, private to us, and its key.
    pub(crate) fn open(parent: &Dir, name: &str) -> std::io::Result<CodeCache> {
        let mut private = DirBuilder::new();
        private.mode(0o700);
        match parent.create_dir_with(name, &private) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        parent.set_permissions(name, Permissions::from_mode(0o700))?;
        let dir = parent.open_dir(name)?;
        if dir.dir_metadata()?.mode() & 0o077 != 0 {
            return Err(std::io::Error::other("others may enter it"));
        }
        let key = key(&dir)?;
        Ok(CodeCache { dir, key })
    }

    /// The compiled component, if it is on disk and whole. Blocks on the disk.
    pub(crate) fn component(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let name = entry_name(engine, digest);
        match self.read(&name) {
            Ok(Some(code)) => match from_compiler(engine, &code) {
                Ok(component) => return Some(component),
                Err(error) => {
                    tracing::warn!(entry = name, %error, "compiled plugin code is unusable; compiling anew")
                }
            },
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(entry = name, %error, "compiled plugin code is damaged; compiling anew")
            }
        }
        None
    }

    /// Keeps compiled code. Blocks on the disk.
    pub(crate) fn keep(&self, engine: &Engine, digest: &str, code: &[u8]) {
        let name = entry_name(engine, digest);
        if let Err(error) = self.write(&name, code) {
            tracing::warn!(entry = name, %error, "compiled plugin code could not be kept; the next start compiles again");
        }
    }

    /// Why a component was too expensive to compile within these limits, if it was. Blocks on the disk.
    pub(crate) fn refusal(&self, engine: &Engine, digest: &str, limits: CompileLimits) -> Option<String> {
        let text = self.read(&refusal_name(engine, digest)).ok().flatten()?;
        let text = String::from_utf8(text).ok()?;
        Some(text.strip_prefix(&written(limits))?.to_owned())
    }

    /// Remembers why, so that it is not tried again before it or the limits are others. Blocks on the disk.
    pub(crate) fn refuse(&self, engine: &Engine, digest: &str, limits: CompileLimits, why: &str) {
        let name = refusal_name(engine, digest);
        if let Err(error) = self.write(&name, format!("{}{why}", written(limits)).as_bytes()) {
            tracing::warn!(entry = name, %error, "it could not be kept that a plugin is too expensive to compile");
        }
    }

    fn mac(&self, name: &str, code: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.key).ok()?;
        // The name holds the component's digest: one entry cannot be passed off as another.
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(code);
        Some(mac)
    }

    fn read(&self, name: &str) -> std::io::Result<Option<Vec<u8>>> {
        let file = match self.dir.open(name) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes)?;
        let damaged = || std::io::Error::other("its MAC is wrong");
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
        let (mac, code) = rest.split_at_checked(MAC_LEN).ok_or_else(damaged)?;
        let expected = self.mac(name, code).ok_or_else(damaged)?;
        expected.verify_slice(mac).map_err(|_| damaged())?;
        bytes.drain(..MAGIC.len() + MAC_LEN);
        Ok(Some(bytes))
    }

    fn write(&self, name: &str, code: &[u8]) -> std::io::Result<()> {
        let mac = self.mac(name, code).ok_or_else(|| std::io::Error::other("no MAC"))?;
        let temporary = format!("{name}.{}", random_suffix()?);
        let mut file = self.dir.open_with(&temporary, &private_file())?;
        let written = file
            .write_all(MAGIC)
            .and_then(|()| file.write_all(&mac.finalize().into_bytes()))
            .and_then(|()| file.write_all(code))
            .and_then(|()| self.dir.rename(&temporary, &self.dir, name));
        if written.is_err() {
            let _ = self.dir.remove_file(&temporary);
        }
        written.and_then(|()| self.prune())
    }

    fn prune(&self) -> std::io::Result<()> {
        let mut entries = Vec::new();
        for entry in self.dir.entries()? {
            let entry = entry?;
            let name = entry.file_name();
            if name != KEY_FILE {
                entries.push((entry.metadata()?.mtime(), name));
            }
        }
        entries.sort();
        let excess = entries.len().saturating_sub(MAX_ENTRIES);
        for (_, name) in entries.into_iter().take(excess) {
            let _ = self.dir.remove_file(name);
        }
        Ok(())
    }
}

/// The component that a compiler of ours made this code of.
pub(crate) fn from_compiler(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: a compiler of ours gave us these bytes: just now, or we stored them under this very name, as their MAC says,
    // whose key only we can read. The buffer is ours, so nobody changes it meanwhile.
    #[expect(unsafe_code, reason = "loading verified compiled code is what the cache is for")]
    unsafe {
        Component::deserialize(engine, code)
    }
}

/// Compiles it in this process. What the compiler took goes back to the system.
pub(crate) fn compile_here(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Component> {
    let component = Component::from_binary(engine, wasm);
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(unsafe_code, reason = "there is no other way to ask the allocator")]
        // SAFETY: it takes a number, touches only what is free, and may be called by any thread at any time.
        unsafe {
            libc::malloc_trim(0)
        };
    }
    component
}

/// Limits, as a refusal begins with them.
fn written(limits: CompileLimits) -> String {
    format!("{} {}\n", limits.processor.as_secs(), limits.memory)
}

fn refusal_name(engine: &Engine, digest: &str) -> String {
    format!("{}.refused", entry_name(engine, digest))
}

/// Name of an entry: which component, compiled by which compiler with which settings.
fn entry_name(engine: &Engine, digest: &str) -> String {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut sha = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut sha);
    let compatibility = hex(&sha.0.finalize());
    format!("{digest}-{}.code", compatibility.get(..32).unwrap_or(&compatibility))
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
}

fn random_suffix() -> std::io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(hex(&bytes))
}

/// Reads the key, or makes one. Two processes that start at once end with the same key.
fn key(dir: &Dir) -> std::io::Result<[u8; 32]> {
    let mut key = [0; 32];
    match dir.open(KEY_FILE) {
        Ok(mut file) => {
            if file.metadata()?.len() == key.len() as u64 {
                file.read_exact(&mut key)?;
                return Ok(key);
            }
            tracing::warn!(
                "the key of the compiled plugin code is damaged; making a new one, all code compiles anew"
            );
            dir.remove_file(KEY_FILE)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    getrandom::fill(&mut key).map_err(std::io::Error::other)?;
    let temporary = format!("{KEY_FILE}.{}", random_suffix()?);
    dir.open_with(&temporary, &private_file())?.write_all(&key)?;
    let linked = dir.hard_link(&temporary, dir, KEY_FILE);
    dir.remove_file(&temporary)?;
    match linked {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            dir.open(KEY_FILE)?.read_exact(&mut key)?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}
