use insta::assert_snapshot;
use serde_json::json;

use crate::kit::{Farm, Home, calls, grove, problem, told};

const EXPORT: &str =
    "{\"grove_export\":1}\n{\"end\":true,\"rows\":{\"workers\":2},\"components\":1,\"sha256\":\"x\"}\n";

fn exporting(body: &str) -> Farm {
    let farm = Farm::new();
    farm.on_text("GET /api/v2/farm/export", 200, "application/jsonl", body);
    farm
}

#[test]
fn export_writes_a_private_file_and_none_over_another() {
    use std::os::unix::fs::PermissionsExt;
    let (farm, home) = (exporting(EXPORT), Home::new());
    let file = home.path("farm.jsonl");
    let run = |args: &[&str]| {
        let args: Vec<&str> =
            ["farm", "export", file.to_str().unwrap()].iter().chain(args).copied().collect();
        home.plain(&told(&farm, &home.command(&farm, &args).output().unwrap()))
    };
    assert_eq!(run(&[]), "--- stderr\nHOME/farm.jsonl: 2 rows, 1 components\n");
    assert_eq!(home.read("farm.jsonl"), EXPORT);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_snapshot!(run(&[]), @r"
    --- stderr
    error: HOME/farm.jsonl exists
    hint: name another file, or say --force
    --- exit status: 1
    ");
    assert_eq!(run(&["--force", "--quiet"]), "");
}

#[test]
fn an_export_that_lacks_a_component_fails_unless_it_may() {
    let missing = json!({"plugin": "relay", "version": "1.2.0", "digest": "0123456789ab".repeat(5) + "0123"});
    let last = json!({"end": true, "rows": {}, "components": 0, "missing": [missing], "sha256": "x"});
    for (to, incomplete) in [("farm.jsonl", false), ("farm.jsonl", true), ("-", false), ("-", true)] {
        let (farm, home) = (exporting(&format!("{last}\n")), Home::new());
        let file = if to == "-" { to.to_owned() } else { home.path(to).display().to_string() };
        let mut args = vec!["farm", "export", &file, "--quiet"];
        args.extend(incomplete.then_some("--incomplete"));
        let output = home.command(&farm, &args).output().unwrap();
        let told = home.plain(&told(&farm, &output));
        let words =
            "warning: the component of relay 1.2.0 (0123456789ab) is not in the export: the farm has lost it";
        assert!(told.contains(words) && told.contains("`grove plugin remove relay 0123456789ab`"), "{told}");
        assert_eq!(output.status.success(), incomplete, "{told}");
        assert_eq!(told.contains("error: the export lacks components"), !incomplete, "{told}");
        assert_eq!(home.path("farm.jsonl").exists(), to != "-" && incomplete, "{told}");
        let query = if incomplete { "?incomplete=true" } else { "" };
        assert_eq!(calls(&farm), format!("GET /api/v2/farm/export{query}\n"));
    }
}

#[test]
fn an_export_without_an_end_is_thrown_away() {
    let (farm, home) = (exporting("{\"grove_export\":1}\n"), Home::new());
    let file = home.path("farm.jsonl");
    let output = home.command(&farm, &["farm", "export", file.to_str().unwrap()]).output().unwrap();
    let told = told(&farm, &output);
    assert!(told.contains("error: the export has no end: it is not whole"), "{told}");
    assert!(!file.exists() && !home.path("farm.jsonl.part").exists());
}

#[test]
fn import_asks_and_tells_what_changed() {
    let (farm, home) = (Farm::new(), Home::new());
    std::fs::write(home.path("farm.jsonl"), EXPORT).unwrap();
    let file = home.path("farm.jsonl");
    let run = |args: &[&str]| {
        let args: Vec<&str> =
            ["farm", "import", file.to_str().unwrap()].iter().chain(args).copied().collect();
        home.plain(&told(&farm, &home.command(&farm, &args).output().unwrap()))
    };
    assert_snapshot!(run(&[]), @r"
    --- stderr
    error: this replaces everything of the farm at http://FARM
    hint: say --yes if that is meant, or look first with --dry-run
    --- exit status: 1
    ");
    let done = json!({
        "dry_run": false, "created": "x", "version": "0.1.0", "schema": 2, "components": 1,
        "tables": {"workers": {"added": 2, "removed": 1, "changed": 3}},
        "ended": {"tasks": 1, "requests": 0, "workers": 1}, "event": 9,
    });
    farm.on("POST /api/v2/farm/import", 200, done);
    let told = run(&["--yes"]);
    assert!(told.contains("workers  2      1        3"), "{told}");
    assert!(told.contains("2 rows were added, 1 removed, 3 changed"), "{told}");
    let call = "POST /api/v2/farm/import?dry_run=false";
    assert!(calls(&farm).starts_with(call), "{}", calls(&farm));
}

#[test]
fn a_refused_import_says_where() {
    let farm = Farm::new();
    let detail = "line 7: workers: column reason is missing";
    farm.on("POST /api/v2/farm/import", 422, problem(grove_wire::Code::BadExport, detail, None));
    let told = grove(&farm, &["farm", "import", "/dev/null", "--yes"]);
    assert!(told.contains(detail), "{told}");
}
