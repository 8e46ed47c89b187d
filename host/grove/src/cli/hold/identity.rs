//! Which keys the board shall let in, and how ssh finds their private halves.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::cli::failure::Hinted;

/// Keys that are offered, at most: ssh servers hang up on clients that try many.
const MAX_KEYS: usize = 5;
/// Longest public key file that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;
/// Key files that people have, best first.
const USUAL: [&str; 5] = ["id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk"];

/// What a user gets in with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Identity {
    /// Public keys, as lines of authorized_keys.
    pub(crate) keys: Vec<String>,
    /// For ssh's `-i`: private keys, or public ones whose private halves the agent has.
    pub(crate) files: Vec<PathBuf>,
}

/// The key of `file`; else those of the agent and of ~/.ssh; else a new one in `folder`.
pub(crate) async fn choose(file: Option<&Path>, folder: &Path) -> anyhow::Result<Identity> {
    if let Some(file) = file {
        return of_file(file).await;
    }
    let mut identity = Identity::default();
    from_agent(&mut identity, folder).await?;
    from_home(&mut identity).await;
    if identity.keys.is_empty() {
        return new(folder).await;
    }
    Ok(identity)
}

/// A key file that the user names: the private one, or the public one of a key that the agent has.
async fn of_file(file: &Path) -> anyhow::Result<Identity> {
    if !file.exists() {
        let hint = "--identity takes the file of a private key, like ~/.ssh/id_ed25519";
        bail!(Hinted::new(format!("there is no key at {}", file.display()), hint));
    }
    let is_public = file.extension().is_some_and(|extension| extension == "pub");
    let public = if is_public { file.to_owned() } else { with_pub(file) };
    let key = match read_public(&public) {
        Some(key) => key,
        None if is_public => bail!("{} holds no public key", file.display()),
        // Asks for the passphrase where there is one.
        None => {
            let args: [OsString; 3] = ["-y".into(), "-f".into(), file.into()];
            let text = keygen(&args, Stdio::inherit()).await?;
            first_key(&text).with_context(|| format!("{} holds no private key", file.display()))?
        }
    };
    let private = file.with_extension("");
    let file = if is_public && private.exists() { private } else { file.to_owned() };
    Ok(Identity { keys: vec![key], files: vec![file] })
}

async fn from_agent(identity: &mut Identity, folder: &Path) -> anyhow::Result<()> {
    if std::env::var_os("SSH_AUTH_SOCK").is_none_or(|socket| socket.is_empty()) {
        return Ok(());
    }
    // No agent, no ssh-add, or an agent without keys: there are other sources.
    let listed = Command::new("ssh-add").arg("-L").stdin(Stdio::null()).stderr(Stdio::null()).output().await;
    let Ok(listed) = listed.map(|listed| String::from_utf8_lossy(&listed.stdout).into_owned()) else {
        return Ok(());
    };
    for (number, line) in listed.lines().enumerate() {
        let file = folder.join(format!("agent-{number}.pub"));
        let Some(key) = first_key(line) else { continue };
        if offer(identity, &key, &file) {
            std::fs::write(&file, format!("{key}\n"))?;
        }
    }
    Ok(())
}

async fn from_home(identity: &mut Identity) {
    let Some(home) = std::env::home_dir() else { return };
    for name in USUAL {
        let private = home.join(".ssh").join(name);
        let Some(key) = read_public(&with_pub(&private)).filter(|_| private.exists()) else { continue };
        if is_usable(&private).await {
            offer(identity, &key, &private);
        }
    }
}

/// Where nobody can be asked for a passphrase, a key with one opens nothing.
async fn is_usable(private: &Path) -> bool {
    if std::io::stdin().is_terminal() {
        return true;
    }
    let args: [OsString; 5] = ["-y".into(), "-P".into(), "".into(), "-f".into(), private.into()];
    keygen(&args, Stdio::null()).await.is_ok()
}

/// A pair that lives as long as `folder`.
async fn new(folder: &Path) -> anyhow::Result<Identity> {
    let file = folder.join("id_ed25519");
    let args: Vec<OsString> = ["-q", "-t", "ed25519", "-N", "", "-C", "grove", "-f"]
        .into_iter()
        .map(OsString::from)
        .chain([OsString::from(&file)])
        .collect();
    keygen(&args, Stdio::null()).await?;
    let key = read_public(&with_pub(&file)).context("ssh-keygen made no key")?;
    Ok(Identity { keys: vec![key], files: vec![file] })
}

