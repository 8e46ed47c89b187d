use grove_access::keys::{KeyError, parse_public_line};

use crate::sshd::make_key;

const ED25519: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIBpUQ+7EUJ7gANpPTLh/Z8OLnGVJN6pIQSzaOVXXxuCA";

fn error(line: &str) -> String {
    parse_public_line(line).unwrap_err().to_string()
}

/// A fresh public line of this type and size.
fn made(kind: &str, bits: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let mut command = std::process::Command::new("ssh-keygen");
    command.args(["-q", "-t", kind, "-b", bits, "-N", "", "-C", "a user", "-f"]).arg(&path);
    let status = command.status().expect("ssh-keygen is missing: install openssh-client");
    assert!(status.success());
    std::fs::read_to_string(path.with_extension("pub")).unwrap()
}

#[test]
fn what_ssh_keygen_makes_is_taken() {
    for (kind, bits) in
        [("ed25519", "256"), ("rsa", "2048"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521")]
    {
        let line = made(kind, bits);
        let key = parse_public_line(&line).unwrap();
        assert_eq!(key.to_string(), line.trim());
        assert_eq!(key.comment(), "a user");
        assert!(key.fingerprint().starts_with("SHA256:"));
    }
    let sk = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIPhKzuPCxkdJDxYMS4JuzM6T/ZNRBjnZfYRYRq8VhnJuAAAABHNzaDo=";
    assert_eq!(parse_public_line(sk).unwrap().kind(), "sk-ssh-ed25519@openssh.com");
}

#[test]
fn what_is_no_key_is_refused_with_a_hint() {
    assert_eq!(parse_public_line(" \n"), Err(KeyError::Empty));
    assert_eq!(parse_public_line(&"a".repeat(20_000)), Err(KeyError::TooLong));
    assert_eq!(parse_public_line(&made("rsa", "1024")), Err(KeyError::RsaSize(1024)));
    let good = format!("ssh-ed25519 {ED25519}");
    assert_eq!(parse_public_line(&format!("{good}\nssh-ed25519 {ED25519}")), Err(KeyError::ManyLines));
    assert_eq!(parse_public_line(&format!("{good} a\u{1b}[2J")), Err(KeyError::ControlCharacters));
    assert_eq!(parse_public_line(&format!("{good} a\0")), Err(KeyError::ControlCharacters));
    assert!(error(&format!("command=\"rm\" {good}")).contains("leave options out"));
    assert!(error(&format!("no-pty {good}")).contains("leave options out"));
    assert!(error(&format!("ssh-dss {ED25519}")).contains("keys of type ssh-dss are not taken"));
    assert!(error("ssh-ed25519 AAAA").contains("not a public key"));
    assert!(error(&format!("ssh-rsa {ED25519}")).contains("not a public key"));
    assert!(error("ssh-ed25519").contains("not a public key"));

    let folder = tempfile::tempdir().unwrap();
    make_key(folder.path(), "mine");
    let private = std::fs::read_to_string(folder.path().join("mine")).unwrap();
    assert!(error(&private).contains("this is a private key"));
}

#[test]
fn a_comment_is_made_harmless() {
    let key = parse_public_line(&format!("  ssh-ed25519   {ED25519}   Zoë \u{202e}evil  ")).unwrap_err();
    assert!(matches!(key, KeyError::Malformed(_)), "several spaces: {key:?}");
    let key =
        parse_public_line(&format!("ssh-ed25519 {ED25519} Zoë \u{202e}live {}", "x".repeat(500))).unwrap();
    assert!(key.comment().starts_with("Zoë live xxx"), "{}", key.comment());
    assert!(key.comment().chars().count() <= 128);
}
