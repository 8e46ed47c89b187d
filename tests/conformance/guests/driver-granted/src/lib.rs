//! A driver that uses what must be granted: ssh and secrets.

use kit::driver::{Access, Address, Driver, Failure, Health, Target, access, reading, secrets, ssh};

struct Granted;

impl Driver for Granted {
    fn check(_t: Target) -> Result<Health, Failure> {
        let secret = |name: &str| secrets::get(name).unwrap_or_else(|| "none".to_owned());
        let readings = vec![reading("token", secret("token")), reading("other", secret("other"))];
        Ok(Health { ok: true, note: String::new(), readings })
    }

    fn prepare(_t: Target) -> Result<Access, Failure> {
        let failed = |error: ssh::SshError| Failure::Environment(format!("{error:?}"));
        ssh::write_file("/etc/motd", 0o644, b"hello").map_err(failed)?;
        let argv = ["echo".to_owned(), "two words".to_owned()];
        let output = ssh::run(&argv, b"input", 1000).map_err(failed)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Access { ssh: Address { host: said, port: 22 }, ..access() })
    }
}

kit::driver!(Granted);
