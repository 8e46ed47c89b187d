//! What is refused before anything of a component runs.

use grove_runtime::{Grants, Kind, LoadError, Manifest, Refusal, Runtime, Settings};
use grove_tests_conformance::{component, manifest, shared, try_load};

/// The refusal of a guest that wants these lines and is granted nothing.
async fn refused(name: &str, wants: &str) -> LoadError {
    let manifest = manifest(name, wants).unwrap();
    try_load(manifest, &Grants::default()).await.unwrap().expect_err("this must be refused")
}

#[tokio::test]
async fn driver_granted_is_refused_without_its_grants() {
    // Wanting is not enough: the admin must grant, and granting is not enough either.
    let error = refused("driver-granted", "ssh = true\nsecrets = [\"token\"]").await.to_string();
    let named = error.contains("grove:plugin/ssh") || error.contains("grove:plugin/secrets");
    let line = error.contains("`ssh = true` below") || error.contains("`secrets = [\"token\"]` below");
    assert!(named && line && error.contains("[plugins.grants.driver-granted]"), "{error}");

    let grants = Grants { ssh: true, ..Grants::default() };
    let only_ssh = manifest("driver-granted", "ssh = true\nsecrets = [\"token\"]").unwrap();
    let error = try_load(only_ssh, &grants).await.unwrap().unwrap_err();
    assert!(
        matches!(&error, LoadError::Import { import, refusal: Refusal::NotGranted(line), .. }
            if import == "grove:plugin/secrets@0.1.0" && line.contains("secrets")),
        "{error}"
    );
    let unwanted = manifest("driver-granted", "").unwrap();
    let all = Grants { ssh: true, secrets: vec!["token".into()], ..Grants::default() };
    let error = try_load(unwanted, &all).await.unwrap().expect_err("granted, but not wanted");
    assert!(matches!(&error, LoadError::Import { refusal: Refusal::NotWanted(_), .. }), "{error}");
    assert!(error.to_string().contains("its manifest does not ask for it"), "{error}");
}

#[tokio::test]
async fn driver_storage_is_refused_without_its_grant() {
    let error = refused("driver-storage", "storage = [\"rpi4\"]").await;
    assert!(
        matches!(&error, LoadError::Import { import, refusal: Refusal::NotGranted(line), .. }
            if import == "grove:plugin/storage@0.1.0" && line.contains("storage")),
        "{error}"
    );
    let other = manifest("driver-storage", "storage = [\"rpi4\"]").unwrap();
    let grants = Grants { storage: vec!["odroid".into()], ..Grants::default() };
    try_load(other, &grants).await.unwrap().expect_err("another group was granted");
}

#[tokio::test]
async fn driver_tcp_is_refused_without_its_grant() {
    let error = refused("driver-tcp", "tcp = [\"127.0.0.1:*\"]").await;
    assert!(
        matches!(&error, LoadError::Import { import, .. } if import.starts_with("wasi:sockets/")),
        "{error}"
    );
    assert!(error.to_string().contains("tcp = "), "{error}");
}

#[tokio::test]
async fn driver_serial_is_refused_openly() {
    let manifest = manifest("driver-serial", "serial = [\"console\"]").unwrap();
    let grants = Grants::all_wanted(&manifest);
    let error = try_load(manifest, &grants).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("grove:plugin/serial") && error.contains("does not offer it yet"), "{error}");
}

#[tokio::test]
async fn policy_clock_is_refused_with_its_wasi() {
    let error = refused("policy-clock", "").await;
    assert!(
        matches!(&error, LoadError::Import { import, refusal: Refusal::NotForKind(Kind::Policy), .. }
            if import.starts_with("wasi:")),
        "{error}"
    );
    assert!(error.to_string().contains("wasm32-unknown-unknown"), "{error}");
}

#[tokio::test]
async fn inspector_clock_is_refused_with_its_wasi() {
    let error = refused("inspector-clock", "").await;
    assert!(
        matches!(&error, LoadError::Import { import, refusal: Refusal::NotForKind(Kind::Inspector), .. }
            if import.starts_with("wasi:")),
        "{error}"
    );
}

#[tokio::test]
async fn a_component_of_another_kind_is_refused() {
    let mut as_driver = manifest("policy-first", "").unwrap();
    as_driver.kind = Kind::Driver;
    let error = try_load(as_driver, &Grants::default()).await.unwrap().unwrap_err();
    assert!(matches!(error, LoadError::Contract { kind: Kind::Driver, .. }), "{error}");
    assert!(error.to_string().contains("lifecycle"), "it names what is missing: {error}");

    let mut as_inspector = manifest("policy-first", "").unwrap();
    as_inspector.kind = Kind::Inspector;
    try_load(as_inspector, &Grants::default()).await.unwrap().expect_err("it exports no inspector");

    let plugin = try_load(manifest("policy-first", "").unwrap(), &Grants::default()).await.unwrap().unwrap();
    let error = plugin.into_driver().unwrap_err();
    assert_eq!(
        error.to_string(),
        "plugin `policy-first` is of kind policy, and a plugin of kind driver is needed here"
    );
}

#[tokio::test]
async fn bytes_that_are_no_component_are_refused() {
    let load = |bytes: Vec<u8>| {
        let manifest: Manifest = manifest("driver-echo", "").unwrap();
        async move { shared().load(manifest, bytes, &Grants::default()).await.unwrap_err() }
    };
    let mut torn = component("driver-echo").unwrap();
    torn.truncate(torn.len() / 2);
    for bytes in [Vec::new(), b"(component)".to_vec(), b"\0asm\x01\0\0\0".to_vec(), torn] {
        let error = load(bytes).await;
        assert!(matches!(error, LoadError::Compile { .. }), "{error}");
        assert!(error.to_string().contains("driver-echo.wasm"), "{error}");
    }
    let small = Runtime::new(Settings { slots: 1, max_component: 1000, ..Settings::default() }).unwrap();
    let manifest = manifest("driver-echo", "").unwrap();
    let error =
        small.load(manifest, component("driver-echo").unwrap(), &Grants::default()).await.unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { limit: 1000, .. }), "{error}");
}
