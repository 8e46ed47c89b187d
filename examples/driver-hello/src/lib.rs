//! A Linux board over ssh that greets its user.
//!
//! Must never happen here: a value put into the text of a script (words are its `$1`, `$2`, …, data is its stdin), or
//! anything kept from one call to the next.

mod config;

use std::time::Duration;

pub use config::Config;
use grove_plugin::driver::ssh::Command;
use grove_plugin::driver::{Access, Board, Driver, Failure, Health, Session, export_driver, task};

/// Gives the account exactly the users' keys that come on stdin, beside those that are not ours. The new file is
/// complete before it takes the old one's place.
const LET_IN: &str = r#"
set -eu
umask 077
mkdir -p "$HOME/.ssh"
cd "$HOME/.ssh"
touch authorized_keys
grep -v ' hello-session$' authorized_keys > authorized_keys.new || [ $? = 1 ]
cat >> authorized_keys.new
mv authorized_keys.new authorized_keys
"#;

/// The driver.
#[derive(Debug)]
pub struct Hello;

impl Driver for Hello {
    type Config = Config;

    fn validate(config: &Config) -> Result<(), String> {
        config.validate()
    }

    fn check(_board: &Board<Config>) -> Result<Health, Failure> {
        let load = Command::new("cat").arg("/proc/loadavg").timeout(Duration::from_secs(10)).run()?;
        let load = String::from_utf8_lossy(&load);
        let last_minute = load.split_whitespace().next().unwrap_or_default();
        Ok(Health::well("it answers").reading("load", last_minute))
    }

    fn prepare(board: &Board<Config>) -> Result<Access, Failure> {
        task::step("lock")?;
        let_in(&[])?;
        task::step("greet")?;
        let greeting = format!("{}\n", board.config.greeting);
        Command::script("cat > hello.txt")
            .stdin(greeting)
            .run()
            .map_err(|failure| failure.while_doing("writing the greeting"))?;
        task::step("settle")?;
        settle(board.config.settle_s)?;
        Ok(access(board))
    }

    fn authorize(board: &Board<Config>, session: &Session) -> Result<Access, Failure> {
        let_in(&session.authorized_keys)?;
        Ok(access(board))
    }

    fn revoke(_board: &Board<Config>) -> Result<(), Failure> {
        let_in(&[])
    }

    fn put_in_maintenance(_board: &Board<Config>, message: &str) -> Result<(), Failure> {
        Command::script("cat > hello.txt").stdin(format!("in maintenance: {message}\n")).run().map(drop)
    }
}

/// Waits, second by second. A task that is cancelled meanwhile ends here, by the `?`.
fn settle(seconds: u16) -> Result<(), Failure> {
    for second in 0..seconds {
        let percent = u32::from(second) * 100 / u32::from(seconds);
        task::progress(u8::try_from(percent).unwrap_or(100), "the board settles")?;
        task::sleep(Duration::from_secs(1))?;
    }
    task::progress(100, "ready")
}

fn let_in(keys: &[String]) -> Result<(), Failure> {
    Command::script(LET_IN).stdin(marked(keys)).run().map(drop)
}

/// The keys as lines that [`LET_IN`] knows again.
fn marked(keys: &[String]) -> String {
    keys.iter().map(|key| format!("{} hello-session\n", key.trim())).collect()
}

fn access(board: &Board<Config>) -> Access {
    let Config { host, port, user, host_key, .. } = &board.config;
    Access::new(host, *port, user, host_key.iter().cloned().collect())
}

export_driver!(Hello);

#[cfg(test)]
mod tests {
    use grove_plugin::Settings;

    use super::*;

    fn config(json: &str) -> Result<Config, String> {
        Settings::new(json).parse()
    }

    #[test]
    fn only_the_host_must_be_said() {
        let config = config(r#"{"host": "board7"}"#).unwrap();
        assert_eq!((config.port, config.user.as_str(), config.greeting.as_str()), (22, "root", "hello"));
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        assert!(config(r#"{"host": "board7", "prot": 22}"#).unwrap_err().contains("prot"));
        let long = config(r#"{"host": "board7", "settle_s": 301}"#).unwrap();
        assert!(long.validate().unwrap_err().contains("settle_s"));
    }

    #[test]
    fn every_key_is_a_line_of_ours() {
        let keys = ["ssh-ed25519 AAAA me@home\n".to_owned(), "ssh-rsa BBBB".to_owned()];
        assert_eq!(marked(&keys), "ssh-ed25519 AAAA me@home hello-session\nssh-rsa BBBB hello-session\n");
        assert_eq!(marked(&[]), "");
    }
}
