//! Which keys the board shall let in, and how ssh finds their private halves.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use grove_access::keys::parse_public_line;
use tokio::process::Command;

use crate::cli::failure::Hinted;
use crate::cli::output::Output;

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

/// The key of `file`; else those of the agent and of ~/.ssh that boards take; else grove's own.
pub(crate) async fn choose(file: Option<&Path>, folder: &Path, out: &Output) -> anyhow::Result<Identity> {
    if let Some(file) = file {
        return of_file(file).await;
    }
    let identity = found(folder, out).await?;
    if identity.keys.is_empty() { own(folder).await } else { Ok(identity) }
}

/// For a board that is held already: `key` is the one that the farm has made.
pub(crate) async fn to_join(
    file: Option<&Path>,
    key: Option<&str>,
    folder: &Path,
    out: &Output,
) -> anyhow::Result<Identity> {
    let mut identity = choose(file, folder, out).await?;
    if let (Some(key), None) = (key, file) {
        let path = folder.join("job_key");
        write_private(&path, key)?;
        identity.files.insert(0, path);
    }
    Ok(identity)
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| writeln!(file, "{}", text.trim_end()))
        .with_context(|| format!("cannot write {}", path.display()))
}

async fn found(folder: &Path, out: &Output) -> anyhow::Result<Identity> {
    let mut identity = Identity::default();
    from_agent(&mut identity, folder, out).await?;
    from_home(&mut identity, out).await;
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
    let private = if is_public { file.with_extension("") } else { file.to_owned() };
    let written = read_public(&public);
    let in_agent = match &written {
        Some(key) => agent_keys().await.iter().any(|other| body(other) == body(key)),
        None if is_public => bail!("{} holds no public key", file.display()),
        None => false,
    };
    if in_agent {
        return Ok(Identity { keys: written.into_iter().collect(), files: vec![public] });
    }
    if !private.exists() {
        let hint = "add it to your agent with ssh-add, or name the file of the private key";
        bail!(Hinted::new(format!("neither {} nor an ssh agent is there", private.display()), hint));
    }
    let key = match opened_unasked(&private).await {
        Ok(key) => written.or(key),
        Err(error) if !may_ask() => return Err(error),
        Err(_) if written.is_some() => written,
        // Asks for the passphrase.
        Err(_) => {
            let args: [OsString; 3] = ["-y".into(), "-f".into(), private.clone().into()];
            first_key(&keygen(&args, Stdio::inherit()).await?)
        }
    };
    let key = key.with_context(|| format!("{} holds no private key", file.display()))?;
    Ok(Identity { keys: vec![key], files: vec![private] })
}

/// The public half of a private key that has no passphrase; nobody is asked for one.
async fn opened_unasked(private: &Path) -> anyhow::Result<Option<String>> {
    let args: [OsString; 5] = ["-y".into(), "-P".into(), "".into(), "-f".into(), private.into()];
    match keygen(&args, Stdio::null()).await {
        Ok(text) => Ok(first_key(&text)),
        Err(error) if error.to_string().contains("passphrase") => {
            let hint = "unlock it for your agent with ssh-add, or name another with -i";
            let what = format!(
                "the key {} has a passphrase, and there is no terminal to ask for it",
                private.display()
            );
            Err(Hinted::new(what, hint).into())
        }
        Err(error) => Err(error.context(format!("{} cannot be used", private.display()))),
    }
}

/// Whether ssh can ask for a passphrase: it does so on the terminal, whatever its stdin is.
fn may_ask() -> bool {
    std::fs::File::open("/dev/tty").is_ok() || std::env::var_os("SSH_ASKPASS").is_some()
}

/// The keys of the agent, where there is one.
async fn agent_keys() -> Vec<String> {
    if std::env::var_os("SSH_AUTH_SOCK").is_none_or(|socket| socket.is_empty()) {
        return Vec::new();
    }
    // No agent, no ssh-add, or an agent without keys: there are other sources.
    let listed = Command::new("ssh-add").arg("-L").stdin(Stdio::null()).stderr(Stdio::null()).output().await;
    let listed = listed.map(|listed| String::from_utf8_lossy(&listed.stdout).into_owned());
    listed.unwrap_or_default().lines().filter_map(first_key).collect()
}

async fn from_agent(identity: &mut Identity, folder: &Path, out: &Output) -> anyhow::Result<()> {
    for (number, key) in agent_keys().await.iter().enumerate() {
        let file = folder.join(format!("agent-{number}.pub"));
        if offer(identity, key, &file, out) {
            std::fs::write(&file, format!("{key}\n"))?;
        }
    }
    Ok(())
}

async fn from_home(identity: &mut Identity, out: &Output) {
    let Some(home) = std::env::home_dir() else { return };
    for name in USUAL {
        let private = home.join(".ssh").join(name);
        let Some(key) = read_public(&with_pub(&private)).filter(|_| private.exists()) else { continue };
        if is_usable(&private).await {
            offer(identity, &key, &private, out);
        }
    }
}

