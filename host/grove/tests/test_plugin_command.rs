use insta::assert_snapshot;
use serde_json::json;

use crate::kit::{Farm, grove, help, items};

#[test]
fn help_says() {
    assert_snapshot!(help(&["plugin"]), @"
    Policies, drivers and inspectors

    Usage: grove plugin [OPTIONS] <COMMAND>

    Commands:
      list  Show the plugins that the farm knows

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["plugin", "list"]), @"
    Show the plugins that the farm knows

    Usage: grove plugin list [OPTIONS]

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
}

#[test]
fn list() {
    let farm = Farm::new();
    let plugin = |name: &str, kind: &str, active: bool, trouble: Option<&str>| {
        json!({
            "name": name, "kind": kind, "version": "0.1.0", "world": "0.1.0", "summary": format!("a {kind}"),
            "digest": null, "active": active, "grants": [], "trouble": trouble, "config_schema": null,
        })
    };
    let plugins =
        [plugin("least-capable", "policy", true, None), plugin("x", "driver", false, Some("no grant"))];
    farm.on("GET /api/v2/plugins", 200, items(plugins.to_vec()));
    assert_snapshot!(grove(&farm, &["plugin", "list"]), @"
    NAME           KIND    VERSION  WORLD  ACTIVE  SUMMARY
    least-capable  policy  0.1.0    0.1.0  yes     a policy
    x              driver  0.1.0    0.1.0  no      no grant
    ");
}
