use std::sync::{Arc, Mutex};

use grove_engine::{Engine, Exit, InputError, Key, Missing, Output, Scope, Service, Why};

use crate::kit::{after, config, install, missing, number, puppet, start};

trait Greets: Send + Sync {
    fn greet(&self) -> &'static str;
}

struct English;

impl Greets for English {
    fn greet(&self) -> &'static str {
        "hello"
    }
}

const GREETER: Key<dyn Greets> = Key::new("greeter");

/// What `look` finds when it runs as a service that needs these.
async fn seen<T: Send + 'static>(
    engine: &Engine,
    needs: &[&str],
    look: impl Fn(&Scope) -> T + Send + Sync + 'static,
) -> T {
    let found = Arc::new(Mutex::new(None));
    let put = found.clone();
    let look = Arc::new(look);
    let service = Service::new("looker", move |scope: Scope| {
        let (look, put) = (look.clone(), put.clone());
        async move {
            *put.lock().unwrap() = Some(look(&scope));
            Ok(())
        }
    });
    let service = needs.iter().fold(service, Service::needs_named);
    engine.install(service).await.unwrap();
    after(100).await;
    engine.uninstall("looker").await.unwrap();
    found.lock().unwrap().take().unwrap()
}

fn get(scope: &Scope) -> Result<u64, InputError> {
    scope.get(&number("a")).map(|number| *number)
}

fn exists(scope: &Scope) -> Result<(), Missing> {
    scope.exists("a")
}

#[tokio::test(start_paused = true)]
async fn a_value_is_there_or_missing_for_a_reason() {
    let (engine, _) = start(config());
    let because = |error: Result<u64, InputError>| match error {
        Err(InputError::Missing(missing)) => missing,
        other => panic!("not missing: {other:?}"),
    };
    assert_eq!(because(seen(&engine, &["a"], get).await), missing("a", Why::NotRunning));
    assert_eq!(seen(&engine, &["a"], exists).await, Err(missing("a", Why::NotRunning)));

    install(&engine, &[&puppet("a", &[])]).await;
    after(100).await;
    assert_eq!(seen(&engine, &["a"], get).await.unwrap(), 3);
    assert_eq!(seen(&engine, &["a"], exists).await, Ok(()));
    assert_eq!(because(seen(&engine, &[], get).await), missing("a", Why::Undeclared));
    assert_eq!(seen(&engine, &[], exists).await, Err(missing("a", Why::Undeclared)));

    engine.replace(puppet("a", &[]).with(|a| a.silent = true).service()).await.unwrap();
    after(100).await;
    assert_eq!(because(seen(&engine, &["a"], get).await), missing("a", Why::NoOutput));
    assert_eq!(seen(&engine, &["a"], exists).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn another_type_is_an_error_and_not_missing() {
    let (engine, log) = start(config());
    install(&engine, &[&puppet("a", &[])]).await;
    after(100).await;
    let wrong = seen(&engine, &["a"], |scope| scope.get(&Key::<String>::new("a")).map(drop)).await;
    assert!(matches!(wrong, Err(InputError::WrongType { .. })), "{wrong:?}");
    assert_eq!(wrong.unwrap_err().to_string(), "input a is not a alloc::string::String");
    log.take();
    let service = Service::new("b", |scope: Scope| async move {
        scope.get(&Key::<String>::new("a"))?;
        Ok(())
    });
    engine.install(service.needs_named("a")).await.unwrap();
    after(1).await;
    assert_eq!(log.take()[2], "restarting b in 1s", "it fails, where a missing input would make it wait");
}

#[tokio::test(start_paused = true)]
async fn a_trait_travels() {
    let (engine, _) = start(config());
    let greeter = Service::new(GREETER.name(), |scope: Scope| async move {
        scope.started(Output::of(&GREETER, Arc::new(English)));
        scope.stop().cancelled().await;
        Ok(())
    });
    engine.install(greeter).await.unwrap();
    after(1).await;
    let greeting = seen(&engine, &["greeter"], |scope| scope.get(&GREETER).unwrap().greet()).await;
    assert_eq!(greeting, "hello");
}

#[tokio::test(start_paused = true)]
async fn an_output_is_gone_with_its_attempt() {
    let (engine, _) = start(config());
    let held = Arc::new(());
    let gives = held.clone();
    let service = Service::new("a", move |scope: Scope| {
        let gives = gives.clone();
        async move {
            scope.started(Output::of(&Key::<()>::new("a"), gives));
            scope.stop().cancelled().await;
            Ok(())
        }
    });
    engine.install(service).await.unwrap();
    install(&engine, &[&puppet("b", &["a"])]).await;
    after(100).await;
    assert_eq!(
        Arc::strong_count(&held),
        3,
        "ours, the declaration's, and the one that the engine and b share"
    );
    engine.uninstall("a").await.unwrap();
    after(100).await;
    assert_eq!(Arc::strong_count(&held), 1);
}

#[derive(Debug, thiserror::Error)]
#[error("cannot open")]
struct Wrapped(#[source] InputError);

#[test]
fn a_wrapped_missing_is_missing() {
    let wrapped = Wrapped(missing("a", Why::NotRunning).into());
    assert!(matches!(Exit::from(wrapped), Exit::Missing(Missing { .. })));
    assert!(matches!(Exit::from(missing("a", Why::NotRunning)), Exit::Missing(_)));
    let wrong = InputError::WrongType { input: "a".to_owned(), wanted: "b" };
    assert_eq!(Exit::from(Wrapped(wrong)).to_string(), "cannot open: input a is not a b");
}