/// Where nobody can be asked for a passphrase, a key with one opens nothing.
async fn is_usable(private: &Path) -> bool {
    if std::io::stdin().is_terminal() {
        return true;
    }
    opened_unasked(private).await.is_ok()
}

/// The key of those who have none: made once and kept, so that another session of theirs can join the first one's board.
async fn own(folder: &Path) -> anyhow::Result<Identity> {
    match kept().await {
        Some(identity) => Ok(identity),
        // Nowhere to keep it: this one lives as long as `folder`.
        None => new(folder).await,
    }
}

async fn kept() -> Option<Identity> {
    let config = std::env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let folder = config.or_else(|| Some(std::env::home_dir()?.join(".config")))?.join("grove");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    let private = folder.join("id_ed25519");
    if !private.exists() {
        let fresh = tempfile::tempdir_in(&folder).ok()?;
        new(fresh.path()).await.ok()?;
        // Another process may be quicker: then its key is the one.
        let _ = std::fs::hard_link(fresh.path().join("id_ed25519"), &private);
    }
    let key = opened_unasked(&private).await.ok()??;
    Some(Identity { keys: vec![key], files: vec![private] })
}

/// A new pair in `folder`.
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

/// Adds a key, unless it is there already, there are enough, or boards take no such key.
fn offer(identity: &mut Identity, key: &str, file: &Path, out: &Output) -> bool {
    let known = identity.keys.iter().any(|known| body(known) == body(key));
    if known || identity.keys.len() >= MAX_KEYS {
        return false;
    }
    if let Err(error) = parse_public_line(key) {
        let name = key.split_whitespace().nth(2).unwrap_or("without a name");
        out.remark(&format!("your key {name} is left out: {error}"));
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
    use crate::cli::output::{Format, When};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAbc me@home";

    #[test]
    fn keys_are_found_among_other_lines() {
        assert_eq!(first_key(&format!("# mine\n\n {KEY}\nssh-rsa AAAAB3 other\n")), Some(KEY.to_owned()));
        assert_eq!(first_key("The agent has no identities.\nssh-ed25519 BBBB x\nssh-ed25519"), None);
    }

    fn quiet() -> Output {
        Output::new(Format::Human, true, When::Never)
    }

    #[tokio::test]
    async fn a_key_is_offered_once_and_not_too_many() {
        let mut identity = Identity::default();
        let file = Path::new("k");
        for number in 0..MAX_KEYS + 2 {
            let folder = tempfile::tempdir().unwrap();
            let made = new(folder.path()).await.unwrap().keys.remove(0);
            assert_eq!(offer(&mut identity, &made, file, &quiet()), number < MAX_KEYS);
            assert!(!offer(&mut identity, &format!("{made} again"), file, &quiet()));
        }
        assert_eq!((identity.keys.len(), identity.files.len()), (MAX_KEYS, MAX_KEYS));
    }

    #[test]
    fn what_no_board_takes_is_left_out() {
        let mut identity = Identity::default();
        for kind in ["ssh-dss", "ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519"] {
            assert!(
                !offer(&mut identity, &format!("{kind} AAAAC3Nz me"), Path::new("k"), &quiet()),
                "{kind}"
            );
        }
        assert_eq!(identity, Identity::default());
    }

    #[tokio::test]
    async fn a_private_key_without_its_public_half_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        let made = new(folder.path()).await.unwrap();
        let private = made.files[0].clone();
        let found = choose(Some(&with_pub(&private)), folder.path(), &quiet()).await.unwrap();
        assert_eq!(found.files, made.files, "the private half lies beside the public one");
        std::fs::remove_file(with_pub(&private)).unwrap();
        let found = choose(Some(&private), folder.path(), &quiet()).await.unwrap();
        assert_eq!(body(&found.keys[0]), body(&made.keys[0]));
        assert_eq!(found.files, made.files);
    }

    #[tokio::test]
    async fn files_that_open_nothing_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.pub", "nothing"), ("b", "nothing"), ("c.pub", KEY)] {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            choose(Some(&file), folder.path(), &quiet()).await.unwrap_err();
        }
        choose(Some(&folder.path().join("absent")), folder.path(), &quiet()).await.unwrap_err();
    }

    #[tokio::test]
    async fn the_farms_key_comes_first_where_a_board_is_joined() {
        let folder = tempfile::tempdir().unwrap();
        let mine = new(folder.path()).await.unwrap().files.remove(0);
        let joined = to_join(Some(&mine), Some("KEY"), folder.path(), &quiet()).await.unwrap();
        assert_eq!(joined.files, [mine], "the user's word is the last");
        write_private(&folder.path().join("job"), "KEY\n\n").unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("job")).unwrap(), "KEY\n");
    }
}
