//! Inspectors in a farm that runs: several at once, tried out before anything depends on them, swapped and taken out.

use grove_tests_kit::client::wire::plugin::{PluginKind, PluginState};
use grove_tests_kit::farm::Farm;
use grove_tests_kit::{Grove, Setup, built};

/// Inspectors that do harm before anything depends on them, and a word of what is told about it.
const BREAKING: [(&str, &str); 4] = [
    ("inspector-panic", "derive: trapped"),
    ("inspector-loop", "derive: computed for more than"),
    ("inspector-memory-bomb", "normalize: wanted more than its 64 MiB"),
    ("inspector-clock", "wasi:"),
];

/// A guest as a plugin: its manifest, and its component.
fn guest(name: &str) -> (String, Vec<u8>) {
    let manifest = format!(
        "[plugin]\nname = \"{name}\"\nkind = \"inspector\"\nversion = \"0.1.0\"\nworld = \"0.1.0\"\n\
         component = \"{name}.wasm\"\n"
    );
    let file = built::guests().join(format!("{name}.wasm"));
    let component = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    (manifest, component)
}

/// Names of the inspectors in use.
async fn in_use(farm: &Farm) -> Vec<String> {
    let all = farm.plugins().take(100).await.unwrap();
    let inspectors = all.into_iter().filter(|plugin| plugin.kind == PluginKind::Inspector && plugin.active);
    inspectors.map(|plugin| plugin.name).collect()
}

#[tokio::test]
async fn inspectors_are_in_use_side_by_side_and_each_can_be_taken_out() {
    let grove = Grove::start(Setup::default());
    let farm = grove.farm();
    assert_eq!(in_use(&farm).await, ["linux-inventory", "usb-devices"], "they come with the controller");
    // One that finds its own harm only in an inventory is in use until then.
    for name in ["inspector-counts", "inspector-huge-answer", "inspector-nonsense"] {
        let (manifest, component) = guest(name);
        farm.install_plugin(manifest, component, true, None).await.unwrap();
    }
    let all =
        ["inspector-counts", "inspector-huge-answer", "inspector-nonsense", "linux-inventory", "usb-devices"];
    assert_eq!(in_use(&farm).await, all);

    let disabled = farm.disable_plugin("usb-devices", None).await.unwrap();
    assert_eq!(disabled.state, PluginState::Disabled);
    assert_eq!(in_use(&farm).await, all[..4]);
    farm.enable_plugin("usb-devices", None).await.unwrap();
    assert_eq!(in_use(&farm).await, all);

    let (manifest, component) = built::plugin("inspector-usb-devices");
    let first = farm.plugin("usb-devices").await.unwrap().digest.unwrap();
    let (plugin, created) =
        farm.install_plugin(manifest, built::variant(&component, 1), false, None).await.unwrap();
    assert!(created && plugin.digest.as_ref() == Some(&first), "{plugin:#?}");
    let second = plugin.versions.first().unwrap().digest.clone();
    for digest in [&second, &first] {
        let swapped = farm.swap_plugin("usb-devices", digest.parse().unwrap(), None).await.unwrap();
        assert_eq!((swapped.digest.as_ref(), swapped.active), (Some(digest), true), "{swapped:#?}");
    }
    assert_eq!(in_use(&farm).await, all);
}

#[tokio::test]
async fn one_that_breaks_when_it_is_tried_out_is_refused_and_what_was_there_stays() {
    let grove = Grove::start(Setup::default());
    let farm = grove.farm();
    for (name, word) in BREAKING {
        let (manifest, component) = guest(name);
        let refused = farm.install_plugin(manifest, component, true, None).await.unwrap_err().to_string();
        assert!(refused.contains(word), "{name}: {refused}");
        let event = farm.until_event("plugin.refused", &format!("plugin/{name}")).await;
        let note = event.note.unwrap_or_default();
        assert!(note.contains(word), "{name}: {note}");
    }
    assert_eq!(in_use(&farm).await, ["linux-inventory", "usb-devices"]);

    // Also in the place of one that works.
    let (manifest, _) = built::plugin("inspector-usb-devices");
    let before = farm.plugin("usb-devices").await.unwrap();
    let (_, component) = guest("inspector-panic");
    let refused = farm.install_plugin(manifest, component, true, None).await.unwrap_err().to_string();
    assert!(refused.contains("derive: trapped"), "{refused}");
    assert_eq!(farm.plugin("usb-devices").await.unwrap(), before);
}