async fn keygen(args: &[OsString], terminal: Stdio) -> anyhow::Result<String> {
    let output = Command::new("ssh-keygen").args(args).stdin(terminal).stderr(Stdio::piped()).output().await;
    let output = output.map_err(|error| {
        Hinted::new(format!("ssh-keygen cannot be run: {error}"), "install the OpenSSH client, or see PATH")
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("ssh-keygen failed: {}", said.lines().next().unwrap_or("it did not say why").trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Adds a key, unless it is there already or there are enough.
fn offer(identity: &mut Identity, key: &str, file: &Path) -> bool {
    let known = identity.keys.iter().any(|known| body(known) == body(key));
    if known || identity.keys.len() >= MAX_KEYS {
        return false;
    }
    identity.keys.push(key.to_owned());
    identity.files.push(file.to_owned());
    true
}

/// Kind and key, without the remark.
fn body(key: &str) -> Vec<&str> {
    key.split_whitespace().take(2).collect()
}

fn read_public(file: &Path) -> Option<String> {
    let size = std::fs::metadata(file).ok()?.len();
    if size > MAX_FILE {
        return None;
    }
    first_key(&std::fs::read_to_string(file).ok()?)
}

/// The first line that is a public key.
pub(crate) fn first_key(text: &str) -> Option<String> {
    text.lines().map(str::trim).find(|line| is_key(line)).map(str::to_owned)
}

fn is_key(line: &str) -> bool {
    match body(line).as_slice() {
        [kind, key] => {
            let known = ["ssh-", "ecdsa-", "sk-"].iter().any(|start| kind.starts_with(start));
            known && key.starts_with("AAAA")
        }
        _ => false,
    }
}

fn with_pub(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAbc me@home";

    #[test]
    fn keys_are_found_among_other_lines() {
        assert_eq!(first_key(&format!("# mine\n\n {KEY}\nssh-rsa AAAAB3 other\n")), Some(KEY.to_owned()));
        assert_eq!(first_key("The agent has no identities.\nssh-ed25519 BBBB x\nssh-ed25519"), None);
    }

    #[test]
    fn a_key_is_offered_once_and_not_too_many() {
        let mut identity = Identity::default();
        let file = Path::new("k");
        assert!(offer(&mut identity, KEY, file));
        assert!(!offer(&mut identity, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAbc agent", file));
        for number in 0..9 {
            offer(&mut identity, &format!("ssh-rsa AAAA{number}"), file);
        }
        assert_eq!((identity.keys.len(), identity.files.len()), (MAX_KEYS, MAX_KEYS));
    }

    #[tokio::test]
    async fn a_private_key_without_its_public_half_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        let made = new(folder.path()).await.unwrap();
        let private = made.files[0].clone();
        std::fs::remove_file(with_pub(&private)).unwrap();
        let found = choose(Some(&private), folder.path()).await.unwrap();
        assert_eq!(body(&found.keys[0]), body(&made.keys[0]));
        assert_eq!(found.files, made.files);
    }

    #[tokio::test]
    async fn a_public_key_stands_for_the_agents() {
        let folder = tempfile::tempdir().unwrap();
        let public = folder.path().join("mine.pub");
        std::fs::write(&public, KEY).unwrap();
        let found = choose(Some(&public), folder.path()).await.unwrap();
        assert_eq!(found, Identity { keys: vec![KEY.to_owned()], files: vec![public.clone()] });
        std::fs::write(folder.path().join("mine"), "private").unwrap();
        let found = choose(Some(&public), folder.path()).await.unwrap();
        assert_eq!(found.files, [folder.path().join("mine")]);
    }

    #[tokio::test]
    async fn files_that_hold_no_key_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.pub", "nothing"), ("b", "nothing")] {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            choose(Some(&file), folder.path()).await.unwrap_err();
        }
        choose(Some(&folder.path().join("absent")), folder.path()).await.unwrap_err();
    }
}
