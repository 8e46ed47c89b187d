use insta::assert_snapshot;

use crate::kit::{Farm, grove, help};

#[test]
fn help_says() {
    assert_snapshot!(help(&["completions"]), @"
    Print the completions of a shell

    Usage: grove completions [OPTIONS] <SHELL>

    Arguments:
      <SHELL>  Which shell [possible values: bash, zsh, fish]

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
fn every_shell_gets_every_verb() {
    let farm = Farm::new();
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef grove"), ("fish", "complete -c grove")] {
        let script = grove(&farm, &["completions", shell]);
        assert!(script.contains(mark), "{shell}: {script}");
        for verb in ["run", "ssh", "request", "worker", "job", "task", "why", "artifact", "plugin", "events"]
        {
            assert!(script.contains(verb), "{shell} lacks {verb}");
        }
    }
    assert!(farm.calls().is_empty());
}

#[test]
fn other_shells_are_refused() {
    assert_snapshot!(grove(&Farm::new(), &["completions", "tcsh"]), @"
    --- stderr
    error: invalid value 'tcsh' for '<SHELL>'
      [possible values: bash, zsh, fish]

      tip: a similar value exists: 'zsh'

    For more information, try '--help'.
    --- exit status: 2
    ");
}
