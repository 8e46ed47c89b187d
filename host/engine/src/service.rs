//! The declaration of a service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::exit::Exit;
use crate::key::{Key, Name};
use crate::scope::Scope;

/// The life of one attempt.
pub(crate) type Life = Pin<Box<dyn Future<Output = Result<(), Exit>> + Send>>;
type Start = Arc<dyn Fn(Scope) -> Life + Send + Sync>;
type Filter = Arc<dyn Fn(Exit) -> Exit + Send + Sync>;

/// The declaration of a service: its name, what it needs, and how it runs.
#[derive(Clone)]
pub struct Service {
    pub(crate) name: Name,
    pub(crate) inputs: Vec<Name>,
    pub(crate) start: Start,
    pub(crate) filter: Option<Filter>,
    pub(crate) max_delay: Option<Duration>,
}

impl Service {
    /// A service of this name. `start` is called once for each attempt; what it returns is the whole life of that
    /// attempt: take the inputs, set up, say [`Scope::started`], and run until [`Scope::stop`] fires. `Ok` is
    /// [`Exit::Clean`].
    pub fn new<F, L>(name: impl Into<String>, start: F) -> Self
    where
        F: Fn(Scope) -> L + Send + Sync + 'static,
        L: Future<Output = Result<(), Exit>> + Send + 'static,
    {
        Self {
            name: name.into().into(),
            inputs: Vec::new(),
            start: Arc::new(move |scope| Box::pin(start(scope))),
            filter: None,
            max_delay: None,
        }
    }

    /// Declares that it takes the output of this key. Only what is declared can be had.
    #[must_use]
    pub fn needs<T: ?Sized>(self, key: &Key<T>) -> Self {
        self.needs_named(key.name())
    }

    /// Declares that it depends on the service of this name.
    #[must_use]
    pub fn needs_named(mut self, name: impl AsRef<str>) -> Self {
        if !self.inputs.iter().any(|input| **input == *name.as_ref()) {
            self.inputs.push(name.as_ref().into());
        }
        self
    }

    /// Changes how an attempt is said to have ended, before the engine decides by it. An abort for being overdue does
    /// not pass here.
    #[must_use]
    pub fn filter(mut self, filter: impl Fn(Exit) -> Exit + Send + Sync + 'static) -> Self {
        self.filter = Some(Arc::new(filter));
        self
    }

    /// No delay before it is started again is longer, where [`Config::max_delay`] allows more: for one that is missed by
    /// many and cheap to try.
    ///
    /// [`Config::max_delay`]: crate::Config::max_delay
    #[must_use]
    pub fn max_delay(mut self, most: Duration) -> Self {
        self.max_delay = Some(most);
        self
    }

    /// Puts something around the life of every attempt: what it makes of that life is what the engine runs. To break
    /// services in tests, or to time them.
    #[must_use]
    pub fn around<F, L>(mut self, around: F) -> Self
    where
        F: Fn(Pin<Box<dyn Future<Output = Result<(), Exit>> + Send>>) -> L + Send + Sync + 'static,
        L: Future<Output = Result<(), Exit>> + Send + 'static,
    {
        let start = self.start;
        self.start = Arc::new(move |scope| Box::pin(around(start(scope))));
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}
