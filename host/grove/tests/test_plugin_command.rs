use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::kit::{DIGEST, Farm, Home, NEWER, calls, grove, help, items, plugin, problem, told};

#[test]
fn help_says() {
    assert_snapshot!(help(&["plugin"]), @"
    Policies, drivers and inspectors

    Usage: grove plugin [OPTIONS] <COMMAND>

    Commands:
      list     Show the plugins that the farm knows
      show     Show one plugin and its versions
      install  Take a plugin in, or another version of one, and use it
      enable   Use it; a policy becomes the farm's
      disable  Use nothing of it for new work
      swap     Use another version of it
      remove   Take a version of it, or all, out of the farm

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
    assert_snapshot!(help(&["plugin", "show"]), @"
    Show one plugin and its versions

    Usage: grove plugin show [OPTIONS] <NAME>

    Arguments:
      <NAME>  Name of the plugin

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
    assert_snapshot!(help(&["plugin", "install"]), @"
    Take a plugin in, or another version of one, and use it

    Usage: grove plugin install [OPTIONS] <PATH>

    Arguments:
      <PATH>  Folder with a plugin.toml and the component that it names, or that plugin.toml

    Options:
          --no-activate  Only take it in: what is used now stays in use
      -h, --help         Print help
      -V, --version      Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["plugin", "enable"]), @"
    Use it; a policy becomes the farm's

    Usage: grove plugin enable [OPTIONS] <NAME>

    Arguments:
      <NAME>  Name of the plugin

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
    assert_snapshot!(help(&["plugin", "disable"]), @"
    Use nothing of it for new work

    Usage: grove plugin disable [OPTIONS] <NAME>

    Arguments:
      <NAME>  Name of the plugin

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
    assert_snapshot!(help(&["plugin", "swap"]), @"
    Use another version of it

    Usage: grove plugin swap [OPTIONS] <NAME> <VERSION>

    Arguments:
      <NAME>     Name of the plugin
      <VERSION>  Which version: its digest, 6 characters or more of that, or its number

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
    assert_snapshot!(help(&["plugin", "remove"]), @"
    Take a version of it, or all, out of the farm

    Usage: grove plugin remove [OPTIONS] <NAME> [VERSION]

    Arguments:
      <NAME>     Name of the plugin
      [VERSION]  Which version: its digest, 6 characters or more of that, or its number [default: all]

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
    let mut broken = plugin();
    broken["name"] = "x".into();
    broken["state"] = "failed".into();
    broken["trouble"] = "no grant".into();
    broken["digest"] = Value::Null;
    broken["versions"] = json!([]);
    farm.on("GET /api/v2/plugins", 200, items([plugin(), broken]));
    assert_snapshot!(grove(&farm, &["plugin", "list"]), @"
    NAME   KIND    STATE   VERSION  DIGEST        VERSIONS  SUMMARY
    hello  driver  active  0.2.0    fedcba987654  2         a driver
    x      driver  failed  0.2.0    -             1         no grant
    ");
}

#[test]
fn show() {
    let farm = Farm::new();
    farm.on("GET /api/v2/plugins/hello", 200, plugin());
    assert_snapshot!(grove(&farm, &["plugin", "show", "hello"]), @"
    plugin     hello
    kind       driver
    state      active
    since      3m ago
    version    0.2.0 (fedcba987654)
    probation  ends in 1m: 1 of 12 failed so far
    before     0.1.0 (0123456789ab)
    summary    a driver
    world      0.1.0
    grants     ssh
               memory 64 MiB

    VERSION  DIGEST        USE     PINNED  ORIGIN     INSTALLED  TROUBLE
    0.2.0    fedcba987654  active  -       installed  3m ago     -
    0.1.0    0123456789ab  -       2       built in   3m ago     -
    ");
    let shown: Value =
        serde_json::from_str(&grove(&farm, &["plugin", "show", "hello", "-o", "json"])).unwrap();
    assert_eq!(shown["versions"][1]["digest"], DIGEST);
}

/// A home with a plugin in it.
fn home() -> Home {
    let home = Home::new();
    std::fs::create_dir(home.path("hello")).unwrap();
    let manifest = "[plugin]\nname = \"hello\"\ncomponent = \"hello.wasm\"\n";
    std::fs::write(home.path("hello/plugin.toml"), manifest).unwrap();
    std::fs::write(home.path("hello/hello.wasm"), "a component").unwrap();
    home
}

/// What `grove plugin install hello/FILE` tells.
fn install(farm: &Farm, home: &Home, file: &str, more: &[&str]) -> String {
    let path = home.path(file).display().to_string();
    let args: Vec<&str> = ["plugin", "install", &path].into_iter().chain(more.iter().copied()).collect();
    home.plain(&told(farm, &home.command(farm, &args).output().unwrap()))
}

#[test]
fn install_sends_manifest_and_component() {
    let (farm, home) = (Farm::new(), home());
    farm.on("POST /api/v2/plugins", 201, plugin());
    assert_snapshot!(install(&farm, &home, "hello", &[]), @"driver hello 0.2.0 (fedcba987654) is in use; its probation ends in 1m");
    let call = &farm.calls()[0];
    for part in ["component = \"hello.wasm\"", "a component", "\r\n\r\ntrue\r\n"] {
        assert!(call.body.contains(part), "{part} is not in {}", call.body);
    }
    let mut kept = plugin();
    kept["versions"][0]["active"] = false.into();
    kept["versions"][1]["active"] = true.into();
    for (name, value) in [("version", "0.1.0"), ("digest", DIGEST)] {
        kept[name] = value.into();
    }
    kept["probation"] = Value::Null;
    let farm = Farm::new();
    farm.on("POST /api/v2/plugins", 201, kept).on("POST /api/v2/plugins", 200, plugin());
    assert_snapshot!(install(&farm, &home, "hello/plugin.toml", &["--no-activate"]), @"
    driver hello 0.1.0 (0123456789ab) is in use
    --- stderr
    `grove plugin swap hello fedcba987654` uses the new version
    ");
    assert!(farm.calls()[0].body.contains("\r\n\r\nfalse\r\n"));
    assert_snapshot!(install(&farm, &home, "hello", &[]), @"
    driver hello 0.2.0 (fedcba987654) is in use; its probation ends in 1m
    --- stderr
    this version was there
    ");
    let shown: Value = serde_json::from_str(&install(&farm, &home, "hello", &["-o", "json"])).unwrap();
    assert_eq!(shown["revision"], 3);
}

#[test]
fn install_of_nothing_asks_nobody() {
    let (farm, home) = (Farm::new(), home());
    assert_snapshot!(install(&farm, &home, "nowhere", &[]), @"
    --- stderr
    error: cannot read HOME/nowhere: No such file or directory (os error 2)
    hint: a plugin is a folder with a plugin.toml and the component that it names
    --- exit status: 1
    ");
    assert_snapshot!(install(&farm, &home, "tmp", &[]), @"
    --- stderr
    error: cannot read HOME/tmp/plugin.toml: No such file or directory (os error 2)
    hint: a plugin is a folder with a plugin.toml and the component that it names
    --- exit status: 1
    ");
    std::fs::write(home.path("tmp/plugin.toml"), "[plugin]\nname = \"x\"\n").unwrap();
    assert_snapshot!(install(&farm, &home, "tmp", &[]), @"
    --- stderr
    error: HOME/tmp/plugin.toml: plugin.component does not name a file
    hint: correct the manifest
    --- exit status: 1
    ");
    std::fs::write(home.path("tmp/plugin.toml"), "[plugin").unwrap();
    assert_snapshot!(install(&farm, &home, "tmp", &[]), @"
    --- stderr
    error: HOME/tmp/plugin.toml: unclosed table, expected `]`
    hint: correct the manifest
    --- exit status: 1
    ");
    std::fs::remove_file(home.path("hello/hello.wasm")).unwrap();
    assert_snapshot!(install(&farm, &home, "hello", &[]), @"
    --- stderr
    error: HOME/hello/hello.wasm: No such file or directory (os error 2)
    hint: build the component, and put it where its plugin.toml says
    --- exit status: 1
    ");
    let large = std::fs::File::create(home.path("hello/hello.wasm")).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    assert_snapshot!(install(&farm, &home, "hello", &[]), @"
    --- stderr
    error: HOME/hello/hello.wasm: it is larger than 64 MiB
    hint: build it for release, and without debug information
    --- exit status: 1
    ");
    assert!(farm.calls().is_empty());
}

#[test]
fn install_refused() {
    let (farm, home) = (Farm::new(), home());
    let detail = "it imports grove:plugin/ssh, which is not granted";
    let hint = "write ssh = true into [plugins.grants.hello]";
    farm.on("POST /api/v2/plugins", 422, problem(grove_wire::Code::PluginCheckFailed, detail, Some(hint)));
    assert_snapshot!(install(&farm, &home, "hello", &[]), @"
    --- stderr
    error: it imports grove:plugin/ssh, which is not granted
    hint: write ssh = true into [plugins.grants.hello]
    --- exit status: 1
    ");
}

#[test]
fn enable_disable_swap_remove() {
    let farm = Farm::new();
    let mut policy = plugin();
    policy["kind"] = "policy".into();
    policy["probation"] = Value::Null;
    let mut disabled = plugin();
    disabled["state"] = "disabled".into();
    disabled["probation"] = Value::Null;
    let mut failed = plugin();
    failed["state"] = "failed".into();
    failed["trouble"] = "it traps".into();
    farm.on("POST /api/v2/plugins/hello/enable", 200, policy)
        .on("POST /api/v2/plugins/hello/disable", 200, disabled)
        .on("POST /api/v2/plugins/hello/swap", 200, plugin())
        .on("POST /api/v2/plugins/hello/swap", 200, failed)
        .on("DELETE /api/v2/plugins/hello", 204, Value::Null);
    assert_snapshot!(grove(&farm, &["plugin", "enable", "hello"]), @"policy hello 0.2.0 (fedcba987654) decides");
    assert_snapshot!(grove(&farm, &["plugin", "disable", "hello"]), @"driver hello 0.2.0 (fedcba987654) is not in use");
    assert_snapshot!(grove(&farm, &["plugin", "swap", "hello", "fedcba"]), @"driver hello 0.2.0 (fedcba987654) is in use; its probation ends in 1m");
    assert_snapshot!(grove(&farm, &["plugin", "swap", "hello", NEWER]), @"driver hello 0.2.0 (fedcba987654) failed: it traps; its probation ends in 1m");
    assert_snapshot!(grove(&farm, &["plugin", "remove", "hello", "0.1.0"]), @"
    --- stderr
    plugin hello 0.1.0 is removed
    ");
    assert_snapshot!(grove(&farm, &["plugin", "remove", "hello"]), @"
    --- stderr
    plugin hello is removed
    ");
    assert_snapshot!(calls(&farm), @r#"
    POST /api/v2/plugins/hello/enable
    POST /api/v2/plugins/hello/disable
    POST /api/v2/plugins/hello/swap {"to":"fedcba"}
    POST /api/v2/plugins/hello/swap {"to":"fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"}
    DELETE /api/v2/plugins/hello?version=0.1.0
    DELETE /api/v2/plugins/hello
    "#);
    assert_snapshot!(grove(&farm, &["plugin", "swap", "hello", ""]), @"
    --- stderr
    error: invalid value '' for '<VERSION>': a version is named by its digest, the first 6 characters of that or more, or its number

    For more information, try '--help'.
    --- exit status: 2
    ");
}
