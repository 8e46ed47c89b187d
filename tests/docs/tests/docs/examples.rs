//! The examples that no page walks through: the clients, against a real controller.

use std::process::Command;

use grove_tests_kit::{Grove, Setup};

/// Runs a client; what it printed.
fn client(program: &str, script: &str) -> String {
    let grove = Grove::start(Setup::default());
    let output = Command::new(program)
        .arg(crate::root().join(script))
        .env("GROVE_SERVER", grove.base())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; on Debian: apt-get install curl python3"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{script}: {}\n{out}\n{err}", output.status);
    assert_eq!(err, "", "{script} has nothing to complain about");
    out
}

fn says_all(out: &str) {
    for words in ["is idle", "request 1 waits", "request 1 runs", "ssh -p ", "request 1 is done"] {
        assert!(out.contains(words), "{words:?} is missing in\n{out}");
    }
}

#[test]
fn the_shell_client_goes_from_worker_to_job() {
    says_all(&client("sh", "examples/client.sh"));
}

#[test]
fn the_python_client_goes_from_worker_to_job() {
    says_all(&client("python3", "examples/client.py"));
}

/// What the examples are built with is what the plugins are built with: checked there once, for licences and sources.
#[test]
fn examples_add_no_crates() {
    let packages = |file: &str| -> Vec<(String, String)> {
        let path = crate::root().join(file);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let lock: toml::Table = toml::from_str(&text).unwrap();
        let text = |package: &toml::Value, field: &str| package[field].as_str().unwrap().to_owned();
        let all = lock["package"].as_array().unwrap().iter();
        all.filter(|package| package.get("source").is_some())
            .map(|package| (text(package, "name"), text(package, "version")))
            .collect()
    };
    let known = packages("plugins/Cargo.lock");
    for example in [
        "examples/policy-prefer-site/Cargo.lock",
        "examples/driver-hello/Cargo.lock",
        "examples/driver-plug/Cargo.lock",
        "examples/inspector-revision/Cargo.lock",
    ] {
        let packages = packages(example);
        assert!(!packages.is_empty());
        for package in packages {
            assert!(known.contains(&package), "{example}: {package:?} is not in plugins/Cargo.lock");
        }
    }
}
